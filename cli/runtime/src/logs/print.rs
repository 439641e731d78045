//! Log lines for people: coloured by dyno on a terminal, and harmless to it.

use super::line::{Header, LogLine, Source};
use jiff::Timestamp;
use std::collections::HashMap;

/// Whether prefixes are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Always,
    Never,
}

/// Puts lines into a buffer as they are to be printed.
///
/// Anywhere but on a terminal that is how they stand on disk. On a terminal, colours (SGR) and tabs
/// of the text keep their effect and end with the line; other control characters are shown in caret
/// notation (`^M`), so that a log can neither hide lines nor drive the terminal.
#[derive(Debug)]
pub struct Printout {
    colour: Colour,
    is_terminal: bool,
    header: Header,
    /// In the order in which dynos appear.
    paints: HashMap<String, &'static str>,
}

/// Cyan, yellow, green, magenta, blue: red is left for errors.
const PAINTS: [&str; 5] = [
    "\u{1b}[36m",
    "\u{1b}[33m",
    "\u{1b}[32m",
    "\u{1b}[35m",
    "\u{1b}[34m",
];
const PLAIN: &[u8] = b"\x1b[0m";

impl Printout {
    pub fn new(colour: Colour, is_terminal: bool) -> Self {
        Self {
            colour,
            is_terminal,
            header: Header::default(),
            paints: HashMap::new(),
        }
    }

    /// Appends a line that is already in the log.
    pub fn print(&mut self, into: &mut Vec<u8>, line: &LogLine) {
        self.line(into, line.at, line.source, &line.dyno, &line.text);
    }

    /// Appends one line; `text` has no newline in it.
    pub fn line(
        &mut self,
        into: &mut Vec<u8>,
        at: Timestamp,
        source: Source,
        dyno: &str,
        text: &[u8],
    ) {
        if self.colour == Colour::Always {
            let paint = self.paint(dyno);
            into.extend_from_slice(paint.as_bytes());
            into.extend_from_slice(self.header.of(at, source, dyno));
            into.extend_from_slice(PLAIN);
        } else {
            into.extend_from_slice(self.header.of(at, source, dyno));
        }
        into.push(b' ');
        if self.is_terminal {
            show(into, text);
        } else {
            into.extend_from_slice(text);
        }
        into.push(b'\n');
    }

    fn paint(&mut self, dyno: &str) -> &'static str {
        if let Some(paint) = self.paints.get(dyno) {
            return paint;
        }
        let paint = PAINTS[self.paints.len() % PAINTS.len()];
        self.paints.insert(dyno.to_owned(), paint);
        paint
    }
}

fn show(into: &mut Vec<u8>, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut is_painted = false;
    let mut rest = text.as_ref();
    while let Some(control) = rest.find(|c: char| c.is_control() && c != '\t') {
        into.extend_from_slice(&rest.as_bytes()[..control]);
        rest = &rest[control..];
        if let Some(length) = sgr(rest) {
            into.extend_from_slice(&rest.as_bytes()[..length]);
            rest = &rest[length..];
            is_painted = true;
        } else {
            let mut characters = rest.chars();
            match characters.next().map(u8::try_from) {
                // C0 and DEL in caret notation, as `cat -v` shows them.
                Some(Ok(code @ 0..=0x7F)) => into.extend([b'^', code ^ 0x40]),
                _ => into.extend_from_slice("\u{fffd}".as_bytes()),
            }
            rest = characters.as_str();
        }
    }
    into.extend_from_slice(rest.as_bytes());
    if is_painted {
        into.extend_from_slice(PLAIN);
    }
}

/// The length of the colour sequence that `text` begins with: `ESC [ 1 ; 31 m`.
fn sgr(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    parameters[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn printed(colour: Colour, is_terminal: bool, lines: &[(Source, &str, &[u8])]) -> String {
        let mut printout = Printout::new(colour, is_terminal);
        let mut out = Vec::new();
        for (source, dyno, text) in lines {
            let at = "2026-01-01T12:00:00Z".parse().unwrap();
            printout.line(&mut out, at, *source, dyno, text);
        }
        out.escape_ascii()
            .to_string()
            .replace("2026-01-01T12:00:00.000000+00:00", "T")
    }

    #[test]
    fn files_get_what_the_dyno_wrote() {
        assert_eq!(
            printed(
                Colour::Never,
                false,
                &[
                    (Source::App, "web.1", b"\xff\x1b[2J\r"),
                    (Source::Heroku, "web.1", b"Cycling"),
                ]
            ),
            "T app[web.1]: \\xff\\x1b[2J\\r\\nT heroku[web.1]: Cycling\\n"
        );
    }

    #[test]
    fn each_dyno_has_its_colour() {
        assert_eq!(
            printed(
                Colour::Always,
                true,
                &[
                    (Source::App, "web.1", b"a"),
                    (Source::App, "web.2", b"b"),
                    (Source::Heroku, "web.1", b"c"),
                ]
            ),
            "\\x1b[36mT app[web.1]:\\x1b[0m a\\n\
             \\x1b[33mT app[web.2]:\\x1b[0m b\\n\
             \\x1b[36mT heroku[web.1]:\\x1b[0m c\\n"
        );
    }

    #[test]
    fn a_log_cannot_drive_the_terminal() {
        let text = b"\x1b]0;title\x07 10%\r20%\t\x1b[1;31mred \x1b[2J\xff\xc2\x9b";
        assert_eq!(
            printed(Colour::Never, true, &[(Source::App, "web.1", text)]),
            "T app[web.1]: ^[]0;title^G 10%^M20%\\t\\x1b[1;31mred ^[[2J\
             \\xef\\xbf\\xbd\\xef\\xbf\\xbd\\x1b[0m\\n"
        );
    }
}

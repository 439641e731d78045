//! Log lines in Heroku's format: `2026-01-01T12:00:00.123456+00:00 app[web.1]: …`.

use crate::names::DynoName;
use jiff::Timestamp;
use std::borrow::Cow;
use std::io::Write;

/// Whether prefixes are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Always,
    Never,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The app's own output.
    App,
    /// What the platform says about the dyno.
    Platform,
}

/// Writes one dyno's lines into a buffer.
#[derive(Debug)]
pub(crate) struct LogFormat {
    app: String,
    platform: String,
    paint: Option<&'static str>,
    second: Option<i64>,
    clock: String,
}

/// Cyan, yellow, green, magenta, blue: red is left for errors.
const PAINTS: [&str; 5] = ["36", "33", "32", "35", "34"];

impl LogFormat {
    /// `index` is the dyno's place in the formation and chooses its colour.
    pub(crate) fn new(dyno: &DynoName, index: usize, colour: Colour) -> Self {
        Self {
            app: format!("app[{dyno}]:"),
            platform: format!("heroku[{dyno}]:"),
            paint: (colour == Colour::Always).then_some(PAINTS[index % PAINTS.len()]),
            second: None,
            clock: String::new(),
        }
    }

    /// Appends one line. Bytes that are not UTF-8 become replacement characters.
    pub(crate) fn line(&mut self, into: &mut Vec<u8>, at: Timestamp, source: Source, line: &[u8]) {
        let second = at.as_second();
        if self.second != Some(second) {
            self.clock = at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            self.second = Some(second);
        }
        let who = match source {
            Source::App => &self.app,
            Source::Platform => &self.platform,
        };
        let (start, end) = match self.paint {
            Some(code) => (Cow::from(format!("\u{1b}[{code}m")), "\u{1b}[0m"),
            None => (Cow::from(""), ""),
        };
        let micros = at.subsec_microsecond();
        let text = String::from_utf8_lossy(line);
        // Writing into a Vec cannot fail.
        drop(writeln!(
            into,
            "{start}{}.{micros:06}+00:00 {who}{end} {text}",
            self.clock
        ));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn format(colour: Colour, lines: &[(&str, Source, &[u8])]) -> String {
        let name = DynoName::of(&"web".parse().unwrap(), 1);
        let mut log = LogFormat::new(&name, 0, colour);
        let mut out = Vec::new();
        for (at, source, line) in lines {
            log.line(&mut out, at.parse().unwrap(), *source, line);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn herokus_format() {
        assert_eq!(
            format(
                Colour::Never,
                &[
                    ("2026-01-01T12:00:00.123456789Z", Source::App, b"hello"),
                    ("2026-01-01T12:00:00.9Z", Source::Platform, b"Cycling"),
                    ("2026-01-01T12:00:01Z", Source::App, b"\xff\x00"),
                ]
            ),
            "2026-01-01T12:00:00.123456+00:00 app[web.1]: hello\n\
             2026-01-01T12:00:00.900000+00:00 heroku[web.1]: Cycling\n\
             2026-01-01T12:00:01.000000+00:00 app[web.1]: \u{fffd}\0\n"
        );
    }

    #[test]
    fn only_the_prefix_is_coloured() {
        assert_eq!(
            format(
                Colour::Always,
                &[("2026-01-01T12:00:00Z", Source::App, b"hello")]
            ),
            "\u{1b}[36m2026-01-01T12:00:00.000000+00:00 app[web.1]:\u{1b}[0m hello\n"
        );
    }
}

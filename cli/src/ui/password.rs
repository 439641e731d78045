//! A question whose answer is not shown while it is typed.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Read, Write};

/// Asks on the terminal, also where stdin and stdout are something else.
///
/// `Interrupted` is `^C`; `NotFound` means that there is no terminal.
pub(crate) fn ask(question: &str) -> io::Result<String> {
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
    (&terminal).write_all(question.as_bytes())?;
    let silent = Silent::new(&terminal)?;
    let answer = read(&terminal);
    drop(silent);
    (&terminal).write_all(b"\n")?;
    answer
}

/// Asks for something that may be seen.
pub(crate) fn ask_openly(question: &str) -> io::Result<String> {
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
    (&terminal).write_all(question.as_bytes())?;
    let mut line = Vec::new();
    let mut byte = [0];
    while (&terminal).read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A terminal that shows nothing and gives each key at once; as it was before when dropped.
struct Silent<'a> {
    terminal: &'a File,
    before: rustix::termios::Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        // ^C as a key, so that nobody is left with a terminal that shows nothing.
        silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _gone = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn read(mut terminal: impl Read) -> io::Result<String> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const ERASE_LINE: u8 = 21;
    let mut answer = Vec::new();
    let mut byte = [0];
    while terminal.read(&mut byte)? == 1 {
        match byte[0] {
            b'\n' | b'\r' | END => break,
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            ERASE_LINE => answer.clear(),
            8 | 127 => {
                // A character of several bytes goes as a whole.
                while answer.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key => answer.push(key),
        }
    }
    String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (typed, answer) in [
            ("pass word\n", Some("pass word")),
            ("pax\u{7f}ss\r", Some("pass")),
            ("paß\u{7f}ss\n", Some("pass")),
            ("oops\u{15}pass\n", Some("pass")),
            ("\u{7f}", Some("")),
            ("pa\u{3}ss\n", None),
        ] {
            let read = read(typed.as_bytes());
            assert_eq!(read.ok().as_deref(), answer, "{typed:?}");
        }
        let interrupted = read(&b"\x03"[..]).unwrap_err();
        assert_eq!(interrupted.kind(), io::ErrorKind::Interrupted);
    }
}

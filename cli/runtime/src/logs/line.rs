//! One line in Heroku's format: `2026-01-01T12:00:00.123456+00:00 app[web.1]: text`.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::fmt;
use std::io::Write;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The app's own output.
    App,
    /// What the platform says: about dynos, as the router, of releases.
    Heroku,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::App => "app",
            Self::Heroku => "heroku",
        })
    }
}

/// A line of the log. As JSON, bytes of the text that are not UTF-8 become replacement characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Exact to the microsecond. As JSON, RFC 3339 in UTC.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    pub source: Source,
    /// `web.1`, `run.4711`, `router`, `api`.
    pub dyno: String,
    /// What was said, without the line's end.
    #[serde(serialize_with = "lossy")]
    pub text: Vec<u8>,
}

fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn lossy<S: Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(text))
}

/// Makes what stands before a line's text, up to the colon. Many lines have the same instant and
/// dyno, more the same second: both are remembered.
#[derive(Debug, Default)]
pub(super) struct Header {
    second: Option<i64>,
    /// `2026-01-01T12:00:00.`
    clock: String,
    of: Option<(Timestamp, Source)>,
    dyno: String,
    bytes: Vec<u8>,
}

impl Header {
    pub(super) fn of(&mut self, at: Timestamp, source: Source, dyno: &str) -> &[u8] {
        if !self.is_of(at, source, dyno) {
            self.make(at, source, dyno);
        }
        &self.bytes
    }

    /// Whether the last one was for the same.
    pub(super) fn is_of(&self, at: Timestamp, source: Source, dyno: &str) -> bool {
        self.of == Some((at, source)) && self.dyno == dyno
    }

    fn make(&mut self, at: Timestamp, source: Source, dyno: &str) {
        let second = at.as_second();
        if self.second != Some(second) {
            self.clock = at.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
            self.second = Some(second);
        }
        let micros = at.subsec_microsecond();
        self.bytes.clear();
        self.bytes.extend_from_slice(self.clock.as_bytes());
        // Writing into a Vec cannot fail.
        drop(write!(self.bytes, "{micros:06}+00:00 {source}[{dyno}]:"));
        self.of = Some((at, source));
        dyno.clone_into(&mut self.dyno);
    }
}

/// What the next lines of one instant, source and dyno begin with instead of repeating all three: a
/// dyno that prints as fast as it can prints thousands of lines at once.
pub(super) const SAME: u8 = b' ';

/// The text of a line that has the instant, source and dyno of the line before it.
pub(super) fn text_of_same(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(&[SAME])
}

/// Where a line's text begins, if the line says itself whose it is.
pub(super) fn text_start(line: &[u8]) -> Option<usize> {
    Parts::of(line).map(|parts| line.len() - parts.text.len())
}

/// A line's parts where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    at: &'a str,
    pub(super) source: Source,
    pub(super) dyno: &'a str,
    text: &'a [u8],
}

/// `2026-01-01T12:00:00.123456+00:00`
const CLOCK_BYTES: usize = 32;

impl<'a> Parts<'a> {
    /// Of a line without its end; `None` for the rest of a line that was torn.
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        let (at, rest) = line.split_at_checked(CLOCK_BYTES)?;
        let is_clock = at[10] == b'T' && at[19] == b'.' && at.ends_with(b"+00:00");
        let rest = rest.strip_prefix(b" ").filter(|_| is_clock)?;
        let (source, rest) = if let Some(rest) = rest.strip_prefix(b"app[") {
            (Source::App, rest)
        } else {
            (Source::Heroku, rest.strip_prefix(b"heroku[")?)
        };
        let end = memchr::memchr(b']', rest)?;
        Some(Self {
            at: str::from_utf8(at).ok()?,
            source,
            dyno: str::from_utf8(&rest[..end]).ok()?,
            text: rest[end..].strip_prefix(b"]: ")?,
        })
    }

    /// The line of the same instant, source and dyno with another text.
    pub(super) fn with(self, text: &'a [u8]) -> Self {
        Self { text, ..self }
    }

    pub(super) fn to_line(self) -> Option<LogLine> {
        Some(LogLine {
            at: self.at.parse().ok()?,
            source: self.source,
            dyno: self.dyno.to_owned(),
            text: self.text.to_vec(),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut header = Header::default();
        for (at, source, dyno, text, whole) in [
            (
                "2026-01-01T12:00:00.123456Z",
                Source::App,
                "web.1",
                &b"hello"[..],
                &b"2026-01-01T12:00:00.123456+00:00 app[web.1]: hello"[..],
            ),
            (
                "2026-01-01T12:00:00.9Z",
                Source::Heroku,
                "router",
                b"at=info ]: x",
                b"2026-01-01T12:00:00.900000+00:00 heroku[router]: at=info ]: x",
            ),
            (
                "2026-01-01T12:00:01Z",
                Source::App,
                "web.1",
                b"",
                b"2026-01-01T12:00:01.000000+00:00 app[web.1]: ",
            ),
            (
                "2026-01-01T12:00:01Z",
                Source::App,
                "web.2",
                b"\xff\r\0",
                b"2026-01-01T12:00:01.000000+00:00 app[web.2]: \xff\r\0",
            ),
        ] {
            let at = at.parse().unwrap();
            let mut line = header.of(at, source, dyno).to_vec();
            line.push(b' ');
            line.extend_from_slice(text);
            assert_eq!(
                line.escape_ascii().to_string(),
                whole.escape_ascii().to_string()
            );
            let read = Parts::of(&line).unwrap().to_line().unwrap();
            let dyno = dyno.to_owned();
            let text = text.to_vec();
            assert_eq!(
                read,
                LogLine {
                    at,
                    source,
                    dyno,
                    text
                }
            );
        }
    }

    #[test]
    fn as_json() {
        let at = "2026-01-01T12:00:00.123456Z".parse().unwrap();
        let dyno = "web.1".to_owned();
        let text = b"a\xff".to_vec();
        let source = Source::Heroku;
        let line = LogLine {
            at,
            source,
            dyno,
            text,
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            "{\"at\":\"2026-01-01T12:00:00.123456Z\",\"source\":\"heroku\",\"dyno\":\"web.1\",\"text\":\"a\u{fffd}\"}"
        );
    }

    #[test]
    fn fragments_are_no_lines() {
        let line = b"2026-01-01T12:00:00.123456+00:00 app[web.1]: ";
        for end in 0..line.len() {
            assert_eq!(Parts::of(&line[..end]), None, "{end}");
        }
        assert!(Parts::of(line).is_some());
        for other in [
            &[0; 100][..],
            b"lf a line 2026-01-01T12:00:00.123456+00:00 app[web.1]: x",
            b"2026-01-01T12:00:00.123456+00:00 shell[web.1]: x",
            b"2026-01-01T12:00:00.123456+00:00 app[\xff]: x",
        ] {
            assert_eq!(Parts::of(other), None);
        }
        let wrong = Parts::of(b"2026-99-01T12:00:00.123456+00:00 app[web.1]: x").unwrap();
        assert_eq!(wrong.to_line(), None);
    }
}

//! Where phases send their lines.

use std::fmt;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// What happens.
    Info,
    /// What somebody should change.
    Warn,
    /// What went wrong.
    Error,
}

/// Takes the lines of a phase; called from several threads at once.
#[derive(Clone, Copy)]
pub struct Logger<'a>(&'a (dyn Fn(Level, &str) + Sync));

impl<'a> Logger<'a> {
    /// Passes every line, without its newline, to `sink`.
    pub fn new(sink: &'a (dyn Fn(Level, &str) + Sync)) -> Self {
        Self(sink)
    }

    /// Passes one line on.
    pub fn line(self, level: Level, message: impl fmt::Display) {
        (self.0)(level, &message.to_string());
    }

    pub(crate) fn debug(self, message: impl fmt::Display) {
        self.line(Level::Debug, message);
    }

    pub(crate) fn info(self, message: impl fmt::Display) {
        self.line(Level::Info, message);
    }

    pub(crate) fn warn(self, message: impl fmt::Display) {
        self.line(Level::Warn, message);
    }
}

impl fmt::Debug for Logger<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logger")
    }
}

/// An error and its causes in one line; only for lines of the log, errors that are returned keep their chain.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

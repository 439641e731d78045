//! What a launch logs: printed for who watches, kept for who asks later.

use crate::logs::{LogWriter, Printout, Source};
use jiff::Timestamp;
use std::error::Error;

/// Lines on their way to the terminal and to the app's log.
#[derive(Debug)]
pub(crate) struct Journal {
    /// What is to be printed.
    pub(crate) printed: Vec<u8>,
    printout: Printout,
    kept: Option<LogWriter>,
    /// Whether the last lines could not be kept: said once, not for every batch.
    is_failing: bool,
}

impl Journal {
    pub(crate) fn new(printout: Printout, kept: Option<LogWriter>) -> Self {
        Self {
            printed: Vec::new(),
            printout,
            kept,
            is_failing: false,
        }
    }

    /// Adds a line, which has no newline in it.
    pub(crate) fn line(&mut self, at: Timestamp, source: Source, dyno: &str, text: &[u8]) {
        self.printout
            .line(&mut self.printed, at, source, dyno, text);
        if let Some(kept) = &mut self.kept {
            kept.append(source, dyno, at, text);
        }
    }

    /// Writes to the app's log. A full disk does not end the dynos, but is told on the terminal.
    pub(crate) fn keep(&mut self) {
        let Some(Err(error)) = self.kept.as_mut().map(LogWriter::flush) else {
            self.is_failing = false;
            return;
        };
        if !self.is_failing {
            self.is_failing = true;
            let cause = error.source().map(|cause| format!(": {cause}"));
            let text = format!(
                "{error}{}; lines are missing there",
                cause.unwrap_or_default()
            );
            let into = &mut self.printed;
            let now = Timestamp::now();
            self.printout
                .line(into, now, Source::Heroku, "logplex", text.as_bytes());
        }
    }
}

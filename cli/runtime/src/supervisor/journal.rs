//! Where log lines go: into the app's log, and to whoever watches in the foreground.

use crate::logs::{LogWriter, Printout, Source};
use crate::output::{Flow, Output};
use crate::supervisor::chain;
use jiff::Timestamp;
use std::io;
use std::os::fd::BorrowedFd;

/// What may wait for a slow reader. Dynos are not read meanwhile; what the router and the
/// supervisor say beyond that is in the app's log only. In bytes.
const MOST_WAITING: usize = 4 << 20;

/// The log of all dynos.
pub(crate) struct Journal {
    watched: Option<Watched>,
    kept: Option<LogWriter>,
    /// Whether the last lines could not be kept: said once, not for every batch.
    is_failing: bool,
}

/// Somebody who watches.
pub(crate) struct Watched {
    pub(crate) output: Output,
    pub(crate) printout: Printout,
}

impl Journal {
    pub(crate) fn new(watched: Option<Watched>, kept: Option<LogWriter>) -> Self {
        Self {
            watched,
            kept,
            is_failing: false,
        }
    }

    /// Adds a line of a dyno's, which has no newline in it and is no longer than 10,000 bytes.
    pub(crate) fn line(&mut self, at: Timestamp, who: &str, text: &[u8]) {
        self.show(at, Source::App, who, text);
        if let Some(kept) = &mut self.kept {
            kept.line(Source::App, who, at, text);
        }
    }

    /// Adds what the platform says about a dyno, or as `router` or `api`.
    pub(crate) fn say(&mut self, who: &str, text: &str) {
        self.told(Timestamp::now(), who, text.as_bytes());
    }

    /// The same, of an earlier instant.
    pub(crate) fn told(&mut self, at: Timestamp, who: &str, text: &[u8]) {
        self.show(at, Source::Heroku, who, text);
        if let Some(kept) = &mut self.kept {
            kept.append(Source::Heroku, who, at, text);
        }
    }

    fn show(&mut self, at: Timestamp, source: Source, who: &str, text: &[u8]) {
        if let Some(Watched { output, printout }) = &mut self.watched
            && output.batch.len() < MOST_WAITING
        {
            printout.line(&mut output.batch, at, source, who, text);
        }
    }

    /// Sends on what was added since the last time: to the app's log in any case, to who watches
    /// if there is room.
    pub(crate) fn flush(&mut self) -> Flow {
        self.keep();
        let watched = self.watched.as_mut();
        watched.map_or(Flow::Open, |watched| watched.output.flush())
    }

    /// Writes to the app's log. A full disk does not end the dynos, but who watches is told.
    fn keep(&mut self) {
        let Some(Err(error)) = self.kept.as_mut().map(LogWriter::flush) else {
            self.is_failing = false;
            return;
        };
        if self.is_failing {
            return;
        }
        self.is_failing = true;
        if let Some(Watched { output, printout }) = &mut self.watched {
            let text = format!("{}; lines are missing there", chain(&error));
            let into = &mut output.batch;
            let now = Timestamp::now();
            printout.line(into, now, Source::Heroku, "logplex", text.as_bytes());
        }
    }

    /// Forgets what nobody will read.
    pub(crate) fn discard(&mut self) {
        if let Some(watched) = &mut self.watched {
            watched.output.batch.clear();
        }
    }

    /// Readable when a slow reader has taken something.
    pub(crate) fn room(&self) -> Option<BorrowedFd<'_>> {
        self.watched.as_ref().map(|watched| watched.output.room())
    }

    /// Waits for the reader of the last lines, as long as `patience` says so.
    pub(crate) fn finish(mut self, patience: impl FnMut() -> bool) -> io::Result<()> {
        self.keep();
        match self.watched {
            Some(watched) => watched.output.finish(patience),
            None => Ok(()),
        }
    }
}

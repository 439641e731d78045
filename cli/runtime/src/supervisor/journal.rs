//! Where log lines go: to whoever watches in the foreground.

use crate::log::{Colour, LogFormat, Source};
use crate::names::DynoName;
use crate::output::{Flow, Output};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

/// The log of all dynos.
pub(crate) struct Journal {
    watched: Option<Output>,
    colour: Colour,
    /// A dyno keeps its colour for as long as the supervisor lives.
    colours: BTreeMap<DynoName, usize>,
}

/// One dyno's way into the log.
#[derive(Debug)]
pub(crate) struct Voice {
    format: LogFormat,
}

impl Journal {
    pub(crate) fn new(watched: Option<Output>, colour: Colour) -> Self {
        Self {
            watched,
            colour,
            colours: BTreeMap::new(),
        }
    }

    /// A log that nobody keeps.
    pub(crate) fn silent() -> Self {
        Self::new(None, Colour::Never)
    }

    pub(crate) fn voice(&mut self, name: &DynoName) -> Voice {
        let next = self.colours.len();
        let index = *self.colours.entry(name.clone()).or_insert(next);
        Voice {
            format: LogFormat::new(name, index, self.colour),
        }
    }

    /// A line that the dyno wrote.
    pub(crate) fn wrote(&mut self, voice: &mut Voice, at: Timestamp, line: &[u8]) {
        if let Some(watched) = &mut self.watched {
            voice
                .format
                .line(&mut watched.batch, at, Source::App, line);
        }
    }

    /// Something that happens to the dyno.
    pub(crate) fn say(&mut self, voice: &mut Voice, text: &str) {
        if let Some(watched) = &mut self.watched {
            let now = Timestamp::now();
            let line = text.as_bytes();
            voice
                .format
                .line(&mut watched.batch, now, Source::Platform, line);
        }
    }

    /// Sends on what was written since the last time.
    pub(crate) fn flush(&mut self) -> Flow {
        self.watched.as_mut().map_or(Flow::Open, Output::flush)
    }

    /// Forgets what nobody will read.
    pub(crate) fn discard(&mut self) {
        if let Some(watched) = &mut self.watched {
            watched.batch.clear();
        }
    }

    /// Readable when a slow reader has taken something.
    pub(crate) fn room(&self) -> Option<BorrowedFd<'_>> {
        self.watched.as_ref().map(Output::room)
    }

    /// Waits for the reader of the last lines, as long as `patience` says so.
    pub(crate) fn finish(self, patience: impl FnMut() -> bool) -> std::io::Result<()> {
        match self.watched {
            Some(watched) => watched.finish(patience),
            None => Ok(()),
        }
    }
}

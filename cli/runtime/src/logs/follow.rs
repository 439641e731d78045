//! Following the log while it is written and its segments come and go.

use super::line::{LogLine, Parts, text_of_same};
use super::read::{Filter, Place};
use super::{LogError, segments};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How often the log is looked at. A look is one system call.
const PERIOD: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Gives the lines that are logged after its beginning. Who asks so rarely that segments are dropped
/// meanwhile misses their lines.
#[derive(Debug)]
pub struct Follow {
    folder: PathBuf,
    filter: Filter,
    current: Option<Current>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    file: File,
    place: Place,
    /// A line without its end yet.
    partial: Vec<u8>,
    /// The last line that said whose it is: those after it may be of the same.
    said: Vec<u8>,
}

impl Follow {
    /// `current`: from where on, and the last line before that which says whose it is.
    pub(super) fn new(
        folder: &Path,
        filter: &Filter,
        current: Option<(Place, File, Vec<u8>)>,
    ) -> Self {
        Self {
            folder: folder.to_owned(),
            filter: filter.clone(),
            current: current.map(|(place, file, said)| Current {
                file,
                place,
                partial: Vec::new(),
                said,
            }),
            buffer: vec![0; 64 * 1024],
        }
    }

    /// What was logged since the last call, without waiting. [`Filter::last`] does not matter here.
    pub fn lines(&mut self) -> Result<Vec<LogLine>, LogError> {
        let mut lines = Vec::new();
        loop {
            let (ended, gone) = match &mut self.current {
                None => (true, true),
                Some(current) => {
                    let filter = &self.filter;
                    let number = current.place.number;
                    let read = current.read(&mut self.buffer, |parts| {
                        lines.extend(
                            filter
                                .wants(&parts)
                                .then_some(parts)
                                .and_then(Parts::to_line),
                        );
                    });
                    read.map_err(|source| LogError::Read {
                        path: segments::path(&self.folder, number),
                        source,
                    })?
                }
            };
            if !ended || !self.advance(gone)? {
                return Ok(lines);
            }
        }
    }

    /// Sleeps until it is time to look again; `false` as soon as nobody reads `output` any longer.
    pub fn wait(&self, output: BorrowedFd<'_>) -> Result<bool, LogError> {
        let mut waits = [PollFd::from_borrowed_fd(output, PollFlags::empty())];
        match poll(&mut waits, Some(&PERIOD)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                return Err(LogError::Wait {
                    source: error.into(),
                });
            }
        }
        Ok(!waits[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP))
    }

    /// Goes on to the next segment, if there is one. Numbers begin anew when the folder was removed.
    fn advance(&mut self, gone: bool) -> Result<bool, LogError> {
        let numbers = segments::list(&self.folder)?;
        let after = self.current.as_ref().map_or(0, |it| it.place.number);
        let next = numbers.iter().find(|number| **number > after);
        let next = next.or_else(|| numbers.first().filter(|_| gone));
        let Some(number) = next.copied() else {
            return Ok(false);
        };
        let Some(file) = segments::open(&self.folder, number)? else {
            // Dropped this very moment; the next look finds its successor.
            return Ok(false);
        };
        self.current = Some(Current {
            file,
            place: Place { number, offset: 0 },
            partial: Vec::new(),
            said: Vec::new(),
        });
        Ok(true)
    }
}

impl Current {
    /// Reads to the end of the file. Tells whether nothing will be added to it, and whether it was
    /// removed.
    fn read(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(Parts<'_>),
    ) -> io::Result<(bool, bool)> {
        // Asked before reading: what is sealed now will be read to its very end.
        let metadata = self.file.metadata()?;
        let gone = metadata.nlink() == 0;
        let ended = gone || metadata.mode() & 0o200 == 0;
        if metadata.len() < self.place.offset {
            // Somebody emptied it by hand.
            self.place.offset = 0;
            self.partial.clear();
        }
        loop {
            let count = self.file.read_at(buffer, self.place.offset)?;
            if count == 0 {
                return Ok((ended, gone));
            }
            self.place.offset += count as u64;
            let mut rest = &buffer[..count];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                self.partial.extend_from_slice(&rest[..end]);
                let parts = if let Some(text) = text_of_same(&self.partial) {
                    Parts::of(&self.said).map(|said| said.with(text))
                } else {
                    std::mem::swap(&mut self.said, &mut self.partial);
                    Parts::of(&self.said)
                };
                if let Some(parts) = parts {
                    take(parts);
                }
                self.partial.clear();
                rest = &rest[end + 1..];
            }
            self.partial.extend_from_slice(rest);
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;

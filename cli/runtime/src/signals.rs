//! Signals as readable descriptors, for use in one poll loop.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Catches signals while it lives. One pipe per signal: a burst of one cannot hide another.
#[derive(Debug)]
pub(crate) struct Signals {
    caught: Vec<Caught>,
}

#[derive(Debug)]
struct Caught {
    number: i32,
    id: signal_hook::SigId,
    pipe: UnixStream,
}

impl Signals {
    pub(crate) fn catch(numbers: &[i32]) -> io::Result<Self> {
        let mut signals = Self {
            caught: Vec::with_capacity(numbers.len()),
        };
        for number in numbers {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            let id = signal_hook::low_level::pipe::register(*number, write)?;
            signals.caught.push(Caught {
                number: *number,
                id,
                pipe: read,
            });
        }
        Ok(signals)
    }

    /// Readable as soon as a signal has arrived.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.caught.iter().map(|caught| caught.pipe.as_fd())
    }

    /// The signals that arrived since the last call, one entry for each arrival.
    pub(crate) fn take(&mut self) -> io::Result<Vec<i32>> {
        let mut arrived = Vec::new();
        for caught in &mut self.caught {
            let mut bytes = [0; 16];
            match caught.pipe.read(&mut bytes) {
                Ok(count) => arrived.extend(std::iter::repeat_n(caught.number, count)),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(arrived)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for caught in &self.caught {
            signal_hook::low_level::unregister(caught.id);
        }
    }
}

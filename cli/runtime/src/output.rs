//! The way from the supervising loop to standard output, which may be slow, stopped or closed.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Batches under way to the writer; each holds one round of the loop, at most a few hundred kB.
const BATCHES: usize = 8;

/// What became of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// More may be written.
    Open,
    /// The reader is slow: write no more until [`Output::room`] is readable.
    Full,
    /// Nobody reads any longer.
    Closed,
}

/// Lines on their way out. The loop that fills it never blocks: a thread of its own does.
#[derive(Debug)]
pub(crate) struct Output {
    /// What the loop appends to; [`Output::flush`] sends it on.
    pub(crate) batch: Vec<u8>,
    sender: Option<SyncSender<Vec<u8>>>,
    room: Arc<OwnedFd>,
    writer: JoinHandle<()>,
}

impl Output {
    pub(crate) fn to(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        let file = File::from(descriptor.try_clone_to_owned()?);
        let room = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (sender, receiver) = sync_channel(BATCHES);
        let writer = std::thread::Builder::new().name("log writer".to_owned());
        let writer = writer.spawn({
            let room = Arc::clone(&room);
            move || write_batches(file, receiver, &room)
        })?;
        Ok(Self {
            batch: Vec::new(),
            sender: Some(sender),
            room,
            writer,
        })
    }

    /// Readable when the writer took a batch, or ended.
    pub(crate) fn room(&self) -> BorrowedFd<'_> {
        self.room.as_fd()
    }

    /// Sends the batch to the writer, if there is room.
    pub(crate) fn flush(&mut self) -> Flow {
        // Cleared before the attempt: a batch taken after a failed attempt sets it again.
        let _ = rustix::io::read(&self.room, &mut [0; 8]);
        let Some(sender) = &self.sender else {
            return Flow::Closed;
        };
        if self.batch.is_empty() {
            return if self.writer.is_finished() {
                Flow::Closed
            } else {
                Flow::Open
            };
        }
        match sender.try_send(std::mem::take(&mut self.batch)) {
            Ok(()) => Flow::Open,
            Err(TrySendError::Full(batch)) => {
                self.batch = batch;
                Flow::Full
            }
            Err(TrySendError::Disconnected(_)) => Flow::Closed,
        }
    }

    /// Waits until everything is written, as long as `patience` says so after each round of
    /// waiting; then leaves the rest to a writer that will end with this process.
    pub(crate) fn finish(mut self, mut patience: impl FnMut() -> bool) -> io::Result<()> {
        loop {
            if self.flush() == Flow::Open {
                self.sender = None;
            }
            if self.writer.is_finished() {
                return Ok(());
            }
            // The thread's last wake-up comes a moment before it counts as finished.
            let round = Timespec {
                tv_sec: 0,
                tv_nsec: 5_000_000,
            };
            poll(&mut [PollFd::new(&self.room, PollFlags::IN)], Some(&round))?;
            if !patience() {
                return Ok(());
            }
        }
    }
}

fn write_batches(mut file: File, batches: Receiver<Vec<u8>>, room: &OwnedFd) {
    for batch in batches {
        let written = file.write_all(&batch);
        if written.is_err() {
            break;
        }
        wake(room);
    }
    wake(room);
}

/// A full counter is readable too, which is all that is wanted.
fn wake(room: &OwnedFd) {
    let _ = rustix::io::write(room, &1_u64.to_ne_bytes());
}

/// A pipe of which only the reading side, which stays here, never blocks.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, fcntl_getfl(&read)? | OFlags::NONBLOCK)?;
    Ok((read, write))
}

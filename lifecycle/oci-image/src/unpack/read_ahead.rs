//! A layer's bytes, read, decompressed and hashed by a thread of their own while others use them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::UnpackRules;
use super::decode::Decoded;
use super::entry::TarBytes;
use crate::digest::Digest;

/// Bytes that are handed over at once.
const CHUNK: usize = 256 * 1024;
/// So many chunks may wait: a few files that take longer to make than to read.
const WAITING: usize = 8;

/// The thread that reads.
pub(super) struct ReadAhead<'scope>(ScopedJoinHandle<'scope, (Digest, u64)>);

/// What it reads, to its end or its first error.
pub(super) struct Chunks {
    receiver: Receiver<io::Result<Chunk>>,
    /// Buffers go back this way, to be filled again.
    used: Sender<Vec<u8>>,
    chunk: Chunk,
    /// How much of the chunk is taken.
    taken: usize,
    /// Bytes given out.
    offset: u64,
}

/// A buffer, and how much of it is filled.
#[derive(Default)]
struct Chunk {
    buffer: Vec<u8>,
    length: usize,
}

impl<'scope> ReadAhead<'scope> {
    pub(super) fn start<'env, R: Read + Send + 'env>(
        scope: &'scope Scope<'scope, 'env>,
        reader: R,
        rules: &'env UnpackRules,
    ) -> (Self, Chunks) {
        let (sender, receiver) = sync_channel(WAITING);
        let (used, empty) = channel();
        let thread = scope.spawn(move || match Decoded::new(reader, rules) {
            Ok(decoded) => pump(decoded, &sender, &empty),
            Err(error) => {
                // Whoever would hear it has gone: it has an error of its own to tell.
                drop(sender.send(Err(error)));
                (Digest::of(b""), 0)
            }
        });
        let chunks = Chunks {
            receiver,
            used,
            chunk: Chunk::default(),
            taken: 0,
            offset: 0,
        };
        (Self(thread), chunks)
    }

    /// The digest and the length of all bytes, once they have been read to the end.
    pub(super) fn finish(self) -> (Digest, u64) {
        self.0
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn pump(
    mut decoded: Decoded<impl Read>,
    sender: &SyncSender<io::Result<Chunk>>,
    empty: &Receiver<Vec<u8>>,
) -> (Digest, u64) {
    loop {
        let mut buffer = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let (length, read) = fill(&mut decoded, &mut buffer);
        let is_end = read.is_err() || length == 0;
        // What was read before an error counts first.
        let sent = length == 0 || sender.send(Ok(Chunk { buffer, length })).is_ok();
        if let Err(error) = read {
            drop(sender.send(Err(error)));
        }
        if is_end || !sent {
            return decoded.finish();
        }
    }
}

/// Reads until the buffer is full or the end comes. Returns how much was read, before an error too.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Err(error)),
        }
    }
    (length, Ok(()))
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.length {
            match self.receiver.recv() {
                Ok(chunk) => {
                    let used = std::mem::replace(&mut self.chunk, chunk?);
                    if !used.buffer.is_empty() {
                        // The thread may have come to the end, with nothing left to fill.
                        drop(self.used.send(used.buffer));
                    }
                }
                // The thread has come to the end.
                Err(_) => return Ok(0),
            }
            self.taken = 0;
        }
        let rest = &self.chunk.buffer[self.taken..self.chunk.length];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        self.offset += count as u64;
        Ok(count)
    }
}

impl TarBytes for Chunks {
    fn offset(&self) -> u64 {
        self.offset
    }
}

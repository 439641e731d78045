//! A layer's bytes, read, decompressed and hashed by a thread of their own while others use them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    /// How much of the chunk is taken.
    taken: usize,
    /// Bytes given out.
    offset: u64,
}

impl<'scope> ReadAhead<'scope> {
    pub(super) fn start<'env, R: Read + Send + 'env>(
        scope: &'scope Scope<'scope, 'env>,
        reader: R,
        rules: &'env UnpackRules,
    ) -> (Self, Chunks) {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = scope.spawn(move || match Decoded::new(reader, rules) {
            Ok(decoded) => pump(decoded, &sender),
            Err(error) => {
                // Whoever would hear it has gone: it has an error of its own to tell.
                drop(sender.send(Err(error)));
                (Digest::of(b""), 0)
            }
        });
        let chunks = Chunks {
            receiver,
            chunk: Vec::new(),
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
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> (Digest, u64) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = decoded.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        let is_end = read.is_err() || chunk.is_empty();
        // What was read before an error counts first.
        let sent = chunk.is_empty() || sender.send(Ok(chunk)).is_ok();
        if let Err(error) = read {
            drop(sender.send(Err(error)));
        }
        if is_end || !sent {
            return decoded.finish();
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => self.chunk = chunk?,
                // The thread has come to the end.
                Err(_) => return Ok(0),
            }
            self.taken = 0;
        }
        let rest = &self.chunk[self.taken..];
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

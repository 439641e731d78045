//! gzip in independent members of one size, compressed on several threads, written in order.
//!
//! Any gzip reader takes the members for one stream (RFC 1952 §2.2). Their size never depends on the number of
//! threads, so the bytes are the same on every machine.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use libdeflater::{CompressionLvl, Compressor};

use crate::digest::Hasher;
use crate::{Digest, DigestWriter};

/// Uncompressed bytes of a member.
pub(crate) const MEMBER: usize = 1 << 20;

/// More would wait for the one thread that reads and hashes; each costs about 4 MiB.
const MAX_WORKERS: usize = 8;

/// A writer whose bytes are hashed, compressed on other threads and written to `out`, hashed again.
pub(crate) struct GzipMembers<'scope, 'env, W> {
    scope: &'scope Scope<'scope, 'env>,
    level: CompressionLvl,
    out: DigestWriter<W>,
    raw: Hasher,
    filling: Vec<u8>,
    /// Emptied buffers to fill again.
    spare: Vec<Vec<u8>>,
    workers: usize,
    /// None until the first member is full.
    pool: Option<Pool>,
    sent: u64,
    written: u64,
    early: BTreeMap<u64, Member>,
}

/// The way to the workers and back.
struct Pool {
    jobs: Sender<Job>,
    results: Receiver<Member>,
}

struct Job {
    number: u64,
    raw: Vec<u8>,
    /// A buffer for the output.
    gzip: Vec<u8>,
}

struct Member {
    number: u64,
    raw: Vec<u8>,
    gzip: io::Result<Vec<u8>>,
}

/// What came out.
pub(crate) struct Finished<W> {
    pub(crate) out: W,
    pub(crate) raw_digest: Digest,
    pub(crate) raw_size: u64,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl<'scope, 'env, W: Write> GzipMembers<'scope, 'env, W> {
    /// Compresses into `out` on threads of `scope`, which are started when there is more than one member.
    pub(crate) fn new(scope: &'scope Scope<'scope, 'env>, level: CompressionLvl, out: W) -> Self {
        let available = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_workers(scope, level, out, available.min(MAX_WORKERS))
    }

    fn with_workers(
        scope: &'scope Scope<'scope, 'env>,
        level: CompressionLvl,
        out: W,
        workers: usize,
    ) -> Self {
        Self {
            scope,
            level,
            out: DigestWriter::new(out),
            raw: Hasher::default(),
            filling: Vec::with_capacity(MEMBER),
            spare: Vec::new(),
            workers,
            pool: None,
            sent: 0,
            written: 0,
            early: BTreeMap::new(),
        }
    }

    /// Compresses and writes what is left.
    pub(crate) fn finish(mut self) -> io::Result<Finished<W>> {
        self.raw.update(&self.filling);
        if self.sent == 0 {
            // All of it fits one member: no thread is worth its start.
            let gzip = compress(&mut Compressor::new(self.level), &self.filling, Vec::new())?;
            self.out.write_all(&gzip)?;
        } else {
            if !self.filling.is_empty() {
                self.send()?;
            }
            while self.written < self.sent {
                self.receive()?;
            }
        }
        let (out, digest, size) = self.out.finish();
        let raw_size = self.raw.length();
        Ok(Finished {
            out,
            raw_digest: self.raw.finish(),
            raw_size,
            digest,
            size,
        })
    }

    /// Hands the filled buffer to a worker.
    fn send(&mut self) -> io::Result<()> {
        // Bounds the memory: members that wait for their turn count too.
        while self.sent - self.written >= 2 * self.workers as u64 {
            self.receive()?;
        }
        let next = self
            .spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(MEMBER));
        let gzip = self.spare.pop().unwrap_or_default();
        let raw = std::mem::replace(&mut self.filling, next);
        let pool = self
            .pool
            .get_or_insert_with(|| start_workers(self.scope, self.workers, self.level));
        pool.jobs
            .send(Job {
                number: self.sent,
                raw,
                gzip,
            })
            .map_err(|_| lost_workers())?;
        self.sent += 1;
        Ok(())
    }

    /// Takes one finished member and writes those whose turn has come.
    fn receive(&mut self) -> io::Result<()> {
        let Some(pool) = &self.pool else {
            return Ok(());
        };
        let member = pool.results.recv().map_err(|_| lost_workers())?;
        self.early.insert(member.number, member);
        while let Some(member) = self.early.remove(&self.written) {
            let mut gzip = member.gzip?;
            self.out.write_all(&gzip)?;
            self.written += 1;
            let mut raw = member.raw;
            for buffer in [&mut raw, &mut gzip] {
                buffer.clear();
            }
            self.spare.extend([gzip, raw]);
        }
        Ok(())
    }
}

impl<W: Write> Write for GzipMembers<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MEMBER - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == MEMBER {
            self.raw.update(&self.filling);
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start_workers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    workers: usize,
    level: CompressionLvl,
) -> Pool {
    let (jobs, waiting_jobs) = mpsc::channel();
    let (send_result, results) = mpsc::channel();
    let waiting_jobs = Arc::new(Mutex::new(waiting_jobs));
    for _ in 0..workers {
        let (waiting_jobs, send_result) = (Arc::clone(&waiting_jobs), send_result.clone());
        scope.spawn(move || work(&waiting_jobs, &send_result, level));
    }
    Pool { jobs, results }
}

/// Compresses until nobody sends any more.
fn work(jobs: &Mutex<Receiver<Job>>, results: &Sender<Member>, level: CompressionLvl) {
    let mut compressor = Compressor::new(level);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, raw, gzip }) = job else {
            return;
        };
        let gzip = compress(&mut compressor, &raw, gzip);
        if results.send(Member { number, raw, gzip }).is_err() {
            return;
        }
    }
}

fn compress(compressor: &mut Compressor, raw: &[u8], mut gzip: Vec<u8>) -> io::Result<Vec<u8>> {
    gzip.resize(compressor.gzip_compress_bound(raw.len()), 0);
    let length = compressor
        .gzip_compress(raw, &mut gzip)
        .map_err(io::Error::other)?;
    gzip.truncate(length);
    Ok(gzip)
}

fn lost_workers() -> io::Error {
    io::Error::other("the compressing threads ended early")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Read;

    use super::*;

    fn pack(content: &[u8], piece: usize, workers: usize) -> Finished<Vec<u8>> {
        thread::scope(|scope| {
            let level = CompressionLvl::new(1).unwrap();
            let mut gzip = GzipMembers::with_workers(scope, level, Vec::new(), workers);
            for piece in content.chunks(piece) {
                gzip.write_all(piece).unwrap();
            }
            gzip.finish().unwrap()
        })
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Half of it compresses.
            if state >> 63 == 0 {
                b'a'
            } else {
                (state >> 40).to_le_bytes()[0]
            }
        })
        .take(length)
        .collect()
    }

    #[test]
    fn unpacks_to_what_went_in_whatever_the_sizes() {
        for length in [
            0,
            1,
            1000,
            MEMBER - 1,
            MEMBER,
            MEMBER + 1,
            5 * MEMBER,
            7 * MEMBER + 3,
        ] {
            let content = noise(length);
            let packed = pack(&content, 70_000, 3);
            let mut unpacked = Vec::new();
            flate2::read::MultiGzDecoder::new(packed.out.as_slice())
                .read_to_end(&mut unpacked)
                .unwrap();
            assert!(unpacked == content, "{length}");
            assert_eq!(
                (packed.raw_digest, packed.raw_size),
                (Digest::of(&content), length as u64)
            );
            assert_eq!(
                (packed.digest, packed.size),
                (Digest::of(&packed.out), packed.out.len() as u64)
            );
        }
    }

    #[test]
    fn the_bytes_do_not_depend_on_threads_or_writes() {
        let content = noise(20 * MEMBER + 17);
        let expected = pack(&content, 1 << 16, 1).digest;
        for (piece, workers) in [(1 << 16, 2), (12_345, 3), (content.len(), 8)] {
            assert_eq!(pack(&content, piece, workers).digest, expected);
        }
    }

    #[test]
    fn a_full_disk_is_an_error_and_ends_the_threads() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let content = noise(40 * MEMBER);
        let error = thread::scope(|scope| {
            let mut gzip = GzipMembers::with_workers(scope, CompressionLvl::fastest(), Full, 2);
            gzip.write_all(&content).unwrap_err()
        });
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

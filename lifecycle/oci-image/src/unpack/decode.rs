//! A layer's bytes, decompressed, hashed and kept within limits.

use std::cell::Cell;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use super::UnpackRules;
use super::entry::TarBytes;
use crate::digest::{Digest, Hasher};
use crate::media_type;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const BZIP2: &[u8] = b"BZh";
const MAGIC: usize = 6;

/// Some layers are mostly zeros, and some small ones are nothing else.
const RATIO_FREE_BYTES: u64 = 64 << 20;

/// Bytes of an uncompressed tar.
pub(crate) struct Decoded<R: Read> {
    decoder: Decoder<Sniffed<R>>,
    hasher: Hasher,
    compressed: Rc<Cell<u64>>,
    max_bytes: u64,
    max_ratio: u64,
}

type Sniffed<R> = Chain<Cursor<Vec<u8>>, Counted<R>>;

enum Decoder<R: Read> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(zstd::Decoder<'static, BufReader<R>>),
}

/// Counts what is taken from the compressed stream.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

impl<R: Read> Decoded<R> {
    /// Finds the compression by the first bytes: media types lie more often than bytes do.
    pub(crate) fn new(reader: R, rules: &UnpackRules) -> io::Result<Self> {
        let compressed = Rc::new(Cell::new(0));
        let mut counted = Counted {
            inner: reader,
            count: Rc::clone(&compressed),
        };
        let mut magic = Vec::with_capacity(MAGIC);
        counted
            .by_ref()
            .take(MAGIC as u64)
            .read_to_end(&mut magic)?;
        let kind = magic.clone();
        let sniffed = Cursor::new(magic).chain(counted);
        let decoder = if kind.starts_with(GZIP) {
            Decoder::Gzip(Box::new(MultiGzDecoder::new(sniffed)))
        } else if kind.starts_with(ZSTD) {
            Decoder::Zstd(zstd::Decoder::new(sniffed)?)
        } else if kind.starts_with(XZ) || kind.starts_with(BZIP2) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is compressed with xz or bzip2, which layers may not be; use gzip or zstd",
            ));
        } else {
            Decoder::Plain(sniffed)
        };
        Ok(Self {
            decoder,
            hasher: Hasher::default(),
            compressed,
            max_bytes: rules.max_bytes,
            max_ratio: rules.max_ratio,
        })
    }

    /// Reads what is left, so that checksums at the end are checked. Returns the digest and the length of it all.
    pub(crate) fn drain(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.finish())
    }

    /// The digest and the length of what has been read.
    pub(crate) fn finish(self) -> (Digest, u64) {
        let length = self.hasher.length();
        (self.hasher.finish(), length)
    }
}

impl<R: Read> TarBytes for Decoded<R> {
    fn offset(&self) -> u64 {
        self.hasher.length()
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::Plain(reader) => reader.read(buffer)?,
            Decoder::Gzip(reader) => reader.read(buffer)?,
            Decoder::Zstd(reader) => reader.read(buffer).map_err(|error| match error.kind() {
                // zstd's own errors have no kind.
                io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, error),
                _ => error,
            })?,
        };
        self.hasher.update(&buffer[..count]);
        let length = self.hasher.length();
        if length > self.max_bytes {
            return Err(limit(format!(
                "it unpacks to more than {} bytes",
                self.max_bytes
            )));
        }
        if length > RATIO_FREE_BYTES && length / self.max_ratio > self.compressed.get() {
            return Err(limit(format!(
                "it unpacks to more than {} times its size",
                self.max_ratio
            )));
        }
        Ok(count)
    }
}

/// How a layer is compressed, as its first bytes tell: the media type of such a layer, or none for a plain tar.
pub(crate) fn compression(reader: &mut impl Read) -> io::Result<Option<&'static str>> {
    let mut magic = Vec::with_capacity(MAGIC);
    reader.take(MAGIC as u64).read_to_end(&mut magic)?;
    Ok(if magic.starts_with(GZIP) {
        Some(media_type::OCI_LAYER_GZIP)
    } else if magic.starts_with(ZSTD) {
        Some(media_type::OCI_LAYER_ZSTD)
    } else {
        None
    })
}

fn limit(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

//! SHA-256 content digests, and readers and writers that compute or check them.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// A SHA-256 digest, written `sha256:<64 lower-case hex digits>`.
///
/// OCI registers `sha512` too, but no registry or image in use needs it, so it is refused when parsed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A string that is not a `sha256:` digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest of the form sha256:<64 lower-case hex digits>")]
pub struct DigestParseError {
    /// What was parsed.
    pub text: String,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits, without the algorithm: the name of a file in `blobs/sha256`.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, DigestParseError> {
        let error = || DigestParseError {
            text: hex.to_owned(),
        };
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else {
                return Err(error());
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(PREFIX)
            .and_then(|hex| Self::from_hex(hex).ok())
            .ok_or_else(|| DigestParseError {
                text: text.to_owned(),
            })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A running SHA-256 with the number of bytes seen.
#[derive(Clone, Default)]
pub(crate) struct Hasher {
    state: Sha256,
    length: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

/// A writer that hashes what passes through it.
pub struct DigestWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> DigestWriter<W> {
    /// Hashes what is written to `inner` from here on.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Hasher::default(),
        }
    }

    /// The inner writer, the digest of everything that it accepted, and how many bytes that was.
    /// Does not flush.
    pub fn finish(self) -> (W, Digest, u64) {
        let length = self.hasher.length();
        (self.inner, self.hasher.finish(), length)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A reader whose end is an error unless everything read has the expected digest (and size).
///
/// The error is [`io::ErrorKind::InvalidData`]. Content is only proven good once a read has returned
/// zero bytes: read to the end before using it.
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Hasher,
    expected: Digest,
    size: Option<u64>,
    verified: bool,
}

impl<R: Read> VerifyingReader<R> {
    /// Expects `inner` to yield content with this digest, and this many bytes if a size is given.
    /// More bytes than `size` fail at once, before the end.
    pub fn new(inner: R, expected: Digest, size: Option<u64>) -> Self {
        Self {
            inner,
            hasher: Hasher::default(),
            expected,
            size,
            verified: false,
        }
    }

    /// Whether the end was reached and everything matched.
    pub fn is_verified(&self) -> bool {
        self.verified
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.verified || buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        let length = self.hasher.length();
        if let Some(size) = self.size
            && (length > size || (count == 0 && length < size))
        {
            return Err(invalid(format!(
                "expected {size} bytes with the digest {}, got {}{length}",
                self.expected,
                if count == 0 { "" } else { "at least " },
            )));
        }
        if count == 0 {
            let actual = self.hasher.clone().finish();
            if actual != self.expected {
                return Err(invalid(format!(
                    "expected content with the digest {}, got {actual} ({length} bytes)",
                    self.expected
                )));
            }
            self.verified = true;
        }
        Ok(count)
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_form_round_trips() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), digest);
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            format!("{EMPTY:?}")
        );
        assert_eq!(
            serde_json::from_str::<Digest>(&format!("{EMPTY:?}")).unwrap(),
            digest
        );
    }

    #[test]
    fn refuses_what_is_no_digest() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for text in [
            "",
            "sha256:",
            "sha256:abc",
            &EMPTY[7..],
            &upper,
            &format!("{EMPTY}0"),
            "sha512:ab",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn writer_hashes_what_was_accepted() {
        let mut writer = DigestWriter::new(Vec::new());
        writer.write_all(b"ab").unwrap();
        writer.write_all(b"c").unwrap();
        assert_eq!(writer.finish(), (b"abc".to_vec(), Digest::of(b"abc"), 3));
    }

    #[test]
    fn reader_accepts_the_right_content_only() {
        let read = |content: &[u8], expected: &[u8], size| {
            let mut out = Vec::new();
            let mut reader = VerifyingReader::new(content, Digest::of(expected), size);
            let result = reader.read_to_end(&mut out);
            assert_eq!(result.is_ok(), reader.is_verified());
            result.map_err(|error| error.kind())
        };
        assert_eq!(read(b"abc", b"abc", None), Ok(3));
        assert_eq!(read(b"abc", b"abc", Some(3)), Ok(3));
        assert_eq!(
            read(b"abd", b"abc", Some(3)),
            Err(io::ErrorKind::InvalidData)
        );
        assert_eq!(read(b"ab", b"ab", Some(3)), Err(io::ErrorKind::InvalidData));
        assert_eq!(
            read(b"abcd", b"abcd", Some(3)),
            Err(io::ErrorKind::InvalidData)
        );
        assert_eq!(read(b"", b"abc", None), Err(io::ErrorKind::InvalidData));
    }
}

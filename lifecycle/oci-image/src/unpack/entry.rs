//! Reads tar entries: V7, USTAR, PAX and GNU long names. What two readers could take differently is refused.

use std::io::{self, Read};

use super::{UnpackError, refused};
use crate::layer_tar::Owner;

const BLOCK: usize = 512;
/// As Go's reader: no PAX header or long name is larger.
const MAX_EXTENSION: u64 = 1 << 20;

/// One entry; a file's content is then read from the [`TarReader`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// Permissions with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) owner: Owner,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device,
}

/// Bytes of an uncompressed tar.
pub(crate) trait TarBytes: Read + Sized {
    /// Bytes read so far.
    fn offset(&self) -> u64;

    /// Passes over bytes without giving them out. Returns how many there were.
    fn pass_over(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut self.by_ref().take(count), &mut io::sink())
    }
}

/// The entries of a tar, one after the other. Reads the content of the current file.
pub(crate) struct TarReader<R: TarBytes> {
    inner: R,
    /// What is left of the current entry's content.
    content: u64,
    padding: u64,
}

/// What a PAX or GNU header says about the entry after it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    has_pax: bool,
}

impl<R: TarBytes> TarReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            content: 0,
            padding: 0,
        }
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// Where the current entry's content begins, before any of it is read.
    pub(crate) fn content_offset(&self) -> u64 {
        self.inner.offset()
    }

    /// The next entry, none at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let Some(block) = self.header()? else {
                return if extension.is_empty() {
                    Ok(None)
                } else {
                    Err(self.malformed("it ends inside an entry"))
                };
            };
            let size = self.number(&block[124..136], "size")?;
            match block[156] {
                b'x' => {
                    if extension.has_pax {
                        return Err(self.malformed("an entry has two PAX headers"));
                    }
                    extension.has_pax = true;
                    let records = self.extension_data(size)?;
                    self.pax_records(&records, &mut extension)?;
                }
                b'g' => {
                    let records = self.extension_data(size)?;
                    let mut global = Extension::default();
                    self.pax_records(&records, &mut global)?;
                    if !global.is_empty() {
                        return Err(
                            self.malformed("a global header sets what belongs to single entries")
                        );
                    }
                }
                b'L' => {
                    let name = self.long_name(size)?;
                    self.set(&mut extension.path, name)?;
                }
                b'K' => {
                    let name = self.long_name(size)?;
                    self.set(&mut extension.link, name)?;
                }
                _ => return self.entry(&block, size, extension).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        size: i64,
        extension: Extension,
    ) -> Result<Entry, UnpackError> {
        let path = extension.path.unwrap_or_else(|| header_path(block));
        let link = extension
            .link
            .unwrap_or_else(|| until_nul(&block[157..257]).to_vec());
        let has_slash = path.ends_with(b"/");
        let kind = match block[156] {
            0 if has_slash => EntryKind::Directory,
            b'0' | b'7' | 0 => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' | b'4' => EntryKind::Device,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => {
                return Err(refused(
                    &path,
                    "it is a sparse file; make the tar without them",
                ));
            }
            _ => return Err(refused(&path, "it is of an unknown type")),
        };
        if path.is_empty() || path.contains(&0) || link.contains(&0) {
            return Err(self.malformed("a name is empty or has a NUL"));
        }
        if kind == EntryKind::File && has_slash {
            return Err(refused(&path, "it is a file whose name ends with a slash"));
        }
        let header_size = u64::try_from(size).map_err(|_| self.malformed("a size is negative"))?;
        let size = extension.size.unwrap_or(header_size);
        if kind != EntryKind::File && size != 0 {
            return Err(refused(&path, "it is no file and yet has content"));
        }
        let id = |extended: Option<u32>, field: &[u8]| match extended {
            Some(id) => Ok(id),
            None => self.number(field, "owner").and_then(|id| {
                u32::try_from(id).map_err(|_| self.malformed("an owner is out of range"))
            }),
        };
        let owner = Owner {
            uid: id(extension.uid, &block[108..116])?,
            gid: id(extension.gid, &block[116..124])?,
        };
        let mode = self.number(&block[100..108], "mode")?;
        let mtime = match extension.mtime {
            Some(mtime) => mtime,
            None => self.number(&block[136..148], "time")?,
        };
        self.content = size;
        self.padding = padding(size);
        let mode = u32::try_from(mode & 0o7777).unwrap_or(0);
        Ok(Entry {
            kind,
            path,
            link,
            mode,
            owner,
            size,
            mtime,
        })
    }

    /// The next header block that is not empty, its checksum checked; none at the end.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK] {
            if self.block(&mut block)? && block != [0; BLOCK] {
                return Err(self.malformed("something follows an empty block"));
            }
            return Ok(None);
        }
        let stored = self.number(&block[148..156], "checksum")?;
        let spaces = 8 * i64::from(b' ');
        let bytes = || block[..148].iter().chain(&block[156..]);
        let unsigned: i64 = bytes().map(|byte| i64::from(*byte)).sum();
        // Some old writers summed signed characters.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if stored != unsigned + spaces && stored != signed + spaces {
            return Err(self.malformed("a header's checksum is wrong"));
        }
        Ok(Some(block))
    }

    /// Fills a block; false at the end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, UnpackError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.malformed("it ends inside a block")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(UnpackError::Read { source }),
            }
        }
        Ok(true)
    }

    /// Passes over what is left of the current entry.
    fn skip(&mut self) -> Result<(), UnpackError> {
        let left = self.content + self.padding;
        (self.content, self.padding) = (0, 0);
        let skipped = self
            .inner
            .pass_over(left)
            .map_err(|source| UnpackError::Read { source })?;
        if skipped < left {
            return Err(self.malformed("it ends inside an entry"));
        }
        Ok(())
    }

    fn extension_data(&mut self, size: i64) -> Result<Vec<u8>, UnpackError> {
        let size = u64::try_from(size)
            .ok()
            .filter(|size| *size <= MAX_EXTENSION)
            .ok_or_else(|| self.malformed("a header's extension is larger than 1 MiB"))?;
        self.content = size;
        self.padding = padding(size);
        let mut data = Vec::new();
        self.read_to_end(&mut data)
            .map_err(|source| UnpackError::Read { source })?;
        Ok(data)
    }

    fn long_name(&mut self, size: i64) -> Result<Vec<u8>, UnpackError> {
        let data = self.extension_data(size)?;
        Ok(until_nul(&data).to_vec())
    }

    fn pax_records(
        &self,
        mut records: &[u8],
        extension: &mut Extension,
    ) -> Result<(), UnpackError> {
        while !records.is_empty() {
            let (key, value, rest) = pax_record(records).ok_or_else(|| {
                self.malformed("a PAX record is not of the form `length key=value`")
            })?;
            records = rest;
            let text = std::str::from_utf8(value).unwrap_or_default();
            let bad = || {
                self.malformed(&format!(
                    "the PAX record {} is no number",
                    String::from_utf8_lossy(key)
                ))
            };
            match key {
                b"path" => self.set(&mut extension.path, value.to_vec())?,
                b"linkpath" => self.set(&mut extension.link, value.to_vec())?,
                b"size" => self.set(&mut extension.size, text.parse().map_err(|_| bad())?)?,
                b"uid" => self.set(&mut extension.uid, text.parse().map_err(|_| bad())?)?,
                b"gid" => self.set(&mut extension.gid, text.parse().map_err(|_| bad())?)?,
                b"mtime" => {
                    let seconds = text.split_once('.').map_or(text, |(seconds, _)| seconds);
                    self.set(&mut extension.mtime, seconds.parse().map_err(|_| bad())?)?;
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(self.malformed("it has sparse files; make the tar without them"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn set<T>(&self, slot: &mut Option<T>, value: T) -> Result<(), UnpackError> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => {
                Err(self.malformed("two headers or records say different things of one entry"))
            }
        }
    }

    /// A number in octal, or in GNU's binary form.
    fn number(&self, field: &[u8], what: &str) -> Result<i64, UnpackError> {
        let number = match field.first() {
            Some(first) if first & 0x80 != 0 => binary(field),
            _ => octal(field),
        };
        number.ok_or_else(|| self.malformed(&format!("a {what} is no number")))
    }

    fn malformed(&self, reason: &str) -> UnpackError {
        UnpackError::Malformed {
            offset: self.inner.offset(),
            reason: reason.to_owned(),
        }
    }
}

impl<R: TarBytes> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.content)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the tar ends inside a file",
            ));
        }
        self.content -= count as u64;
        Ok(count)
    }
}

impl Extension {
    fn is_empty(&self) -> bool {
        !self.has_pax
            && self.path.is_none()
            && self.link.is_none()
            && self.size.is_none()
            && self.uid.is_none()
            && self.gid.is_none()
            && self.mtime.is_none()
    }
}

fn header_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    // GNU's format has other things where USTAR has the prefix.
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        [prefix, name].join(&b'/')
    } else {
        name.to_vec()
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    &field[..end]
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn octal(field: &[u8]) -> Option<i64> {
    let text = field.trim_ascii_start();
    let end = text
        .iter()
        .position(|byte| matches!(byte, 0 | b' '))
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0_i64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement, big endian, behind the marking bit.
fn binary(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let start = if first & 0x40 == 0 {
        i64::from(first & 0x3f)
    } else {
        i64::from(first & 0x7f) - 128
    };
    rest.iter().try_fold(start, |number, byte| {
        number.checked_mul(256)?.checked_add(i64::from(*byte))
    })
}

/// Key, value and what follows.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(8).position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(&records[..space]).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: usize = digits.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty()).then_some((key, value, &records[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_of_both_forms() {
        assert_eq!(octal(b"0000644\0"), Some(0o644));
        assert_eq!(octal(b"   644 \0"), Some(0o644));
        assert_eq!(octal(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(octal(b"12345670"), Some(0o12_345_670));
        assert_eq!(octal(b"00\x00644\0\0"), None);
        assert_eq!(octal(b"0000948\0"), None);
        assert_eq!(octal(b"-000644\0"), None);
        assert_eq!(
            binary(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]),
            Some((2 << 32 | 1) >> 8 << 8 | 1)
        );
        assert_eq!(binary(&[0xff; 12]), Some(-1));
        assert_eq!(
            binary(&[
                0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
            ]),
            None
        );
    }

    #[test]
    fn reads_pax_records() {
        assert_eq!(
            pax_record(b"9 path=a\nrest"),
            Some((b"path".as_slice(), b"a".as_slice(), b"rest".as_slice()))
        );
        for bad in [
            "",
            "9 path=a",
            "8 path=a\n",
            "99 path=a\n",
            "+9 path=a\n",
            "6 =abc\n",
            "path=a\n",
            "2 \n",
            "1 a\n",
        ] {
            assert_eq!(pax_record(bad.as_bytes()), None, "{bad:?}");
        }
    }
}

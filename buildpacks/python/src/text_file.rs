//! Reading the project's small text files, with errors that say what is wrong with their encoding.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes: locks of the largest projects have a tenth of it.
const LARGEST: usize = 32_000_000;

/// A text file that could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextFileError {
    /// The file could not be read.
    #[error("could not read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is larger than any text of a project, or has no end.
    #[error("{} is larger than {} MB", path.display(), LARGEST / 1_000_000)]
    TooLarge { path: PathBuf },
    /// The file is UTF-16, as some Windows tools write by default.
    #[error("{} is encoded as UTF-16", path.display())]
    Utf16 { path: PathBuf },
    /// The file holds bytes that are not UTF-8.
    #[error("{} is not valid UTF-8 (line {line})", path.display())]
    NotUtf8 { path: PathBuf, line: usize },
}

/// The content of a file below `dir`, without a byte order mark; `None` when there is no such file.
/// Errors name the file by its path relative to `dir`.
pub(crate) fn read(dir: &Path, name: &Path) -> Result<Option<String>, TextFileError> {
    let bytes = match bounded(&dir.join(name)) {
        Ok(bytes) if bytes.len() > LARGEST => {
            return Err(TextFileError::TooLarge {
                path: name.to_path_buf(),
            });
        }
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(TextFileError::Read {
                path: name.to_path_buf(),
                source,
            });
        }
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(TextFileError::Utf16 {
            path: name.to_path_buf(),
        });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(error) => Err(TextFileError::NotUtf8 {
            path: name.to_path_buf(),
            line: bytes[..error.valid_up_to()].split(|b| *b == b'\n').count(),
        }),
    }
}

/// What is in a file, up to a little more than the bound. A pipe has nobody who writes to it, and a device no end.
fn bounded(file: &Path) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(file)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    File::open(file)?
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn files_without_an_end_are_not_read() {
        let app = tempfile::tempdir().unwrap();
        let said = |name: &str| read(app.path(), Path::new(name)).unwrap_err().to_string();
        assert_eq!(said("/dev/zero"), "could not read /dev/zero");
        let large = File::create(app.path().join("large.txt")).unwrap();
        large.set_len(LARGEST as u64 + 1).unwrap();
        assert_eq!(said("large.txt"), "large.txt is larger than 32 MB");
        assert!(read(app.path(), Path::new("none.txt")).unwrap().is_none());
    }
}

//! Reading the project's small text files, with errors that say what is wrong with their encoding.

use std::io;
use std::path::{Path, PathBuf};

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
    let bytes = match std::fs::read(dir.join(name)) {
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

//! Reading and replacing the state's files.

use crate::state::StateError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What names of files that are being written begin with.
const STAGED: &str = ".tmp-";

/// Reads a JSON document; a missing one is `None`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StateError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StateError::Understand {
            path: path.to_owned(),
            // The message itself may quote a value.
            place: format!("line {}, column {}", error.line(), error.column()),
        })
}

/// Replaces a JSON document by one rename, its bytes on disk first. Nobody else can read it.
pub(crate) fn replace<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| StateError::Write {
        path: path.to_owned(),
        source: error.into(),
    })?;
    text.push('\n');
    replace_text(path, &text)
}

/// The same for a file of any kind.
pub(crate) fn replace_text(path: &Path, text: &str) -> Result<(), StateError> {
    let attempt = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        // 0600, as temporary files are.
        let mut staged = tempfile::Builder::new()
            .prefix(STAGED)
            .tempfile_in(folder)?;
        staged.write_all(text.as_bytes())?;
        staged.as_file().sync_all()?;
        staged.persist(path).map_err(|error| error.error)?;
        // A rename is on disk when its folder is.
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| StateError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Removes what killed writers left in a folder; the caller keeps living ones away.
pub(crate) fn sweep(folder: &Path) -> Result<(), StateError> {
    let attempt = || -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().as_bytes().starts_with(STAGED.as_bytes()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    };
    attempt().map_err(|source| StateError::Write {
        path: folder.to_owned(),
        source,
    })
}

/// Makes a folder that only its owner can look into.
pub(crate) fn private_folder(path: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StateError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

//! Reading and replacing the state's files.

use crate::state::StateError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The name of a file that is being written; only the holder of the state's lock writes.
const STAGED: &str = ".staged";

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
    let attempt = || -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value)?;
        bytes.push(b'\n');
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut staged_name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
        staged_name.push(STAGED);
        let staged = folder.join(staged_name);
        // What a killed process left may belong to whoever it ran as.
        remove(&staged)?;
        let mut file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&staged)?;
        let written = file
            .write_all(&bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&staged, path));
        if written.is_err() {
            // The first error is the one to tell.
            drop(remove(&staged));
        }
        written?;
        // A rename is on disk when its folder is.
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|source| StateError::Write {
        path: path.to_owned(),
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

//! The files that a log consists of.

use super::LogError;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Read-only: what marks a segment to which nothing is added any more.
pub(super) const SEALED: u32 = 0o400;
/// What an open segment has: config vars printed by a careless app are nobody else's business.
pub(super) const OPEN: u32 = 0o600;

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.log"))
}

/// The segments' numbers, ascending; none when there is no folder yet.
pub(super) fn list(folder: &Path) -> Result<Vec<u64>, LogError> {
    let failed = |source| LogError::List {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        // Other spellings of the number are not ours.
        numbers.extend(number.filter(|number| path(folder, *number).ends_with(&name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a segment for reading; `None` when it was dropped meanwhile.
pub(super) fn open(folder: &Path, number: u64) -> Result<Option<fs::File>, LogError> {
    let path = path(folder, number);
    match fs::File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogError::Read { path, source }),
    }
}

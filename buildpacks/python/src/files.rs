//! Removing files that may not be there.

use std::io;
use std::path::Path;

/// Removes a file; it is no error when there is none.
pub(crate) fn remove_if_there(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

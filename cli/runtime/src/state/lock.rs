//! The lock under which releases are made.

use crate::scratch::is_same;
use crate::state::{StateError, files};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Held while it lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: OwnedFd,
}

impl StateLock {
    /// Takes the lock, whose folder is made where it is missing, or returns `None` when another process has it and `wait` is not asked for.
    pub(crate) fn take(path: &Path, wait: bool) -> Result<Option<Self>, StateError> {
        let failed = |source| StateError::Lock {
            path: path.to_owned(),
            source,
        };
        let operation = if wait {
            FlockOperation::LockExclusive
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        loop {
            if let Some(folder) = path.parent() {
                files::private_folder(folder)?;
            }
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(path)
                .map_err(failed)?
                .into();
            match flock(&file, operation) {
                // The app may have been forgotten while this process waited: then it is nobody's lock.
                Ok(()) if !is_same(path, &file).map_err(failed)? => {}
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}

//! The locks in an add-on's folder.

use super::error::{AddonError, failed};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Held shared by everybody who uses the add-on.
pub(super) const USE: &str = "use.lock";
/// Held alone by the supervising process.
pub(super) const SUPERVISOR: &str = "supervisor.lock";
/// Held alone by the supervising process while the server answers.
pub(super) const READY: &str = "ready.lock";

/// Opens a file to be locked, readable by its owner only.
pub(super) fn open(path: &Path) -> Result<File, AddonError> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("open the lock", path))
}

/// Locks, waiting for it.
pub(super) fn lock(path: &Path, operation: FlockOperation) -> Result<File, AddonError> {
    let file = open(path)?;
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(file),
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed("lock", path)(error.into())),
        }
    }
}

/// Locks, waiting for it so long; `None` if it is still somebody else's then.
pub(super) fn lock_within(
    path: &Path,
    operation: FlockOperation,
    patience: Duration,
) -> Result<Option<File>, AddonError> {
    let start = Instant::now();
    loop {
        if let Some(file) = try_lock(open(path)?, path, operation)? {
            return Ok(Some(file));
        }
        if start.elapsed() > patience {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Locks, or `None` when somebody else holds it.
pub(super) fn try_lock(
    file: File,
    path: &Path,
    operation: FlockOperation,
) -> Result<Option<File>, AddonError> {
    match flock(&file, operation) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(error) => Err(failed("lock", path)(error.into())),
    }
}

/// Whether somebody holds it alone.
pub(super) fn is_held(path: &Path) -> Result<bool, AddonError> {
    if !path.exists() {
        return Ok(false);
    }
    let free = try_lock(open(path)?, path, FlockOperation::NonBlockingLockShared)?;
    Ok(free.is_none())
}

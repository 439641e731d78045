//! Scratch that is gone afterwards, also after a crash.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "stack-";

/// A scratch directory, removed when dropped.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    /// Says that somebody works here; the kernel takes it back from whoever is killed.
    _claim: File,
}

impl Workspace {
    /// Makes a scratch directory in `folder`. If nobody else works there, what killed processes left is
    /// removed first.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let claim = File::open(folder)?;
        match claim.try_lock() {
            Ok(()) => {
                sweep(folder)?;
                claim.unlock()?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        claim.lock_shared()?;
        let path = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(folder)?
            .keep();
        Ok(Self {
            path,
            _claim: claim,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What cannot be removed is left to the next sweep.
        let _ = remove_tree(&self.path);
    }
}

fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
        {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a directory and everything below it, also what its modes protect from its own owner, as
/// overlayfs' work directory is.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => return result,
    }
    unprotect(path)?;
    fs::remove_dir_all(path)
}

fn unprotect(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unprotect(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_when_nobody_works_there() {
        let folder = tempfile::tempdir().unwrap();
        let first = Workspace::new(folder.path()).unwrap();
        let stale = folder.path().join("stack-killed");
        fs::create_dir_all(stale.join("overlay/work")).unwrap();
        fs::set_permissions(
            stale.join("overlay/work"),
            fs::Permissions::from_mode(0o000),
        )
        .unwrap();
        fs::create_dir(folder.path().join("other")).unwrap();
        let second = Workspace::new(folder.path()).unwrap();
        assert!(stale.exists() && first.path().exists() && second.path().exists());
        drop((first, second));
        let third = Workspace::new(folder.path()).unwrap();
        assert!(!stale.exists() && third.path().exists() && folder.path().join("other").exists());
        drop(third);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

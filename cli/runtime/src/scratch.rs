//! Folders that live as long as their process: locked while in use, swept away by whoever comes
//! later when the owner was killed.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A folder of this process, removed with all its content when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Scratch {
    /// Makes a folder inside `parent`, which is made as well where it is missing, and removes what
    /// killed processes left in there.
    pub(crate) fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        private_folder(parent)?;
        // The parent's lock covers the moment between making a folder and locking it.
        let guard = lock(parent, FlockOperation::LockExclusive)?;
        let abandoned = abandoned(parent)?;
        let path = fresh_folder(parent, prefix)?;
        let own = lock(&path, FlockOperation::NonBlockingLockExclusive)?;
        drop(guard);
        let scratch = Self { path, _lock: own };
        for (path, _lock) in abandoned {
            // Somebody else's rubbish is no reason to fail; it is tried again next time.
            drop(remove_tree(&path));
        }
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is found by the next process.
        drop(remove_tree(&self.path));
    }
}

/// Locks a folder or file, waiting for it unless `operation` says otherwise.
pub(crate) fn lock(path: &Path, operation: FlockOperation) -> io::Result<OwnedFd> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        match flock(&file, operation) {
            Err(Errno::INTR) => {}
            done => return Ok(done.map(|()| file)?),
        }
    }
}

/// Makes a folder that only its owner may look into, and what is missing above it.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes a tree, folders without permissions included (overlayfs leaves such a one behind, and
/// programs make them); one that is not there is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        done => done,
    }
}

/// Gives the owner every right on every folder; what fails is left for the removal to report.
fn open_up(folder: &Path) {
    let Ok(metadata) = fs::symlink_metadata(folder) else {
        return;
    };
    if !metadata.is_dir() {
        return;
    }
    drop(fs::set_permissions(folder, Permissions::from_mode(0o700)));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// The folders inside `parent` whose owners are gone, locked.
pub(crate) fn abandoned(parent: &Path) -> io::Result<Vec<(PathBuf, OwnedFd)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        match lock(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => found.push((path, lock)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn fresh_folder(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    let pid = std::process::id();
    for number in 0..u32::MAX {
        let path = parent.join(format!("{prefix}-{pid}-{number}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => return done.map(|()| path),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Whether a path still leads to the folder that was locked.
pub(crate) fn is_same(path: &Path, locked: &OwnedFd) -> io::Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        done => done?,
    };
    let stat = rustix::fs::fstat(locked)?;
    Ok((metadata.dev(), metadata.ino()) == (stat.st_dev, stat.st_ino))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_the_dead_go_and_folders_of_the_living_stay() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path().join("run");
        let alive = Scratch::create(&parent, "web.1").unwrap();
        fs::create_dir_all(parent.join("web.1-1-0/work/closed")).unwrap();
        let closed = Permissions::from_mode(0o000);
        fs::set_permissions(parent.join("web.1-1-0/work"), closed).unwrap();

        let second = Scratch::create(&parent, "web.1").unwrap();
        assert!(alive.path().is_dir());
        assert!(second.path().is_dir());
        assert_ne!(alive.path(), second.path());
        assert!(!parent.join("web.1-1-0").exists());

        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn symlinks_are_removed_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("keep"), "").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("closed")).unwrap();
        std::os::unix::fs::symlink(outside.path(), tree.join("closed/link")).unwrap();
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.path().join("keep").exists());
    }
}

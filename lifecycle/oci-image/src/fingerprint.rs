//! Whether a tree changed, without reading a byte of it.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};

/// More threads than this wait for one another.
const MAX_WORKERS: usize = 8;
const LISTING_BUFFER: usize = 32 * 1024;

/// A short text that is the same as long as nothing in a tree was changed, on this machine.
///
/// It covers every path's name, type, mode, size, modification and change time, inode and link target. The change
/// time cannot be set back, so a write that restores the size and the modification time shows too. Making another
/// hard link to a file, or changing its owner, moves its change time: the tree then counts as changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a tree has no fingerprint: something in it could not be looked at, or vanished meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("could not look at {path} to see whether it changed")]
pub struct FingerprintError {
    /// What could not be looked at.
    pub path: PathBuf,
    #[source]
    source: io::Error,
}

/// The fingerprint of a directory with all below it, or of a single file or link. Symbolic links are not followed.
pub fn tree(path: &Path) -> Result<Fingerprint, FingerprintError> {
    newest(path).map(|(fingerprint, _)| fingerprint)
}

/// More than a tick of the clock that file systems stamp changes with, on any kernel.
const TICK: Duration = Duration::from_millis(20);

/// The fingerprint of a tree that was not changed in the last 20 ms; none of one that was.
///
/// Two changes within a tick of the file system's clock leave the same time behind, so the fingerprint of a tree that
/// changed a moment ago may miss the next change. This one shows every later change.
pub fn tree_at_rest(path: &Path) -> Result<Option<Fingerprint>, FingerprintError> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let (fingerprint, changed) = newest(path)?;
    Ok(is_at_rest(now, changed).then_some(fingerprint))
}

fn is_at_rest(now: Timespec, changed: Changed) -> bool {
    let since =
        Duration::try_from(now)
            .ok()
            .zip(changed)
            .and_then(|(now, (seconds, nanoseconds))| {
                let seconds = u64::try_from(seconds).ok()?;
                now.checked_sub(Duration::new(seconds, nanoseconds))
            });
    since.is_some_and(|age| age > TICK)
}

/// The fingerprint of single entries of a tree, by their paths relative to `dir`, and none of what was changed in the last
/// 20 ms. Of folders, only their modes count: what is in them is named for itself.
pub fn entries_at_rest<P: AsRef<Path>>(
    dir: &Path,
    paths: impl IntoIterator<Item = P>,
) -> Result<Option<Fingerprint>, FingerprintError> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let failed = |path: &Path, error: Errno| FingerprintError {
        path: dir.join(path),
        source: error.into(),
    };
    let opened = open_directory(CWD, dir).map_err(|error| failed(Path::new(""), error))?;
    let (mut hasher, mut record, mut newest) = (Hasher::default(), Vec::new(), None);
    for path in paths {
        let path = path.as_ref();
        let name = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let stat = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(path, error))?;
        record.clear();
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            record.extend_from_slice(path.as_os_str().as_bytes());
            record.push(0);
            record.extend_from_slice(&stat.st_mode.to_le_bytes());
        } else {
            newest = newest.max(changed(&stat));
            describe(&mut record, path.as_os_str().as_bytes(), &stat);
        }
        if kind == FileType::Symlink {
            let target = rustix::fs::readlinkat(&opened, name, Vec::new())
                .map_err(|error| failed(path, error))?;
            record.extend_from_slice(target.as_bytes_with_nul());
        }
        hasher.update(&record);
    }
    let fingerprint = Fingerprint(format!("entries1:{}", hasher.finish().hex()));
    let at_rest = newest.is_none() || is_at_rest(now, newest);
    Ok(at_rest.then_some(fingerprint))
}

/// A time of change, in seconds since 1970 and nanoseconds.
type Changed = Option<(i64, u32)>;

fn changed(stat: &Stat) -> Changed {
    Some((stat.st_ctime, u32::try_from(stat.st_ctime_nsec).ok()?))
}

/// The fingerprint, and the time of the last change of anything in the tree.
fn newest(path: &Path) -> Result<(Fingerprint, Changed), FingerprintError> {
    let failed = |error: Errno| FingerprintError {
        path: path.to_owned(),
        source: error.into(),
    };
    let stat = rustix::fs::lstat(path).map_err(failed)?;
    let mut record = Vec::new();
    let mut newest = changed(&stat);
    describe(&mut record, b"", &stat);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlink(path, Vec::new()).map_err(failed)?;
            record.extend_from_slice(target.as_bytes());
        }
        FileType::Directory => {
            let root = open_directory(CWD, path).map_err(failed)?;
            for (relative, digest, changed) in directories(path, &root)? {
                record.extend_from_slice(relative.as_bytes_with_nul());
                record.extend_from_slice(digest.as_bytes());
                newest = newest.max(changed);
            }
        }
        _ => {}
    }
    let fingerprint = Fingerprint(format!("stat1:{}", Digest::of(&record).hex()));
    Ok((fingerprint, newest))
}

/// Every directory below `root`, by its relative path, with the digest and the last change of what is directly in it,
/// sorted.
fn directories(
    path: &Path,
    root: &OwnedFd,
) -> Result<Vec<(CString, Digest, Changed)>, FingerprintError> {
    let workers = thread::available_parallelism()
        .map_or(2, NonZeroUsize::get)
        .clamp(2, MAX_WORKERS);
    let queue = Queue::new(c".".to_owned());
    let mut digests = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| scope.spawn(|| work(path, root, &queue)))
            .collect();
        let mut outcome = Ok(());
        for thread in threads {
            match thread.join() {
                Ok(Ok(found)) => digests.extend(found),
                Ok(Err(error)) => outcome = Err(error),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcome
    })?;
    digests.sort_unstable_by(|(left, ..), (right, ..)| left.cmp(right));
    Ok(digests)
}

fn work(
    path: &Path,
    root: &OwnedFd,
    queue: &Queue,
) -> Result<Vec<(CString, Digest, Changed)>, FingerprintError> {
    // However this thread ends, the others must not wait for what it would have found.
    let _guard = CloseOnDrop(queue);
    let mut found = Vec::new();
    let mut listing = Vec::with_capacity(LISTING_BUFFER);
    while let Some(relative) = queue.next() {
        let mut inner = Vec::new();
        let (digest, changed) =
            directory(root, &relative, &mut listing, &mut inner).map_err(|(name, error)| {
                let relative = OsStr::from_bytes(relative.as_bytes());
                FingerprintError {
                    path: path.join(relative).join(OsStr::from_bytes(&name)),
                    source: error.into(),
                }
            })?;
        found.push((relative, digest, changed));
        queue.done(inner);
    }
    Ok(found)
}

/// The digest of what is directly in a directory; the directories in it are added to `inner`.
/// An error comes with the name of the child that it is about, empty if it is about the directory.
fn directory(
    root: &OwnedFd,
    relative: &CString,
    listing: &mut Vec<u8>,
    inner: &mut Vec<CString>,
) -> Result<(Digest, Changed), (Vec<u8>, Errno)> {
    let own = |error| (Vec::new(), error);
    let directory = open_directory(root, relative.as_c_str()).map_err(own)?;
    let mut names = Vec::new();
    let mut entries = RawDir::new(&directory, listing.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(own)?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();

    let mut hasher = Hasher::default();
    let mut record = Vec::with_capacity(256);
    let mut newest = None;
    for name in names {
        let failed = |error| (name.as_bytes().to_vec(), error);
        let stat =
            rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        newest = newest.max(changed(&stat));
        record.clear();
        describe(&mut record, name.as_bytes(), &stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let path = [relative.as_bytes(), b"/", name.as_bytes()].concat();
                inner.push(CString::new(path).map_err(|_| own(Errno::INVAL))?);
            }
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(&directory, &name, Vec::new()).map_err(failed)?;
                record.extend_from_slice(target.as_bytes_with_nul());
            }
            _ => {}
        }
        hasher.update(&record);
    }
    Ok((hasher.finish(), newest))
}

fn describe(record: &mut Vec<u8>, name: &[u8], stat: &Stat) {
    record.extend_from_slice(name);
    record.push(0);
    record.extend_from_slice(&stat.st_mode.to_le_bytes());
    record.extend_from_slice(&stat.st_size.to_le_bytes());
    record.extend_from_slice(&stat.st_mtime.to_le_bytes());
    record.extend_from_slice(&stat.st_mtime_nsec.to_le_bytes());
    record.extend_from_slice(&stat.st_ctime.to_le_bytes());
    record.extend_from_slice(&stat.st_ctime_nsec.to_le_bytes());
    record.extend_from_slice(&stat.st_ino.to_le_bytes());
}

fn open_directory<P: rustix::path::Arg>(at: impl AsFd, path: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// The directories that nobody has looked at yet.
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

struct QueueState {
    waiting: Vec<CString>,
    /// Directories being looked at: each may bring more.
    active: usize,
    closed: bool,
}

impl Queue {
    fn new(first: CString) -> Self {
        let state = QueueState {
            waiting: vec![first],
            active: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next directory; none when all are done or another thread failed.
    fn next(&self) -> Option<CString> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(directory) = state.waiting.pop() {
                state.active += 1;
                return Some(directory);
            }
            if state.active == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, inner: Vec<CString>) {
        let mut state = self.lock();
        state.active -= 1;
        let count = inner.len();
        state.waiting.extend(inner);
        if count > 0 || state.active == 0 {
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Closes the queue: by then all is done, or something failed.
struct CloseOnDrop<'q>(&'q Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    fn sample() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        for outer in 0..20 {
            for inner in 0..5 {
                let directory = scratch.path().join(format!("d{outer}/e{inner}"));
                fs::create_dir_all(&directory).unwrap();
                fs::write(directory.join("file"), "content").unwrap();
            }
        }
        symlink("target", scratch.path().join("link")).unwrap();
        scratch
    }

    #[test]
    fn single_entries_tell_of_themselves_only() {
        let scratch = sample();
        let look = || {
            let paths = ["", "d1", "d1/e1", "d1/e1/file", "link"];
            thread::sleep(2 * TICK);
            entries_at_rest(scratch.path(), paths).unwrap().unwrap()
        };
        let before = look();
        fs::write(scratch.path().join("d1/e1/other"), "new").unwrap();
        fs::write(scratch.path().join("d1/e2/file"), "new").unwrap();
        assert_eq!(look(), before);
        let folder = scratch.path().join("d1");
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        let closed = look();
        assert_ne!(closed, before);
        fs::write(scratch.path().join("d1/e1/file"), "CONTENT").unwrap();
        assert_ne!(look(), closed);
        assert!(entries_at_rest(scratch.path(), ["gone"]).is_err());
    }

    #[test]
    fn is_stable_and_reads_nothing() {
        let scratch = sample();
        let first = tree(scratch.path()).unwrap();
        for _ in 0..20 {
            assert_eq!(tree(scratch.path()).unwrap(), first);
        }
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), first);
    }

    #[test]
    fn every_kind_of_change_shows() {
        let scratch = sample();
        let file = scratch.path().join("d7/e3/file");
        let mut seen = vec![tree(scratch.path()).unwrap()];
        let mut check = |what: &str| {
            let fingerprint = tree(scratch.path()).unwrap();
            assert!(!seen.contains(&fingerprint), "{what}");
            seen.push(fingerprint);
        };
        fs::write(&file, "Content").unwrap();
        check("content of the same length");
        let past = SystemTime::now() - Duration::from_secs(1000);
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(past)
            .unwrap();
        check("modification time");
        fs::write(&file, "cOntent").unwrap();
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(past)
            .unwrap();
        check("content, with the modification time set back");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        check("mode");
        fs::remove_file(scratch.path().join("link")).unwrap();
        symlink("tarGet", scratch.path().join("link")).unwrap();
        check("link target");
        fs::rename(&file, scratch.path().join("d7/e3/file2")).unwrap();
        check("name");
        fs::create_dir(scratch.path().join("d7/e3/f")).unwrap();
        check("empty directory");
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o711)).unwrap();
        check("mode of the root");
    }

    #[test]
    fn a_tree_is_at_rest_some_time_after_its_last_change() {
        let scratch = sample();
        let rest = || tree_at_rest(scratch.path()).unwrap();
        let wait = || {
            let mut tries = std::iter::repeat_with(|| {
                thread::sleep(TICK);
                rest()
            });
            tries.find_map(|found| found).unwrap()
        };
        assert_eq!(wait(), tree(scratch.path()).unwrap());
        let file = scratch.path().join("d7/e3/file");
        fs::write(&file, "Content").unwrap();
        // However slow this machine is: the change lies in the future of the look.
        let later = SystemTime::now() + Duration::from_secs(1000);
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert_eq!(
            wait(),
            tree(scratch.path()).unwrap(),
            "only change times count"
        );
        let mut before = Vec::new();
        // Written in the very moment before the look, often enough that one look comes within the tick.
        for _ in 0..1000 {
            fs::write(&file, "cOntent").unwrap();
            before.push(rest());
            if before.contains(&None) {
                return;
            }
        }
        panic!("no look saw the change of a moment ago");
    }

    #[test]
    fn names_what_is_not_there() {
        let error = tree(Path::new("/nonexistent/x")).unwrap_err();
        assert_eq!(error.path, Path::new("/nonexistent/x"));
    }
}

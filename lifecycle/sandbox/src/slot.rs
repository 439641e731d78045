//! Places for trees: who has one, and how the host's directories get out of one again.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::journal::{self, Entry, Way};
use crate::merge::{self, Before, naming, remove};

/// How long an init may take to kill everything, after its caller was killed.
const LAST_BREATH: Duration = Duration::from_secs(20);

/// For so long the best place is waited for: what another thread has just forked holds its locks until it is another
/// program, and a new tree takes longer.
const BETWEEN_FORK_AND_EXEC: Duration = Duration::from_millis(50);

/// A tree's place that this process may use.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) path: PathBuf,
    /// Held by this process alone: it lives.
    _caller: OwnedFd,
    /// Held by init as well: something in the tree lives.
    pub(crate) lock: OwnedFd,
}

impl Slot {
    /// The place, once nothing runs in it, and nothing of the host is in it any more; `None` if it
    /// is a living process' own.
    pub(crate) fn take(path: PathBuf) -> io::Result<Option<Self>> {
        Self::take_within(path, Duration::ZERO)
    }

    fn take_within(path: PathBuf, patience: Duration) -> io::Result<Option<Self>> {
        let Some(caller) = lock(&path.join("caller"), patience)? else {
            return Ok(None);
        };
        // Whose caller was killed ends soon.
        let held = path.join("lock");
        let Some(lock) = lock(&held, LAST_BREATH)? else {
            return Err(naming(&held)(Errno::AGAIN.into()));
        };
        let journal = path.join("journal");
        if let Some(entries) = journal::read(&journal).map_err(naming(&journal))? {
            for entry in entries.iter().rev() {
                match give_back(entry) {
                    // Somebody has begun a new one, which is newer.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    other => other?,
                }
            }
            clear(&path)?;
            remove(&journal)?;
        }
        Ok(Some(Self {
            path,
            _caller: caller,
            lock,
        }))
    }

    /// What the tree here was laid out of, if most of it is of use for one of `lower`.
    pub(crate) fn before(&self, identity: &[u8], lower: &[PathBuf]) -> io::Result<Option<Before>> {
        let complete = self.path.join("complete");
        let (known, metadata) = match fs::read(&complete) {
            Ok(known) => (known, fs::metadata(&complete)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(naming(&complete)(error)),
        };
        // A clock that was put back would hide changes.
        if metadata.modified()? > SystemTime::now() {
            return Ok(None);
        }
        let user = |identity: &[u8]| identity.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
        let paths = known.split(|byte| *byte == 0).skip(1);
        let paths: Vec<PathBuf> = paths.map(|path| OsStr::from_bytes(path).into()).collect();
        let (known_still, gone): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| lower.contains(path));
        let in_order = lower.iter().filter(|path| known_still.contains(path));
        let usable = user(&known) == user(identity)
            && in_order.eq(known_still.iter())
            && !known_still.is_empty()
            && gone.iter().all(|path| path.is_dir());
        Ok(usable.then(|| Before {
            done: (metadata.ctime(), metadata.ctime_nsec()),
            gone,
            known: known_still,
            same: known == identity,
        }))
    }

    /// A free place; best one whose tree was laid out of the same.
    pub(crate) fn choose(work: &Path, identity: &[u8]) -> io::Result<Self> {
        let work = &fs::canonicalize(work).map_err(naming(work))?;
        let mut places = places(work)?;
        places.sort_by_key(|path| !is_of(path, identity));
        let next = places.len();
        // One of another tree is not worth waiting for.
        let best = places.first().filter(|path| is_of(path, identity)).cloned();
        for path in places {
            let patience = match &best {
                Some(best) if *best == path => BETWEEN_FORK_AND_EXEC,
                _ => Duration::ZERO,
            };
            if let Some(slot) = Self::take_within(path, patience)? {
                return Ok(slot);
            }
        }
        for number in next.. {
            let path = work.join(number.to_string());
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(naming(&path))?,
            }
            if let Some(slot) = Self::take(path)? {
                return Ok(slot);
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }
}

/// Where trees are.
pub(crate) fn places(work: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(work) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(naming(work))?,
    };
    let mut places = Vec::new();
    for entry in entries {
        let path = entry.map_err(naming(work))?.path();
        if path.join("caller").exists() {
            places.push(path);
        }
    }
    Ok(places)
}

fn is_of(place: &Path, identity: &[u8]) -> bool {
    fs::read(place.join("complete")).is_ok_and(|known| known == identity)
}

/// Locks a file, waiting so long; `None` if another process has it.
fn lock(path: &Path, patience: Duration) -> io::Result<Option<OwnedFd>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(naming(path))?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file.into())),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if start.elapsed() >= patience => return Ok(None),
            Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(5)),
            Err(errno) => return Err(naming(path)(errno.into())),
        }
    }
}

/// Removes a tree, complete or not.
pub(crate) fn clear(work: &Path) -> io::Result<()> {
    for name in ["complete", "root", "hidden"] {
        remove(&work.join(name))?;
    }
    Ok(())
}

/// Whether a path, without links when it was made, has none on its way now. A program that owns
/// the directories above could have put some there, and they would lead out of the tree.
pub(crate) fn is_in_place(path: &Path) -> bool {
    let parent = path.parent();
    parent.is_some_and(|parent| fs::canonicalize(parent).is_ok_and(|found| found == parent))
}

/// Moves a directory of the host back, if it is in the tree.
pub(crate) fn give_back(entry: &Entry) -> io::Result<()> {
    let Entry {
        source,
        target,
        way,
    } = entry;
    let returning = sibling(source, "returning");
    match way {
        Way::Moved { inode } => match fs::symlink_metadata(target) {
            Ok(found) if found.ino() == *inode && is_in_place(target) => {
                fs::rename(target, source).map_err(naming(source))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(naming(target)(error)),
        },
        Way::Copied => {
            // Complete if it is there, because it came by a rename.
            if !returning.exists() {
                if !target.exists() || !is_in_place(target) {
                    return Ok(());
                }
                if let Err(error) = fs::rename(target, &returning) {
                    if error.kind() != io::ErrorKind::CrossesDevices {
                        return Err(naming(target)(error));
                    }
                    let arriving = sibling(source, "arriving");
                    remove(&arriving)?;
                    merge::copy_tree(target, &arriving)?;
                    fs::rename(&arriving, &returning).map_err(naming(&returning))?;
                }
            }
            if target.exists() && is_in_place(target) {
                // By one rename: half of it must not return another time.
                let returned = sibling(target, "returned");
                fs::rename(target, &returned).map_err(naming(target))?;
                remove(&returned)?;
            }
            remove(source)?;
            fs::rename(&returning, source).map_err(naming(source))
        }
    }
}

fn sibling(path: &Path, word: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(word);
    path.with_file_name(name)
}

//! The files of a traced program: the root as a real tree, everything else where it is.
//!
//! A tree is made of hard links once for each root, and is read-only for who runs in it (Landlock):
//! any number of sandboxes have it together. What the program may write is its own copy. User 0,
//! which configures packages, has a tree of its own, whose changes are kept.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::orders;
use super::view::{Place, View, below};
use crate::changes::Changes;
use crate::error::Error;
use crate::landlocked;
use crate::merge::{self, Layer, Rules, naming, remove};
use crate::mounts::{ensure_directory, ensure_file};
use crate::plan::Target;
use crate::slot::{Slot, clear};
use crate::spec::{Access, Sandbox, Writable};
use crate::tier;

/// Devices that programs take for granted.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Names in `/dev` that lead elsewhere.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Who owns no file here, so that a tree has links to all of them.
const NOBODY: u32 = u32::MAX;

/// What one sandbox sees.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    /// Where what is this sandbox's own is made.
    own: PathBuf,
    places: Vec<Place>,
    changes: Option<Changes>,
    lock: Lock,
}

/// What keeps others from removing or using the tree.
#[derive(Debug)]
enum Lock {
    Shared(#[expect(dead_code, reason = "held")] File),
    Alone(Slot),
}

impl Layout {
    pub(crate) fn make(sandbox: &Sandbox) -> Result<Self, Error> {
        let Writable::Dir { upper, work } = &sandbox.root.writable else {
            return Err(Error::NeedsNamespaces {
                wanted: "a root whose writes go to memory".to_owned(),
                refusals: tier::probe().refusals.clone(),
            });
        };
        let tree = |source| Error::Tree {
            path: work.clone(),
            source,
        };
        let mut this = if sandbox.uid == 0 {
            Self::alone(sandbox, upper, work).map_err(tree)?
        } else {
            Self::shared(sandbox, upper, work).map_err(tree)?
        };
        this.populate(sandbox)?;
        Ok(this)
    }

    /// A tree that any number of sandboxes have together.
    fn shared(sandbox: &Sandbox, upper: &Path, work: &Path) -> io::Result<Self> {
        let mut hasher = DefaultHasher::new();
        sandbox.root.lower.hash(&mut hasher);
        let name = format!("shared-{:016x}", hasher.finish());
        let work = fs::canonicalize(work).map_err(naming(work))?;
        let place = work.join(&name);
        let lock = loop {
            if !place.is_dir() {
                make_shared(sandbox, &work, &place)?;
            }
            // Another process may have taken the tree away before it was locked.
            if let Some(lock) = hold(&place)? {
                break lock;
            }
        };
        let own = fs::canonicalize(upper).map_err(naming(upper))?.join("own");
        remove(&own)?;
        DirBuilder::new()
            .mode(0o755)
            .create(&own)
            .map_err(naming(&own))?;
        Ok(Self {
            root: place.join("root"),
            own,
            places: Vec::new(),
            changes: None,
            lock: Lock::Shared(lock),
        })
    }

    /// A tree that one sandbox has for itself, and whose changes go to the upper directory.
    fn alone(sandbox: &Sandbox, upper: &Path, work: &Path) -> io::Result<Self> {
        let slot = Slot::choose(work, b"")?;
        clear(&slot.path)?;
        let lower = &sandbox.root.lower;
        let mut layers = vec![Layer {
            path: upper.to_owned(),
            own: true,
        }];
        layers.extend(lower.iter().map(|path| Layer {
            path: path.clone(),
            own: false,
        }));
        let root = slot.path.join("root");
        let rules = Rules {
            uid: 0,
            read_only: false,
        };
        let changes = Changes {
            upper: upper.to_owned(),
            lower: lower.clone(),
            baseline: merge::lay_out_noting(&layers, &root, rules)?,
            skipped: HashSet::new(),
        };
        let own = slot.path.join("hidden");
        DirBuilder::new()
            .mode(0o700)
            .create(&own)
            .map_err(naming(&own))?;
        Ok(Self {
            root,
            own,
            places: Vec::new(),
            changes: Some(changes),
            lock: Lock::Alone(slot),
        })
    }

    /// What the tracer is to show.
    pub(crate) fn view(&self) -> View {
        View {
            places: self.places.clone(),
        }
    }

    /// What the kernel is to allow.
    pub(crate) fn ruleset(&self, sandbox: &Sandbox) -> io::Result<OwnedFd> {
        let of = |writable| {
            self.places
                .iter()
                .filter(move |place| place.writable == writable)
                .map(|place| Path::new(OsStr::from_bytes(&place.host)))
        };
        landlocked::places(of(false), of(true), sandbox.network)
    }

    /// What init is to hold, so that others know that everything in the tree has ended.
    pub(crate) fn held(&self) -> Option<io::Result<OwnedFd>> {
        match &self.lock {
            Lock::Shared(_) => None,
            Lock::Alone(slot) => Some(slot.lock.try_clone()),
        }
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changes = None;
    }

    /// Keeps the changes. Everything inside has ended.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.changes.take() {
            Some(changes) => changes.collect(&self.root),
            None => Ok(()),
        }
    }

    fn populate(&mut self, sandbox: &Sandbox) -> Result<(), Error> {
        let is_root = sandbox.uid == 0;
        self.places.push(Place {
            inside: Vec::new(),
            host: self.root.clone().into_os_string().into_vec(),
            writable: is_root,
        });
        let mount = |target: &Path| {
            let path = target.to_owned();
            move |source| Error::Mount {
                target: path,
                source,
            }
        };
        let proc = Path::new("/proc");
        self.show(proc, proc, false).map_err(mount(proc))?;
        self.make_devices(sandbox)
            .map_err(mount(Path::new("/dev")))?;
        let is_mounted = |path: &Path| sandbox.mounts.iter().any(|it| path.starts_with(&it.target));
        let mut empty = vec![(PathBuf::from("/tmp"), 0o1777)];
        if !is_root {
            empty.push((PathBuf::from("/var/tmp"), 0o1777));
        }
        empty.extend(sandbox.tmpfs.iter().map(|path| (path.clone(), 0o755)));
        for (path, mode) in empty.iter().filter(|(path, _)| !is_mounted(path)) {
            self.make_own(path, *mode).map_err(mount(path))?;
        }
        if !is_root {
            let home = sandbox.env.iter().find(|(name, _)| name == "HOME");
            let home = home.map(|(_, path)| Path::new(path));
            for path in home.into_iter().chain([sandbox.cwd.as_path()]) {
                if path != Path::new("/") && path.is_absolute() && !is_mounted(path) {
                    self.copy_own(path).map_err(mount(path))?;
                }
            }
        }
        for it in &sandbox.mounts {
            let source = fs::metadata(&it.source).map(drop);
            source.map_err(|source| Error::Source {
                path: it.source.clone(),
                source,
            })?;
            self.show(&it.target, &it.source, it.access == Access::ReadWrite)
                .map_err(mount(&it.target))?;
        }
        Ok(())
    }

    /// Shows a directory or file of the host at a path inside, which is made if it is not there.
    fn show(&mut self, inside: &Path, host: &Path, writable: bool) -> io::Result<()> {
        let inside = self.ensure(inside, fs::metadata(host)?.is_dir())?;
        self.places.push(Place {
            inside,
            host: orders::host(host)?,
            writable,
        });
        Ok(())
    }

    /// Makes what is to be covered; its path without links.
    fn ensure(&mut self, inside: &Path, is_directory: bool) -> io::Result<Vec<u8>> {
        let target = Target::new("mount target", inside).map_err(io::Error::other)?;
        let parent = inside.parent().map(orders::inside).unwrap_or_default();
        let covering = self
            .places
            .iter()
            .rev()
            .find(|place| !place.inside.is_empty() && below(&parent, &place.inside).is_some());
        // Below another place it has to be there already, or is not listed.
        if covering.is_some() {
            return Ok(orders::inside(inside));
        }
        let root = File::open(&self.root)?;
        let made = if is_directory {
            ensure_directory(root.as_fd(), &target)?
        } else {
            ensure_file(root.as_fd(), &target)?
        };
        let path = crate::chroot::path_of(&made)?;
        let relative = path.strip_prefix(&self.root).map_err(io::Error::other)?;
        if let Some(changes) = &mut self.changes {
            changes.skipped.insert(relative.to_owned());
        }
        Ok(orders::inside(&Path::new("/").join(relative)))
    }

    /// An empty directory of this sandbox alone.
    fn make_own(&mut self, inside: &Path, mode: u32) -> io::Result<()> {
        let path = self.next_own();
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(naming(&path))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        self.show(inside, &path, true)
    }

    /// A copy of one of the root's directories, for this sandbox alone.
    fn copy_own(&mut self, inside: &Path) -> io::Result<()> {
        let Ok(relative) = inside.strip_prefix("/") else {
            return Ok(());
        };
        let Ok(found) = fs::canonicalize(self.root.join(relative)) else {
            return Ok(());
        };
        // A link out of the tree is one that leads elsewhere inside.
        if !found.starts_with(&self.root) || found == self.root || !found.is_dir() {
            return Ok(());
        }
        let known = orders::inside(inside);
        if self
            .places
            .iter()
            .any(|place| place.writable && below(&known, &place.inside).is_some())
        {
            return Ok(());
        }
        let path = self.next_own();
        merge::copy_tree(&found, &path)?;
        self.show(inside, &path, true)
    }

    fn next_own(&self) -> PathBuf {
        self.own.join(format!("own-{}", self.places.len()))
    }

    fn make_devices(&mut self, sandbox: &Sandbox) -> io::Result<()> {
        let folder = self.own.join("dev");
        DirBuilder::new()
            .mode(0o755)
            .create(&folder)
            .map_err(naming(&folder))?;
        DirBuilder::new().mode(0o755).create(folder.join("shm"))?;
        for name in DEVICES {
            File::create_new(folder.join(name))?;
        }
        for (name, target) in LINKS {
            symlink(target, folder.join(name))?;
        }
        let dev = Path::new("/dev");
        self.show(dev, &folder, false)?;
        for name in DEVICES {
            let device = dev.join(name);
            // A container may lack some.
            if device.exists() {
                self.show(&device, &device, true)?;
            }
        }
        let shm = dev.join("shm");
        if !sandbox.mounts.iter().any(|it| it.target == shm) {
            self.make_own(&shm, 0o1777)?;
        }
        Ok(())
    }
}

/// Lays out a tree of links; what nobody uses any more goes.
fn make_shared(sandbox: &Sandbox, work: &Path, place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(work).map_err(naming(work))? {
        let path = entry.map_err(naming(work))?.path();
        let is_doomed = path
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b"doomed-"));
        if is_doomed {
            // Of a process that was killed over it. One that still removes it does no harm to this one.
            drop(remove(&path));
        }
        let is_tree = path
            .file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b"shared-"));
        if is_tree
            && path != place
            && let Some(lock) = locked_alone(&path)
        {
            doom(&path)?;
            drop(lock);
        }
    }
    let staged = work.join(format!("staged-{}", std::process::id()));
    remove(&staged)?;
    DirBuilder::new()
        .mode(0o700)
        .create(&staged)
        .map_err(naming(&staged))?;
    File::create(staged.join("lock"))?;
    let layers: Vec<Layer> = sandbox
        .root
        .lower
        .iter()
        .map(|path| Layer {
            path: path.clone(),
            own: false,
        })
        .collect();
    let rules = Rules {
        uid: NOBODY,
        read_only: false,
    };
    merge::lay_out(&layers, &staged.join("root"), rules)?;
    match fs::rename(&staged, place) {
        // Another process was faster.
        Err(_) if place.is_dir() => remove(&staged),
        other => other.map_err(naming(place)),
    }
}

/// A tree's lock, if nobody uses the tree.
fn locked_alone(tree: &Path) -> Option<File> {
    let lock = File::open(tree.join("lock")).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(lock)
}

/// Locks a tree against removal; `None` if it is not there, or not whole, any more.
fn hold(place: &Path) -> io::Result<Option<File>> {
    let path = place.join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            doom(place)?;
            return Ok(None);
        }
        Err(error) => return Err(naming(&path)(error)),
    };
    flock(&lock, FlockOperation::LockShared)?;
    let held = lock.metadata()?;
    let there = fs::metadata(&path).ok();
    let is_same = there.is_some_and(|it| (it.dev(), it.ino()) == (held.dev(), held.ino()));
    Ok(is_same.then_some(lock))
}

/// Removes a tree. It loses its name first: one that is gone by half must not be taken for whole.
fn doom(tree: &Path) -> io::Result<()> {
    let name = tree.file_name().unwrap_or_default().to_string_lossy();
    let doomed = tree.with_file_name(format!("doomed-{}-{name}", std::process::id()));
    remove(&doomed)?;
    match fs::rename(tree, &doomed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(naming(tree))?,
    }
    remove(&doomed)
}

//! The tier of root without namespaces: an ordinary container's, which has chroot and device nodes
//! but neither mount nor unshare.
//!
//! What overlayfs and bind mounts do elsewhere is done by hand in the `work` directory of
//! [`Writable::Dir`], which here may be shared by any number of sandboxes:
//!
//! ```text
//! work/0/            one sandbox at a time; the next has work/1, and so on
//!        root/       the tree: hard links where the program cannot write, copies where it can
//!        complete    what the tree was laid out of, and by its ctime, when
//!        hidden/     what mounts hide
//!        journal     which of the host's directories are in the tree
//!        caller      held by the caller
//!        lock        held by the caller and by init, so as long as anything in the tree runs
//! ```
//!
//! A tree stays for the next sandbox of the same root, which undoes what was changed in it.
//! A read-write directory is moved into the tree, and back when the program has ended; [`recover`]
//! does it for a caller that was killed. A read-only one is linked, a file copied. Hard links make
//! a tree as cheap as its number of files, and leave no way to the store: the program's user owns
//! none of them, and has no capability to change what it does not own.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::changes::Changes;
use crate::error::Error;
use crate::journal::{self, Entry, Way};
use crate::merge::{self, Layer, Rules, naming, remove};
use crate::mounts::{ensure_directory, ensure_file, open_directory};
use crate::plan::{Target, TreeFds};
use crate::privileges;
use crate::slot::{Slot, clear, give_back, is_in_place, places};
use crate::spec::{Access, Sandbox, Writable};
use crate::tier;

/// Device nodes that programs take for granted, with their numbers (Linux' devices.txt).
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// What laying out a tree and becoming somebody else takes; Docker leaves all of it to its root.
const NEEDED: [(CapabilitySet, &str); 8] = [
    (CapabilitySet::SYS_CHROOT, "CAP_SYS_CHROOT"),
    (CapabilitySet::MKNOD, "CAP_MKNOD"),
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::KILL, "CAP_KILL"),
];

/// Says which capability is missing, or is there and yet good for nothing.
pub(crate) fn require_capabilities() -> Result<(), String> {
    let has = privileges::permitted().map_err(|errno| io::Error::from(errno).to_string())?;
    if let Some((_, name)) = NEEDED.iter().find(|(needed, _)| !has.contains(*needed)) {
        return Err(format!("{name} is missing"));
    }
    // In a user namespace, as a rootless container's, CAP_MKNOD makes no devices.
    let trial = std::env::temp_dir().join(format!(".sandbox-device-{}", std::process::id()));
    let device = FileType::CharacterDevice;
    let made = mknodat(CWD, &trial, device, Mode::empty(), makedev(1, 3));
    // Whatever else fails here may work where the trees are, and says so there if it does not.
    drop(remove(&trial));
    match made {
        Err(Errno::PERM) => Err(String::from("device nodes are refused")),
        _ => Ok(()),
    }
}

/// Moves the host's directories back that a killed caller's sandbox of [`crate::Tier::Chroot`] left
/// in this `work` directory of [`Writable::Dir`], after everything in that sandbox has ended.
/// Whoever removes such a directory has to call it before. Without such leftovers it costs nothing.
pub fn recover(work: &Path) -> io::Result<()> {
    for place in places(work)? {
        Slot::take(place)?;
    }
    Ok(())
}

/// A laid-out root, with the host's directories in it; dropped, they are back where they belong.
#[derive(Debug)]
pub(crate) struct Tree {
    slot: Slot,
    root: PathBuf,
    entries: Vec<Entry>,
    /// In the order of their making.
    covers: Vec<Cover>,
    changes: Option<Changes>,
    over: bool,
}

/// What stands at a path inside as long as the program runs.
#[derive(Debug)]
struct Cover {
    path: PathBuf,
    /// Where what it hides is meanwhile.
    hidden: Option<PathBuf>,
    /// Whether it is a directory of the host.
    of_host: bool,
}

impl Tree {
    /// Lays out the root and everything that is to be seen in it.
    pub(crate) fn lay_out(sandbox: &Sandbox) -> Result<Self, Error> {
        let Writable::Dir { upper, work } = &sandbox.root.writable else {
            return Err(needs_namespaces("a root whose writes go to memory"));
        };
        let tree = |source| Error::Tree {
            path: work.clone(),
            source,
        };
        let identity = identity(sandbox);
        let slot = Slot::choose(work, &identity).map_err(tree)?;
        let mut this = Self {
            root: slot.path.join("root"),
            slot,
            entries: Vec::new(),
            covers: Vec::new(),
            changes: None,
            over: false,
        };
        this.merge(sandbox, upper, &identity).map_err(tree)?;
        this.populate(sandbox)?;
        Ok(this)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What the new processes need of it.
    pub(crate) fn descriptors(&self) -> io::Result<TreeFds> {
        Ok(TreeFds {
            root: open(&self.root)?,
            lock: self.slot.lock.try_clone()?,
        })
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changes = None;
    }

    /// Puts everything back and keeps the changes. Everything in the tree has ended.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.uncover()?;
        match self.changes.take() {
            Some(changes) => changes.collect(&self.root),
            None => Ok(()),
        }
    }

    fn merge(&mut self, sandbox: &Sandbox, upper: &Path, identity: &[u8]) -> io::Result<()> {
        let rules = Rules {
            uid: sandbox.uid,
            read_only: false,
        };
        let is_root = sandbox.uid == 0;
        let lower = &sandbox.root.lower;
        let mut layers = vec![Layer {
            path: upper.to_owned(),
            own: is_root,
        }];
        layers.extend(lower.iter().map(|path| Layer {
            path: path.clone(),
            own: false,
        }));
        if !is_root && let Some(before) = self.slot.before(identity, lower)? {
            remove(&self.slot.path.join("hidden"))?;
            merge::restore(&layers, &self.root, rules, before)?;
            return self.complete(identity);
        }
        clear(&self.slot.path)?;
        if is_root {
            self.changes = Some(Changes {
                upper: upper.to_owned(),
                lower: lower.clone(),
                baseline: merge::lay_out_noting(&layers, &self.root, rules)?,
                skipped: HashSet::new(),
            });
            return Ok(());
        }
        merge::lay_out(&layers, &self.root, rules)?;
        self.complete(identity)
    }

    fn complete(&self, identity: &[u8]) -> io::Result<()> {
        // Who owns `/` could rename the places of the mounts, which real ones would not allow.
        chown(&self.root, Some(0), Some(0))?;
        let mode = fs::metadata(&self.root)?.mode() & 0o7755;
        fs::set_permissions(&self.root, Permissions::from_mode(mode))?;
        fs::write(self.slot.path.join("complete"), identity)
    }

    fn populate(&mut self, sandbox: &Sandbox) -> Result<(), Error> {
        let fixed = |path: &str| (PathBuf::from(path), (0, 0, 0o755));
        let mut own = vec![fixed("/proc"), fixed("/dev")];
        if !sandbox
            .mounts
            .iter()
            .any(|it| it.target == Path::new("/tmp"))
        {
            own.push((PathBuf::from("/tmp"), (0, 0, 0o1777)));
        }
        let (uid, gid) = (sandbox.uid, sandbox.gid);
        own.extend(
            sandbox
                .tmpfs
                .iter()
                .map(|path| (path.clone(), (uid, gid, 0o755))),
        );
        for (path, (uid, gid, mode)) in own {
            let target = Target::new("in-memory directory", &path)?;
            self.cover(&target, false)
                .and_then(|place| empty(&place, uid, gid, mode))
                .map_err(|source| Error::Mount {
                    target: path,
                    source,
                })?;
        }
        self.make_devices().map_err(|source| Error::Setup {
            attempt: "make device nodes (does the store's file system refuse them?)",
            tier: crate::Tier::Chroot,
            source,
        })?;
        for mount in &sandbox.mounts {
            let metadata = fs::metadata(&mount.source).map_err(|source| Error::Source {
                path: mount.source.clone(),
                source,
            })?;
            let target = Target::new("mount target", &mount.target)?;
            let writable = mount.access == Access::ReadWrite;
            if writable && !metadata.is_dir() {
                return Err(needs_namespaces("a single writable file"));
            }
            let rules = Rules {
                uid,
                read_only: true,
            };
            if metadata.is_dir() && writable {
                self.bring(&mount.source, &metadata, &target)
            } else if metadata.is_dir() {
                self.share(&mount.source, &target, rules)
            } else {
                self.copy_file(&mount.source, &metadata, &target, rules)
            }
            .map_err(|source| Error::Mount {
                target: mount.target.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// A place for a directory: what is there is out of the way, and nothing stands there.
    fn cover(&mut self, target: &Target, of_host: bool) -> io::Result<PathBuf> {
        let root = open(&self.root)?;
        let path = path_of(&ensure_directory(root.as_fd(), target)?)?;
        let mut hidden = None;
        match fs::remove_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                let folder = self.slot.path.join("hidden");
                fs::create_dir_all(&folder)?;
                let aside = folder.join(self.covers.len().to_string());
                fs::rename(&path, &aside)?;
                hidden = Some(aside);
            }
            Err(error) => return Err(error),
        }
        self.covers.push(Cover {
            path: path.clone(),
            hidden,
            of_host,
        });
        if let (Some(changes), Ok(inside)) = (&mut self.changes, path.strip_prefix(&self.root)) {
            changes.skipped.insert(inside.to_owned());
        }
        Ok(path)
    }

    fn make_devices(&self) -> io::Result<()> {
        let folder = self.root.join("dev");
        for (name, major, minor) in DEVICES {
            let path = folder.join(name);
            let mode = Mode::from_raw_mode(0o666);
            mknodat(
                CWD,
                &path,
                FileType::CharacterDevice,
                mode,
                makedev(major, minor),
            )
            .map_err(|errno| naming(&path)(errno.into()))?;
            fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        }
        // A file system or a container may have nodes and yet refuse to open them.
        let null = folder.join("null");
        File::options()
            .write(true)
            .open(&null)
            .map_err(naming(&null))?;
        empty(&folder.join("shm"), 0, 0, 0o1777)
    }

    /// Moves a directory of the host into the tree.
    fn bring(&mut self, source: &Path, metadata: &fs::Metadata, target: &Target) -> io::Result<()> {
        let place = self.cover(target, true)?;
        // The journal is read by another process, maybe in another directory.
        let source = fs::canonicalize(source)?;
        self.note(Entry {
            source: source.clone(),
            target: place.clone(),
            way: Way::Moved {
                inode: metadata.ino(),
            },
        })?;
        match fs::rename(&source, &place) {
            // Another file system; or overlayfs, for a directory of an image's layer.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
            other => return other,
        }
        self.entries.pop();
        merge::copy_tree(&source, &place)?;
        // Not before it is complete: what is in the journal replaces the original.
        self.note(Entry {
            source,
            target: place,
            way: Way::Copied,
        })
    }

    fn note(&mut self, entry: Entry) -> io::Result<()> {
        self.entries.push(entry);
        journal::write(&self.slot.path.join("journal"), &self.entries)
    }

    fn share(&mut self, source: &Path, target: &Target, rules: Rules) -> io::Result<()> {
        let place = self.cover(target, false)?;
        let layer = Layer {
            path: source.to_owned(),
            own: false,
        };
        merge::lay_out(&[layer], &place, rules)
    }

    fn copy_file(
        &mut self,
        source: &Path,
        metadata: &fs::Metadata,
        target: &Target,
        rules: Rules,
    ) -> io::Result<()> {
        let root = open(&self.root)?;
        let place = path_of(&ensure_file(root.as_fd(), target)?)?;
        if let (Some(changes), Ok(inside)) = (&mut self.changes, place.strip_prefix(&self.root)) {
            changes.skipped.insert(inside.to_owned());
        }
        // It may be another name of a file of the root's layers.
        fs::remove_file(&place)?;
        merge::copy_file(source, metadata, &place, rules)
    }

    /// Undoes what [`Self::populate`] did; whatever fails, the rest is still tried.
    fn uncover(&mut self) -> io::Result<()> {
        if self.over {
            return Ok(());
        }
        self.over = true;
        let mut result = Ok(());
        let mut entries = std::mem::take(&mut self.entries);
        let mut stays = Vec::new();
        while let Some(cover) = self.covers.pop() {
            let done = if !is_in_place(&cover.path) {
                Err(naming(&cover.path)(io::ErrorKind::NotADirectory.into()))
            } else if cover.of_host {
                // A directory whose move failed has an entry all the same: it looks for itself.
                let entry = entries.iter().position(|entry| entry.target == cover.path);
                match entry.map(|index| entries.remove(index)) {
                    Some(entry) => give_back(&entry).inspect_err(|_| stays.push(entry)),
                    None => Ok(()),
                }
            } else {
                remove(&cover.path)
            };
            let restored = done.and_then(|()| match &cover.hidden {
                Some(hidden) => fs::rename(hidden, &cover.path).map_err(naming(&cover.path)),
                None => Ok(()),
            });
            result = result.and(restored);
        }
        let journal = self.slot.path.join("journal");
        if stays.is_empty() {
            result.and(remove(&journal))
        } else {
            // The next one tries again.
            result.and(journal::write(&journal, &stays))
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What cannot be moved back now is still in the journal.
        drop(self.uncover());
    }
}

fn empty(path: &Path, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(naming(path))?;
    chown(path, Some(uid), Some(gid))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// What a tree is laid out of, but for the upper directory, which has next to nothing.
fn identity(sandbox: &Sandbox) -> Vec<u8> {
    let mut identity = format!("{}:{}", sandbox.uid, sandbox.gid).into_bytes();
    for lower in &sandbox.root.lower {
        identity.push(0);
        identity.extend_from_slice(lower.as_os_str().as_bytes());
    }
    identity
}

fn open(directory: &Path) -> io::Result<OwnedFd> {
    let path = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
    open_directory(&path).map_err(|errno| naming(directory)(errno.into()))
}

/// Where a descriptor's file is on the host, links resolved.
pub(crate) fn path_of(fd: &OwnedFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn needs_namespaces(wanted: &str) -> Error {
    Error::NeedsNamespaces {
        wanted: wanted.to_owned(),
        refusals: tier::probe().refusals.clone(),
    }
}

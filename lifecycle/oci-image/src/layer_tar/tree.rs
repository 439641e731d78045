//! Directory trees as tar entries, in the order of Go's `filepath.Walk`.

mod overlay;

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::header::{Header, Kind};
use super::{Content, LayerError, LayerTar, Owner, Owners, Times};

/// How a tree on disk becomes entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeRules {
    /// Who owns what.
    pub owners: Owners,
    /// The modification times.
    pub times: Times,
    /// What becomes of files with several names.
    pub hard_links: HardLinks,
    /// What becomes of an overlay's marks.
    pub overlay: Overlay,
    /// The order of the entries.
    pub order: Order,
}

impl TreeRules {
    /// Upstream's rules for the layers of buildpacks and of the app: one owner, the normalized time.
    pub fn owned_by(owner: Owner) -> Self {
        Self {
            owners: Owners::all(owner),
            ..Self::default()
        }
    }
}

/// What becomes of a file with several names in one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HardLinks {
    /// Each name is a file of its own, as upstream does.
    #[default]
    Duplicate,
    /// The first name has the content, the others are links to it.
    Preserve,
}

/// What becomes of the marks that overlayfs leaves in an upper directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlay {
    /// They are taken for what they look like: devices and attributes (attributes are never written).
    #[default]
    Ignore,
    /// Whiteouts and opaque directories become `.wh.` entries, before their siblings. Not with [`Order::Path`].
    Translate,
}

/// The order of a tree's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Depth first, names sorted within each directory: Go's `filepath.Walk`, upstream's order for buildpacks' layers.
    #[default]
    Walk,
    /// Full paths sorted as strings: upstream's order for the app's slices. `a-b` comes before `a/b`.
    Path,
}

const DIRECTORY_BUFFER: usize = 32 * 1024;

impl LayerTar<'_> {
    /// Adds the directory `dir` as `at` (an absolute path in the image) with everything below it.
    ///
    /// With an empty `at`, names are relative to the image's root and the directory itself gets no entry. A `dir`
    /// that is a symbolic link is added as one, not followed. Sockets are left out. Extended attributes and what
    /// the disk says of owners are not looked at.
    pub fn tree(&mut self, dir: &Path, at: &str, rules: &TreeRules) -> Result<(), LayerError> {
        let mut walk = Walk {
            tar: self,
            rules,
            host: dir.as_os_str().as_bytes().to_vec(),
            name: at.as_bytes().to_vec(),
            first_names: HashMap::new(),
            listing: Vec::with_capacity(DIRECTORY_BUFFER),
        };
        match rules.order {
            Order::Walk => walk.root(),
            Order::Path => walk.in_path_order(),
        }
    }

    /// Adds single entries of a tree: `paths` are relative to `dir`, an empty one means `dir` itself; nothing below
    /// a directory is added. For the slices of an app, which upstream picks and sorts one by one.
    pub fn entries<P: AsRef<Path>>(
        &mut self,
        dir: &Path,
        at: &str,
        paths: impl IntoIterator<Item = P>,
        rules: &TreeRules,
    ) -> Result<(), LayerError> {
        let mut walk = Walk {
            tar: self,
            rules,
            host: dir.as_os_str().as_bytes().to_vec(),
            name: at.as_bytes().to_vec(),
            first_names: HashMap::new(),
            listing: Vec::new(),
        };
        walk.each(paths)
    }
}

struct Walk<'w, 'a> {
    tar: &'w mut LayerTar<'a>,
    rules: &'w TreeRules,
    /// Where the walk is on disk.
    host: Vec<u8>,
    /// Where the walk is in the archive.
    name: Vec<u8>,
    /// The first name of each file that has several, by device and inode.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    listing: Vec<u8>,
}

/// Where a walk came from.
struct Mark {
    host: usize,
    name: usize,
}

struct Child {
    name: CString,
    /// As the directory's listing says, which may be unknown.
    kind: FileType,
    is_whiteout: bool,
}

impl Walk<'_, '_> {
    fn root(&mut self) -> Result<(), LayerError> {
        let path = self.host_path();
        let stat = rustix::fs::lstat(&path).map_err(|error| self.read_error(error))?;
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        if self.name.is_empty() {
            if !is_directory {
                return Err(LayerError::NotADirectory { path });
            }
        } else {
            let link = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => Some(self.link_target(CWD, &path)?),
                _ => None,
            };
            self.entry(&stat, link.as_deref(), |flags| {
                rustix::fs::open(&path, flags, Mode::empty())
            })?;
        }
        if is_directory {
            let directory = self.open_directory(CWD, &path)?;
            self.below(&directory)?;
        }
        Ok(())
    }

    /// Adds what is in a directory, and what is in the directories in it.
    fn below(&mut self, directory: &OwnedFd) -> Result<(), LayerError> {
        let children = match self.rules.overlay {
            Overlay::Ignore => self.listing(directory)?,
            Overlay::Translate => self.translated_listing(directory)?,
        };
        for child in children {
            if child.is_whiteout {
                self.whiteout(child.name.as_bytes())?;
            } else {
                let mark = self.enter(child.name.as_bytes());
                let stat = self.stat(directory, &child.name)?;
                self.child(directory.as_fd(), &child.name, &stat)?;
                if FileType::from_raw_mode(stat.st_mode).is_dir() {
                    let inner = self.open_directory(directory.as_fd(), child.name.as_c_str())?;
                    self.below(&inner)?;
                }
                self.leave(&mark);
            }
        }
        Ok(())
    }

    /// Adds one child of an open directory.
    fn child(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<(), LayerError> {
        let link = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Some(self.link_target(directory, name)?),
            _ => None,
        };
        self.entry(stat, link.as_deref(), |flags| {
            rustix::fs::openat(directory, name, flags, Mode::empty())
        })
    }

    /// Adds the entry that the walk is at. `open` opens it with the flags it is given.
    fn entry(
        &mut self,
        stat: &Stat,
        link: Option<&[u8]>,
        open: impl FnOnce(OFlags) -> rustix::io::Result<OwnedFd>,
    ) -> Result<(), LayerError> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            // Sockets: no archive can hold them, and they mean nothing without the process behind them.
            _ => return Ok(()),
        };
        let owner = self.rules.owners.of(&self.name);
        let mut header = Header {
            kind,
            name: &self.name,
            link: link.unwrap_or_default(),
            mode: stat.st_mode & 0o7777,
            uid: owner.uid,
            gid: owner.gid,
            size: 0,
            mtime: self.rules.times.of(stat.st_mtime, nanoseconds(stat)),
            device: (0, 0),
        };
        match kind {
            Kind::CharDevice | Kind::BlockDevice => {
                header.device = (
                    rustix::fs::major(stat.st_rdev),
                    rustix::fs::minor(stat.st_rdev),
                );
            }
            Kind::File => {
                if self.rules.hard_links == HardLinks::Preserve && stat.st_nlink > 1 {
                    let inode = (stat.st_dev, stat.st_ino);
                    let first = self.first_names.get(&inode).cloned();
                    if let Some(first) = &first {
                        return self.tar.header(&Header {
                            kind: Kind::HardLink,
                            link: first,
                            ..header
                        });
                    }
                    self.first_names.insert(inode, self.name.clone());
                }
                header.size = file_size(stat);
                self.tar.header(&header)?;
                if header.size > 0 {
                    return self.file(stat, open);
                }
                return Ok(());
            }
            _ => {}
        }
        self.tar.header(&header)
    }

    fn file(
        &mut self,
        stat: &Stat,
        open: impl FnOnce(OFlags) -> rustix::io::Result<OwnedFd>,
    ) -> Result<(), LayerError> {
        // What was a file a moment ago may be a pipe with nobody at its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open(flags).map_err(|error| self.read_error(error))?;
        self.same(stat, &opened)?;
        if self.rules.overlay == Overlay::Translate {
            self.refuse_metacopy(&opened)?;
        }
        let size = file_size(stat);
        let mut file = File::from(opened);
        match self.tar.content(size, &mut file)? {
            Content::Complete => self.same(stat, &file),
            Content::Shorter(length) => {
                Err(self.changed(format!("it had {size} bytes and ended after {length}")))
            }
            Content::Longer => Err(self.changed(format!("it had {size} bytes and grew"))),
            Content::Failed(source) => Err(LayerError::Read {
                path: self.host_path(),
                source,
            }),
        }
    }

    /// Whether an open file is what the header says.
    fn same(&self, before: &Stat, file: &impl AsFd) -> Result<(), LayerError> {
        let after = rustix::fs::fstat(file).map_err(|error| self.read_error(error))?;
        let change = if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino) {
            "it was replaced".to_owned()
        } else if before.st_size != after.st_size {
            format!("it had {} bytes and has {}", before.st_size, after.st_size)
        } else if (before.st_mtime, before.st_mtime_nsec) != (after.st_mtime, after.st_mtime_nsec) {
            "it was written to".to_owned()
        } else {
            return Ok(());
        };
        Err(self.changed(change))
    }

    /// What is in a directory, sorted by name.
    fn listing(&mut self, directory: &OwnedFd) -> Result<Vec<Child>, LayerError> {
        let mut children = Vec::new();
        let mut buffer = std::mem::take(&mut self.listing);
        buffer.reserve(DIRECTORY_BUFFER);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| self.read_error(error))?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                children.push(Child {
                    name: name.to_owned(),
                    kind: entry.file_type(),
                    is_whiteout: false,
                });
            }
        }
        self.listing = buffer;
        children.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(children)
    }

    fn stat(&self, directory: &OwnedFd, name: &CStr) -> Result<Stat, LayerError> {
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.read_error(error))
    }

    fn in_path_order(&mut self) -> Result<(), LayerError> {
        let mut paths = vec![PathBuf::new()];
        if rustix::fs::lstat(self.host_path())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
        {
            let directory = self.open_directory(CWD, self.host_path())?;
            self.collect(&directory, &mut PathBuf::new(), &mut paths)?;
        }
        // Path's own order compares components; Go's strings know nothing of them.
        paths.sort_unstable_by(|left, right| {
            left.as_os_str()
                .as_bytes()
                .cmp(right.as_os_str().as_bytes())
        });
        self.each(paths)
    }

    fn collect(
        &mut self,
        directory: &OwnedFd,
        relative: &mut PathBuf,
        paths: &mut Vec<PathBuf>,
    ) -> Result<(), LayerError> {
        for child in self.listing(directory)? {
            relative.push(OsStr::from_bytes(child.name.as_bytes()));
            paths.push(relative.clone());
            let mark = self.enter(child.name.as_bytes());
            let stat = self.stat(directory, &child.name)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                let inner = self.open_directory(directory.as_fd(), child.name.as_c_str())?;
                self.collect(&inner, relative, paths)?;
            }
            self.leave(&mark);
            relative.pop();
        }
        Ok(())
    }

    fn each<P: AsRef<Path>>(
        &mut self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<(), LayerError> {
        let directory = self.open_directory(CWD, self.host_path())?;
        for path in paths {
            let relative = path.as_ref().as_os_str().as_bytes();
            if relative.is_empty() {
                if !self.name.is_empty() {
                    let stat =
                        rustix::fs::fstat(&directory).map_err(|error| self.read_error(error))?;
                    self.entry(&stat, None, |_| Err(Errno::ISDIR))?;
                }
                continue;
            }
            let name = CString::new(relative).map_err(|_| LayerError::Name {
                path: path.as_ref().to_owned(),
            })?;
            let mark = self.enter(relative);
            let stat = self.stat(&directory, &name)?;
            self.child(directory.as_fd(), &name, &stat)?;
            self.leave(&mark);
        }
        Ok(())
    }

    /// Goes one or more names down; [`Walk::leave`] comes back.
    fn enter(&mut self, name: &[u8]) -> Mark {
        let mark = Mark {
            host: self.host.len(),
            name: self.name.len(),
        };
        for path in [&mut self.host, &mut self.name] {
            if !path.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        mark
    }

    fn leave(&mut self, mark: &Mark) {
        self.host.truncate(mark.host);
        self.name.truncate(mark.name);
    }

    fn host_path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.host))
    }

    fn open_directory<P: rustix::path::Arg>(
        &self,
        at: BorrowedFd<'_>,
        path: P,
    ) -> Result<OwnedFd, LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(at, path, flags, Mode::empty()).map_err(|error| self.read_error(error))
    }

    fn link_target<P: rustix::path::Arg>(
        &self,
        at: BorrowedFd<'_>,
        path: P,
    ) -> Result<Vec<u8>, LayerError> {
        rustix::fs::readlinkat(at, path, Vec::new())
            .map(CString::into_bytes)
            .map_err(|error| self.read_error(error))
    }

    fn read_error(&self, error: Errno) -> LayerError {
        LayerError::Read {
            path: self.host_path(),
            source: error.into(),
        }
    }

    fn changed(&self, change: String) -> LayerError {
        LayerError::Changed {
            path: self.host_path(),
            change,
        }
    }
}

fn file_size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn nanoseconds(stat: &Stat) -> i64 {
    i64::try_from(stat.st_mtime_nsec).unwrap_or(0)
}

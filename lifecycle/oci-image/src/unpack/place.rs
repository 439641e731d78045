//! Puts entries on disk below one directory, and nowhere else.

mod whiteout;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use super::entry::{Entry, EntryKind};
use super::{Existing, Ownership, UnpackError, UnpackRules, refused, shown};
use crate::layer_tar::Owner;

/// While a directory is being filled, its owner must be able to.
const WORKING_MODE: Mode = Mode::RWXU;
/// The mode of directories that the tar does not mention.
const IMPLICIT_MODE: u32 = 0o755;
const COPY_BUFFER: usize = 128 * 1024;
const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub(super) struct Place<'r> {
    root: OwnedFd,
    rules: &'r UnpackRules,
    /// What directories are to have once everything is in them, by path.
    directories: BTreeMap<Vec<u8>, Directory>,
    /// The directory of the last entry: the next one is mostly in it too.
    last_parent: Option<(Vec<u8>, OwnedFd)>,
    buffer: Vec<u8>,
}

struct Directory {
    mode: u32,
    mtime: Option<i64>,
}

/// What is where an entry goes.
#[derive(PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    /// A whiteout, which this layer's own entries win over.
    Whiteout,
    LinkToDirectory,
    Other,
}

impl<'r> Place<'r> {
    pub(super) fn open(into: &Path, rules: &'r UnpackRules) -> Result<Self, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, into, flags, Mode::empty()).map_err(|error| {
            UnpackError::Into {
                path: into.to_owned(),
                source: error.into(),
            }
        })?;
        Ok(Self {
            root,
            rules,
            directories: BTreeMap::new(),
            last_parent: None,
            buffer: Vec::new(),
        })
    }

    /// Makes a file with the content that `content` yields, which is exactly as long as the entry says.
    pub(super) fn file(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let file = self.create(entry, components)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(COPY_BUFFER, 0);
        let filled = fill(entry, &file, content, &mut buffer);
        self.buffer = buffer;
        filled?;
        if self.rules.ownership == Ownership::Keep {
            let (uid, gid) = ids(entry.owner);
            rustix::fs::fchown(&file, uid, gid).map_err(|error| failed(entry, error))?;
        }
        // After the owner: changing it clears setuid.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
            .map_err(|error| failed(entry, error))?;
        rustix::fs::futimens(&file, &times(entry.mtime)).map_err(|error| failed(entry, error))
    }

    fn create(&mut self, entry: &Entry, components: &[&[u8]]) -> Result<File, UnpackError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        if let Some(name) = components.last() {
            let parent = self.parent(entry, components)?;
            match rustix::fs::openat(parent, OsStr::from_bytes(name), flags, mode) {
                Ok(file) => return Ok(File::from(file)),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(entry, error)),
            }
        }
        let name = self.make_way(entry, components)?;
        let parent = self.parent(entry, components)?;
        rustix::fs::openat(parent, name, flags, mode)
            .map(File::from)
            .map_err(|error| failed(entry, error))
    }

    /// Makes a directory, or takes over one that is there.
    pub(super) fn directory(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
    ) -> Result<(), UnpackError> {
        if let Some(name) = components.last() {
            let name = OsStr::from_bytes(name);
            match self.there(entry, components)? {
                There::Directory => {}
                There::LinkToDirectory if self.rules.existing == Existing::Replace => return Ok(()),
                There::Nothing => self.make_directory(entry, components, name)?,
                There::Whiteout => {
                    self.remove(entry, components, name)?;
                    self.make_directory(entry, components, name)?;
                    // What the whiteout hid must not shine through the new directory.
                    self.mark_opaque(entry, components)?;
                }
                There::Other if self.rules.existing == Existing::Replace => {
                    self.remove(entry, components, name)?;
                    self.make_directory(entry, components, name)?;
                }
                There::LinkToDirectory | There::Other => return Err(already_there(entry)),
            }
        }
        if self.rules.ownership == Ownership::Keep {
            let directory = self.open_directory(entry, components)?;
            let (uid, gid) = ids(entry.owner);
            rustix::fs::fchown(&directory, uid, gid).map_err(|error| failed(entry, error))?;
        }
        let wanted = Directory {
            mode: entry.mode,
            mtime: Some(entry.mtime),
        };
        self.directories.insert(components.join(&b'/'), wanted);
        Ok(())
    }

    /// Makes a link or a FIFO.
    pub(super) fn special(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
    ) -> Result<(), UnpackError> {
        let name = self.make_way(entry, components)?;
        if entry.kind == EntryKind::HardLink {
            return self.hard_link(entry, components, name);
        }
        let keep = self.rules.ownership == Ownership::Keep;
        let parent = self.parent(entry, components)?;
        let made = if entry.kind == EntryKind::Symlink {
            rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), parent, name)
        } else {
            rustix::fs::mkfifoat(parent, name, Mode::RUSR | Mode::WUSR)
        };
        made.map_err(|error| failed(entry, error))?;
        if keep {
            let (uid, gid) = ids(entry.owner);
            rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed(entry, error))?;
        }
        if entry.kind == EntryKind::Fifo {
            rustix::fs::chmodat(
                parent,
                name,
                Mode::from_raw_mode(entry.mode),
                AtFlags::empty(),
            )
            .map_err(|error| failed(entry, error))?;
        }
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(entry, error))
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
        name: &OsStr,
    ) -> Result<(), UnpackError> {
        let target = super::components(&entry.link)?;
        let Some((target_name, target_parent)) = target.split_last() else {
            return Err(refused(&entry.path, "it is a hard link to the root"));
        };
        let missing = || {
            let why = "it is a hard link to what the layer does not have before it";
            refused(&entry.path, why)
        };
        let found =
            self.resolve(&target_parent.join(&b'/'), SEARCH)
                .map_err(|error| match error {
                    Errno::NOENT | Errno::NOTDIR => missing(),
                    error => failed(entry, error),
                })?;
        let parent = self.parent(entry, components)?;
        rustix::fs::linkat(
            found,
            OsStr::from_bytes(target_name),
            parent,
            name,
            AtFlags::empty(),
        )
        .map_err(|error| match error {
            Errno::NOENT => missing(),
            Errno::PERM => refused(
                &entry.path,
                "it is a hard link to a directory, or the file system has none",
            ),
            error => failed(entry, error),
        })
    }

    /// Gives the directories the modes and times that they are to have.
    pub(super) fn finish(self) -> Result<(), UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // What is inside comes before what it is in: a mode may close the way.
        for (path, directory) in self.directories.iter().rev() {
            let applied = self.resolve(path, flags).and_then(|opened| {
                rustix::fs::fchmod(&opened, Mode::from_raw_mode(directory.mode))?;
                match directory.mtime {
                    Some(mtime) => rustix::fs::futimens(&opened, &times(mtime)),
                    None => Ok(()),
                }
            });
            applied.map_err(|error| UnpackError::Write {
                path: shown(path),
                source: error.into(),
            })?;
        }
        Ok(())
    }

    /// Makes sure that nothing is where an entry goes that is no directory, and returns its last component.
    fn make_way<'c>(
        &mut self,
        entry: &Entry,
        components: &[&'c [u8]],
    ) -> Result<&'c OsStr, UnpackError> {
        let Some(name) = components.last() else {
            return Err(refused(&entry.path, "it is the root and no directory"));
        };
        let name = OsStr::from_bytes(name);
        match self.there(entry, components)? {
            There::Nothing => {}
            There::Whiteout => self.remove(entry, components, name)?,
            There::Other | There::LinkToDirectory if self.rules.existing == Existing::Replace => {
                self.remove(entry, components, name)?;
            }
            _ => return Err(already_there(entry)),
        }
        Ok(name)
    }

    fn there(&mut self, entry: &Entry, components: &[&[u8]]) -> Result<There, UnpackError> {
        let Some(name) = components.last() else {
            return Ok(There::Directory);
        };
        let name = OsStr::from_bytes(name);
        let parent = self.parent(entry, components)?;
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(There::Nothing),
            Err(error) => return Err(failed(entry, error)),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => There::Directory,
            FileType::CharacterDevice if stat.st_rdev == 0 => There::Whiteout,
            FileType::Symlink if self.resolve(&components.join(&b'/'), SEARCH).is_ok() => {
                There::LinkToDirectory
            }
            _ => There::Other,
        })
    }

    fn remove(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
        name: &OsStr,
    ) -> Result<(), UnpackError> {
        let parent = self.parent(entry, components)?;
        rustix::fs::unlinkat(parent, name, AtFlags::empty())
            .map_err(|error| failed(entry, error))?;
        // It may have been a link that the way to some directory led through.
        self.last_parent = None;
        Ok(())
    }

    fn make_directory(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
        name: &OsStr,
    ) -> Result<(), UnpackError> {
        let parent = self.parent(entry, components)?;
        rustix::fs::mkdirat(parent, name, WORKING_MODE).map_err(|error| failed(entry, error))
    }

    fn open_directory(&self, entry: &Entry, components: &[&[u8]]) -> Result<OwnedFd, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.resolve(&components.join(&b'/'), flags)
            .map_err(|error| failed(entry, error))
    }

    /// The directory that an entry goes into; directories that the tar has not mentioned are made.
    fn parent(&mut self, entry: &Entry, components: &[&[u8]]) -> Result<&OwnedFd, UnpackError> {
        let above = components
            .split_last()
            .map_or(&[] as &[&[u8]], |(_, above)| above);
        let path = above.join(&b'/');
        let is_last = self
            .last_parent
            .as_ref()
            .is_some_and(|(last, _)| *last == path);
        if !is_last {
            let opened = match self.resolve(&path, SEARCH) {
                Err(Errno::NOENT) => self.make_parents(above),
                outcome => outcome,
            };
            let opened = opened.map_err(|error| match error {
                Errno::EXIST => refused(&entry.path, "a link on its way leads nowhere"),
                Errno::NOTDIR => refused(&entry.path, "something on its way is no folder"),
                Errno::LOOP => refused(&entry.path, "links on its way lead in a circle"),
                error => failed(entry, error),
            })?;
            self.last_parent = Some((path, opened));
        }
        self.last_parent
            .as_ref()
            .map(|(_, opened)| opened)
            .ok_or_else(|| failed(entry, Errno::NOENT))
    }

    fn make_parents(&mut self, components: &[&[u8]]) -> rustix::io::Result<OwnedFd> {
        let mut directory = self.resolve(b"", SEARCH)?;
        for depth in 1..=components.len() {
            let path = components[..depth].join(&b'/');
            directory = match self.resolve(&path, SEARCH) {
                Err(Errno::NOENT) => {
                    // Fails if it is a link that leads nowhere.
                    rustix::fs::mkdirat(
                        &directory,
                        OsStr::from_bytes(components[depth - 1]),
                        WORKING_MODE,
                    )?;
                    self.directories.insert(
                        path.clone(),
                        Directory {
                            mode: IMPLICIT_MODE,
                            mtime: None,
                        },
                    );
                    self.resolve(&path, SEARCH)?
                }
                outcome => outcome?,
            };
        }
        Ok(directory)
    }

    /// Opens a path as if the root were `/`: links lead where they lead in a container.
    fn resolve(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), how) {
                // A rename or mount somewhere on the machine came between.
                Err(Errno::AGAIN) => {}
                outcome => return outcome,
            }
        }
    }
}

fn fill(
    entry: &Entry,
    mut file: &File,
    content: &mut impl Read,
    buffer: &mut [u8],
) -> Result<(), UnpackError> {
    loop {
        let count = match content.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(UnpackError::Read { source }),
        };
        file.write_all(&buffer[..count])
            .map_err(|source| UnpackError::Write {
                path: shown(&entry.path),
                source,
            })?;
    }
}

fn ids(owner: Owner) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(owner.uid)),
        Some(Gid::from_raw(owner.gid)),
    )
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn failed(entry: &Entry, error: Errno) -> UnpackError {
    UnpackError::Write {
        path: shown(&entry.path),
        source: error.into(),
    }
}

fn already_there(entry: &Entry) -> UnpackError {
    UnpackError::AlreadyThere {
        path: shown(&entry.path),
    }
}

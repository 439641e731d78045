//! Directories laid over each other by overlayfs' rules, as a real tree of hard links and copies.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, lsetxattr, utimensat};
use rustix::io::Errno;

pub(crate) const OPAQUE: &str = "user.overlay.opaque";

/// One of the directories, topmost first.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) path: PathBuf,
    /// Whether what is written to its files may stay in them.
    pub(crate) own: bool,
}

/// How a tree shares files with its layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Who runs in the tree: files that it can write to are copied.
    pub(crate) uid: u32,
    /// Whether nothing in the tree may belong to that user.
    pub(crate) read_only: bool,
}

/// What tells whether a file or directory was changed: every change sets ctime, and a copy is a new inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The tree's directories, and its files that are not a layer's own, as they were laid out.
pub(crate) type Baseline = HashMap<PathBuf, Stamp>;

/// Lays the directories over each other in `to`, which must not exist.
pub(crate) fn lay_out(layers: &[Layer], to: &Path, rules: Rules) -> io::Result<()> {
    let mut merge = Merge::new(rules);
    merge.top(layers, to)
}

/// What a tree was laid out of before.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    /// The ctime of a file written when that was done: what has a smaller one was not changed since.
    pub(crate) done: (i64, i64),
    /// Directories that are layers no longer.
    pub(crate) gone: Vec<PathBuf>,
    /// Directories that were layers then; what both have is in the same order.
    pub(crate) known: Vec<PathBuf>,
    /// Whether there are none but these.
    pub(crate) same: bool,
}

/// Makes a tree that was laid out before, and that programs ran in, what [`lay_out`] makes.
pub(crate) fn restore(layers: &[Layer], to: &Path, rules: Rules, before: Before) -> io::Result<()> {
    let mut merge = Merge::new(rules);
    merge.before = Some(before);
    merge.top(layers, to)
}

/// The same, and takes down what it has laid out.
pub(crate) fn lay_out_noting(layers: &[Layer], to: &Path, rules: Rules) -> io::Result<Baseline> {
    let mut merge = Merge::new(rules);
    merge.baseline = Some(Baseline::new());
    merge.top(layers, to)?;
    Ok(merge.baseline.unwrap_or_default())
}

struct Merge {
    rules: Rules,
    baseline: Option<Baseline>,
    /// What there is already.
    before: Option<Before>,
}

impl Merge {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            baseline: None,
            before: None,
        }
    }

    fn top(&mut self, layers: &[Layer], to: &Path) -> io::Result<()> {
        let Some(topmost) = layers.first() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let metadata = fs::metadata(&topmost.path).map_err(naming(&topmost.path))?;
        self.subdirectory(layers, &metadata, to, Path::new(""))
    }

    fn subdirectory(
        &mut self,
        sources: &[Layer],
        metadata: &Metadata,
        to: &Path,
        inside: &Path,
    ) -> io::Result<()> {
        let found = match self.before {
            Some(_) => present(to)?,
            None => None,
        };
        let changed = match &found {
            Some(found) if found.is_dir() => self.is_doubtful(found),
            Some(_) => {
                remove(to)?;
                true
            }
            None => true,
        };
        if !found.is_some_and(|found| found.is_dir()) {
            DirBuilder::new()
                .mode(0o700)
                .create(to)
                .map_err(naming(to))?;
        }
        let names = self.directory(sources, to, inside, changed)?;
        if !changed {
            return Ok(());
        }
        if self.before.is_some() {
            for entry in fs::read_dir(to).map_err(naming(to))? {
                let entry = entry.map_err(naming(to))?;
                if !names.contains(&entry.file_name()) {
                    remove(&entry.path())?;
                }
            }
        }
        self.finish_directory(to, metadata, inside)
            .map_err(naming(to))
    }

    /// What the sources have together.
    fn directory(
        &mut self,
        sources: &[Layer],
        to: &Path,
        inside: &Path,
        changed: bool,
    ) -> io::Result<HashSet<OsString>> {
        let mut names = HashSet::new();
        for (index, source) in sources.iter().enumerate() {
            let rest = sources.get(index + 1..).unwrap_or_default();
            for entry in fs::read_dir(&source.path).map_err(naming(&source.path))? {
                let entry = entry.map_err(naming(&source.path))?;
                let name = entry.file_name();
                if index > 0 && names.contains(&name) {
                    continue;
                }
                let from = entry.path();
                let metadata = entry.metadata().map_err(naming(&from))?;
                let (to, inside) = (to.join(&name), inside.join(&name));
                if metadata.is_dir() {
                    let below = below(source, &from, rest, &name)?;
                    self.subdirectory(&below, &metadata, &to, &inside)?;
                } else if is_never_laid_out(&metadata) {
                    if changed && self.before.is_some() {
                        remove(&to)?;
                    }
                } else if !self.stands(source, &metadata, &to, &inside, changed)? {
                    self.file(source.own, &from, &metadata, &to, &inside)
                        .map_err(naming(&to))?;
                }
                if !rest.is_empty() || (changed && self.before.is_some()) {
                    names.insert(name);
                }
            }
        }
        Ok(names)
    }

    /// Whether a directory may have other entries than it should.
    fn is_doubtful(&self, found: &Metadata) -> bool {
        self.before
            .as_ref()
            .is_none_or(|before| !before.same || is_since(found, before))
    }

    /// Whether a file needs no second look; what stands in its place wrongly is removed.
    fn stands(
        &self,
        source: &Layer,
        metadata: &Metadata,
        to: &Path,
        inside: &Path,
        doubtful: bool,
    ) -> io::Result<bool> {
        let Some(before) = &self.before else {
            return Ok(false);
        };
        // Only who may write to a directory puts another file in place of a link.
        if !doubtful && !self.is_exposed(metadata) {
            return Ok(true);
        }
        let Some(found) = present(to)? else {
            return Ok(false);
        };
        let is_link = (found.dev(), found.ino()) == (metadata.dev(), metadata.ino());
        // A copy tells nothing of what it is a copy of, but the layers do: it was this one's, unless
        // one that covered it is gone.
        let is_copy = !is_since(&found, before)
            && (before.same
                || (before
                    .known
                    .iter()
                    .any(|known| source.path.starts_with(known))
                    && !before
                        .gone
                        .iter()
                        .any(|gone| fs::symlink_metadata(gone.join(inside)).is_ok())));
        if is_link || is_copy {
            return Ok(true);
        }
        remove(to)?;
        Ok(false)
    }

    fn file(
        &mut self,
        own: bool,
        from: &Path,
        metadata: &Metadata,
        to: &Path,
        inside: &Path,
    ) -> io::Result<()> {
        let copied = !own && self.is_exposed(metadata);
        if copied || !link(from, to)? {
            copy(from, metadata, to)?;
            self.imitate(to, metadata)?;
        }
        if let Some(baseline) = &mut self.baseline
            && !own
        {
            baseline.insert(inside.to_owned(), Stamp::of(&fs::symlink_metadata(to)?));
        }
        Ok(())
    }

    /// Whether the program could change the file through a link to it.
    fn is_exposed(&self, metadata: &Metadata) -> bool {
        let Rules { uid, .. } = self.rules;
        // Whatever groups it is in: a file that its group may write to is rare.
        let shared = metadata.mode() & 0o022 != 0;
        !metadata.is_symlink() && (uid == 0 || metadata.uid() == uid || shared)
    }

    fn finish_directory(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        inside: &Path,
    ) -> io::Result<()> {
        self.imitate(path, metadata)?;
        if let Some(baseline) = &mut self.baseline {
            baseline.insert(inside.to_owned(), Stamp::of(&fs::symlink_metadata(path)?));
        }
        Ok(())
    }

    fn imitate(&self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        if self.rules.read_only && self.is_exposed(metadata) {
            lchown(path, Some(0), Some(0))?;
            let mode = metadata.mode() & 0o7755;
            return fs::set_permissions(path, Permissions::from_mode(mode));
        }
        imitate(path, metadata)
    }
}

/// A whiteout; and nothing else of a device is wanted, for here no mount option disarms it.
fn is_never_laid_out(metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    kind.is_char_device() || kind.is_block_device() || kind.is_socket()
}

fn is_since(found: &Metadata, before: &Before) -> bool {
    (found.ctime(), found.ctime_nsec()) >= before.done
}

fn present(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(naming(path)(error)),
    }
}

/// Removes whatever is at a path; nothing is fine. A directory's mode closes it to nobody who owns it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(path);
                fs::remove_dir_all(path)
            }
            done => done,
        },
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(naming(path)),
    }
}

/// Lets the owner remove what is in a directory. What can't be opened shows when it is removed.
fn open_up(directory: &Path) {
    drop(fs::set_permissions(
        directory,
        Permissions::from_mode(0o700),
    ));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// The directories that a directory consists of: those below it end at the first that hides the rest.
fn below(source: &Layer, from: &Path, rest: &[Layer], name: &OsString) -> io::Result<Vec<Layer>> {
    let mut found = vec![Layer {
        path: from.to_owned(),
        own: source.own,
    }];
    if rest.is_empty() || is_opaque(from)? {
        return Ok(found);
    }
    for layer in rest {
        let path = layer.path.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(naming(&path)(error)),
        }
        let opaque = is_opaque(&path)?;
        found.push(Layer {
            path,
            own: layer.own,
        });
        if opaque {
            break;
        }
    }
    Ok(found)
}

/// Copies a single file to where nothing is.
pub(crate) fn copy_file(
    from: &Path,
    metadata: &Metadata,
    to: &Path,
    rules: Rules,
) -> io::Result<()> {
    let merge = Merge::new(rules);
    copy(from, metadata, to)?;
    merge.imitate(to, metadata)
}

/// Gives a file another name; not if that name is in another file system or the file has too many.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Copies a tree with all owners, modes and times, to where nothing is; whatever it is in.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from).map_err(naming(from))?;
    if !metadata.is_dir() {
        copy(from, &metadata, to).map_err(naming(to))?;
        return imitate(to, &metadata).map_err(naming(to));
    }
    DirBuilder::new()
        .mode(0o700)
        .create(to)
        .map_err(naming(to))?;
    for entry in fs::read_dir(from).map_err(naming(from))? {
        let entry = entry.map_err(naming(from))?;
        copy_tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    imitate(to, &metadata).map_err(naming(to))
}

fn copy(from: &Path, metadata: &Metadata, to: &Path) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_file() {
        return fs::copy(from, to).map(drop);
    }
    let kind = rustix::fs::FileType::from_raw_mode(metadata.mode());
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    Ok(rustix::fs::mknodat(CWD, to, kind, mode, metadata.rdev())?)
}

/// Gives a path the owner, the mode and the times of another.
pub(crate) fn imitate(path: &Path, metadata: &Metadata) -> io::Result<()> {
    match lchown(path, Some(metadata.uid()), Some(metadata.gid())) {
        // A plain user's files are that user's all the same, in whichever group.
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied
                && !rustix::process::geteuid().is_root() => {}
        other => other?,
    }
    if !metadata.is_symlink() {
        fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(crate) fn is_opaque(path: &Path) -> io::Result<bool> {
    let mut value = [0_u8; 4];
    match lgetxattr(path, OPAQUE, &mut value) {
        Ok(length) => Ok(value.get(..length) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

pub(crate) fn make_opaque(path: &Path) -> io::Result<()> {
    Ok(lsetxattr(path, OPAQUE, b"y", XattrFlags::empty())?)
}

/// Adds the path to an error that lacks it; deeper paths stay.
pub(crate) fn naming(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| {
        if error.get_ref().is_some() {
            return error;
        }
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;

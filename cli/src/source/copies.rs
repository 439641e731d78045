//! The private copy of the source that a build works on.
//!
//! A large app's copy stays for the next build, with a note of what every file of it looked like before build code saw
//! it: only what is another one since then, there or in the source, is copied again.

use super::{Entry, Kind, Source, Stat, changed, make_folder, vanished};
use crate::app;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::remove_tree;
use oci_image::Digest;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// So many entries are copied sooner than a thread is started.
const FEW: usize = 200;

/// From so many files or bytes on, a copy is worth its place on the disk: below, it is made again in a moment.
const MANY_FILES: usize = 2000;
const MANY_BYTES: u64 = 32 << 20;

/// The mode of every folder of a copy.
pub(super) const FOLDER: u32 = 0o755;

/// More than a tick of the clock that file systems stamp changes with: what changes later than that shows it.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// What the files of a copy looked like, in the source and in the copy, by path.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Copies {
    /// Of which folder they are.
    root: PathBuf,
    /// Since which start of the machine.
    boot: String,
    files: BTreeMap<String, String>,
}

impl Copies {
    /// What cannot be read costs a copy of everything, nothing else.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let copies: Self = app::read_json(path).unwrap_or(None)?;
        // After a power cut, files may have lost what was written to them, and look the same.
        (copies.boot == boot()?).then_some(copies)
    }

    /// What a power cut takes of it is not believed anyway.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        app::write_json_unsynced(path, self)
    }

    fn has(&self, entry: &Entry, copy: &Metadata) -> bool {
        let noted = entry.path.to_str().and_then(|path| self.files.get(path));
        noted.is_some_and(|noted| *noted == mark(entry, copy))
    }
}

/// What tells this start of the machine from others.
fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}

/// Another text as soon as the file, or its copy, is another one.
fn mark(entry: &Entry, copy: &Metadata) -> String {
    let text = format!("{:?}\n{:?}\n{:?}", entry.kind, entry.stat, Stat::of(copy));
    let mut hex = Digest::of(text.as_bytes()).hex();
    hex.truncate(32);
    hex
}

impl Source {
    /// Whether a copy of it should stay for the next build.
    pub(crate) fn is_large(&self) -> bool {
        let (files, bytes) = self.size();
        files >= MANY_FILES || bytes >= MANY_BYTES
    }

    /// Makes `into` a copy of the source. Modes become 0644, 0755: what a checkout's umask was must not change the image.
    ///
    /// What `known` tells of a copy that is there already is not copied again.
    pub(crate) fn copy(&self, into: &Path, known: Option<&Copies>) -> Result<(), Failure> {
        let known = known.filter(|known| known.root == self.root);
        // Build code may have closed a folder: then nothing of the copy is kept.
        let kept = known.and_then(|known| self.keep(into, known).ok());
        if kept.is_none() {
            remove_tree(into)?;
            fs::create_dir_all(into)
                .or_fail(Exit::Store, || format!("cannot make {}", into.display()))?;
            fs::set_permissions(into, fs::Permissions::from_mode(FOLDER))
                .or_fail(Exit::Store, || {
                    format!("cannot set the mode of {}", into.display())
                })?;
        }
        let kept = kept.unwrap_or_default();
        let missing = self.entries.iter();
        let missing: Vec<_> = missing
            .filter(|entry| !kept.contains(&entry.path))
            .collect();
        self.make(into, &missing)
    }

    /// Notes what the copy in `into` looks like, which nobody has changed yet. `None` where a change may not show.
    pub(crate) fn note(&self, into: &Path) -> Option<Copies> {
        shows_changes(into).then(|| self.describe(into)).flatten()
    }

    fn describe(&self, into: &Path) -> Option<Copies> {
        thread::sleep(TICK);
        let now = SystemTime::now();
        let mut files = BTreeMap::new();
        for entry in &self.entries {
            // What has no note is copied again.
            if let (Kind::File { .. }, Some(path), Ok(copy)) = (
                &entry.kind,
                entry.path.to_str(),
                fs::symlink_metadata(into.join(&entry.path)),
            ) && !entry.stat.may_change_unseen(now)
            {
                files.insert(path.to_owned(), mark(entry, &copy));
            }
        }
        Some(Copies {
            root: self.root.clone(),
            boot: boot()?,
            files,
        })
    }

    /// Removes what is not as it was copied, or not in the source any more; returns the paths of the rest.
    fn keep(&self, into: &Path, known: &Copies) -> io::Result<HashSet<PathBuf>> {
        let top = fs::symlink_metadata(into)?;
        if !is_as_made(into, &top, &top) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut there = Vec::new();
        survey(into, Path::new(""), &mut there)?;
        let entries: HashMap<&Path, &Entry> = self
            .entries
            .iter()
            .map(|entry| (entry.path.as_path(), entry))
            .collect();
        let mut kept = HashSet::new();
        let mut removed: Option<PathBuf> = None;
        for (path, found) in there {
            if removed
                .as_ref()
                .is_some_and(|removed| path.starts_with(removed))
            {
                continue;
            }
            let full = into.join(&path);
            let is_right = entries
                .get(path.as_path())
                .is_some_and(|entry| match &entry.kind {
                    Kind::Folder => is_as_made(&full, &found, &top),
                    Kind::Link { target } => {
                        found.is_symlink()
                            && fs::read_link(&full).is_ok_and(|link| link == **target)
                    }
                    Kind::File { .. } => found.is_file() && known.has(entry, &found),
                });
            if is_right {
                kept.insert(path);
            } else if found.is_dir() {
                fs::remove_dir_all(&full)?;
                removed = Some(path);
            } else {
                fs::remove_file(&full)?;
            }
        }
        Ok(kept)
    }

    /// Makes entries that are not there, folders before what is in them.
    fn make(&self, into: &Path, entries: &[&Entry]) -> Result<(), Failure> {
        for entry in entries {
            let to = into.join(&entry.path);
            match &entry.kind {
                Kind::Folder => make_folder(&to)
                    .or_fail(Exit::Store, || format!("cannot make {}", to.display()))?,
                Kind::Link { target } => symlink(target, &to).or_fail(Exit::Store, || {
                    format!("cannot make the link {}", to.display())
                })?,
                Kind::File { .. } => {}
            }
        }
        // Most of the time goes into opening and closing: that is done on all processors, where it is worth a thread.
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = entries.len().div_ceil(threads).max(FEW);
        let mut shares = entries.chunks(share);
        let own = shares.next().unwrap_or_default();
        thread::scope(|scope| {
            let others: Vec<_> = shares
                .map(|entries| scope.spawn(|| self.copy_files(entries, into)))
                .collect();
            self.copy_files(own, into)?;
            others.into_iter().try_for_each(|other| {
                let done = other.join();
                done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    fn copy_files(&self, entries: &[&Entry], into: &Path) -> Result<(), Failure> {
        for entry in entries {
            if let Kind::File { executable } = entry.kind {
                let mode = if executable { 0o755 } else { 0o644 };
                let from = self.root.join(&entry.path);
                copy_file(&from, &into.join(&entry.path), mode, entry.stat)?;
            }
        }
        Ok(())
    }
}

/// Whether a folder has the mode that it was made with, the owner that all have, and no rules of its own for what is made
/// in it.
fn is_as_made(path: &Path, found: &Metadata, top: &Metadata) -> bool {
    let has = |name: &str| {
        let read = rustix::fs::lgetxattr(path, name, &mut [0_u8; 0]);
        !matches!(read, Err(Errno::NODATA | Errno::OPNOTSUPP))
    };
    found.is_dir()
        && found.permissions().mode() & 0o7777 == FOLDER
        && (found.uid(), found.gid()) == (top.uid(), top.gid())
        && !has("system.posix_acl_access")
        && !has("system.posix_acl_default")
}

/// Whether everything that is written to a file moves its time of change. On tmpfs, what goes through a mapping does not;
/// of other file systems it is not known.
fn shows_changes(folder: &Path) -> bool {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    let kind = rustix::fs::statfs(folder).map(|system| u64::try_from(system.f_type));
    matches!(kind, Ok(Ok(EXT4 | XFS | BTRFS)))
}

/// Everything below a folder, each folder right before what is in it. Links are not followed.
fn survey(root: &Path, folder: &Path, found: &mut Vec<(PathBuf, Metadata)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let (path, meta) = (folder.join(entry.file_name()), entry.metadata()?);
        let is_folder = meta.is_dir();
        found.push((path.clone(), meta));
        if is_folder {
            survey(root, &path, found)?;
        }
    }
    Ok(())
}

/// Copies one file and makes sure that it is the one that was listed, whole.
fn copy_file(from: &Path, to: &Path, mode: u32, listed: Stat) -> Result<(), Failure> {
    let reading = || format!("cannot read {}", from.display());
    let input = File::options()
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(from)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => vanished(from),
            _ => Failure::new(Exit::Input, reading())
                .because(error)
                .hint("make the file readable, or leave it out in .slugignore"),
        })?;
    let writing = || format!("cannot write {}", to.display());
    let output = File::options()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(to)
        .or_fail(Exit::Store, writing)?;
    let copied = transfer(&input, &output, listed.size).or_fail(Exit::Store, || {
        format!("cannot copy {} to {}", from.display(), to.display())
    })?;
    // A file that grew shows here as well.
    let now = input.metadata().or_fail(Exit::Input, reading)?;
    if copied != listed.size || Stat::of(&now) != listed {
        return Err(changed(from));
    }
    // The umask took its share of the mode.
    output
        .set_permissions(fs::Permissions::from_mode(mode))
        .or_fail(Exit::Store, writing)
}

/// Copies `size` bytes, and not many more; returns how many there were. The kernel does it where it can, and is asked no
/// more often than needed: that is what small files cost.
fn transfer(input: &File, output: &File, size: u64) -> io::Result<u64> {
    let mut copied = 0;
    while copied < size {
        let left = usize::try_from(size - copied).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(input, None, output, None, left) {
            Ok(0) => break,
            Ok(count) => copied += count as u64,
            Err(Errno::INTR) => {}
            // Not between these file systems, or not by this kernel.
            Err(_) if copied == 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    if copied == 0 {
        // One byte more: some file systems say of files that they are empty, or how long they are, and it is not so.
        let mut rest = input.take(size + 1);
        copied = io::copy(&mut rest, &mut &*output)?;
    }
    Ok(copied)
}

#[cfg(test)]
#[path = "copies_tests.rs"]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

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
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// So many entries are copied sooner than a thread is started.
const FEW: usize = 200;

/// From so many files or bytes on, a copy is worth its place on the disk: below, it is made again in a moment.
const MANY_FILES: usize = 2000;
const MANY_BYTES: u64 = 32 << 20;

/// More than a tick of the clock that file systems stamp changes with: what changes later than that shows it.
const TICK: Duration = Duration::from_millis(20);

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

    /// Staged and renamed, but not waited for until it is on disk: what a power cut takes is not believed anyway.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let attempt = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let mut staged = tempfile::NamedTempFile::new_in(folder)?;
            staged.write_all(&serde_json::to_vec(self)?)?;
            staged.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        attempt().or_fail(Exit::Store, || format!("cannot write {}", path.display()))
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
        let there = known.and_then(|known| {
            let mut there = Vec::new();
            // Build code may have closed a folder.
            survey(into, Path::new(""), &mut there).ok()?;
            Some((known, there))
        });
        let Some((known, there)) = there else {
            remove_tree(into)?;
            fs::create_dir_all(into)
                .or_fail(Exit::Store, || format!("cannot make {}", into.display()))?;
            return self.make(into, &self.entries.iter().collect::<Vec<_>>());
        };
        let kept = self.keep(into, known, &there)?;
        let missing = self.entries.iter();
        let missing: Vec<_> = missing
            .filter(|entry| !kept.contains(&*entry.path))
            .collect();
        self.make(into, &missing)
    }

    /// Notes what the copy in `into` looks like, which nobody has changed yet.
    pub(crate) fn note(&self, into: &Path) -> Option<Copies> {
        thread::sleep(TICK);
        let mut files = BTreeMap::new();
        for entry in &self.entries {
            // What has no note is copied again.
            if let (Kind::File { .. }, Some(path), Ok(copy)) = (
                &entry.kind,
                entry.path.to_str(),
                fs::symlink_metadata(into.join(&entry.path)),
            ) {
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
    fn keep<'t>(
        &self,
        into: &Path,
        known: &Copies,
        there: &'t [(PathBuf, Metadata)],
    ) -> Result<HashSet<&'t Path>, Failure> {
        let entries: HashMap<&Path, &Entry> = self
            .entries
            .iter()
            .map(|entry| (entry.path.as_path(), entry))
            .collect();
        let mut kept = HashSet::new();
        let mut removed: Option<&Path> = None;
        for (path, found) in there {
            if removed.is_some_and(|removed| path.starts_with(removed)) {
                continue;
            }
            let full = into.join(path);
            let is_right = entries
                .get(path.as_path())
                .is_some_and(|entry| match &entry.kind {
                    Kind::Folder => found.is_dir() && found.permissions().mode() & 0o7777 == 0o755,
                    Kind::Link { target } => {
                        found.is_symlink()
                            && fs::read_link(&full).is_ok_and(|link| link == **target)
                    }
                    Kind::File { .. } => found.is_file() && known.has(entry, found),
                });
            if is_right {
                kept.insert(path.as_path());
            } else if found.is_dir() {
                remove_tree(&full)?;
                removed = Some(path);
            } else {
                fs::remove_file(&full)
                    .or_fail(Exit::Store, || format!("cannot remove {}", full.display()))?;
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

/// Copies up to `size` bytes; returns how many there were. The kernel does it where it can, and is asked no more often
/// than needed: that is what small files cost.
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
        let mut rest = input.take(size);
        copied = io::copy(&mut rest, &mut &*output)?;
    }
    Ok(copied)
}

#[cfg(test)]
#[path = "copies_tests.rs"]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

//! What a program changed in a laid-out tree, put into the directory that was to receive it, in the
//! form that overlayfs would have given it.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;

use crate::merge::{self, Baseline, Stamp, imitate, naming};

/// A tree and what it was before the program ran.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) upper: PathBuf,
    pub(crate) lower: Vec<PathBuf>,
    pub(crate) baseline: Baseline,
    /// Paths inside that are not the root's own: mounts and their like.
    pub(crate) skipped: HashSet<PathBuf>,
}

impl Changes {
    /// Brings the upper directory up to date.
    pub(crate) fn collect(&self, tree: &Path) -> io::Result<()> {
        self.directory(tree, Path::new(""))?;
        self.hide_removed(tree)
    }

    fn directory(&self, tree: &Path, inside: &Path) -> io::Result<()> {
        let here = tree.join(inside);
        for entry in fs::read_dir(&here).map_err(naming(&here))? {
            let entry = entry.map_err(naming(&here))?;
            let inside = inside.join(entry.file_name());
            if self.skipped.contains(&inside) {
                continue;
            }
            let from = entry.path();
            let metadata = entry.metadata().map_err(naming(&from))?;
            let unchanged = self.baseline.get(&inside) == Some(&Stamp::of(&metadata));
            if metadata.is_dir() {
                if !unchanged {
                    self.ensure_directory(tree, &inside)?;
                }
                self.directory(tree, &inside)?;
            } else if !unchanged && !metadata.file_type().is_socket() {
                self.file(tree, &inside, &metadata)?;
            }
        }
        self.remove_gone(tree, inside)?;
        // Adding and removing names above has set the time of the copy.
        let copy = self.upper.join(inside);
        if fs::symlink_metadata(&copy).is_ok_and(|found| found.is_dir()) && inside != Path::new("")
        {
            imitate(&copy, &fs::symlink_metadata(&here)?).map_err(naming(&copy))?;
        }
        Ok(())
    }

    fn file(&self, tree: &Path, inside: &Path, metadata: &fs::Metadata) -> io::Result<()> {
        let (from, to) = (tree.join(inside), self.upper.join(inside));
        match fs::symlink_metadata(&to) {
            // Laid out as another name of this very file.
            Ok(found) if found.ino() == metadata.ino() => return Ok(()),
            Ok(found) if found.is_dir() => fs::remove_dir_all(&to).map_err(naming(&to))?,
            Ok(_) => fs::remove_file(&to).map_err(naming(&to))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.ensure_parent(tree, inside)?;
            }
            Err(error) => return Err(naming(&to)(error)),
        }
        if merge::link(&from, &to).map_err(naming(&to))? {
            return Ok(());
        }
        merge::copy_tree(&from, &to)
    }

    /// The directory in the upper one, made with its ancestors like those of the tree.
    fn ensure_directory(&self, tree: &Path, inside: &Path) -> io::Result<()> {
        let to = self.upper.join(inside);
        match fs::symlink_metadata(&to) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => fs::remove_file(&to).map_err(naming(&to))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.ensure_parent(tree, inside)?;
            }
            Err(error) => return Err(naming(&to)(error)),
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&to)
            .map_err(naming(&to))?;
        imitate(&to, &fs::symlink_metadata(tree.join(inside))?).map_err(naming(&to))
    }

    fn ensure_parent(&self, tree: &Path, inside: &Path) -> io::Result<()> {
        match inside.parent() {
            Some(parent) if parent != Path::new("") => self.ensure_directory(tree, parent),
            _ => Ok(()),
        }
    }

    /// Removes from the upper directory what the program removed; whiteouts stay.
    fn remove_gone(&self, tree: &Path, inside: &Path) -> io::Result<()> {
        let upper = self.upper.join(inside);
        let entries = match fs::read_dir(&upper) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(naming(&upper))?,
        };
        for entry in entries {
            let entry = entry.map_err(naming(&upper))?;
            let path = entry.path();
            let inside = inside.join(entry.file_name());
            let kind = entry.file_type().map_err(naming(&path))?;
            if kind.is_char_device()
                || self.skipped.contains(&inside)
                || fs::symlink_metadata(tree.join(&inside)).is_ok()
            {
                continue;
            }
            let removed = if kind.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(naming(&path))?;
            self.hide(&inside)?;
        }
        Ok(())
    }

    /// What is missing of the lower directories is hidden.
    fn hide_removed(&self, tree: &Path) -> io::Result<()> {
        let is_there = |path: &Path| fs::symlink_metadata(tree.join(path)).is_ok();
        for inside in self.baseline.keys() {
            let parent = inside.parent().unwrap_or(Path::new(""));
            if !self.skipped.contains(inside) && !is_there(inside) && is_there(parent) {
                self.ensure_parent(tree, inside)?;
                self.hide(inside)?;
            }
        }
        Ok(())
    }

    /// A whiteout, if there is something below to be hidden.
    fn hide(&self, inside: &Path) -> io::Result<()> {
        let is_below = |lower: &PathBuf| fs::symlink_metadata(lower.join(inside)).is_ok();
        if !self.lower.iter().any(is_below) {
            return Ok(());
        }
        let path = self.upper.join(inside);
        match mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(naming(&path)(errno.into())),
        }
    }
}

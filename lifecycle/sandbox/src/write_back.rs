//! Copies changes from memory to the directory they were meant for.
//!
//! overlayfs cannot have its upper directory on overlayfs, so not in most containers. There the
//! changes are collected in memory, on top of what the directory holds, and merged into it when the
//! program has ended.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::merge::{imitate, is_opaque, make_opaque};

/// Changes in memory and where they belong.
#[derive(Debug)]
pub(crate) struct WriteBack {
    /// The in-memory upper directory.
    pub(crate) from: OwnedFd,
    /// The directory that could not be an upper one.
    pub(crate) to: PathBuf,
    /// What lies below: something to be hidden there needs a whiteout.
    pub(crate) lower: Vec<PathBuf>,
}

impl WriteBack {
    pub(crate) fn run(self) -> io::Result<()> {
        let from = PathBuf::from(format!("/proc/self/fd/{}", self.from.as_raw_fd()));
        let mut merge = Merge {
            lower: &self.lower,
            links: HashMap::new(),
        };
        merge.directory(&from, &self.to, Path::new(""))
    }
}

struct Merge<'a> {
    lower: &'a [PathBuf],
    /// Copies of files with several names, by inode.
    links: HashMap<u64, PathBuf>,
}

impl Merge<'_> {
    fn directory(&mut self, from: &Path, to: &Path, inside: &Path) -> io::Result<()> {
        for entry in fs::read_dir(from).map_err(naming(from))? {
            let name = entry.map_err(naming(from))?.file_name();
            let (from, to, inside) = (from.join(&name), to.join(&name), inside.join(&name));
            self.entry(&from, &to, &inside).map_err(naming(&to))?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &Path, to: &Path, inside: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(from)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return self.subdirectory(from, &metadata, to, inside);
        }
        remove(to)?;
        if kind.is_char_device() && metadata.rdev() == 0 {
            return if self.is_below(inside) {
                node(to, FileType::CharacterDevice, &metadata)
            } else {
                Ok(())
            };
        }
        if kind.is_socket() {
            return Ok(());
        }
        if metadata.nlink() > 1 {
            if let Some(first) = self.links.get(&metadata.ino()) {
                return fs::hard_link(first, to);
            }
            self.links.insert(metadata.ino(), to.to_path_buf());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
        } else if kind.is_file() {
            make_readable(from, &metadata, 0o400)?;
            fs::copy(from, to)?;
        } else {
            node(to, FileType::from_raw_mode(metadata.mode()), &metadata)?;
        }
        imitate(to, &metadata)
    }

    fn subdirectory(
        &mut self,
        from: &Path,
        metadata: &Metadata,
        to: &Path,
        inside: &Path,
    ) -> io::Result<()> {
        make_readable(from, metadata, 0o700)?;
        let was = match fs::symlink_metadata(to) {
            Ok(was) => Some(was.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // A directory that takes the place of something else, be it a whiteout, hides what is below.
        let opaque = was == Some(false) || is_opaque(from)?;
        if opaque {
            remove(to)?;
        }
        if opaque || was.is_none() {
            DirBuilder::new().mode(0o700).create(to)?;
        }
        if opaque && self.is_below(inside) {
            make_opaque(to)?;
        }
        self.directory(from, to, inside)?;
        imitate(to, metadata)
    }

    fn is_below(&self, inside: &Path) -> bool {
        self.lower
            .iter()
            .any(|lower| fs::symlink_metadata(lower.join(inside)).is_ok())
    }
}

/// Adds the path to an error that lacks it; deeper paths stay.
fn naming(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| {
        if error.get_ref().is_some() {
            return error;
        }
        io::Error::new(
            error.kind(),
            format!(
                "copying the sandbox's changes to {}: {error}",
                path.display()
            ),
        )
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A plain user's own files may be closed to itself; the copy in memory is not needed afterwards.
fn make_readable(path: &Path, metadata: &Metadata, bits: u32) -> io::Result<()> {
    if metadata.mode() & bits == bits {
        return Ok(());
    }
    fs::set_permissions(
        path,
        Permissions::from_mode(metadata.mode() & 0o7777 | bits),
    )
}

fn node(path: &Path, kind: FileType, metadata: &Metadata) -> io::Result<()> {
    Ok(mknodat(
        CWD,
        path,
        kind,
        Mode::from_raw_mode(metadata.mode() & 0o7777),
        metadata.rdev(),
    )?)
}

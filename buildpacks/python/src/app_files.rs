//! What lies in the app's folder: whether it is what it was, and what a program added to it.

use crate::fingerprint::{self, hex};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Everything in a folder, by path relative to it.
#[derive(Debug)]
pub(crate) struct Listing(BTreeMap<PathBuf, Entry>);

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    /// Inode, size, and the times of the last changes of content and of anything; nothing for folders.
    trace: Option<[i64; 6]>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Folder {
        mode: u32,
    },
    File {
        mode: u32,
    },
    Link {
        target: PathBuf,
    },
    /// A pipe, a device, or a file with several names.
    Other,
}

/// The sha256 of files.
pub(crate) type Contents = BTreeMap<PathBuf, [u8; 32]>;

impl Listing {
    /// Lists a folder with all below it; follows no link and opens no file.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let mut entries = BTreeMap::new();
        list(folder, Path::new(""), &mut entries)?;
        Ok(Self(entries))
    }

    /// Reads the files that are `wanted`.
    pub(crate) fn contents(
        &self,
        folder: &Path,
        wanted: impl Fn(&Path) -> bool,
    ) -> io::Result<Contents> {
        let mut contents = Contents::new();
        for (path, entry) in &self.0 {
            if matches!(entry.kind, Kind::File { .. }) && wanted(path) {
                let mut hash = Sha256::new();
                fingerprint::add_content(&mut hash, &folder.join(path))?;
                contents.insert(path.clone(), hash.finalize().into());
            }
        }
        Ok(contents)
    }

    /// A digest of all names, modes and links, and of the contents of the files that are `wanted`.
    pub(crate) fn digest(&self, contents: &Contents, wanted: impl Fn(&Path) -> bool) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for (path, entry) in &self.0 {
            add(path.as_os_str().as_bytes());
            match &entry.kind {
                Kind::Folder { mode } => add(format!("folder {mode:o}").as_bytes()),
                Kind::File { mode } => add(format!("file {mode:o}").as_bytes()),
                Kind::Link { target } => {
                    add(b"link");
                    add(target.as_os_str().as_bytes());
                }
                Kind::Other => add(b"other"),
            }
            if wanted(path)
                && let Some(content) = contents.get(path)
            {
                add(content);
            }
        }
        hex(&hash.finalize())
    }

    /// What is here and was not `before`; nothing when anything from before is gone or changed, or when
    /// there is something that can't be copied.
    pub(crate) fn added(&self, before: &Self) -> Option<BTreeSet<&Path>> {
        let same = |(path, entry)| self.0.get(path) == Some(entry);
        if !before.0.iter().all(same) || self.0.values().any(|entry| entry.kind == Kind::Other) {
            return None;
        }
        let is_new = |path: &&PathBuf| !before.0.contains_key(*path);
        Some(self.0.keys().filter(is_new).map(PathBuf::as_path).collect())
    }

    /// Removes what is in the folder and is not in this listing. What can't be removed stays: it is only weight.
    pub(crate) fn remove_added(&self, folder: &Path) {
        let Ok(after) = Self::of(folder) else { return };
        // What is in a folder goes before the folder.
        for (path, entry) in after.0.iter().rev() {
            if self.0.contains_key(path) {
                continue;
            }
            let path = folder.join(path);
            let _ = if matches!(entry.kind, Kind::Folder { .. }) {
                fs::remove_dir(path)
            } else {
                fs::remove_file(path)
            };
        }
    }
}

fn list(root: &Path, folder: &Path, entries: &mut BTreeMap<PathBuf, Entry>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let metadata = entry.metadata()?;
        let kind = kind(&entry.path(), &metadata)?;
        let is_folder = matches!(kind, Kind::Folder { .. });
        let trace = (!is_folder).then(|| trace(&metadata));
        entries.insert(path.clone(), Entry { kind, trace });
        if is_folder {
            list(root, &path, entries)?;
        }
    }
    Ok(())
}

fn kind(path: &Path, metadata: &Metadata) -> io::Result<Kind> {
    let mode = metadata.mode() & 0o7777;
    Ok(if metadata.is_dir() {
        Kind::Folder { mode }
    } else if metadata.is_symlink() {
        Kind::Link {
            target: fs::read_link(path)?,
        }
    } else if metadata.is_file() && metadata.nlink() == 1 {
        Kind::File { mode }
    } else {
        Kind::Other
    })
}

fn trace(metadata: &Metadata) -> [i64; 6] {
    [
        metadata.ino().cast_signed(),
        metadata.size().cast_signed(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

/// Copies files, folders and links from one folder to the same places in another, with their modes; folders
/// above them are made as needed, and those that are there stay as they are.
pub(crate) fn copy(from: &Path, to: &Path, paths: &BTreeSet<&Path>) -> io::Result<()> {
    // A folder sorts before what is in it.
    for path in paths {
        let (source, target) = (from.join(path), to.join(path));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let metadata = fs::symlink_metadata(&source)?;
        if metadata.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if metadata.is_dir() {
            match fs::DirBuilder::new().mode(0o700).create(&target) {
                Ok(()) => fs::set_permissions(&target, metadata.permissions())?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        } else {
            // Nothing that is there is written to.
            let mut file = File::options().write(true).create_new(true).open(&target)?;
            io::copy(&mut File::open(&source)?, &mut file)?;
            file.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
        }
    }
    Ok(())
}

/// Copies everything in a folder, as [`copy`] does.
pub(crate) fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    let listing = Listing::of(from)?;
    copy(from, to, &listing.0.keys().map(PathBuf::as_path).collect())
}

#[cfg(test)]
#[path = "app_files_tests.rs"]
mod tests;

//! What all packages together say of every path: who owns it, and whether they agree.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::unpack::{Kind, Named, Unpacked};

/// Why packages don't fit together.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Two packages have the same file.
    #[error("the packages {first} and {second} both contain /{path}")]
    Clash {
        /// The path.
        path: PathBuf,
        /// The package that comes first by name.
        first: String,
        /// The other.
        second: String,
    },
    /// A directory's mode could not be set.
    #[error("cannot set the mode of {path}")]
    Mode {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Paths of packages, relative to the root.
pub(crate) type Table = BTreeMap<PathBuf, Settled>;

/// What is known of a path.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) user: Named,
    pub(crate) group: Named,
    kind: Kind,
    package: String,
}

/// Adds the packages' paths to the table, and gives every directory its mode.
///
/// Packages are unpacked in no particular order, so that of two packages which disagree about a
/// directory, the first by name wins, and a directory of the root `below` wins over both (dpkg
/// leaves a directory alone that is there already).
pub(crate) fn settle(
    table: &mut Table,
    root: &Path,
    below: Option<&Path>,
    packages: &[&Unpacked],
) -> Result<(), SettleError> {
    for package in packages {
        let name = package
            .control
            .paragraph()
            .get("Package")
            .unwrap_or_default();
        for entry in &package.entries {
            if let Some(known) = table.get(&entry.path) {
                if known.kind == Kind::Directory && entry.kind == Kind::Directory {
                    continue;
                }
                return Err(SettleError::Clash {
                    path: entry.path.clone(),
                    first: known.package.clone(),
                    second: name.to_owned(),
                });
            }
            if entry.kind == Kind::Directory {
                set_mode(root, below, &entry.path, entry.mode)?;
            }
            let settled = Settled {
                user: entry.user.clone(),
                group: entry.group.clone(),
                kind: entry.kind,
                package: name.to_owned(),
            };
            table.insert(entry.path.clone(), settled);
        }
    }
    match below {
        Some(below) => adopt_modes(root, below, Path::new("")),
        None => Ok(()),
    }
}

fn set_mode(root: &Path, below: Option<&Path>, path: &Path, mode: u32) -> Result<(), SettleError> {
    if below.is_some_and(|below| below.join(path).is_dir()) {
        return Ok(());
    }
    let path = root.join(path);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        .map_err(|source| SettleError::Mode { path, source })
}

/// Directories that are in both have the mode of those below.
fn adopt_modes(root: &Path, below: &Path, path: &Path) -> Result<(), SettleError> {
    let here = root.join(path);
    let failed = |source| SettleError::Mode {
        path: here.clone(),
        source,
    };
    let Ok(metadata) = fs::symlink_metadata(below.join(path)) else {
        return Ok(());
    };
    if !metadata.is_dir() {
        return Ok(());
    }
    fs::set_permissions(&here, metadata.permissions()).map_err(failed)?;
    for entry in fs::read_dir(&here).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            adopt_modes(root, below, &path.join(entry.file_name()))?;
        }
    }
    Ok(())
}

//! `lock.toml`: exactly which packages a stack was made of.

use std::path::{Path, PathBuf};

use oci_image::Digest;
use serde::{Deserialize, Serialize};

use crate::recipe::{Archive, Recipe};

/// The version of the format this crate reads and writes.
const FORMAT: u32 = 1;

/// Why a lock could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file could not be read.
    #[error("cannot read the stack lock {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file could not be written.
    #[error("cannot write the stack lock {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no lock, or one of another format.
    #[error("cannot understand the stack lock {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Written by a later version.
    #[error("the stack lock {path} has format {found}, this program knows format {FORMAT}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
}

/// The packages of a stack, each by its digest. The same lock and recipe make the same layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The format's version.
    format: u32,
    /// The recipe's id.
    pub stack: String,
    /// Debian's name of the architecture, for example `amd64`.
    pub architecture: String,
    /// The time everything in the stack claims to be no younger than, in Unix seconds: the newest
    /// of the suites' dates.
    pub epoch: i64,
    /// What the recipe asked for; a lock only fits a recipe that still asks for the same.
    pub wanted: Digest,
    /// The suites as they were.
    #[serde(rename = "suite")]
    pub suites: Vec<LockedSuite>,
    /// The packages, sorted by layer and name.
    #[serde(rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// A suite's Release file at the time of locking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSuite {
    /// Its name.
    pub name: String,
    /// Its `Date`, in Unix seconds.
    pub date: i64,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture; `all` for what has none.
    pub architecture: String,
    /// The suite it is from.
    pub suite: String,
    /// Which layer it belongs to.
    pub layer: Layer,
    /// Its path under the mirror's base.
    pub filename: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// The layers of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// The run root.
    Run,
    /// What builds need beside it.
    Build,
}

impl Layer {
    /// As it is written in the lock.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Build => "build",
        }
    }
}

impl Lock {
    pub(crate) fn new(
        recipe: &Recipe,
        architecture: &str,
        suites: Vec<LockedSuite>,
        mut packages: Vec<LockedPackage>,
    ) -> Self {
        packages.sort_by(|a, b| (a.layer, &a.name).cmp(&(b.layer, &b.name)));
        Self {
            format: FORMAT,
            stack: recipe.id.clone(),
            architecture: architecture.to_owned(),
            epoch: suites.iter().map(|suite| suite.date).max().unwrap_or(0),
            wanted: wanted(recipe),
            suites,
            packages,
        }
    }

    /// Whether the recipe still asks for what was locked, for this architecture.
    pub fn fits(&self, recipe: &Recipe, architecture: &str) -> bool {
        self.stack == recipe.id
            && self.architecture == architecture
            && self.wanted == wanted(recipe)
    }

    /// Reads a lock.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text = std::fs::read_to_string(path).map_err(|source| LockError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Understands a lock's text; `path` is only named in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockError> {
        let lock: Self = toml::from_str(text).map_err(|source| LockError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        if lock.format != FORMAT {
            return Err(LockError::Format {
                path: path.to_owned(),
                found: lock.format,
            });
        }
        Ok(lock)
    }

    /// Writes the lock beside its place and renames it there.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let failed = |source| LockError::Write {
            path: path.to_owned(),
            source,
        };
        let text = toml::to_string(self).map_err(|error| failed(std::io::Error::other(error)))?;
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let mut staged = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(failed)?;
        std::io::Write::write_all(&mut staged, text.as_bytes()).map_err(failed)?;
        staged.as_file().sync_all().map_err(failed)?;
        staged.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A digest of what decides which packages are chosen.
fn wanted(recipe: &Recipe) -> Digest {
    let mut text = String::new();
    let mut line = |parts: &[&str]| {
        text.push_str(&parts.join(" "));
        text.push('\n');
    };
    for suite in &recipe.suites {
        let archive = match suite.archive {
            Archive::Main => "main",
            Archive::Security => "security",
        };
        line(&["suite", &suite.name, archive, &suite.components.join(",")]);
    }
    for (layer, content) in [
        (Layer::Run, Some(&recipe.run)),
        (Layer::Build, recipe.build.as_ref()),
    ] {
        let mut packages: Vec<_> = content
            .map_or(&[][..], |content| &content.packages)
            .to_vec();
        packages.sort();
        line(&[layer.name(), &packages.join(" ")]);
    }
    Digest::of(text.as_bytes())
}

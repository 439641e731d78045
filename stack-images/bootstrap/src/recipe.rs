//! `stack.toml`: what a stack is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::signature::{Keyring, KeyringError};

/// Why a recipe could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// A file of the recipe could not be read.
    #[error("cannot read the stack recipe's file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// `stack.toml` is not what a recipe looks like.
    #[error("cannot understand the stack recipe {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// One of the archive keys is not a PGP certificate.
    #[error("cannot use the archive key {name} of the stack recipe")]
    Key {
        /// The key's file name.
        name: String,
        /// The reason.
        #[source]
        source: KeyringError,
    },
}

/// A stack: suites to take packages from, packages of the run root and of the build layer over it,
/// and what remains to be said about files, owners and users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// The stack's name, for example `slug-13`.
    pub id: String,
    /// Files with the PGP certificates that may sign the suites, relative to the recipe.
    keys: Vec<PathBuf>,
    /// The suites, in order of preference among equal versions.
    #[serde(rename = "suite")]
    pub suites: Vec<Suite>,
    /// The run root.
    pub run: Content,
    /// The layer over it for builds; a stack without one has only a run root.
    #[serde(default)]
    pub build: Option<Content>,
    /// Files of packages that are not unpacked, by dpkg's own rules.
    #[serde(default)]
    pub paths: PathFilters,
    /// Users that exist beside Debian's own.
    #[serde(default, rename = "user")]
    pub users: Vec<User>,
    /// Owners of what maintainer scripts create (what packages contain has its owner in the package).
    #[serde(default, rename = "owner")]
    pub owners: Vec<OwnerRule>,
    /// Files to write when everything is configured.
    #[serde(default, rename = "file")]
    pub files: Vec<ExtraFile>,
    /// Paths to remove when everything is configured, `*` and `?` as in a shell (also across `/`).
    #[serde(default)]
    pub remove: Vec<String>,
    /// Packages whose maintainer scripts do not run: those that set up a daemon for a machine that this
    /// root will never be.
    #[serde(default)]
    pub without_scripts: Vec<String>,
    #[serde(skip)]
    pub(crate) keyring: Keyring,
}

/// A suite of an archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Suite {
    /// Its folder under `dists/` and the codename its Release file must carry.
    pub name: String,
    /// Which of the mirrors has it.
    #[serde(default)]
    pub archive: Archive,
    /// The components packages come from.
    #[serde(default = "main_component")]
    pub components: Vec<String>,
}

/// The two archives of Debian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// The archive of the releases and their updates.
    #[default]
    Main,
    /// The archive of security updates.
    Security,
}

/// What one layer contains.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Content {
    /// Packages beside the minimal ones (`Essential: yes` or `Priority: required`); their
    /// dependencies come by themselves, recommendations don't.
    pub packages: Vec<String>,
    /// The image's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The image's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The image's user, `uid:gid`.
    #[serde(default)]
    pub user: Option<String>,
    /// The image's working directory.
    #[serde(default)]
    pub working_dir: Option<String>,
}

/// dpkg's `path-exclude` and `path-include`, excludes first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathFilters {
    /// Patterns of paths that are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Patterns of paths that are unpacked all the same.
    #[serde(default)]
    pub include: Vec<String>,
}

/// A user with a group of the same name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory; made, and owned by the user.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Who owns a path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerRule {
    /// A path, `*` and `?` as in a shell (also across `/`).
    pub path: String,
    /// A user of the root's `/etc/passwd`.
    #[serde(default = "root")]
    pub user: String,
    /// A group of the root's `/etc/group`.
    #[serde(default = "root")]
    pub group: String,
    /// The mode to set, where the one that is there isn't right.
    #[serde(default)]
    pub mode: Option<u32>,
}

/// A file of the recipe itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraFile {
    /// Where it goes.
    pub path: String,
    /// What is in it.
    pub content: String,
    /// Its mode, 0644 unless said otherwise.
    #[serde(default = "plain_mode")]
    pub mode: u32,
}

fn main_component() -> Vec<String> {
    vec!["main".to_owned()]
}

fn root() -> String {
    "root".to_owned()
}

fn plain_mode() -> u32 {
    0o644
}

impl Recipe {
    /// Reads `stack.toml` in a folder, and the keys beside it.
    pub fn read(folder: &Path) -> Result<Self, RecipeError> {
        let path = folder.join("stack.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| RecipeError::Read {
            path: path.clone(),
            source,
        })?;
        Self::parse(&path, &text, |key| {
            let path = folder.join(key);
            std::fs::read(&path).map_err(|source| RecipeError::Read { path, source })
        })
    }

    /// Understands a recipe's text; `path` is only named in errors, `key` finds the certificates.
    pub fn parse(
        path: &Path,
        text: &str,
        mut key: impl FnMut(&Path) -> Result<Vec<u8>, RecipeError>,
    ) -> Result<Self, RecipeError> {
        let mut recipe: Self = toml::from_str(text).map_err(|source| RecipeError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        for name in &recipe.keys {
            let certificate = key(name)?;
            recipe
                .keyring
                .add(&certificate)
                .map_err(|source| RecipeError::Key {
                    name: name.display().to_string(),
                    source,
                })?;
        }
        Ok(recipe)
    }
}

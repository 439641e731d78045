//! `buildpack.toml`, the descriptor of a buildpack (Buildpack API).

use crate::api::ApiVersion;
use crate::names::{BuildpackId, escape_id};
use crate::order::OrderGroup;
use crate::target::{BuildpackTarget, Distro};
use crate::toml_file::{self, FileError};
use serde::{Deserialize, Deserializer};
use std::path::{Path, PathBuf};

/// What a module of a group is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It builds.
    #[default]
    Buildpack,
    /// It writes Dockerfiles for the images that are built in and on (Image Extension API).
    Extension,
}

/// A buildpack's descriptor, or an image extension's, and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Buildpack {
    /// Which of the two.
    pub kind: Kind,
    /// The folder that holds buildpack.toml, absolute.
    pub dir: PathBuf,
    /// The API it speaks.
    pub api: ApiVersion,
    /// The `[buildpack]` table.
    pub info: BuildpackInfo,
    /// Not empty in a composite buildpack.
    pub order: Vec<OrderGroup>,
    /// What it runs on, inferred where the file is silent; empty in a composite buildpack.
    pub targets: Vec<BuildpackTarget>,
}

/// The `[buildpack]` table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BuildpackInfo {
    /// Globally unique.
    pub id: BuildpackId,
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// `<X>.<Y>.<Z>`.
    #[serde(default)]
    pub version: String,
    /// Its web page.
    #[serde(default)]
    pub homepage: Option<String>,
    /// Whether the user's variables stay out of its environment.
    #[serde(default, rename = "clear-env")]
    pub clear_env: bool,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// For registries.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Media types of the SBOM files that it writes.
    #[serde(default, rename = "sbom-formats")]
    pub sbom_formats: Vec<String>,
    /// Execution environments that it supports, all when empty (Buildpack API 0.12).
    #[serde(default, rename = "exec-env", deserialize_with = "exec_env")]
    pub exec_env: Vec<String>,
}

impl Buildpack {
    /// Reads `<dir>/buildpack.toml`.
    pub fn read(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join("buildpack.toml");
        let file: BuildpackToml = toml_file::read(&path)?;
        let invalid = |reason: String| FileError::Invalid {
            path: path.clone(),
            reason,
        };
        let api = file.api.parse().map_err(|source| FileError::Api {
            path: path.clone(),
            source,
        })?;
        if !file.order.is_empty() && !file.stacks.is_empty() {
            return Err(invalid("order and stacks exclude each other".to_owned()));
        }
        let targets = targets(dir, api, file.targets, &file.stacks);
        Ok(Self {
            kind: Kind::Buildpack,
            dir: dir.to_owned(),
            api,
            info: file.buildpack,
            order: file.order,
            targets,
        })
    }

    /// Reads `<dir>/extension.toml`.
    pub fn read_extension(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join("extension.toml");
        let file: ExtensionToml = toml_file::read(&path)?;
        let api = file.api.parse().map_err(|source| FileError::Api {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            kind: Kind::Extension,
            dir: dir.to_owned(),
            api,
            info: file.extension,
            order: Vec::new(),
            targets: file.targets,
        })
    }

    /// Reads the extension that an extensions folder holds as `<escaped id>/<version>`.
    pub fn find_extension(dir: &Path, id: &str, version: &str) -> Result<Self, FileError> {
        Self::read_extension(&dir.join(escape_id(id)).join(version))
    }

    /// Reads the buildpack that a buildpacks folder holds as `<escaped id>/<version>`.
    pub fn find(buildpacks_dir: &Path, id: &str, version: &str) -> Result<Self, FileError> {
        Self::read(&buildpacks_dir.join(escape_id(id)).join(version))
    }

    /// Whether it is made of other buildpacks.
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }
}

#[derive(Deserialize)]
struct BuildpackToml {
    // A string here, so that a malformed version is reported with the name of its key.
    api: String,
    buildpack: BuildpackInfo,
    #[serde(default)]
    order: Vec<OrderGroup>,
    #[serde(default)]
    targets: Vec<BuildpackTarget>,
    #[serde(default)]
    stacks: Vec<Stack>,
}

#[derive(Deserialize)]
struct ExtensionToml {
    api: String,
    extension: BuildpackInfo,
    #[serde(default)]
    targets: Vec<BuildpackTarget>,
}

#[derive(Deserialize)]
struct Stack {
    id: String,
}

/// The specification writes `[[buildpack.exec-env]]` with a `name`; the reference lifecycle reads strings.
fn exec_env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Text(String),
        Table { name: String },
    }
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    Ok(entries
        .into_iter()
        .map(|(Entry::Text(name) | Entry::Table { name })| name)
        .collect())
}

/// Declared targets, else those that the deprecated stacks stand for, else Linux when there is a `bin/build`.
fn targets(
    dir: &Path,
    api: ApiVersion,
    declared: Vec<BuildpackTarget>,
    stacks: &[Stack],
) -> Vec<BuildpackTarget> {
    if !declared.is_empty() {
        return declared;
    }
    let mut targets: Vec<BuildpackTarget> = stacks
        .iter()
        .filter_map(|stack| match stack.id.as_str() {
            "*" => Some(BuildpackTarget::default()),
            "io.buildpacks.stacks.bionic" if api.at_least(10) || stacks.len() == 1 => {
                Some(BuildpackTarget {
                    os: "linux".to_owned(),
                    arch: "amd64".to_owned(),
                    variant: String::new(),
                    distros: vec![Distro {
                        name: "ubuntu".to_owned(),
                        version: "18.04".to_owned(),
                    }],
                })
            }
            _ => None,
        })
        .collect();
    if targets.is_empty() && dir.join("bin/build").exists() {
        targets.push(BuildpackTarget {
            os: "linux".to_owned(),
            ..BuildpackTarget::default()
        });
    }
    targets
}

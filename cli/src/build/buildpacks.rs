//! The buildpacks of a build: slugc's own, or the folders that the user named.

use crate::failure::{Exit, Failure, OrFail};
use crate::parts::{self, Parts};
use cnb_spec::buildpack::Buildpack;
use cnb_spec::group::GroupElement;
use cnb_spec::names::escape_id;
use cnb_spec::order::Order;
use cnb_spec::toml_file;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Buildpacks {
    order: Order,
    /// Folder on the host, and place below the buildpacks folder inside.
    mounts: Vec<(PathBuf, String)>,
    /// Folders that may change between builds.
    foreign: Vec<PathBuf>,
}

impl Buildpacks {
    /// slugc's own buildpacks, the last of them optional, or exactly the named ones.
    pub(crate) fn choose(parts: &Parts, named: &[PathBuf]) -> Result<Self, Failure> {
        let foreign: Vec<PathBuf> = named
            .iter()
            .map(|folder| {
                folder.canonicalize().or_fail(Exit::Input, || {
                    format!("cannot find the buildpack {}", folder.display())
                })
            })
            .collect::<Result<_, _>>()?;
        let folders = if foreign.is_empty() {
            parts::BUILDPACKS.map(|name| parts.buildpack(name)).to_vec()
        } else {
            foreign.clone()
        };
        let mut group = Vec::new();
        let mut mounts = Vec::new();
        for folder in folders {
            let buildpack = Buildpack::read(&folder).or_fail(Exit::Input, || {
                format!("cannot use the buildpack {}", folder.display())
            })?;
            let id = buildpack.info.id.as_str();
            let version = &buildpack.info.version;
            mounts.push((folder, place(id, version)));
            group.push(GroupElement::new(id, version.as_str()));
        }
        if foreign.is_empty()
            && let Some(procfile) = group.last_mut()
        {
            procfile.optional = true;
        }
        Ok(Self {
            order: Order::of(group),
            mounts,
            foreign,
        })
    }

    pub(crate) fn mounts(&self) -> &[(PathBuf, String)] {
        &self.mounts
    }

    /// Whether this is one of them.
    pub(crate) fn has(&self, element: &GroupElement) -> bool {
        let place = place(&element.id, &element.version);
        self.mounts.iter().any(|(_, mounted)| *mounted == place)
    }

    pub(crate) fn write_order(&self, path: &Path) -> Result<(), Failure> {
        toml_file::write(path, &self.order).or_fail(Exit::Store, || {
            "cannot pass on the order of buildpacks".to_owned()
        })
    }

    /// Equal texts mean the same buildpacks; slugc's own are known by its own identity.
    pub(crate) fn fingerprint(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for folder in &self.foreign {
            let print = oci_image::fingerprint::tree(folder).or_fail(Exit::Input, || {
                format!("cannot look at the buildpack {}", folder.display())
            })?;
            text = format!("{text}{} {print:?}\n", folder.display());
        }
        Ok(text)
    }
}

/// Where a buildpack is below the buildpacks folder (Platform API, "Buildpacks Directory Layout").
fn place(id: &str, version: &str) -> String {
    format!("{}/{version}", escape_id(id))
}

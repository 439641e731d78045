//! The buildpacks of a build: slugc's own, those of a builder, those that the user named.

use crate::failure::{Exit, Failure, OrFail};
use crate::parts::{self, Parts};
use crate::platform::module::{self, Module};
use cnb_spec::group::GroupElement;
use cnb_spec::order::Order;
use cnb_spec::toml_file;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The one without which there is nothing to build.
const PYTHON: &str = "slugc/python";

#[derive(Debug, Default)]
pub(crate) struct Buildpacks {
    pub(crate) order: Order,
    /// Folder on the host, and place below the buildpacks folder inside.
    mounts: Vec<(PathBuf, String)>,
    /// Folders that may change between builds.
    foreign: Vec<PathBuf>,
    /// Folders in the store, which do not change.
    fixed: Vec<PathBuf>,
    /// Places of those that the build image has.
    bundled: BTreeSet<String>,
}

impl Buildpacks {
    /// slugc's own buildpacks, those beside the Python buildpack optional.
    pub(crate) fn own(modules: &[Module]) -> Self {
        let mut group: Vec<GroupElement> = modules
            .iter()
            .map(|module| module.element.clone())
            .collect();
        for element in &mut group {
            element.optional = element.id != PYTHON;
        }
        let mut buildpacks = Self {
            order: Order::of(group),
            ..Self::default()
        };
        buildpacks.mount(modules);
        buildpacks
    }

    /// An order over what the build image has.
    pub(crate) fn bundled(order: Order, bundled: impl IntoIterator<Item = GroupElement>) -> Self {
        Self {
            order,
            bundled: bundled
                .into_iter()
                .map(|element| module::place(&element))
                .collect(),
            ..Self::default()
        }
    }

    /// Has these seen by the build, too.
    pub(crate) fn mount(&mut self, modules: &[Module]) {
        for module in modules {
            let place = module.place();
            if self.mounts.iter().all(|(_, mounted)| *mounted != place) {
                self.mounts.push((module.folder().to_owned(), place));
            }
        }
    }

    /// What they are known by, for the question whether anything changed.
    pub(crate) fn identify(&mut self, identity: &module::Identity) {
        self.foreign.extend(identity.folders.iter().cloned());
        self.fixed.extend(identity.fixed.iter().cloned());
    }

    pub(crate) fn mounts(&self) -> &[(PathBuf, String)] {
        &self.mounts
    }

    /// Whether this is one of them.
    pub(crate) fn has(&self, element: &GroupElement) -> bool {
        let place = module::place(element);
        self.bundled.contains(&place) || self.mounts.iter().any(|(_, mounted)| *mounted == place)
    }

    pub(crate) fn write_order(&self, path: &Path) -> Result<(), Failure> {
        toml_file::write(path, &self.order).or_fail(Exit::Store, || {
            "cannot pass on the order of buildpacks".to_owned()
        })
    }

    /// Equal texts mean the same buildpacks; slugc's own are known by its own identity, a builder's by its digest.
    pub(crate) fn fingerprint(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for folder in &self.foreign {
            let print = oci_image::fingerprint::tree(folder).or_fail(Exit::Input, || {
                format!("cannot look at the buildpack {}", folder.display())
            })?;
            text = format!("{text}{} {print:?}\n", folder.display());
        }
        for folder in &self.fixed {
            // What is fetched again from the same address has a new folder.
            let inode = fs::metadata(folder).map_or(0, |found| found.ino());
            text = format!("{text}{} {inode}\n", folder.display());
        }
        Ok(format!("{text}{:?}\n", self.order))
    }
}

/// slugc's own buildpacks, in the order in which they are tried.
pub(crate) fn own_modules(parts: &Parts) -> Result<Vec<Module>, Failure> {
    parts::BUILDPACKS
        .iter()
        .map(|name| Module::read(&parts.buildpack(name)))
        .collect()
}

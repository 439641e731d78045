//! The packages that the suites offer.

use std::cmp::Ordering;
use std::collections::HashMap;

use oci_image::Digest;

use crate::control::{self, Paragraph};
use crate::relation::{self, Relation};
use crate::version;

/// One package of an index. Relationship fields stay text until somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) architecture: &'a str,
    pub(crate) essential: bool,
    pub(crate) priority: Priority,
    /// `Pre-Depends` and `Depends`.
    pub(crate) depends: [&'a str; 2],
    /// `Conflicts` and `Breaks`.
    pub(crate) conflicts: [&'a str; 2],
    pub(crate) provides: &'a str,
    pub(crate) filename: &'a str,
    pub(crate) size: &'a str,
    pub(crate) sha256: &'a str,
    /// Index of the suite in the recipe.
    pub(crate) suite: usize,
}

/// Debian's priorities, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    Required,
    Important,
    Standard,
    Optional,
    Extra,
}

/// The newest version of every package of all suites, and what each provides.
#[derive(Debug, Default)]
pub(crate) struct Packages<'a> {
    by_name: HashMap<&'a str, Package<'a>>,
    provides: HashMap<&'a str, Vec<(&'a str, Option<&'a str>)>>,
}

impl<'a> Packages<'a> {
    /// Reads the indexes; each comes with the number of its suite.
    pub(crate) fn new(
        indexes: impl IntoIterator<Item = (usize, &'a str)>,
        architecture: &str,
    ) -> Self {
        let mut packages = Self::default();
        for (suite, text) in indexes {
            for paragraph in control::paragraphs(text) {
                if let Some(package) = package(paragraph, suite, architecture) {
                    packages.offer(package);
                }
            }
        }
        let mut provides: HashMap<_, Vec<_>> = HashMap::new();
        for package in packages.by_name.values() {
            for (name, version) in provided(package) {
                provides
                    .entry(name)
                    .or_default()
                    .push((package.name, version));
            }
        }
        // The most important provider first, then by name: the map's own order is random.
        for providers in provides.values_mut() {
            providers.sort_by_key(|(name, _)| (packages.by_name[name].priority, *name));
        }
        packages.provides = provides;
        packages
    }

    fn offer(&mut self, package: Package<'a>) {
        let known = self.by_name.entry(package.name).or_insert(package);
        if version::compare(package.version, known.version) == Ordering::Greater {
            *known = package;
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Package<'a>> {
        self.by_name.get(name)
    }

    /// The packages every Debian root has, by name.
    pub(crate) fn minimal(&self) -> Vec<&'a str> {
        let mut names: Vec<_> = self
            .by_name
            .values()
            .filter(|package| package.essential || package.priority == Priority::Required)
            .map(|package| package.name)
            .collect();
        names.sort_unstable();
        names
    }

    /// Whatever satisfies a relation: the real package first, then those that provide it.
    pub(crate) fn satisfying(&self, relation: &Relation<'_>) -> Vec<&Package<'a>> {
        let real = self
            .get(relation.name)
            .filter(|package| relation.admits(package.version));
        let virtual_ = self
            .provides
            .get(relation.name)
            .into_iter()
            .flatten()
            .filter(|(_, version)| relation.admits_provided(*version))
            .filter_map(|(name, _)| self.get(name));
        real.into_iter().chain(virtual_).collect()
    }
}

impl Package<'_> {
    pub(crate) fn digest(&self) -> Option<Digest> {
        Digest::from_hex(self.sha256).ok()
    }
}

/// The names a package provides, each with its version if it has one.
pub(crate) fn provided<'a>(package: &Package<'a>) -> Vec<(&'a str, Option<&'a str>)> {
    relation::parse(package.provides)
        .flatten()
        .map(|relation| (relation.name, relation.version.map(|(_, version)| version)))
        .collect()
}

fn package<'a>(paragraph: Paragraph<'a>, suite: usize, architecture: &str) -> Option<Package<'a>> {
    let mut package = Package {
        name: "",
        version: "",
        architecture: "",
        essential: false,
        priority: Priority::Optional,
        depends: [""; 2],
        conflicts: [""; 2],
        provides: "",
        filename: "",
        size: "",
        sha256: "",
        suite,
    };
    for (name, value) in paragraph.fields() {
        match name {
            "Package" => package.name = value,
            "Version" => package.version = value,
            "Architecture" => package.architecture = value,
            "Essential" => package.essential = value == "yes",
            "Priority" => package.priority = priority(value),
            "Pre-Depends" => package.depends[0] = value,
            "Depends" => package.depends[1] = value,
            "Conflicts" => package.conflicts[0] = value,
            "Breaks" => package.conflicts[1] = value,
            "Provides" => package.provides = value,
            "Filename" => package.filename = value,
            "Size" => package.size = value,
            "SHA256" => package.sha256 = value,
            _ => {}
        }
    }
    let complete = ![
        package.name,
        package.version,
        package.filename,
        package.size,
        package.sha256,
    ]
    .contains(&"");
    let native = package.architecture == "all" || package.architecture == architecture;
    (complete && native).then_some(package)
}

fn priority(text: &str) -> Priority {
    match text {
        "required" => Priority::Required,
        "important" => Priority::Important,
        "standard" => Priority::Standard,
        "extra" => Priority::Extra,
        _ => Priority::Optional,
    }
}

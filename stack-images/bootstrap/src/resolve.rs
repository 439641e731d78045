//! From the packages a recipe names to all that must be installed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::packages::{Package, Packages, provided};
use crate::relation::{self, Relation};

/// Why no set of packages was found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The suites don't have a package that the recipe names.
    #[error("the stack recipe asks for the package {name}, which the suites don't have")]
    Unknown {
        /// The package.
        name: String,
    },
    /// A dependency has no solution.
    #[error("nothing satisfies {wanted}, needed by {}", .chain.join(", which is needed by "))]
    Unsatisfiable {
        /// The relation.
        wanted: String,
        /// Who needs it, nearest first.
        chain: Vec<String>,
    },
    /// Two packages exclude each other.
    #[error("{package} cannot be installed together with {other}: it declares {relation}")]
    Conflict {
        /// The package that declares the conflict.
        package: String,
        /// The other.
        other: String,
        /// The declaration.
        relation: String,
    },
    /// The index has nonsense about a package.
    #[error("the index describes the package {name} incompletely")]
    Malformed {
        /// The package.
        name: String,
    },
}

/// Packages chosen so far; resolving again with more names adds to them.
#[derive(Debug, Default)]
pub(crate) struct Selection<'a> {
    chosen: BTreeMap<&'a str, Package<'a>>,
    /// What the chosen provide: virtual name → provider and version.
    provided: HashMap<&'a str, Vec<(&'a str, Option<&'a str>)>>,
    needed_by: HashMap<&'a str, &'a str>,
}

impl<'a> Selection<'a> {
    /// Adds packages by name and everything they depend on.
    ///
    /// All named packages are chosen before any dependency is looked at, so that an alternative
    /// the recipe names wins over the first alternative a package names.
    pub(crate) fn add<'n>(
        &mut self,
        packages: &Packages<'a>,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), ResolveError> {
        let mut queue = VecDeque::new();
        for name in names {
            let package = packages.get(name).ok_or_else(|| ResolveError::Unknown {
                name: name.to_owned(),
            })?;
            self.choose(package, &mut queue);
        }
        while let Some(name) = queue.pop_front() {
            let package = self.chosen[name];
            for group in package
                .depends
                .iter()
                .flat_map(|field| relation::parse(field))
            {
                if group.iter().any(|relation| self.satisfies(relation)) {
                    continue;
                }
                let next = group
                    .iter()
                    .flat_map(|relation| packages.satisfying(relation))
                    .find(|candidate| self.conflict(candidate).is_none())
                    .ok_or_else(|| self.unsatisfiable(name, &group))?;
                self.needed_by.insert(next.name, name);
                self.choose(next, &mut queue);
            }
        }
        self.check()
    }

    /// The chosen packages by name.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package<'a>> {
        self.chosen.values()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.chosen.contains_key(name)
    }

    fn choose(&mut self, package: &Package<'a>, queue: &mut VecDeque<&'a str>) {
        if self.chosen.insert(package.name, *package).is_some() {
            return;
        }
        for (name, version) in provided(package) {
            self.provided
                .entry(name)
                .or_default()
                .push((package.name, version));
        }
        queue.push_back(package.name);
    }

    fn satisfies(&self, relation: &Relation<'_>) -> bool {
        self.first_match(relation, "").is_some()
    }

    /// A chosen package that a relation speaks of, other than `except`.
    fn first_match(&self, relation: &Relation<'_>, except: &str) -> Option<&'a str> {
        let real = self
            .chosen
            .get(relation.name)
            .filter(|package| relation.admits(package.version))
            .map(|package| package.name);
        let virtual_ = self
            .provided
            .get(relation.name)
            .into_iter()
            .flatten()
            .filter(|(_, version)| relation.admits_provided(*version))
            .map(|(name, _)| *name);
        real.into_iter()
            .chain(virtual_)
            .find(|name| *name != except)
    }

    /// Whether a package and the chosen ones exclude each other. A package may conflict with a
    /// virtual name it provides itself (Policy §7.6.2): only others count.
    fn conflict(&self, package: &Package<'_>) -> Option<(&'a str, String)> {
        package
            .conflicts
            .iter()
            .flat_map(|field| relation::parse(field))
            .flatten()
            .find_map(|relation| {
                self.first_match(&relation, package.name)
                    .map(|other| (other, relation.to_string()))
            })
    }

    fn check(&self) -> Result<(), ResolveError> {
        for package in self.chosen.values() {
            if let Some((other, relation)) = self.conflict(package) {
                return Err(ResolveError::Conflict {
                    package: package.name.to_owned(),
                    other: other.to_owned(),
                    relation,
                });
            }
        }
        Ok(())
    }

    fn unsatisfiable(&self, name: &'a str, group: &[Relation<'_>]) -> ResolveError {
        let wanted: Vec<_> = group.iter().map(ToString::to_string).collect();
        let mut chain = vec![name.to_owned()];
        let mut at = name;
        while let Some(next) = self.needed_by.get(at) {
            chain.push((*next).to_owned());
            at = next;
        }
        ResolveError::Unsatisfiable {
            wanted: wanted.join(" | "),
            chain,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn index(paragraphs: &[&str]) -> String {
        let mut index = String::new();
        for text in paragraphs {
            if !text.contains("Architecture:") {
                index += "Architecture: amd64\n";
            }
            index += &text.replace("; ", "\n");
            index += "\nFilename: pool/x.deb\nSize: 1\nSHA256: 00\n\n";
        }
        index
    }

    fn resolve(paragraphs: &[&str], names: &[&str]) -> Result<Vec<String>, String> {
        let text = index(paragraphs);
        let packages = Packages::new([(0, text.as_str())], "amd64");
        let mut selection = Selection::default();
        selection
            .add(&packages, packages.minimal())
            .and_then(|()| selection.add(&packages, names.iter().copied()))
            .map_err(|error| error.to_string())?;
        Ok(selection
            .packages()
            .map(|package| format!("{}={}", package.name, package.version))
            .collect())
    }

    #[test]
    fn dependencies_and_pre_dependencies_but_no_recommendations() {
        let packages = [
            "Package: base; Version: 1; Essential: yes",
            "Package: tools; Version: 1; Priority: required; Pre-Depends: lib",
            "Package: lib; Version: 1",
            "Package: app; Version: 1; Depends: helper (>= 2); Recommends: extra",
            "Package: helper; Version: 2; Depends: app",
            "Package: extra; Version: 1",
        ];
        assert_eq!(
            resolve(&packages, &["app"]).unwrap(),
            ["app=1", "base=1", "helper=2", "lib=1", "tools=1"]
        );
    }

    #[test]
    fn the_newest_version_of_all_suites() {
        let old = index(&[
            "Package: a; Version: 1.0-1",
            "Package: b; Version: 1.0-1+b2",
        ]);
        let new = index(&[
            "Package: a; Version: 1.0-1+deb13u1",
            "Package: b; Version: 1.0-1",
        ]);
        let packages = Packages::new([(0, old.as_str()), (1, new.as_str())], "amd64");
        assert_eq!(
            (
                packages.get("a").unwrap().version,
                packages.get("a").unwrap().suite
            ),
            ("1.0-1+deb13u1", 1)
        );
        assert_eq!(
            (
                packages.get("b").unwrap().version,
                packages.get("b").unwrap().suite
            ),
            ("1.0-1+b2", 0)
        );
    }

    #[test]
    fn other_architectures_do_not_exist() {
        let packages = [
            "Package: a; Version: 9; Architecture: arm64",
            "Package: b; Version: 1; Architecture: all",
        ];
        assert_eq!(resolve(&packages, &["b"]).unwrap(), ["b=1"]);
        assert!(
            resolve(&packages, &["a"])
                .unwrap_err()
                .contains("a, which the suites don't have")
        );
    }

    #[test]
    fn alternatives_prefer_what_is_chosen_then_the_first_that_exists() {
        let packages = [
            "Package: app; Version: 1; Depends: gone | first | second",
            "Package: first; Version: 1",
            "Package: second; Version: 1",
        ];
        assert_eq!(resolve(&packages, &["app"]).unwrap(), ["app=1", "first=1"]);
        assert_eq!(
            resolve(&packages, &["app", "second"]).unwrap(),
            ["app=1", "second=1"]
        );
    }

    #[test]
    fn virtual_packages_with_and_without_versions() {
        let packages = [
            "Package: app; Version: 1; Depends: mta, api (>= 2)",
            "Package: zmail; Version: 1; Provides: mta; Priority: standard",
            "Package: amail; Version: 1; Provides: mta",
            "Package: api-old; Version: 9; Provides: api (= 1)",
            "Package: api-none; Version: 9; Provides: api",
            "Package: api-new; Version: 1; Provides: api (= 2.1)",
        ];
        assert_eq!(
            resolve(&packages, &["app"]).unwrap(),
            ["api-new=1", "app=1", "zmail=1"]
        );
    }

    #[test]
    fn a_missing_dependency_names_its_chain() {
        let packages = [
            "Package: app; Version: 1; Depends: middle",
            "Package: middle; Version: 1; Depends: lib (>= 2) | other",
            "Package: lib; Version: 1",
        ];
        assert_eq!(
            resolve(&packages, &["app"]).unwrap_err(),
            "nothing satisfies lib (>= 2) | other, needed by middle, which is needed by app"
        );
    }

    #[test]
    fn conflicts_are_refused_and_avoided() {
        let packages = [
            "Package: a; Version: 1; Conflicts: b",
            "Package: b; Version: 1",
            "Package: c; Version: 1; Breaks: a (<< 1)",
            "Package: d; Version: 1; Depends: e | c",
            "Package: e; Version: 1; Breaks: a",
            "Package: self; Version: 1; Provides: role; Conflicts: role",
        ];
        assert!(
            resolve(&packages, &["a", "b"])
                .unwrap_err()
                .contains("a cannot be installed together with b")
        );
        assert_eq!(
            resolve(&packages, &["a", "c", "self"]).unwrap(),
            ["a=1", "c=1", "self=1"]
        );
        assert_eq!(
            resolve(&packages, &["a", "d"]).unwrap(),
            ["a=1", "c=1", "d=1"]
        );
    }
}

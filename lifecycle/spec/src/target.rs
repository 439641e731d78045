//! What a build is for: system, architecture, distribution (Platform API, "Target Data").

use crate::env_vars;
use serde::{Deserialize, Serialize};

/// The target of a base image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `io.buildpacks.base.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// As in an OCI config, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// As in an OCI config, such as `amd64`.
    #[serde(default)]
    pub arch: String,
    /// As in an OCI config, such as `v8`.
    #[serde(
        default,
        rename = "arch-variant",
        alias = "variant",
        skip_serializing_if = "Option::is_none"
    )]
    pub variant: Option<String>,
    /// The distribution, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distro: Option<Distro>,
}

/// A distribution as `/etc/os-release` names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distro {
    /// `ID`.
    #[serde(default)]
    pub name: String,
    /// `VERSION_ID`.
    #[serde(default)]
    pub version: String,
}

impl Distro {
    /// Reads the text of an `/etc/os-release`; `None` when it names neither ID nor version.
    pub fn from_os_release(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name.trim() == key).then(|| value.trim_matches(['"', '\'', ' ']).to_owned())
            })
        };
        let (name, version) = (value("ID"), value("VERSION_ID"));
        if name.is_none() && version.is_none() {
            return None;
        }
        Some(Self {
            name: name.unwrap_or_default(),
            version: version.unwrap_or_default(),
        })
    }
}

/// A target that a buildpack says it supports; what it leaves empty matches anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildpackTarget {
    /// System.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Architecture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// Architecture variant.
    #[serde(
        default,
        rename = "variant",
        alias = "arch-variant",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
    /// One of these distributions, when there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distros: Vec<Distro>,
}

impl Target {
    /// The target with what it leaves open filled in: the distribution from the build environment's
    /// `/etc/os-release`, system and architecture from this program's own.
    #[must_use]
    pub fn or_from(mut self, os_release: Option<&Distro>) -> Self {
        if self.os.is_empty() {
            "linux".clone_into(&mut self.os);
        }
        if self.arch.is_empty() {
            oci_architecture(std::env::consts::ARCH).clone_into(&mut self.arch);
        }
        if self.distro.is_none() {
            self.distro = os_release.cloned();
        }
        self
    }

    /// Whether a buildpack for `wanted` fits this base image.
    ///
    /// Whatever one side leaves out matches, except that a buildpack which names distributions needs an image
    /// that names its own.
    pub fn satisfies(&self, wanted: &BuildpackTarget) -> bool {
        let matches = |have: &str, want: &str| have.is_empty() || want.is_empty() || have == want;
        matches(&self.os, &wanted.os)
            && matches(&self.arch, &wanted.arch)
            && matches(self.variant.as_deref().unwrap_or_default(), &wanted.variant)
            && (wanted.distros.is_empty()
                || self.distro.as_ref().is_some_and(|own| {
                    wanted.distros.iter().any(|distro| {
                        matches(&own.name, &distro.name) && matches(&own.version, &distro.version)
                    })
                }))
    }

    /// The `CNB_TARGET_*` variables (Buildpack API, "Targets").
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let distro = self.distro.clone().unwrap_or_default();
        let mut env = vec![
            (env_vars::TARGET_OS, self.os.clone()),
            (env_vars::TARGET_ARCH, self.arch.clone()),
        ];
        for (name, value) in [
            (
                env_vars::TARGET_ARCH_VARIANT,
                self.variant.clone().unwrap_or_default(),
            ),
            (env_vars::TARGET_DISTRO_NAME, distro.name),
            (env_vars::TARGET_DISTRO_VERSION, distro.version),
        ] {
            if !value.is_empty() {
                env.push((name, value));
            }
        }
        env
    }
}

/// The OCI name of an architecture that Rust names `rust`.
pub fn oci_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian() -> Target {
        Target {
            id: None,
            os: "linux".into(),
            arch: "amd64".into(),
            variant: None,
            distro: Some(Distro {
                name: "debian".into(),
                version: "13".into(),
            }),
        }
    }

    fn wanted(os: &str, arch: &str, variant: &str, distros: &[(&str, &str)]) -> BuildpackTarget {
        BuildpackTarget {
            os: os.into(),
            arch: arch.into(),
            variant: variant.into(),
            distros: distros
                .iter()
                .map(|(name, version)| Distro {
                    name: (*name).into(),
                    version: (*version).into(),
                })
                .collect(),
        }
    }

    #[test]
    fn targets_match_field_by_field() {
        let no_distro = Target {
            distro: None,
            ..debian()
        };
        for (have, want, expected) in [
            (debian(), wanted("", "", "", &[]), true),
            (debian(), wanted("linux", "amd64", "", &[]), true),
            (debian(), wanted("linux", "arm64", "", &[]), false),
            (debian(), wanted("linux", "amd64", "v3", &[]), true),
            (
                debian(),
                wanted("linux", "", "", &[("ubuntu", "24.04"), ("debian", "13")]),
                true,
            ),
            (debian(), wanted("linux", "", "", &[("debian", "")]), true),
            (
                debian(),
                wanted("linux", "", "", &[("debian", "12")]),
                false,
            ),
            (debian(), wanted("windows", "", "", &[]), false),
            (
                no_distro,
                wanted("linux", "", "", &[("debian", "13")]),
                false,
            ),
        ] {
            assert_eq!(have.satisfies(&want), expected, "{have:?} {want:?}");
        }
    }

    #[test]
    fn os_release_is_read_as_it_is_written() {
        let text = "PRETTY_NAME=\"Debian\"\nVERSION_ID=\"13\"\nID=debian\n";
        assert_eq!(Distro::from_os_release(text), debian().distro);
        assert_eq!(Distro::from_os_release("NAME=x\n"), None);
    }
}

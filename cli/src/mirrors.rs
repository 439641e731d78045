//! Mirrors of registries, as podman, skopeo and buildah are told about them: containers-registries.conf(5), version 2.
//!
//! ```toml
//! [[registry]]
//! prefix = "registry.example/team"      # `*.example` for all hosts below
//! location = "other.example/team"       # where it is instead, when not there
//! insecure = false
//! blocked = false
//! mirror-by-digest-only = false
//! [[registry.mirror]]                   # asked first, in this order
//! location = "mirror.example:5000/team"
//! insecure = true
//! pull-from-mirror = "all"              # or digest-only, tag-only
//! ```

use crate::failure::{Exit, Failure, OrFail};
use oci_image::Reference;
use serde::Deserialize;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Real ones have a few lines. In bytes.
const LONGEST: u64 = 1 << 20;
const SYSTEM: &str = "/etc/containers";
/// Instead of the user's and the system's file; drop-ins are read all the same.
const VARIABLE: &str = "CONTAINERS_REGISTRIES_CONF";

/// Where an image can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) name: Reference,
    /// Whether it may be spoken to without encryption.
    pub(crate) insecure: bool,
}

/// What the files say.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Mirrors {
    #[serde(default, rename = "registry")]
    registries: Vec<Registry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Registry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Mirror {
    location: String,
    insecure: bool,
    #[serde(rename = "pull-from-mirror")]
    pull: PullFrom,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
    /// As all; what templates leave.
    #[serde(rename = "")]
    Unsaid,
}

impl Mirrors {
    /// The user's file or else the system's, then the drop-ins of both; a prefix that occurs twice counts where it is
    /// last.
    pub(crate) fn read() -> Result<Self, Failure> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let own = home.map(|home| home.join(".config/containers"));
        let own_file = own.as_ref().map(|own| own.join("registries.conf"));
        let given = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        let first = match (given, own_file) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(file)) if file.is_file() => file,
            _ => Path::new(SYSTEM).join("registries.conf"),
        };
        let mut files = vec![first];
        for folder in [Some(PathBuf::from(SYSTEM)), own].into_iter().flatten() {
            files.extend(drop_ins(&folder.join("registries.conf.d")));
        }
        let mut mirrors = Self::default();
        for file in files {
            if let Some(text) = text(&file)? {
                let more: Self = toml::from_str(&text)
                    .or_fail(Exit::Input, || {
                        format!("cannot understand {}", file.display())
                    })
                    .map_err(|failure| {
                        failure.hint("correct it by containers-registries.conf(5)")
                    })?;
                mirrors.add(more);
            }
        }
        Ok(mirrors)
    }

    fn add(&mut self, more: Self) {
        for mut registry in more.registries {
            if registry.prefix.is_empty() {
                registry.prefix.clone_from(&registry.location);
            }
            self.registries
                .retain(|known| known.prefix != registry.prefix);
            self.registries.push(registry);
        }
    }

    /// Whether a registry's image may be spoken of without encryption; an error where it is blocked.
    pub(crate) fn allows_plain(&self, name: &Reference) -> Result<bool, Failure> {
        let Some((registry, _)) = self.find(name) else {
            return Ok(false);
        };
        if registry.blocked {
            return Err(Failure::new(
                Exit::Input,
                format!("{name} is blocked on this machine"),
            )
            .hint(format!(
                "registries.conf has blocked = true for {}; see containers-registries.conf(5)",
                registry.prefix
            )));
        }
        Ok(registry.insecure)
    }

    /// Where to pull an image from when the user's settings name another registry in the place of its own: nowhere else,
    /// whatever the files say of mirrors. What they block stays blocked.
    pub(crate) fn instead(
        &self,
        name: &Reference,
        instead: Reference,
    ) -> Result<Vec<Endpoint>, Failure> {
        self.allows_plain(name)?;
        let insecure = self.allows_plain(&instead)?;
        Ok(vec![Endpoint {
            name: instead,
            insecure,
        }])
    }

    /// Where to pull an image from, what is to be asked first first; the last one is no mirror.
    pub(crate) fn endpoints(&self, name: &Reference) -> Result<Vec<Endpoint>, Failure> {
        let insecure = self.allows_plain(name)?;
        let Some((registry, length)) = self.find(name) else {
            return Ok(vec![Endpoint {
                name: name.clone(),
                insecure,
            }]);
        };
        let by_digest = name.digest().is_some();
        let at = |location: &str, insecure| {
            let text = name.to_string();
            let moved = format!("{location}{}", text.get(length..).unwrap_or_default());
            let name = moved.parse().or_fail(Exit::Input, || {
                format!("registries.conf moves {name} to {moved}, which is no image's name")
            })?;
            Ok(Endpoint { name, insecure })
        };
        let mut endpoints = Vec::new();
        for mirror in &registry.mirror {
            let wanted = match mirror.pull {
                PullFrom::DigestOnly => by_digest,
                PullFrom::TagOnly => !by_digest,
                PullFrom::All | PullFrom::Unsaid => by_digest || !registry.mirror_by_digest_only,
            };
            if wanted {
                endpoints.push(at(&mirror.location, mirror.insecure)?);
            }
        }
        endpoints.push(if registry.location.is_empty() {
            Endpoint {
                name: name.clone(),
                insecure,
            }
        } else {
            at(&registry.location, insecure)?
        });
        Ok(endpoints)
    }

    /// The entry with the longest prefix that fits, and how much of the name that prefix is.
    fn find(&self, name: &Reference) -> Option<(&Registry, usize)> {
        let text = name.to_string();
        let fitting = self.registries.iter().filter_map(|registry| {
            let length = if let Some(domain) = registry.prefix.strip_prefix("*.") {
                let host = name.registry().split(':').next().unwrap_or_default();
                let below = host.strip_suffix(domain)?.ends_with('.');
                below.then_some(name.registry().len())?
            } else {
                let rest = text.strip_prefix(&registry.prefix)?;
                let ends = rest.is_empty() || rest.starts_with(['/', ':', '@']);
                (ends && !registry.prefix.is_empty()).then_some(registry.prefix.len())?
            };
            Some((registry, length))
        });
        fitting.max_by_key(|(registry, _)| registry.prefix.len())
    }
}

/// What the file says; `None` where there is none.
fn text(file: &Path) -> Result<Option<String>, Failure> {
    let reading = || format!("cannot read {}", file.display());
    let opened = match fs::File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.or_fail(Exit::Input, reading)?,
    };
    let mut text = String::new();
    let read = opened
        .take(LONGEST + 1)
        .read_to_string(&mut text)
        .or_fail(Exit::Input, reading)?;
    if read as u64 > LONGEST {
        return Err(Failure::new(Exit::Input, reading())
            .because(format!("it has more than {LONGEST} bytes"))
            .hint("correct it by containers-registries.conf(5)"));
    }
    Ok(Some(text))
}

fn drop_ins(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "conf"))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
#[path = "mirrors_tests.rs"]
mod tests;

//! How buildpacks are named: on the command line, in project.toml, in builder.toml and in package.toml.

use crate::failure::{Exit, Failure};
use crate::place::{self, Place};
use crate::platform::registry_index;
use cnb_spec::names::BuildpackId;
use std::fmt;
use std::path::{Path, PathBuf};

/// Every spelling, for hints.
pub(crate) const SPELLINGS: &str = "a folder, FILE.tgz, FILE.cnb, https://…, docker://REGISTRY/REPOSITORY[:TAG], \
     oci:DIR, docker-daemon:NAME, ID[@VERSION], urn:cnb:builder:ID[@VERSION], urn:cnb:registry:ID[@VERSION] or from=builder";

/// Stands for the whole order of the builder.
pub(crate) const FROM_BUILDER: &str = "from=builder";

/// Where a buildpack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Locator {
    /// The whole order of the builder; without a builder, slugc's own.
    FromBuilder,
    /// One of the builder's or of slugc's own.
    Known { id: String, version: String },
    /// One that the index of the registry of buildpacks knows.
    Registry { id: String, version: String },
    /// A buildpack's image.
    Image(String),
    /// A folder or an archive on this machine.
    Path(PathBuf),
    /// An archive elsewhere.
    Url(String),
    /// A script in a project descriptor.
    Inline(Inline),
}

/// A buildpack that is one script (project descriptor, `[io.buildpacks.group.script]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inline {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) api: String,
    pub(crate) shell: String,
    pub(crate) script: String,
}

impl Locator {
    /// Reads a spelling; what exists on disk, relative to `base`, comes before names, as in pack. `is_known` tells
    /// the ids of the builder and of slugc itself.
    pub(crate) fn parse(
        text: &str,
        base: &Path,
        is_known: impl Fn(&str) -> bool,
    ) -> Result<Self, Failure> {
        let refused = |why: &str| {
            Failure::new(Exit::Usage, format!("{text:?} names no buildpack: {why}"))
                .hint(format!("write {SPELLINGS}"))
        };
        if text == FROM_BUILDER {
            return Ok(Self::FromBuilder);
        }
        for prefix in ["urn:cnb:builder:", "from=builder:"] {
            if let Some(name) = text.strip_prefix(prefix) {
                return known(name).ok_or_else(|| refused("what follows the last colon is no ID"));
            }
        }
        if let Some(name) = text.strip_prefix("urn:cnb:registry:") {
            let (id, version) = name.split_once('@').unwrap_or((name, ""));
            if !registry_index::is_id(id) {
                return Err(refused("a registry's buildpacks have IDs like team/name"));
            }
            return Ok(Self::Registry {
                id: id.to_owned(),
                version: version.to_owned(),
            });
        }
        if let Some(path) = text.strip_prefix("file://") {
            // `file://localhost/…` is the same machine (RFC 8089).
            let path = path.strip_prefix("localhost").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(refused("a file URL has three slashes: file:///path"));
            }
            return Ok(Self::Path(PathBuf::from(path)));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Url(text.to_owned()));
        }
        if let Some(name) = text.strip_prefix("docker://") {
            // pack allows an authority in front, as in docker:///image.
            let name = name.trim_start_matches('/');
            place::reference(name)?;
            return Ok(Self::Image(name.to_owned()));
        }
        if text.is_empty() {
            return Err(refused("it is empty"));
        }
        let path = base.join(text);
        if path.exists() {
            return Ok(Self::Path(path));
        }
        let known = known(text).filter(|locator| match locator {
            Self::Known { id, .. } => is_known(id),
            _ => false,
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let is_path = text.starts_with(['.', '/'])
            || [".tgz", ".tar.gz", ".tar", ".cnb"]
                .iter()
                .any(|end| text.ends_with(end));
        if is_path {
            return Err(Failure::new(
                Exit::Input,
                format!("cannot find the buildpack {}", path.display()),
            )
            .hint(
                "check the path; it is relative to the current folder or to the file that names it",
            ));
        }
        // `oci:`, `docker-daemon:` and the like, or a registry's image. A name without a slash would be looked for
        // at docker's makers', which nobody means who misspelt an ID.
        match Place::parse(text) {
            Ok(Place::Registry(_)) if !text.contains('/') => Err(refused("there is no such file")),
            Ok(_) => Ok(Self::Image(text.to_owned())),
            Err(_) => Err(refused("there is no such file")),
        }
    }
}

/// `ID` or `ID@VERSION`.
fn known(text: &str) -> Option<Locator> {
    let (id, version) = text.split_once('@').unwrap_or((text, ""));
    id.parse::<BuildpackId>().ok()?;
    Some(Locator::Known {
        id: id.to_owned(),
        version: version.to_owned(),
    })
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromBuilder => f.write_str(FROM_BUILDER),
            Self::Known { id, version } | Self::Registry { id, version } if version.is_empty() => {
                f.write_str(id)
            }
            Self::Known { id, version } | Self::Registry { id, version } => {
                write!(f, "{id}@{version}")
            }
            Self::Image(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(&without_secrets(url)),
            Self::Inline(inline) => write!(f, "the inline buildpack {}", inline.id),
        }
    }
}

/// A URL for people: without a user's name and password, and without a query, which may be signed.
pub(crate) fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mine")).unwrap();
        let id = |id: &str, version: &str| Locator::Known {
            id: id.to_owned(),
            version: version.to_owned(),
        };
        let image = |name: &str| Locator::Image(name.to_owned());
        for (text, expected) in [
            ("from=builder", Some(Locator::FromBuilder)),
            ("urn:cnb:builder:a/b", Some(id("a/b", ""))),
            ("urn:cnb:builder:a/b@1.2", Some(id("a/b", "1.2"))),
            ("from=builder:a", Some(id("a", ""))),
            ("slugc/python", Some(id("slugc/python", ""))),
            ("slugc/python@0.1.0", Some(id("slugc/python", "0.1.0"))),
            ("mine", Some(Locator::Path(folder.path().join("mine")))),
            ("file:///x.tgz", Some(Locator::Path("/x.tgz".into()))),
            (
                "https://h/x.tgz",
                Some(Locator::Url("https://h/x.tgz".to_owned())),
            ),
            ("docker://r.example/b:1", Some(image("r.example/b:1"))),
            ("r.example/b:1", Some(image("r.example/b:1"))),
            ("oci:dir", Some(image("oci:dir"))),
            ("docker-daemon:b", Some(image("docker-daemon:b"))),
            ("./gone", None),
            ("gone.tgz", None),
            ("gone", None),
            ("", None),
            (
                "urn:cnb:registry:a/b@1.2",
                Some(Locator::Registry {
                    id: "a/b".to_owned(),
                    version: "1.2".to_owned(),
                }),
            ),
            ("urn:cnb:registry:b", None),
            ("file://x", None),
        ] {
            let parsed = Locator::parse(text, folder.path(), |id| id == "slugc/python");
            assert_eq!(parsed.ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, shown) in [
            ("https://ann:pw@h/x.tgz?token=1#f", "https://h/x.tgz"),
            ("https://h:8/x@1.tgz", "https://h:8/x@1.tgz"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}

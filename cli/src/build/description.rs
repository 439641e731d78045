//! What an image says of itself: labels and annotations by image-spec's `annotations.md`, out of git and project.toml,
//! and the time of its creation. None of it is in a layer: another commit of the same files is the same layers under
//! another configuration.

use crate::failure::{Exit, Failure, OrFail};
use crate::git::{self, Checkout};
use crate::project::Project;
use cnb_spec::labels::PROJECT_METADATA;
use cnb_spec::project::{ProjectMetadata, ProjectSource};
use oci_image::{Descriptor, Digest, Image, NORMALIZED_MTIME};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

use crate::store::Store;

/// The prefix of the labels.
const OCI: &str = "org.opencontainers.image.";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// By their full names.
    labels: BTreeMap<String, String>,
    /// RFC 3339; absent unless `SOURCE_DATE_EPOCH` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

impl Description {
    /// That of an app's folder. `epoch` is `SOURCE_DATE_EPOCH` (reproducible-builds.org): seconds since 1970.
    pub(crate) fn of(
        folder: &Path,
        project: &Project,
        epoch: Option<&str>,
    ) -> Result<Self, Failure> {
        let created = epoch.map(instant).transpose()?;
        let checkout = git::checkout(folder);
        let mut labels = BTreeMap::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                labels.insert(format!("{OCI}{name}"), value);
            }
        };
        let about = &project.about;
        set("title", about.name.clone());
        set("version", about.version.clone());
        set("authors", Some(about.authors.join(", ")));
        set("licenses", Some(about.licenses.join(" AND ")));
        set("documentation", about.documentation_url.clone());
        let remote = checkout.as_ref().and_then(|it| it.remote.clone());
        let source = about.source_url.as_deref().and_then(git::public);
        set("source", source.or(remote));
        set("revision", checkout.as_ref().map(|it| it.commit.clone()));
        set("created", created.clone());
        if let Some(checkout) = &checkout {
            let text = source_of(checkout).label().or_fail(Exit::General, || {
                "cannot write where the source comes from".to_owned()
            })?;
            labels.insert(PROJECT_METADATA.to_owned(), text);
        }
        Ok(Self { labels, created })
    }

    /// Puts it on an image, in the place of what the base, or `last` time's description, say. What a buildpack said is
    /// left alone.
    pub(crate) fn apply(&self, image: &mut Image, base: &Image, last: &Self) {
        let config = &mut image.config;
        let labels = &mut config.config.labels;
        let of_base = &base.config.config.labels;
        for (name, value) in &last.labels {
            if labels.get(name) == Some(value) {
                labels.remove(name);
                if let Some(value) = of_base.get(name) {
                    labels.insert(name.clone(), value.clone());
                }
            }
        }
        labels
            .entry(PROJECT_METADATA.to_owned())
            .or_insert_with(|| "{}".to_owned());
        image
            .manifest
            .annotations
            .retain(|name, _| !last.labels.contains_key(name));
        for (name, value) in &self.labels {
            let of_buildpack = labels.contains_key(name)
                && labels.get(name) != of_base.get(name)
                && name != PROJECT_METADATA;
            if of_buildpack {
                continue;
            }
            labels.insert(name.clone(), value.clone());
            if name.starts_with(OCI) {
                image
                    .manifest
                    .annotations
                    .insert(name.clone(), value.clone());
            }
        }
        let normal = jiff::Timestamp::from_second(NORMALIZED_MTIME).map(|it| it.to_string());
        let created = self.created.clone().or(normal.ok());
        for entry in &mut config.history {
            entry.created.clone_from(&created);
        }
        config.created = created;
    }

    /// An image that is in the store, with this description instead of its last one.
    pub(super) fn renew(
        &self,
        store: &Store,
        manifest: &Digest,
        base: &Image,
        last: &Self,
    ) -> Result<Descriptor, Failure> {
        let writing = || format!("cannot write a new description of the image {manifest}");
        let mut image = Image::load(store.blobs(), manifest).or_fail(Exit::Store, writing)?;
        self.apply(&mut image, base, last);
        image.save(store.blobs()).or_fail(Exit::Store, writing)
    }
}

/// As pack writes it.
fn source_of(checkout: &Checkout) -> ProjectMetadata {
    let table = |name: &str, value: &str| {
        toml::Table::from_iter([(name.to_owned(), toml::Value::String(value.to_owned()))])
    };
    let url = checkout.remote.as_deref();
    ProjectMetadata {
        source: Some(ProjectSource {
            r#type: "git".to_owned(),
            version: table("commit", &checkout.commit),
            metadata: url.map_or_else(toml::Table::new, |url| table("url", url)),
        }),
    }
}

fn instant(text: &str) -> Result<String, Failure> {
    let seconds = text.trim().parse::<i64>().ok();
    seconds
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map(|time| time.to_string())
        .ok_or_else(|| {
            Failure::new(
                Exit::Input,
                format!("SOURCE_DATE_EPOCH is {text:?}, which is no time in seconds since 1970"),
            )
            .hint("set it to a number, as git log -1 --format=%ct prints one, or unset it")
        })
}

#[cfg(test)]
#[path = "description_tests.rs"]
mod tests;

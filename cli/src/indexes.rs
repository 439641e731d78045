//! Indexes that were put together here: one image for each platform under one name.
//!
//! ```text
//! images/indexes/<sha256 of the name>.json
//! ```

use crate::app;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::transfer::{Documents, Transfer};
use oci_image::{Descriptor, Digest, Index, Platform, Reference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// One index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NamedIndex {
    /// In full: registry, repository, tag.
    pub(crate) name: Reference,
    pub(crate) manifest: Descriptor,
    /// Where the layers are of images that the store has only documents of, by their manifests.
    #[serde(default)]
    pub(crate) remotes: BTreeMap<String, Reference>,
}

impl NamedIndex {
    /// Puts an index of these images into the store, in their order.
    pub(crate) fn create(
        store: &Store,
        name: Reference,
        images: &[Documents],
    ) -> Result<Self, Failure> {
        let mut entries: Vec<Descriptor> = Vec::new();
        let mut remotes = BTreeMap::new();
        for image in images {
            let entry = entry(image)?;
            let digest = entry.digest.to_string();
            if let Some(remote) = &image.remote {
                remotes.insert(digest, remote.clone());
            }
            match entries
                .iter()
                .find(|known| known.platform == entry.platform)
            {
                None => entries.push(entry),
                Some(known) if known.digest == entry.digest => {}
                Some(known) => {
                    return Err(Failure::new(
                        Exit::Input,
                        format!(
                            "two of the images are for {}: {} and {}",
                            shown(entry.platform.as_ref()),
                            known.digest,
                            entry.digest
                        ),
                    )
                    .hint("give one image for each platform"));
                }
            }
        }
        let writing = || format!("cannot write the index {name}");
        let index = Index::new(entries);
        let json = serde_json::to_vec(&index).or_fail(Exit::General, writing)?;
        let (digest, size) = store.blobs().put(&json).or_fail(Exit::Store, writing)?;
        let named = Self {
            manifest: Descriptor::new(oci_image::media_type::OCI_INDEX, digest, size),
            name,
            remotes,
        };
        let folder = folder(store);
        fs::create_dir_all(&folder)
            .or_fail(Exit::Store, || format!("cannot make {}", folder.display()))?;
        app::write_json(&file(store, &named.name), &named)?;
        Ok(named)
    }

    pub(crate) fn get(store: &Store, name: &Reference) -> Result<Option<Self>, Failure> {
        app::read_json(&file(store, name)).map_err(|failure| {
            failure.hint(format!("slugc manifest rm {} removes it", name.familiar()))
        })
    }

    /// Takes it away; blobs stay until `cache prune`. Returns whether it was there.
    pub(crate) fn remove(store: &Store, name: &Reference) -> Result<bool, Failure> {
        match fs::remove_file(file(store, name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(
                Failure::new(Exit::Store, format!("cannot remove the index {name}")).because(error),
            ),
        }
    }

    /// All of a store; those that cannot be read as failures.
    pub(crate) fn all(store: &Store) -> Result<Vec<Result<Self, Failure>>, Failure> {
        let folder = folder(store);
        let listing = || format!("cannot list {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.or_fail(Exit::Store, listing)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.or_fail(Exit::Store, listing)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                found.extend(app::read_json(&path).transpose());
            }
        }
        Ok(found)
    }

    /// The images with where their layers are.
    pub(crate) fn images(&self, transfer: &Transfer<'_>) -> Result<Vec<Documents>, Failure> {
        let entries = transfer.images_of(&self.manifest)?.into_iter();
        entries
            .map(|entry| {
                let remote = self.remotes.get(&entry.digest.to_string()).cloned();
                let documents = transfer.stored(entry, None)?;
                Ok(Documents {
                    remote,
                    ..documents
                })
            })
            .collect()
    }
}

/// The image in an index. What it runs on is what its configuration says; an index that it is from may say the variant
/// of a processor that the configuration leaves out.
fn entry(image: &Documents) -> Result<Descriptor, Failure> {
    let config = &image.image.config;
    let said = image.manifest.platform.as_ref();
    let platform = Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        variant: config
            .variant
            .clone()
            .filter(|variant| !variant.is_empty())
            .or_else(|| said?.variant.clone()),
        extra: serde_json::Map::new(),
    };
    let missing = platform.os.is_empty() || platform.architecture.is_empty();
    let lies =
        said.is_some_and(|it| (&it.os, &it.architecture) != (&platform.os, &platform.architecture));
    if missing || lies {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "the image {} says that it is for {}, its index says for {}",
                image.manifest.digest,
                shown(Some(&platform)),
                shown(said)
            ),
        )
        .hint("build the image again for its platform"));
    }
    let manifest = &image.manifest;
    Ok(Descriptor {
        platform: Some(platform),
        ..Descriptor::new(manifest.media_type.clone(), manifest.digest, manifest.size)
    })
}

/// `linux/arm64/v8`
pub(crate) fn shown(platform: Option<&Platform>) -> String {
    let Some(platform) = platform else {
        return "no platform".to_owned();
    };
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if let Some(variant) = &platform.variant {
        text.push('/');
        text.push_str(variant);
    }
    text
}

fn folder(store: &Store) -> PathBuf {
    store.images().join("indexes")
}

fn file(store: &Store, name: &Reference) -> PathBuf {
    let digest = Digest::of(name.to_string().as_bytes());
    folder(store).join(format!("{}.json", digest.hex()))
}

//! What a committed build leaves behind for the next one.
//!
//! The layers folder stays in place between builds. The record says what in there belongs to the last build that
//! was committed, and which blob each launch layer became. It is the caller's to keep, next to the image.

use crate::intruders;
use crate::layers_dir::Layer;
use cnb_spec::group::Group;
use cnb_spec::layer::{LayerContentMetadata, LayerTypes};
use cnb_spec::names::{LayerName, escape_id};
use oci_image::{Compression, Fingerprint, LayerBlob, Owner};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The layers of the last committed build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// How the blobs were made; blobs made otherwise are of no use.
    pub settings: LayerSettings,
    /// By buildpack ID.
    pub buildpacks: BTreeMap<String, BuildpackRecord>,
    /// The launcher, which is the same in build after build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<FileRecord>,
    /// The layers of an app that is cut into several, or would be if it were larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppRecord>,
}

impl CacheRecord {
    /// What a build leaves whose buildpack failed: of the layers that buildpacks call usable at any
    /// moment (`caches`, by buildpack ID), those that are only cached. Without it a first build that fails
    /// would leave nothing, and all that it fetched would be fetched again.
    ///
    /// Nothing is vouched for where build code has left what is neither a file nor a folder.
    pub fn of_caches(
        layers_dir: &Path,
        group: &Group,
        caches: &BTreeMap<String, BTreeSet<String>>,
        settings: LayerSettings,
    ) -> Self {
        let mut buildpacks = BTreeMap::new();
        if intruders::in_layers(layers_dir).is_ok_and(|found| found.is_empty()) {
            for element in &group.group {
                let Some(names) = caches.get(&element.id) else {
                    continue;
                };
                let dir = layers_dir.join(escape_id(&element.id));
                let layers = names.iter().filter_map(|name| {
                    name.parse::<LayerName>().ok()?;
                    let layer = Layer::new(&dir, name);
                    Some((layer.name.clone(), cache_only(&layer)?))
                });
                let record = BuildpackRecord {
                    version: element.version.clone(),
                    store: None,
                    layers: layers.collect(),
                };
                buildpacks.insert(element.id.clone(), record);
            }
        }
        Self {
            settings,
            buildpacks,
            launcher: None,
            app: None,
        }
    }

    /// Takes over the layers that this record knows nothing of.
    pub fn complete(&mut self, caches: Self) {
        for (id, theirs) in caches.buildpacks {
            let ours = self
                .buildpacks
                .entry(id)
                .or_insert_with(|| BuildpackRecord {
                    version: theirs.version,
                    ..BuildpackRecord::default()
                });
            for (name, layer) in theirs.layers {
                ours.layers.entry(name).or_insert(layer);
            }
        }
    }
}

fn cache_only(layer: &Layer) -> Option<LayerRecord> {
    let metadata = layer.metadata().ok()?;
    let LayerTypes { launch, cache, .. } = metadata.types;
    (cache && !launch && layer.has_contents()).then_some(())?;
    Some(LayerRecord {
        types: metadata.types,
        metadata: metadata.restored_text().ok()?,
        // It is not looked at: it may be as big as a cache gets.
        fingerprint: None,
        blob: None,
        sboms: BTreeMap::new(),
    })
}

/// The app's layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Where the app is inside the image.
    pub path: String,
    /// What each part of its folder looked like, and became.
    pub parts: Vec<FileRecord>,
}

/// A file that is a layer of its own, or files that are one together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    /// What the file looked like.
    pub fingerprint: Fingerprint,
    /// What it became in the image.
    pub blob: LayerBlob,
}

/// Goes up whenever the same folder would become other bytes than before, in the tar or in the gzip stream.
const LAYER_FORMAT: u32 = 1;

/// What decides, besides its content, what blob a layer becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSettings {
    /// Which writer made them: `LAYER_FORMAT`.
    #[serde(default)]
    pub format: u32,
    /// Where the layers folder is inside the image.
    pub layers_path: String,
    /// Who owns the layers' files.
    pub owner: Owner,
    /// How hard they are compressed.
    pub compression_level: i32,
}

impl LayerSettings {
    /// The settings of an export.
    pub fn new(layers_path: &str, owner: Owner, compression: Compression) -> Self {
        Self {
            format: LAYER_FORMAT,
            layers_path: layers_path.to_owned(),
            owner,
            compression_level: compression.level,
        }
    }
}

/// One buildpack's part of the record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildpackRecord {
    /// The buildpack's version.
    pub version: String,
    /// Its `store.toml`, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// By layer name; those of the types launch or cache.
    pub layers: BTreeMap<String, LayerRecord>,
}

/// One layer's part of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// What it is for.
    pub types: LayerTypes,
    /// Its `<layer>.toml` without `[types]`, as text.
    ///
    /// The text and not a digest of it: a build that fails later may overwrite the file, and the next one has to
    /// find what the last good one wrote.
    pub metadata: String,
    /// What its folder looked like; `None` when it had none. Of a layer that is only cached, it may be what the folder
    /// looked like after an earlier build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// What it became in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<LayerBlob>,
    /// What its SBOM files looked like, by file name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sboms: BTreeMap<String, Fingerprint>,
}

impl LayerRecord {
    /// Whether `metadata`, found on disk, is what this layer had, types aside.
    pub(crate) fn has_metadata(&self, metadata: &LayerContentMetadata) -> bool {
        metadata
            .restored_text()
            .is_ok_and(|text| text == self.metadata)
    }
}

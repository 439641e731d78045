//! The layer cache of platforms that start every build with an empty layers folder: what the last build left is
//! copied out of it before the build, and into it afterwards (Platform API, "restorer", "exporter").
//!
//! Its format is the reference lifecycle's, so that either finds what the other left. What the format has no place
//! for, the fingerprints of what was restored, is in [`restored`] beside the layers: by them the exporter knows, in
//! another process and without reading a file, that a layer is still the one from the cache.

pub mod folder;
pub mod image;
pub mod restore;
pub mod restored;
pub mod save;

use cnb_spec::labels::{BuildpackLayers, CacheMetadata, LayerMetadata, LayersMetadata};
use cnb_spec::layer::{LayerContentMetadata, LayerTypes};
use folder::CacheError;
use oci_image::{LayerBlob, LayerError, LayerTar};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// A place that keeps layers from one build to the next: [`folder`] or [`image`].
pub trait LayerCache: Sync {
    /// What it holds; nothing when nobody wrote it or it cannot be understood.
    fn metadata(&self) -> Result<CacheMetadata, CacheError>;

    /// Opens a layer, compressed or not. Whether it is what its name says has to be checked by who reads it.
    fn open_layer(&self, sha: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Has a layer that is not what its name says never be taken over again.
    fn discard(&self, sha: &str) -> io::Result<()>;

    /// Begins the next state.
    fn begin(&self) -> Result<Box<dyn NextState + '_>, CacheError>;
}

/// Adds a layer's entries to its tar.
pub type Entries<'a> = dyn Fn(&mut LayerTar<'_>) -> Result<(), LayerError> + 'a;

/// Where a layer that a cache has came from in this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Out of the cache, where it thus is whole.
    Restored,
    /// Its buildpack made it, perhaps because the cache's is no good.
    Made,
}

/// The next state of a cache, which counts from [`NextState::commit`] on.
pub trait NextState {
    /// Takes a layer over from the last state, out of which this build may have restored it. Returns whether it did.
    fn reuse(&mut self, sha: &str, origin: Origin) -> Result<bool, CacheError>;

    /// Writes a layer; `made` is what an export knows of it. Returns its diffID.
    fn add(
        &mut self,
        layer: &str,
        made: Option<&LayerBlob>,
        entries: &Entries<'_>,
    ) -> Result<String, CacheError>;

    /// Makes this the cache's state.
    fn commit(self: Box<Self>, metadata: &CacheMetadata) -> Result<(), CacheError>;
}

/// The layers of one buildpack in a label or a cache.
pub(crate) fn layers_of<'a>(
    buildpacks: &'a [BuildpackLayers],
    id: &str,
) -> Option<&'a BTreeMap<String, LayerMetadata>> {
    let found = buildpacks.iter().find(|buildpack| buildpack.key == id);
    found.map(|buildpack| &buildpack.layers)
}

/// `<layer>.toml` as it was when the label was written.
pub(crate) fn content(layer: &LayerMetadata) -> LayerContentMetadata {
    LayerContentMetadata {
        types: LayerTypes {
            launch: layer.types.launch,
            build: layer.types.build,
            cache: layer.types.cache,
        },
        metadata: layer.data.clone(),
    }
}

/// The record that a label amounts to: which blobs the layers of the last image are. Layers whose blobs `blob` does
/// not know are left out.
pub fn record_of(
    label: &LayersMetadata,
    restored: &restored::Restored,
    settings: crate::record::LayerSettings,
    blob: impl Fn(&str) -> Option<LayerBlob>,
) -> crate::record::CacheRecord {
    use crate::record::{BuildpackRecord, CacheRecord, LayerRecord};
    let buildpacks = label.buildpacks.iter().map(|buildpack| {
        let layers = buildpack.layers.iter().filter_map(|(name, layer)| {
            let content = content(layer);
            let record = LayerRecord {
                types: content.types,
                metadata: content.restored_text().ok()?,
                fingerprint: restored
                    .fingerprint(&buildpack.key, name, &layer.sha)
                    .cloned(),
                blob: Some(blob(&layer.sha)?),
                sboms: BTreeMap::new(),
            };
            Some((name.clone(), record))
        });
        let record = BuildpackRecord {
            version: buildpack.version.clone(),
            store: None,
            layers: layers.collect(),
        };
        (buildpack.key.clone(), record)
    });
    CacheRecord {
        settings,
        buildpacks: buildpacks.collect(),
        launcher: None,
        app: None,
    }
}

#[cfg(test)]
mod tests;

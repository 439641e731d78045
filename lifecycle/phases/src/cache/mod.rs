//! The layer cache of platforms that start every build with an empty layers folder: what the last build left is
//! copied out of it before the build, and into it afterwards (Platform API, "restorer", "exporter").
//!
//! Its format is the reference lifecycle's, so that either finds what the other left. What the format has no place
//! for, the fingerprints of what was restored, is in [`restored`] beside the layers: by them the exporter knows, in
//! another process and without reading a file, that a layer is still the one from the cache.

pub mod folder;
pub mod restore;
pub mod restored;
pub mod save;

use cnb_spec::labels::{BuildpackLayers, LayerMetadata, LayersMetadata};
use cnb_spec::layer::{LayerContentMetadata, LayerTypes};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

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
    blob: impl Fn(&str) -> Option<oci_image::LayerBlob>,
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
    }
}

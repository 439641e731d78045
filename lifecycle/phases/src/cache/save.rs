//! What the next build may see of this one goes into the cache.

use super::folder::CacheError;
use super::restored::Restored;
use super::{LayerCache, Origin};
use crate::export::{buildpack_layers, parents};
use crate::layers_dir::Layer;
use crate::log::Logger;
use crate::record::CacheRecord;
use cnb_spec::api::ApiVersion;
use cnb_spec::group::Group;
use cnb_spec::labels::{BuildpackLayers, CacheMetadata, LayerMetadata};
use cnb_spec::names::escape_id;
use oci_image::{Owner, TreeRules};
use std::collections::BTreeMap;
use std::path::Path;

/// What saving needs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The Platform API version that the platform speaks.
    pub platform_api: ApiVersion,
    /// The layers folder after the build.
    pub layers_dir: &'a Path,
    /// Where the layers folder is inside the image.
    pub layers_path: &'a str,
    /// The buildpacks that ran.
    pub group: &'a Group,
    /// Whom layers' files belong to in images.
    pub owner: Owner,
    /// The export's record of the same build.
    pub record: &'a CacheRecord,
    /// What was restored before the build.
    pub restored: &'a Restored,
    /// Where lines go.
    pub log: Logger<'a>,
}

/// Saves the layers of type cache, and their SBOM files.
///
/// One whose diffID is known, as the export made it or nobody changed what was restored, is taken over if the cache
/// has it, and none of its files is opened.
pub fn save(inputs: &Inputs<'_>, cache: &dyn LayerCache) -> Result<(), CacheError> {
    let mut staging = cache.begin()?;
    // One that cannot be read is replaced.
    let before = cache.metadata().unwrap_or_default();
    let mut metadata = CacheMetadata::default();
    for element in &inputs.group.group {
        let mut layers = BTreeMap::new();
        let recorded = inputs.record.buildpacks.get(&element.id);
        let dir = inputs.layers_dir.join(escape_id(&element.id));
        for (name, record) in recorded.iter().flat_map(|record| &record.layers) {
            let full_name = format!("{}:{name}", element.id);
            let layer = Layer::new(&dir, name);
            if !record.types.cache {
                continue;
            }
            if !layer.has_contents() {
                inputs.log.warn(format_args!(
                    "Failed to cache layer '{full_name}' because it has no contents"
                ));
                continue;
            }
            let exported = record.blob.as_ref().map(|blob| blob.diff_id.to_string());
            let known = exported.or_else(|| {
                inputs
                    .restored
                    .unchanged(&element.id, name, record.fingerprint.as_ref())
                    .map(str::to_owned)
            });
            let origin = |sha: &str| {
                let restored = inputs.restored.fingerprint(&element.id, name, sha);
                restored.map_or(Origin::Made, |_| Origin::Restored)
            };
            let sha = match known {
                Some(sha) if staging.reuse(&sha, origin(&sha))? => {
                    inputs
                        .log
                        .info(format_args!("Reusing cache layer '{full_name}'"));
                    sha
                }
                _ => {
                    inputs
                        .log
                        .info(format_args!("Adding cache layer '{full_name}'"));
                    staging.add(&full_name, record.blob.as_ref(), &|tar| {
                        buildpack_layers::add_to(
                            tar,
                            inputs.layers_path,
                            inputs.owner,
                            &element.id,
                            &layer,
                        )
                    })?
                }
            };
            // The export read it a moment ago. A layer whose description broke since is made again by its buildpack.
            let content = layer.metadata().unwrap_or_default();
            let in_cache = LayerMetadata {
                sha,
                data: content.metadata,
                types: record.types.into(),
            };
            layers.insert(name.clone(), in_cache);
        }
        metadata.buildpacks.push(BuildpackLayers {
            key: element.id.clone(),
            version: element.version.clone(),
            layers,
            store: None,
        });
    }
    let sboms = inputs.layers_dir.join("sbom/cache");
    if inputs.platform_api.at_least(8) && sboms.is_dir() {
        let name = "buildpacksio/lifecycle:cache.sbom";
        let at = format!("{}/sbom/cache", inputs.layers_path);
        let sha = staging.add(name, None, &|tar| {
            parents::add(tar, &at, &sboms, inputs.owner)?;
            tar.tree(&sboms, &at, &TreeRules::owned_by(inputs.owner))
        })?;
        let verb = if sha == before.sbom.sha {
            "Reusing"
        } else {
            "Adding"
        };
        inputs.log.info(format_args!("{verb} cache layer '{name}'"));
        metadata.sbom.sha = sha;
    }
    staging.commit(&metadata)
}

//! The launch layers of buildpacks, and the record of what was kept of all their layers.

use super::{EarlyInputs, ExportError, Inputs, Layers, Stats, parents};
use crate::layers_dir::{self, Layer};
use crate::record::{BuildpackRecord, CacheRecord, LayerRecord, LayerSettings};
use cnb_spec::group::GroupElement;
use cnb_spec::labels::{BuildpackLayers, LayerMetadata};
use cnb_spec::layer::LayerContentMetadata;
use cnb_spec::names::escape_id;
use cnb_spec::sbom::SbomFile;
use cnb_spec::store::Store;
use cnb_spec::toml_file;
use oci_image::{
    Fingerprint, LayerBlob, LayerError, LayerTar, Owner, TreeRules, fingerprint, write_layer,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A layer that will be in the image or in the record, or both.
struct Kept<'a> {
    element: &'a GroupElement,
    layer: Layer,
    content: LayerContentMetadata,
    fingerprint: Option<Fingerprint>,
}

impl Kept<'_> {
    fn name(&self) -> String {
        format!("{}:{}", self.element.id, self.layer.name)
    }

    /// What the record says of it.
    fn before<'r>(&self, record: Option<&'r CacheRecord>) -> Option<&'r LayerRecord> {
        let buildpack = record?.buildpacks.get(&self.element.id)?;
        buildpack.layers.get(&self.layer.name)
    }

    /// Its record, if the buildpack did not describe it anew and the image has no part in it.
    fn only_cached<'r>(&self, record: Option<&'r CacheRecord>) -> Option<&'r LayerRecord> {
        self.before(record).filter(|before| {
            !self.content.types.launch
                && before.types == self.content.types
                && before.fingerprint.is_some()
                && before.has_metadata(&self.content)
        })
    }
}

/// Adds the launch layers of all buildpacks; returns their part of the label, and the record.
pub(super) fn add(
    inputs: &Inputs<'_>,
    settings: LayerSettings,
    layers: &mut Layers<'_>,
    stats: &mut Stats,
) -> Result<(Vec<BuildpackLayers>, CacheRecord), ExportError> {
    let mut kept = Vec::new();
    for element in &inputs.group.group {
        kept.extend(find(inputs, element)?);
    }
    let old = inputs.record.filter(|record| record.settings == settings);
    stats.folders_walked = look(&mut kept, old)?;

    let mut label = Vec::new();
    let mut record = CacheRecord {
        settings,
        buildpacks: BTreeMap::new(),
        launcher: None,
        app: None,
    };
    let mut kept = kept.into_iter().peekable();
    for element in &inputs.group.group {
        let dir = inputs.layers_dir.join(escape_id(&element.id));
        let store_path = dir.join("store.toml");
        let store: Option<Store> = toml_file::read_if_exists(&store_path)?;
        let mut in_label = BuildpackLayers {
            key: element.id.clone(),
            version: element.version.clone(),
            layers: BTreeMap::new(),
            store: store.clone(),
        };
        let mut in_record = BuildpackRecord {
            version: element.version.clone(),
            store: store
                .is_some()
                .then(|| toml_file::read_text(&store_path))
                .transpose()?,
            layers: BTreeMap::new(),
        };
        while let Some(layer) = kept.next_if(|layer| layer.element.id == element.id) {
            let before = layer.before(old);
            let mut blob = None;
            if layer.content.types.launch {
                let made = blob_of(inputs, &layer, before, stats)?;
                let created_by = format!(
                    "Layer: '{}', Created by buildpack: {element}",
                    layer.layer.name
                );
                let sha = layers.push(layer.name(), created_by, made.clone()).sha;
                in_label.layers.insert(
                    layer.layer.name.clone(),
                    LayerMetadata {
                        sha,
                        data: layer.content.metadata.clone(),
                        types: layer.content.types.into(),
                    },
                );
                blob = Some(made);
            }
            let metadata =
                layer
                    .content
                    .restored_text()
                    .map_err(|source| ExportError::Metadata {
                        layer: layer.name(),
                        source,
                    })?;
            in_record.layers.insert(
                layer.layer.name.clone(),
                LayerRecord {
                    types: layer.content.types,
                    metadata,
                    sboms: sboms(&dir, &layer)?,
                    fingerprint: layer.fingerprint,
                    blob,
                },
            );
        }
        label.push(in_label);
        record.buildpacks.insert(element.id.clone(), in_record);
    }
    Ok((label, record))
}

/// The layers of a buildpack that are for launch or cache, sorted by name; a broken `<layer>.toml` is an error.
fn find<'a>(inputs: &Inputs<'_>, element: &'a GroupElement) -> Result<Vec<Kept<'a>>, ExportError> {
    let dir = inputs.layers_dir.join(escape_id(&element.id));
    let mut kept = Vec::new();
    for layer in layers_dir::described_layers(&dir)? {
        let content = layer.metadata()?;
        if content.types.launch || content.types.cache {
            kept.push(Kept {
                element,
                layer,
                content,
                fingerprint: None,
            });
        }
    }
    Ok(kept)
}

/// Takes the fingerprints of the layers' folders, of as few as possible; returns of how many.
///
/// Where no launch layer of a buildpack changed, its layers that are only cached keep the recorded fingerprint, and
/// nobody looks at them: most of them are download caches, with as many files as what was installed from them. Only a
/// build that ended badly makes the next one compare it; what did change meanwhile is then dropped.
fn look(kept: &mut [Kept<'_>], old: Option<&CacheRecord>) -> Result<usize, ExportError> {
    let (only_cached, others): (Vec<_>, Vec<_>) = kept
        .iter_mut()
        .filter(|kept| kept.layer.has_contents())
        .partition(|kept| kept.only_cached(old).is_some());
    let others = take_fingerprints(others)?;
    let mut unchanged: BTreeMap<&str, bool> = BTreeMap::new();
    for layer in others.iter().filter(|kept| kept.content.types.launch) {
        let same = layer
            .before(old)
            .is_some_and(|before| before.fingerprint == layer.fingerprint);
        *unchanged.entry(&layer.element.id).or_insert(true) &= same;
    }
    let mut open = Vec::new();
    for layer in only_cached {
        if unchanged.get(layer.element.id.as_str()) == Some(&true) {
            layer.fingerprint = layer
                .only_cached(old)
                .and_then(|before| before.fingerprint.clone());
        } else {
            open.push(layer);
        }
    }
    Ok(others.len() + take_fingerprints(open)?.len())
}

/// Looks at all folders at once: on a disk that answers several questions at a time, that is what takes longest.
fn take_fingerprints<'k, 'a>(
    mut layers: Vec<&'k mut Kept<'a>>,
) -> Result<Vec<&'k mut Kept<'a>>, ExportError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = layers
            .iter_mut()
            .map(|kept| {
                scope.spawn(|| {
                    let taken = fingerprint::tree(&kept.layer.dir).map_err(|source| {
                        ExportError::Fingerprint {
                            layer: kept.name(),
                            source,
                        }
                    })?;
                    kept.fingerprint = Some(taken);
                    Ok::<_, ExportError>(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    Ok(layers)
}

/// The blob of a launch layer: the recorded one if its folder did not change or is not there, else a new one.
fn blob_of(
    inputs: &Inputs<'_>,
    kept: &Kept<'_>,
    before: Option<&LayerRecord>,
    stats: &mut Stats,
) -> Result<LayerBlob, ExportError> {
    let old_blob = before.and_then(|before| before.blob.as_ref());
    let has_contents = kept.fingerprint.is_some();
    let unchanged =
        has_contents && before.is_some_and(|before| before.fingerprint == kept.fingerprint);
    if !has_contents && kept.content.types.cache {
        return Err(ExportError::CacheWithoutContents { layer: kept.name() });
    }
    if (unchanged || !has_contents)
        && let Some(blob) = old_blob
        && inputs.has_blob(|| kept.name(), blob)?
    {
        stats.layers_unread += 1;
        return Ok(blob.clone());
    }
    if !has_contents {
        return Err(ExportError::NothingToReuse { layer: kept.name() });
    }
    let early = inputs.early.iter().find_map(|early| {
        early.blob_of(
            &kept.element.id,
            &kept.layer.name,
            kept.fingerprint.as_ref(),
        )
    });
    let blob = match early {
        Some(blob) if inputs.has_blob(|| kept.name(), blob)? => blob.clone(),
        _ if let Some(blob) = same_elsewhere(inputs, kept, before)? => blob,
        _ => write(&inputs.for_layers(), &kept.element.id, &kept.layer).map_err(|source| {
            ExportError::Layer {
                layer: kept.name(),
                source,
            }
        })?,
    };
    stats.layers_read += 1;
    stats.layer_bytes_read += blob.uncompressed_size;
    Ok(blob)
}

/// A layer that was made anew, but may well be what it was.
fn same_elsewhere(
    inputs: &Inputs<'_>,
    kept: &Kept<'_>,
    before: Option<&LayerRecord>,
) -> Result<Option<LayerBlob>, ExportError> {
    let may_be = before.is_some_and(|before| {
        let there = |blob: &LayerBlob| inputs.elsewhere.contains_key(&blob.diff_id);
        before.fingerprint.is_none() && before.blob.as_ref().is_some_and(there)
    });
    if !may_be {
        return Ok(None);
    }
    inputs
        .found_elsewhere(|tar| {
            let id = &kept.element.id;
            add_to(tar, inputs.layers_path, inputs.owner, id, &kept.layer)
        })
        .map_err(|source| ExportError::Layer {
            layer: kept.name(),
            source,
        })
}

/// Makes a blob of a layer's folder.
pub(super) fn write(
    inputs: &EarlyInputs<'_>,
    buildpack: &str,
    layer: &Layer,
) -> Result<LayerBlob, LayerError> {
    write_layer(inputs.blobs, inputs.compression, |tar| {
        add_to(tar, inputs.layers_path, inputs.owner, buildpack, layer)
    })
}

/// Adds a layer's folder and the folders above it.
pub(crate) fn add_to(
    tar: &mut LayerTar<'_>,
    layers_path: &str,
    owner: Owner,
    buildpack: &str,
    layer: &Layer,
) -> Result<(), LayerError> {
    let at = format!("{layers_path}/{}/{}", escape_id(buildpack), layer.name);
    parents::add(tar, &at, &layer.dir, owner)?;
    tar.tree(&layer.dir, &at, &TreeRules::owned_by(owner))
}

fn sboms(dir: &Path, kept: &Kept<'_>) -> Result<BTreeMap<String, Fingerprint>, ExportError> {
    let mut sboms = BTreeMap::new();
    for (name, is_dir) in layers_dir::entries(dir)? {
        if is_dir || SbomFile::parse(&name).is_none_or(|file| file.layer != kept.layer.name) {
            continue;
        }
        let path: PathBuf = dir.join(&name);
        let taken = fingerprint::tree(&path).map_err(|source| ExportError::Fingerprint {
            layer: kept.name(),
            source,
        })?;
        sboms.insert(name, taken);
    }
    Ok(sboms)
}

//! Restoration: the layers folder becomes what the next build may see of the last one (Platform API, "restorer";
//! Buildpack API, "Layer Types").
//!
//! Upstream extracts a cache into an empty folder. Here the folder stays where it is, so restoring is deleting:
//! what remains was there all the time, and not a byte of it is copied.

use crate::intruders::{self, IntruderError};
use crate::layers_dir::{self, IGNORED, Layer, ListError};
use crate::log::Logger;
use crate::record::{BuildpackRecord, CacheRecord, LayerRecord};
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::layer::{LayerTypes, Restored};
use cnb_spec::names::escape_id;
use cnb_spec::sbom::SbomFile;
use cnb_spec::toml_file::{self, FileError};
use oci_image::{BlobStore, FingerprintError, fingerprint};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What restoration needs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The layers folder, as the last build left it; need not exist.
    pub layers_dir: &'a Path,
    /// The buildpacks of the next build, from detection.
    pub group: &'a Group,
    /// What the last committed build left behind; without it nothing is restored.
    pub record: Option<&'a CacheRecord>,
    /// How the last build ended.
    pub last_build: LastBuild,
    /// Where launch layers are whose folders are gone; their metadata is only restored while they are there.
    pub blobs: &'a BlobStore,
    /// Where lines go.
    pub log: Logger<'a>,
}

/// How the last build ended, which decides whether the layers folder can be what the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastBuild {
    /// Its record is the one given: nothing is checked.
    Committed,
    /// A `bin/build` exited with an error of its own. Layers that changed since the record are dropped, except for
    /// changed cache-only layers (cache, not launch) whose metadata is still the recorded one: buildpacks keep
    /// download caches in them, which are worth most after a failure, and a buildpack that starts a layer over
    /// writes new metadata first. What it puts into the image it makes or checks again anyway.
    BuildpackFailed,
    /// It was killed, or nobody knows. Layers that changed since the record are dropped.
    Interrupted,
}

/// What restoration did with each layer, as `<buildpack id>:<layer>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Metadata and folder stayed.
    pub kept: Vec<String>,
    /// Only metadata stayed.
    pub metadata_only: Vec<String>,
    /// Dropped although the specification would restore them: they changed, or their blob is gone.
    pub dropped: Vec<String>,
}

/// Why the layers folder could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A folder of layers could not be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// What build code left could not be looked at.
    #[error(transparent)]
    Intruder(#[from] IntruderError),
    /// Something could not be removed.
    #[error("removing {}", path.display())]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A layer could not be looked at.
    #[error("checking layer {layer}")]
    Fingerprint {
        /// `<buildpack id>:<layer>`.
        layer: String,
        /// What went wrong.
        #[source]
        source: FingerprintError,
    },
    /// The blob store could not be asked.
    #[error("looking for the blob of layer {layer}")]
    Blob {
        /// `<buildpack id>:<layer>`.
        layer: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A metadata file could not be written.
    #[error(transparent)]
    Write(#[from] FileError),
}

impl RestoreError {
    /// The exit code that the Platform API gives to it.
    pub fn exit_code(&self) -> u8 {
        exit_code::RESTORE_ERROR
    }
}

/// Prepares the layers folder for the next build.
///
/// What stays is what the specification restores and the record vouches for: `store.toml`, `<layer>.toml` without
/// `[types]`, SBOM files of layers, folders of cached layers. Files directly in the layers folder (`group.toml` and
/// the like) belong to the phases and stay too.
pub fn restore(inputs: &Inputs<'_>) -> Result<Restoration, RestoreError> {
    for intruder in intruders::in_layers(inputs.layers_dir)? {
        remove(&intruder)?;
    }
    let folders: BTreeSet<String> = inputs
        .group
        .group
        .iter()
        .map(|element| escape_id(&element.id))
        .collect();
    for (name, is_dir) in layers_dir::entries(inputs.layers_dir)? {
        if is_dir && !folders.contains(&name) {
            remove(&inputs.layers_dir.join(name))?;
        }
    }
    let nothing = BuildpackRecord::default();
    let mut restoration = Restoration::default();
    for element in &inputs.group.group {
        let record = inputs
            .record
            .and_then(|record| record.buildpacks.get(&element.id))
            .unwrap_or(&nothing);
        restore_buildpack(inputs, &element.id, record, &mut restoration)?;
    }
    Ok(restoration)
}

fn restore_buildpack(
    inputs: &Inputs<'_>,
    id: &str,
    record: &BuildpackRecord,
    restoration: &mut Restoration,
) -> Result<(), RestoreError> {
    let dir = inputs.layers_dir.join(escape_id(id));
    let changed = match inputs.last_build {
        LastBuild::Committed => BTreeSet::new(),
        LastBuild::BuildpackFailed | LastBuild::Interrupted => {
            changed_layers(inputs, id, &dir, record)?
        }
    };
    let mut stay: BTreeMap<&str, Restored> = BTreeMap::new();
    for (name, layer) in &record.layers {
        let full_name = format!("{id}:{name}");
        let restored = match layer.types.restored() {
            Restored::MetadataAndData
                if changed.contains(name) || !Layer::new(&dir, name).has_contents() =>
            {
                Restored::Nothing
            }
            Restored::Metadata if !has_blob(inputs.blobs, &full_name, layer)? => Restored::Nothing,
            restored => restored,
        };
        let list = match (restored, layer.types.restored()) {
            (Restored::MetadataAndData, _) => &mut restoration.kept,
            (Restored::Metadata, _) => &mut restoration.metadata_only,
            (Restored::Nothing, Restored::Nothing) => continue,
            (Restored::Nothing, _) => &mut restoration.dropped,
        };
        list.push(full_name);
        if restored != Restored::Nothing {
            stay.insert(name, restored);
        }
    }
    clear(&dir, record, &stay)?;

    for name in stay.keys() {
        toml_file::write_text(&Layer::new(&dir, name).toml, &record.layers[*name].metadata)?;
    }
    if let Some(store) = &record.store {
        toml_file::write_text(&dir.join("store.toml"), store)?;
    }
    for (verb, names) in [
        ("Restored", &restoration.kept),
        ("Dropped", &restoration.dropped),
    ] {
        for name in names
            .iter()
            .filter(|name| name.starts_with(&format!("{id}:")))
        {
            inputs.log.debug(format_args!("{verb} layer {name}"));
        }
    }
    Ok(())
}

/// Removes everything from a buildpack's folder but folders and SBOM files of layers that stay. Files to be written
/// anew, `<layer>.toml` and `store.toml`, go too.
fn clear(
    dir: &Path,
    record: &BuildpackRecord,
    stay: &BTreeMap<&str, Restored>,
) -> Result<(), RestoreError> {
    for (name, is_dir) in layers_dir::entries(dir)? {
        let path = dir.join(&name);
        let stays = if is_dir {
            !name.ends_with(IGNORED) && stay.get(name.as_str()) == Some(&Restored::MetadataAndData)
        } else {
            SbomFile::parse(&name).is_some_and(|file| {
                stay.contains_key(file.layer)
                    && record.layers[file.layer]
                        .sboms
                        .get(&name)
                        .is_some_and(|before| {
                            fingerprint::tree(&path).is_ok_and(|now| now == *before)
                        })
            })
        };
        if !stays {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The cached layers that are not what the record says, looked at several at a time.
fn changed_layers(
    inputs: &Inputs<'_>,
    id: &str,
    dir: &Path,
    record: &BuildpackRecord,
) -> Result<BTreeSet<String>, RestoreError> {
    let check = |name: &str, layer: &LayerRecord| -> Result<bool, RestoreError> {
        let on_disk = Layer::new(dir, name);
        if !on_disk.has_contents() {
            return Ok(true);
        }
        let now = fingerprint::tree(&on_disk.dir).map_err(|source| RestoreError::Fingerprint {
            layer: format!("{id}:{name}"),
            source,
        })?;
        if layer.fingerprint.as_ref() == Some(&now) {
            return Ok(false);
        }
        let may_differ = inputs.last_build == LastBuild::BuildpackFailed
            && matches!(
                layer.types,
                LayerTypes {
                    cache: true,
                    launch: false,
                    ..
                }
            )
            && on_disk
                .metadata()
                .is_ok_and(|metadata| layer.has_metadata(&metadata));
        Ok(!may_differ)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = record
            .layers
            .iter()
            .filter(|(_, layer)| layer.types.cache)
            .map(|(name, layer)| (name, scope.spawn(|| check(name, layer))))
            .collect();
        let mut changed = BTreeSet::new();
        for (name, thread) in threads {
            // A panic is a fault of ours; the safe answer is that the layer cannot be trusted.
            if thread.join().unwrap_or(Ok(true))? {
                changed.insert(name.clone());
            }
        }
        Ok(changed)
    })
}

fn has_blob(blobs: &BlobStore, layer: &str, record: &LayerRecord) -> Result<bool, RestoreError> {
    match &record.blob {
        None => Ok(false),
        Some(blob) => blobs
            .contains(&blob.digest)
            .map_err(|source| RestoreError::Blob {
                layer: layer.to_owned(),
                source,
            }),
    }
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    layers_dir::remove(path).map_err(|source| RestoreError::Remove {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[path = "restore_tests.rs"]
mod tests;

//! The layers that the lifecycle itself makes: SBOM files, launcher, configuration, process types.
//!
//! They are small and, but for the launcher, made every time. Modes come from here and not from the disk, where they would depend on
//! somebody's umask.

use super::{ExportError, Inputs, Layers, parents};
use crate::layers_dir::{self, ListError};
use crate::record::{FileRecord, LayerSettings};
use cnb_spec::labels::LayerSha;
use cnb_spec::metadata::BuildMetadata;
use cnb_spec::paths;
use oci_image::{LayerBlob, LayerError, LayerTar, Owner, fingerprint, write_layer};
use std::path::Path;

const FOLDER: u32 = 0o755;
const FILE: u32 = 0o644;

/// Why a layer of this module could not be made.
#[derive(Debug, thiserror::Error)]
enum OwnLayerError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    List(#[from] ListError),
}

fn add(
    inputs: &Inputs<'_>,
    layers: &mut Layers<'_>,
    name: &str,
    created_by: &str,
    entries: impl Fn(&mut LayerTar<'_>) -> Result<(), OwnLayerError>,
) -> Result<(LayerSha, LayerBlob), ExportError> {
    let made = match inputs.found_elsewhere(&entries) {
        Ok(None) => write_layer(inputs.blobs, inputs.compression, &entries),
        Ok(Some(blob)) => Ok(blob),
        Err(error) => Err(error),
    };
    let blob = made.map_err(|error| match error {
        OwnLayerError::List(error) => ExportError::List(error),
        OwnLayerError::Layer(source) => ExportError::Layer {
            layer: name.to_owned(),
            source,
        },
    })?;
    let sha = layers.push(name.to_owned(), created_by.to_owned(), blob.clone());
    Ok((sha, blob))
}

/// The SBOM files for launch, when the build gathered any.
pub(super) fn sbom(
    inputs: &Inputs<'_>,
    layers: &mut Layers<'_>,
) -> Result<Option<LayerSha>, ExportError> {
    let dir = inputs.layers_dir.join("sbom/launch");
    if !inputs.platform_api.at_least(8) || !dir.is_dir() {
        return Ok(None);
    }
    let name = "buildpacksio/lifecycle:launch.sbom";
    let at = format!("{}/sbom/launch", inputs.layers_path);
    let (sha, _) = add(inputs, layers, name, "Software Bill-of-Materials", |tar| {
        parents::add(tar, &at, &dir, inputs.owner)?;
        folder(tar, &dir, &at, inputs.owner)
    })?;
    Ok(Some(sha))
}

/// A folder and all below it, depth first and sorted by name.
fn folder(tar: &mut LayerTar<'_>, dir: &Path, at: &str, owner: Owner) -> Result<(), OwnLayerError> {
    tar.directory(at, FOLDER, owner)?;
    for (name, is_dir) in layers_dir::entries(dir)? {
        let (path, at) = (dir.join(&name), format!("{at}/{name}"));
        if is_dir {
            folder(tar, &path, &at, owner)?;
        } else {
            tar.file_from(&at, FILE, owner, &path)?;
        }
    }
    Ok(())
}

/// `/cnb/lifecycle/launcher`, root's; taken over from the last build when it is the same file.
pub(super) fn launcher(
    inputs: &Inputs<'_>,
    settings: &LayerSettings,
    layers: &mut Layers<'_>,
) -> Result<(LayerSha, FileRecord), ExportError> {
    let name = "buildpacksio/lifecycle:launcher";
    let created_by = "Buildpacks Application Launcher";
    let fingerprint =
        fingerprint::tree(inputs.launcher).map_err(|source| ExportError::Fingerprint {
            layer: name.to_owned(),
            source,
        })?;
    let before = inputs
        .record
        .filter(|record| record.settings == *settings)
        .and_then(|record| record.launcher.as_ref())
        .filter(|before| before.fingerprint == fingerprint);
    if let Some(before) = before
        && inputs.has_blob(|| name.to_owned(), &before.blob)?
    {
        let sha = layers.push(name.to_owned(), created_by.to_owned(), before.blob.clone());
        return Ok((sha, before.clone()));
    }
    let (sha, blob) = add(inputs, layers, name, created_by, |tar| {
        tar.parents(paths::LAUNCHER, FOLDER, Owner::ROOT)?;
        Ok(tar.file_from(paths::LAUNCHER, 0o755, Owner::ROOT, inputs.launcher)?)
    })?;
    Ok((sha, FileRecord { fingerprint, blob }))
}

/// `<layers>/config/metadata.toml`.
pub(super) fn config(
    inputs: &Inputs<'_>,
    layers: &mut Layers<'_>,
) -> Result<LayerSha, ExportError> {
    let name = "buildpacksio/lifecycle:config";
    let at = paths::build_metadata(Path::new(inputs.layers_path));
    let at = at.to_str().unwrap_or_default();
    let path = paths::build_metadata(inputs.layers_dir);
    let (sha, _) = add(inputs, layers, name, "Buildpacks Launcher Config", |tar| {
        parents::add(tar, at, &path, inputs.owner)?;
        Ok(tar.file_from(at, FILE, inputs.owner, &path)?)
    })?;
    Ok(sha)
}

/// `/cnb/process/<type>` for each process, when there is one.
pub(super) fn process_types(
    inputs: &Inputs<'_>,
    metadata: &BuildMetadata,
    layers: &mut Layers<'_>,
) -> Result<Option<LayerSha>, ExportError> {
    if metadata.processes.is_empty() {
        return Ok(None);
    }
    let name = "buildpacksio/lifecycle:process-types";
    let (sha, _) = add(inputs, layers, name, "Buildpacks Process Types", |tar| {
        for folder in [paths::CNB_DIR, paths::PROCESS_DIR] {
            tar.directory(folder, FOLDER, Owner::ROOT)?;
        }
        for process in &metadata.processes {
            tar.symlink_with_mode(
                paths::process(&process.r#type),
                paths::LAUNCHER,
                0o755,
                Owner::ROOT,
            )?;
        }
        Ok(())
    })?;
    Ok(Some(sha))
}

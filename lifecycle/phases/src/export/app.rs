//! The app folder as layers: one per slice, and one for all that no slice takes.

use super::slices::{Paths, SliceError};
use super::{ExportError, Inputs, LayerState, Layers, Stats, parents};
use cnb_spec::labels::LayerSha;
use cnb_spec::metadata::Slice;
use oci_image::{LayerError, TreeRules, write_layer};
use std::path::PathBuf;

/// Adds the layers; returns their part of the label.
pub(super) fn add(
    inputs: &Inputs<'_>,
    slices: &[Slice],
    layers: &mut Layers<'_>,
    stats: &mut Stats,
) -> Result<Vec<LayerSha>, ExportError> {
    let mut paths = Paths::list(inputs.app_dir)
        .map_err(|SliceError { path, source }| ExportError::Read { path, source })?;
    let mut parts = Vec::new();
    for slice in slices {
        let taken = paths.take(&slice.paths, inputs.app_path);
        parts.push(taken.map_err(|pattern| ExportError::Pattern { pattern })?);
    }
    parts.push(paths.rest());

    let (mut label, mut reused) = (Vec::new(), 0);
    for (index, part) in parts.iter().enumerate() {
        let name = format!("slice-{}", index + 1);
        let created_by = if slices.is_empty() {
            "Application Layer".to_owned()
        } else {
            format!("Application Slice: {}", index + 1)
        };
        let blob = write_layer(inputs.blobs, inputs.compression, |tar| {
            // Also without a path there is a layer, an empty one: the reference lifecycle counts on their number.
            if part.is_empty() {
                return Ok(());
            }
            parents::add(tar, inputs.app_path, inputs.app_dir, inputs.owner)?;
            let rules = TreeRules::owned_by(inputs.owner);
            tar.entries(
                inputs.app_dir,
                inputs.app_path,
                part.iter().map(PathBuf::from),
                &rules,
            )
        })
        .map_err(|source: LayerError| ExportError::Layer {
            layer: name.clone(),
            source,
        })?;
        stats.app_bytes_read += blob.uncompressed_size;
        let (sha, origin) = layers.add(name, created_by, blob);
        reused += usize::from(origin == LayerState::Reused);
        label.push(sha);
    }
    let count = label.len();
    for (verb, part) in [("Reused", reused), ("Added", count - reused)] {
        if part > 0 {
            let log = inputs.log;
            log.info(format_args!("{verb} {part}/{count} app layer(s)"));
        }
    }
    Ok(label)
}

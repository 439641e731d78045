//! The app folder as layers: one per slice, and one for all that no slice takes, or several where that is much.

use super::slices::{Paths, SliceError};
use super::{ExportError, Inputs, LayerState, Layers, Stats, hashed, parents, pieces};
use cnb_spec::labels::LayerSha;
use cnb_spec::metadata::Slice;
use oci_image::{LayerBlob, LayerError, LayerTar, TreeRules, write_layer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

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
    match inputs.cut_app_above {
        Some(above) => parts.extend(
            pieces::cut(inputs.app_dir, paths.rest(), above)
                .map_err(|(path, source)| ExportError::Read { path, source })?,
        ),
        None => parts.push(paths.rest()),
    }
    // To read is worth it where most of what is read need not be compressed then.
    let known = if parts.len() > slices.len() + 1 {
        of_previous(inputs, &parts)?
    } else {
        BTreeMap::new()
    };

    let (mut label, mut reused) = (Vec::new(), 0);
    for (index, part) in parts.iter().enumerate() {
        let name = name(index);
        let created_by = if slices.is_empty() {
            "Application Layer".to_owned()
        } else {
            format!("Application Slice: {}", index + 1)
        };
        let blob = match known.get(&index) {
            Some(blob) => blob.clone(),
            None => write_layer(inputs.blobs, inputs.compression, |tar| {
                entries(inputs, part, tar)
            })
            .map_err(failed(index))?,
        };
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

fn name(index: usize) -> String {
    format!("slice-{}", index + 1)
}

fn failed(index: usize) -> impl Fn(LayerError) -> ExportError {
    move |source| ExportError::Layer {
        layer: name(index),
        source,
    }
}

fn entries(
    inputs: &Inputs<'_>,
    part: &[OsString],
    tar: &mut LayerTar<'_>,
) -> Result<(), LayerError> {
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
}

/// The layers that the previous image has of these parts, by their number: what is read is hashed only, on all
/// processors. Without a previous image nothing is read.
fn of_previous(
    inputs: &Inputs<'_>,
    parts: &[Vec<OsString>],
) -> Result<BTreeMap<usize, LayerBlob>, ExportError> {
    let Some(previous) = inputs.previous else {
        return Ok(BTreeMap::new());
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let every = |first: usize| -> Result<BTreeMap<usize, LayerBlob>, ExportError> {
        let mut found = BTreeMap::new();
        for (index, part) in parts.iter().enumerate().skip(first).step_by(threads) {
            let (diff_id, uncompressed_size) =
                hashed(|tar| entries(inputs, part, tar)).map_err(failed(index))?;
            let Some(layer) = previous.layer(&diff_id) else {
                continue;
            };
            let blob = LayerBlob {
                diff_id,
                digest: layer.digest,
                size: layer.size,
                uncompressed_size,
                media_type: layer.media_type.clone(),
            };
            if inputs.has_blob(|| name(index), &blob)? {
                found.insert(index, blob);
            }
        }
        Ok(found)
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(parts.len()))
            .map(|first| scope.spawn(move || every(first)))
            .collect();
        let mut found = every(0)?;
        for other in others {
            found.append(
                &mut other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            );
        }
        Ok(found)
    })
}

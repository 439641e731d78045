//! The app folder as layers: one per slice, and one for all that no slice takes, or several where that is much.

use super::slices::{Paths, SliceError};
use super::{ExportError, Inputs, LayerState, Layers, Stats, hashed, parents, pieces};
use crate::record::{AppRecord, FileRecord, LayerSettings};
use cnb_spec::labels::LayerSha;
use cnb_spec::metadata::Slice;
use oci_image::{
    Digest, Fingerprint, LayerBlob, LayerError, LayerTar, TreeRules, fingerprint, write_layer,
};
use std::collections::HashMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

/// Docker takes no image of more than 127 layers; buildpacks have theirs, and so may slices.
const LAYERS_AT_MOST: usize = 100;

/// Adds the layers; returns their part of the label, and what the next build may know of them.
pub(super) fn add(
    inputs: &Inputs<'_>,
    settings: &LayerSettings,
    slices: &[Slice],
    layers: &mut Layers<'_>,
    stats: &mut Stats,
) -> Result<(Vec<LayerSha>, Option<AppRecord>), ExportError> {
    let mut paths = Paths::list(inputs.app_dir)
        .map_err(|SliceError { path, source }| ExportError::Read { path, source })?;
    let mut parts = Vec::new();
    for slice in slices {
        let taken = paths.take(&slice.paths, inputs.app_path);
        parts.push(taken.map_err(|pattern| ExportError::Pattern { pattern })?);
    }
    match inputs.cut_app_above {
        Some(above) => parts.extend(
            pieces::cut(inputs.app_dir, paths.rest(), above, most(inputs))
                .map_err(|(path, source)| ExportError::Read { path, source })?,
        ),
        None => parts.push(paths.rest()),
    }
    let looks = look(inputs, settings, &parts, parts.len() > slices.len() + 1)?;

    let (mut label, mut reused, mut record) = (Vec::new(), 0, Vec::new());
    for (index, (part, look)) in parts.iter().zip(looks).enumerate() {
        let name = name(index);
        let created_by = if slices.is_empty() {
            "Application Layer".to_owned()
        } else {
            format!("Application Slice: {}", index + 1)
        };
        let Look {
            fingerprint,
            blob,
            mut read,
        } = look;
        let blob = if let Some(blob) = blob {
            blob
        } else {
            let blob = write_layer(inputs.blobs, inputs.compression, |tar| {
                entries(inputs, part, tar)
            })
            .map_err(failed(index))?;
            read += blob.uncompressed_size;
            blob
        };
        stats.app_bytes_read += read;
        record.extend(fingerprint.map(|fingerprint| FileRecord {
            fingerprint,
            blob: blob.clone(),
        }));
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
    let record = (!record.is_empty()).then(|| AppRecord {
        path: inputs.app_path.to_owned(),
        parts: record,
    });
    Ok((label, record))
}

/// How many pieces the app may be cut into: fewer on a base that has many layers.
fn most(inputs: &Inputs<'_>) -> u64 {
    let room = LAYERS_AT_MOST.saturating_sub(inputs.run_image.manifest.layers.len());
    (room as u64).clamp(1, pieces::MOST)
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

/// What is known of a part before it is written.
#[derive(Default)]
struct Look {
    /// What it looks like, where the next build may go by that.
    fingerprint: Option<Fingerprint>,
    /// Its layer, where an earlier build has made it.
    blob: Option<LayerBlob>,
    /// Bytes of tar that were read to find out.
    read: u64,
}

/// Looks for the parts' layers, on all processors: by what their files look like, and if `hash`, by what is in them. That is
/// worth it where most of what is read need not be compressed then, and there is something to find.
///
/// The reference lifecycle makes one layer and reads everything; so is it done where nothing is to be cut.
fn look(
    inputs: &Inputs<'_>,
    settings: &LayerSettings,
    parts: &[Vec<OsString>],
    hash: bool,
) -> Result<Vec<Look>, ExportError> {
    if inputs.cut_app_above.is_none() {
        return Ok(parts.iter().map(|_| Look::default()).collect());
    }
    let record = inputs
        .record
        .filter(|record| record.settings == *settings)
        .and_then(|record| record.app.as_ref())
        .filter(|app| app.path == inputs.app_path);
    // What the image has otherwise may be compressed by others: the same app has the same blobs everywhere.
    let parts_before = || record.iter().flat_map(|app| &app.parts);
    let known: HashMap<&Fingerprint, &LayerBlob> = parts_before()
        .map(|part| (&part.fingerprint, &part.blob))
        .collect();
    let by_content: HashMap<Digest, &LayerBlob> = parts_before()
        .map(|part| (part.blob.diff_id, &part.blob))
        .collect();
    let one = |index: usize, part: &Vec<OsString>| -> Result<Look, ExportError> {
        let fingerprint = fingerprint::entries_at_rest(inputs.app_dir, part).map_err(|source| {
            ExportError::Fingerprint {
                layer: name(index),
                source,
            }
        })?;
        let mut blob = fingerprint
            .as_ref()
            .and_then(|fingerprint| known.get(fingerprint))
            .map(|blob| (*blob).clone());
        let mut read = 0;
        if blob.is_none() && hash && !by_content.is_empty() {
            let (diff_id, size) =
                hashed(|tar| entries(inputs, part, tar)).map_err(failed(index))?;
            blob = by_content.get(&diff_id).map(|blob| (*blob).clone());
            read = size;
        }
        if let Some(found) = &blob
            && !inputs.has_blob(|| name(index), found)?
        {
            blob = None;
        }
        Ok(Look {
            fingerprint,
            blob,
            read,
        })
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = parts.len().div_ceil(threads).max(1);
    let every = |first: usize, share: &[Vec<OsString>]| -> Result<Vec<Look>, ExportError> {
        let parts = share.iter().enumerate();
        parts
            .map(|(index, part)| one(first + index, part))
            .collect()
    };
    thread::scope(|scope| {
        let every = &every;
        let mut shares = parts.chunks(share).enumerate();
        let own = shares.next();
        let others: Vec<_> = shares
            .map(|(number, parts)| scope.spawn(move || every(number * share, parts)))
            .collect();
        let mut looks = own.map_or(Ok(Vec::new()), |(_, parts)| every(0, parts))?;
        for other in others {
            let found = other.join();
            looks.extend(found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(looks)
    })
}

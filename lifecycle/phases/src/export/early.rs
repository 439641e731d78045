//! Layers that become blobs while the build still runs.
//!
//! A buildpack that is done with a layer long before its build ends may say so. Reading the layer then takes time
//! that nobody waits for. What was read counts only if the layer is the same after the build as before the reading.

use super::buildpack_layers;
use crate::layers_dir::Layer;
use cnb_spec::names::escape_id;
use oci_image::{BlobStore, Compression, Fingerprint, LayerBlob, Owner, fingerprint};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What writing a layer early needs; the same as the export's.
#[derive(Debug, Clone, Copy)]
pub struct EarlyInputs<'a> {
    /// See [`super::Inputs::layers_dir`].
    pub layers_dir: &'a Path,
    /// See [`super::Inputs::layers_path`].
    pub layers_path: &'a str,
    /// See [`super::Inputs::owner`].
    pub owner: Owner,
    /// See [`super::Inputs::compression`].
    pub compression: Compression,
    /// See [`super::Inputs::blobs`].
    pub blobs: &'a BlobStore,
}

/// A layer that was written while the build ran. [`super::export()`] takes its blob if the layer did not change since.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyLayer {
    buildpack: String,
    layer: String,
    fingerprint: Fingerprint,
    blob: LayerBlob,
}

impl EarlyLayer {
    /// `<buildpack id>:<layer>`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.buildpack, self.layer)
    }

    /// The blob, if it is that of this layer as it is now.
    pub(super) fn blob_of(
        &self,
        buildpack: &str,
        layer: &str,
        now: Option<&Fingerprint>,
    ) -> Option<&LayerBlob> {
        let same =
            self.buildpack == buildpack && self.layer == layer && now == Some(&self.fingerprint);
        same.then_some(&self.blob)
    }
}

/// How often a layer is looked at until it is at rest, and how long is waited before each look.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// Opens a layer's folder once. Build code, which still runs, may put a link in the place of any folder above it at
/// any moment: what is looked at and what is read has to be one and the same folder, and one in the layers.
fn open_layer(layers_dir: &Path, buildpack: &str, layer: &str) -> Option<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let layers = rustix::fs::open(layers_dir, flags | OFlags::PATH, Mode::empty()).ok()?;
    let inside = Path::new(&escape_id(buildpack)).join(layer);
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(layers, inside, flags, Mode::empty(), within).ok()
}

/// Writes a layer while the build still runs. Nothing comes of it when the layer is not at rest or can't be read: the
/// export after the build reads it again, and says what is wrong.
pub fn write_early(inputs: &EarlyInputs<'_>, buildpack: &str, layer: &str) -> Option<EarlyLayer> {
    let folder = open_layer(inputs.layers_dir, buildpack, layer)?;
    let mut found = Layer::new(&inputs.layers_dir.join(escape_id(buildpack)), layer);
    found.dir = PathBuf::from(format!("/proc/self/fd/{}/.", folder.as_raw_fd()));
    let fingerprint = (0..LOOKS).find_map(|_| {
        thread::sleep(PAUSE);
        fingerprint::tree_at_rest(&found.dir).ok().flatten()
    })?;
    let blob = buildpack_layers::write(inputs, buildpack, &found).ok()?;
    Some(EarlyLayer {
        buildpack: buildpack.to_owned(),
        layer: layer.to_owned(),
        fingerprint,
        blob,
    })
}

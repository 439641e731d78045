//! Export: the image, made of the run image, what buildpacks left and the app (Platform API, "exporter";
//! Buildpack API, "Phase #6").

mod app;
pub(crate) mod buildpack_layers;
mod config;
mod early;
mod glob;
mod own_layers;
pub(crate) mod parents;
mod pieces;
mod slices;

use crate::intruders::{self, IntruderError};
use crate::layers_dir::ListError;
use crate::log::Logger;
use crate::record::{CacheRecord, LayerSettings};
use cnb_spec::api::ApiVersion;
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::labels::{LauncherMetadata, LayerSha, LayersMetadata};
use cnb_spec::metadata::{BuildMetadata, Slice};
use cnb_spec::paths;
use cnb_spec::project::ProjectMetadata;
use cnb_spec::report::{ImageReport, Report};
use cnb_spec::run::RunImageNames;
use cnb_spec::toml_file::{self, FileError};
use oci_image::{
    BlobStore, Compression, Descriptor, Digest, DigestWriter, FingerprintError, Image, ImageError,
    LayerBlob, LayerError, LayerTar, Owner,
};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub use early::{EarlyInputs, EarlyLayer, write_early};

/// What export needs. Paths are the host's unless they say otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The Platform API version that the platform speaks.
    pub platform_api: ApiVersion,
    /// The layers folder after the build.
    pub layers_dir: &'a Path,
    /// Where the layers folder is inside the image; [`paths::LAYERS_DIR`] usually.
    pub layers_path: &'a str,
    /// The app folder after the build.
    pub app_dir: &'a Path,
    /// Where the app folder is inside the image; [`paths::APP_DIR`] usually.
    pub app_path: &'a str,
    /// The buildpacks that ran.
    pub group: &'a Group,
    /// The base. Its layers are named in the new image and never read.
    pub run_image: &'a Image,
    /// A digest reference or an ID of the base.
    pub run_image_reference: &'a str,
    /// What the platform calls the base.
    pub run_image_names: &'a RunImageNames,
    /// The launcher's executable.
    pub launcher: &'a Path,
    /// What the label says of the launcher.
    pub launcher_metadata: &'a LauncherMetadata,
    /// Who owns the files of layers and app inside the image: the build image's user.
    pub owner: Owner,
    /// Where blobs go, and where those of unchanged layers are.
    pub blobs: &'a BlobStore,
    /// How hard layers are compressed.
    pub compression: Compression,
    /// What the last committed build left behind.
    pub record: Option<&'a CacheRecord>,
    /// Layers by diffID that are where the image goes, so that their blobs need not be in `blobs`.
    pub elsewhere: &'a BTreeMap<Digest, LayerBlob>,
    /// Layers that were written while the build ran.
    pub early: &'a [EarlyLayer],
    /// The image of the last build, to tell layers that it has from those that it has not.
    pub previous: Option<&'a Image>,
    /// The process type that the user wants as the default.
    pub process_type: Option<&'a str>,
    /// Where the source came from.
    pub project: &'a ProjectMetadata,
    /// Slices of the app that the project itself asks for; they come before the buildpacks'.
    pub slices: &'a [Slice],
    /// From how many bytes on what no slice takes of the app is cut into several layers, so that a file that changes costs
    /// one of them; `None` for one layer always, as the reference lifecycle has it.
    pub cut_app_above: Option<u64>,
    /// The execution environment.
    pub exec_env: &'a str,
    /// The instant that the image says it was made at, in seconds since 1970; [`oci_image::NORMALIZED_MTIME`] unless
    /// `SOURCE_DATE_EPOCH` says otherwise.
    pub created: i64,
    /// Tag references for the report.
    pub tags: &'a [String],
    /// Where lines go.
    pub log: Logger<'a>,
}

impl<'a> Inputs<'a> {
    /// The layer of where the image goes that `entries` would become: hashing is many times cheaper than compressing.
    fn found_elsewhere<E: From<LayerError>>(
        &self,
        entries: impl FnOnce(&mut LayerTar<'_>) -> Result<(), E>,
    ) -> Result<Option<LayerBlob>, E> {
        if self.elsewhere.is_empty() {
            return Ok(None);
        }
        let (diff_id, _) = hashed(entries)?;
        Ok(self.elsewhere.get(&diff_id).cloned())
    }

    /// Whether a blob can be had, here or where the image goes.
    fn has_blob(
        &self,
        layer: impl FnOnce() -> String,
        blob: &LayerBlob,
    ) -> Result<bool, ExportError> {
        let elsewhere = self.elsewhere.get(&blob.diff_id);
        if elsewhere.is_some_and(|there| there.digest == blob.digest) {
            return Ok(true);
        }
        self.blobs
            .contains(&blob.digest)
            .map_err(|source| ExportError::Blob {
                layer: layer(),
                source,
            })
    }

    /// What of it decides how a layer is written.
    fn for_layers(&self) -> EarlyInputs<'a> {
        EarlyInputs {
            layers_dir: self.layers_dir,
            layers_path: self.layers_path,
            owner: self.owner,
            compression: self.compression,
            blobs: self.blobs,
        }
    }
}

/// The diffID of the layer that `entries` would become, and its bytes before compression.
fn hashed<E: From<LayerError>>(
    entries: impl FnOnce(&mut LayerTar<'_>) -> Result<(), E>,
) -> Result<(Digest, u64), E> {
    let mut hashing = DigestWriter::new(std::io::sink());
    let mut tar = LayerTar::new(&mut hashing);
    entries(&mut tar)?;
    tar.finish()?;
    let (_, diff_id, size) = hashing.finish();
    Ok((diff_id, size))
}

/// The image and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The manifest, in the store.
    pub manifest: Descriptor,
    /// The image as it was saved.
    pub image: Image,
    /// The layers on top of the run image's, in their order.
    pub layers: Vec<ExportedLayer>,
    /// For the next build.
    pub record: CacheRecord,
    /// For `report.toml`.
    pub report: Report,
    /// What it cost.
    pub stats: Stats,
}

impl Exported {
    /// Writes `report.toml`.
    pub fn write_report(&self, path: &Path) -> Result<(), FileError> {
        toml_file::write(path, &self.report)
    }
}

/// A layer of the new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedLayer {
    /// `<buildpack id>:<layer>`, or as the reference lifecycle names its own, such as `buildpacksio/lifecycle:launcher`.
    pub name: String,
    /// The layer in the store.
    pub blob: LayerBlob,
    /// Whether it is new.
    pub state: LayerState,
}

/// Whether a layer is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// The previous image does not have it.
    Added,
    /// The previous image has the same.
    Reused,
}

/// What export cost, as far as it depends on the size of things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Buildpacks' layers whose folders were read.
    pub layers_read: usize,
    /// Bytes of tar that were made of them.
    pub layer_bytes_read: u64,
    /// Buildpacks' layers taken over without reading any of their files.
    pub layers_unread: usize,
    /// Buildpacks' layers whose files were looked at, one by one, to tell whether they changed.
    pub folders_walked: usize,
    /// Bytes of tar that were made of the app folder; of what is cut, only what looked like new was read.
    pub app_bytes_read: u64,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file of the build is missing or broken.
    #[error(transparent)]
    File(#[from] FileError),
    /// What build code left could not be looked at.
    #[error(transparent)]
    Look(#[from] IntruderError),
    /// Build code left a link, a pipe or a device where only files and folders belong.
    #[error("a buildpack left {}, which is neither a file nor a folder; nothing is exported", path.display())]
    Intruder {
        /// Where it is.
        path: PathBuf,
    },
    /// A folder could not be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A layer could not be made.
    #[error("making layer {layer}")]
    Layer {
        /// See [`ExportedLayer::name`].
        layer: String,
        /// What went wrong.
        #[source]
        source: LayerError,
    },
    /// A layer could not be looked at.
    #[error("checking layer {layer}")]
    Fingerprint {
        /// See [`ExportedLayer::name`].
        layer: String,
        /// What went wrong.
        #[source]
        source: FingerprintError,
    },
    /// A file or folder could not be looked at.
    #[error("reading {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A cached launch layer has metadata, but no folder.
    #[error("layer {layer} says cache = true but has no folder; the buildpack has to make it")]
    CacheWithoutContents {
        /// `<buildpack id>:<layer>`.
        layer: String,
    },
    /// A launch layer was left to the last build, which has none.
    #[error(
        "layer {layer} has no folder, and the last build has no such layer to reuse; build again with the cache cleared"
    )]
    NothingToReuse {
        /// `<buildpack id>:<layer>`.
        layer: String,
    },
    /// The user wants a process that nobody defines.
    #[error("there is no process {wanted:?}; the image has {}", list(available))]
    NoSuchProcess {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// A slice's pattern is malformed.
    #[error("slice pattern {pattern:?} of a launch.toml is malformed")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// The time of creation is out of range.
    #[error(
        "{seconds} seconds since 1970 is no date between the years 0 and 9999; correct SOURCE_DATE_EPOCH"
    )]
    Created {
        /// What was asked for.
        seconds: i64,
    },
    /// A label could not be written as JSON.
    #[error("writing label {label}")]
    Label {
        /// Its name.
        label: &'static str,
        /// What went wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Layer metadata could not be written as TOML.
    #[error("recording the metadata of layer {layer}")]
    Metadata {
        /// `<buildpack id>:<layer>`.
        layer: String,
        /// What went wrong.
        #[source]
        source: toml::ser::Error,
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
    /// The image could not be saved.
    #[error("saving the image")]
    Save(#[source] ImageError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

impl ExportError {
    /// The exit code that the Platform API gives to it.
    pub fn exit_code(&self) -> u8 {
        exit_code::EXPORT_ERROR
    }
}

/// Makes the image and saves it in the store.
///
/// A launch layer whose folder is the recorded one is taken over with its blob, and none of its files is opened.
/// Everything else is read once, into a blob.
pub fn export(inputs: &Inputs<'_>) -> Result<Exported, ExportError> {
    let created = config::rfc_3339(inputs.created).ok_or(ExportError::Created {
        seconds: inputs.created,
    })?;
    if let Some(path) = intruders::in_layers(inputs.layers_dir)?.into_iter().next() {
        return Err(ExportError::Intruder { path });
    }
    let metadata: BuildMetadata = toml_file::read(&paths::build_metadata(inputs.layers_dir))?;
    let entrypoint = config::entrypoint(inputs, &metadata)?;

    let mut layers = Layers::new(inputs);
    let mut stats = Stats::default();
    let settings = LayerSettings::new(inputs.layers_path, inputs.owner, inputs.compression);
    let (buildpacks, mut record) =
        buildpack_layers::add(inputs, settings.clone(), &mut layers, &mut stats)?;
    let sbom = own_layers::sbom(inputs, &mut layers)?;
    let slices: Vec<Slice> = inputs
        .slices
        .iter()
        .chain(&metadata.slices)
        .cloned()
        .collect();
    let (app, app_record) = app::add(inputs, &settings, &slices, &mut layers, &mut stats)?;
    record.app = app_record;
    let (launcher, launcher_record) = own_layers::launcher(inputs, &settings, &mut layers)?;
    record.launcher = Some(launcher_record);
    let config = own_layers::config(inputs, &mut layers)?;
    let process_types = own_layers::process_types(inputs, &metadata, &mut layers)?;

    let layers_metadata = LayersMetadata {
        app,
        sbom,
        buildpacks,
        config,
        launcher,
        process_types: process_types.unwrap_or_default(),
        run_image: config::run_image(inputs),
        stack: Some(cnb_spec::labels::StackMetadata {
            run_image: inputs.run_image_names.clone(),
        }),
    };
    let image = config::image(
        inputs,
        &layers,
        &created,
        &entrypoint,
        &layers_metadata,
        &metadata,
    )?;
    let manifest = image.save(inputs.blobs).map_err(ExportError::Save)?;
    // What was saved, with the config's digest filled in.
    let image = Image::load(inputs.blobs, &manifest.digest).map_err(ExportError::Save)?;
    let report = Report {
        image: ImageReport {
            tags: inputs.tags.to_vec(),
            image_id: None,
            digest: Some(manifest.digest.to_string()),
            manifest_size: Some(manifest.size),
        },
    };
    Ok(Exported {
        manifest,
        image,
        layers: layers.list,
        record,
        report,
        stats,
    })
}

/// The layers of the new image so far.
struct Layers<'a> {
    inputs: &'a Inputs<'a>,
    list: Vec<ExportedLayer>,
    /// The history's `created_by` of each.
    created_by: Vec<String>,
}

impl<'a> Layers<'a> {
    fn new(inputs: &'a Inputs<'a>) -> Self {
        Self {
            inputs,
            list: Vec::new(),
            created_by: Vec::new(),
        }
    }

    /// Adds a layer and says so.
    fn push(&mut self, name: String, created_by: String, blob: LayerBlob) -> LayerSha {
        let log = self.inputs.log;
        let said = format!("layer '{name}'");
        let (sha, state) = self.add(name, created_by, blob);
        match state {
            LayerState::Added => log.info(format_args!("Adding {said}")),
            LayerState::Reused => log.info(format_args!("Reusing {said}")),
        }
        sha
    }

    /// A layer that the image's destination has, perhaps compressed by somebody else, is that one from here on.
    fn add(&mut self, name: String, created_by: String, blob: LayerBlob) -> (LayerSha, LayerState) {
        let there = self.inputs.elsewhere.get(&blob.diff_id);
        let blob = there.cloned().unwrap_or(blob);
        let sha = LayerSha {
            sha: blob.diff_id.to_string(),
        };
        let state = if self.previous_has(&blob.diff_id) {
            LayerState::Reused
        } else {
            LayerState::Added
        };
        self.list.push(ExportedLayer { name, blob, state });
        self.created_by.push(created_by);
        (sha, state)
    }

    fn previous_has(&self, diff_id: &Digest) -> bool {
        self.inputs
            .previous
            .is_some_and(|image| image.config.rootfs.diff_ids.contains(diff_id))
    }
}

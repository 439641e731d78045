//! Rebase: an image of an app on another base, without building anything (Platform API, "rebaser").

use crate::analyze;
use crate::log::Logger;
use cnb_spec::api::ApiVersion;
use cnb_spec::labels::{self, LayersMetadata, StackMetadata};
use cnb_spec::run::RunImageNames;
use cnb_spec::target::Target;
use cnb_spec::{env_vars, exit_code, json};
use oci_image::{Digest, History, Image};

/// Labels that are the base's.
const OF_BASES: [&str; 2] = ["io.buildpacks.base.", "io.buildpacks.stack."];

/// What a rebase needs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The Platform API version that the platform speaks.
    pub platform_api: ApiVersion,
    /// The image of the app.
    pub app: &'a Image,
    /// The base to be.
    pub base: &'a Image,
    /// A digest reference or an ID of it.
    pub base_reference: &'a str,
    /// What the platform calls it.
    pub base_name: &'a str,
    /// Whether to do it although it is not known to be safe.
    pub force: bool,
    /// Where lines go.
    pub log: Logger<'a>,
}

/// Why an image keeps its base.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// No lifecycle made the image.
    #[error(
        "the image has no label {}, so that nobody knows where its base ends",
        labels::LIFECYCLE_METADATA
    )]
    NoMetadata,
    /// The label is broken.
    #[error("the image's label {} is broken", labels::LIFECYCLE_METADATA)]
    Metadata(#[source] serde_json::Error),
    /// The label names a layer that the image does not have.
    #[error("the image does not have the layer {top_layer}, where its base is said to end")]
    TopLayer {
        /// Its diffID.
        top_layer: String,
    },
    /// The image says that its base must stay.
    #[error("the image is not marked as rebasable; please provide -force to override")]
    NotRebasable,
    /// The base is for other machines or of another distribution.
    #[error(
        "the new run image is for {new}, the old one for {old}; please provide -force to override"
    )]
    Target {
        /// The new base's target.
        new: String,
        /// The old base's target.
        old: String,
    },
    /// Before Platform API 0.12: the base is of another stack.
    #[error("incompatible stack: {new:?} is not compatible with {old:?}")]
    Stack {
        /// The new base's stack.
        new: String,
        /// The old base's stack.
        old: String,
    },
    /// The base is none that the image was made for.
    #[error(
        "new base image '{name}' not found in existing run image metadata: {known}; please provide -force to override"
    )]
    UnknownBase {
        /// What the platform calls it.
        name: String,
        /// The names of the old base.
        known: String,
    },
}

impl RebaseError {
    /// The exit code that the Platform API gives to it.
    pub fn exit_code(&self) -> u8 {
        exit_code::REBASE_ERROR
    }
}

/// The names that an image gives its base: what a rebase takes when nobody says otherwise.
pub fn base_of(app: &Image) -> Result<RunImageNames, RebaseError> {
    let metadata = metadata(app)?;
    if metadata.run_image.names.image.is_some() {
        return Ok(metadata.run_image.names);
    }
    Ok(metadata.stack.unwrap_or_default().run_image)
}

/// How many of an image's layers are its base's; `None` where its metadata do not tell.
pub fn layers_of_base(app: &Image) -> Option<usize> {
    end_of_base(&app.config.rootfs.diff_ids, &metadata(app).ok()?)
}

/// Where the base ends: with its top layer, which may be in it twice (empty layers are all the same), but not among
/// the layers that are known to be the app's.
fn end_of_base(diff_ids: &[Digest], metadata: &LayersMetadata) -> Option<usize> {
    let of_buildpacks = metadata
        .buildpacks
        .iter()
        .flat_map(|it| it.layers.values().map(|layer| layer.sha.as_str()));
    let own = [
        &metadata.config,
        &metadata.launcher,
        &metadata.process_types,
    ];
    let of_app: Vec<&str> = metadata
        .app
        .iter()
        .chain(&metadata.sbom)
        .chain(own)
        .map(|layer| layer.sha.as_str())
        .chain(of_buildpacks)
        .collect();
    let diff_ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
    let is_top = |diff_id: &String| *diff_id == metadata.run_image.top_layer;
    let of_app = diff_ids
        .iter()
        .position(|diff_id| of_app.contains(&diff_id.as_str()));
    let below = &diff_ids[..of_app.unwrap_or(diff_ids.len())];
    let last = below.iter().rposition(is_top);
    let top = last.or_else(|| diff_ids.iter().position(is_top))?;
    Some(top + 1)
}

/// The app's image with the base's layers and labels in the place of its old base's.
pub fn rebase(inputs: &Inputs<'_>) -> Result<Image, RebaseError> {
    check_fit(inputs)?;
    let mut metadata = metadata(inputs.app)?;
    let mut image = swap_layers(inputs, &metadata)?;
    let top = inputs.base.config.rootfs.diff_ids.last();
    metadata.run_image.top_layer = top.map(ToString::to_string).unwrap_or_default();
    inputs
        .base_reference
        .clone_into(&mut metadata.run_image.reference);
    if inputs.platform_api.at_least(12) {
        keep_names(inputs, &mut metadata)?;
    }
    let run = &mut image.config.config;
    let text = json::label_text(&metadata).map_err(RebaseError::Metadata)?;
    run.labels
        .insert(labels::LIFECYCLE_METADATA.to_owned(), text);
    let prefixes = if inputs.platform_api.at_least(12) {
        &OF_BASES[..]
    } else {
        &OF_BASES[1..]
    };
    let of_base = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    run.labels.retain(|name, _| !of_base(name));
    let new = inputs.base.config.config.labels.iter();
    run.labels.extend(
        new.filter(|(name, _)| of_base(name))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    Ok(image)
}

fn metadata(app: &Image) -> Result<LayersMetadata, RebaseError> {
    let label = app.config.config.labels.get(labels::LIFECYCLE_METADATA);
    serde_json::from_str(label.ok_or(RebaseError::NoMetadata)?).map_err(RebaseError::Metadata)
}

/// Whether the app may run on the base: what the image says that was made for Platform API 0.12 or later, its stack
/// before.
fn check_fit(inputs: &Inputs<'_>) -> Result<(), RebaseError> {
    let label = |image: &Image, name: &str| {
        let labels = &image.config.config.labels;
        labels.get(name).cloned().unwrap_or_default()
    };
    let made_for = inputs.app.config.config.env(env_vars::PLATFORM_API);
    let made_for = made_for.and_then(|version| version.parse::<ApiVersion>().ok());
    if !made_for.is_some_and(|version| version.at_least(12)) {
        let (new, old) = (
            label(inputs.base, labels::STACK_ID),
            label(inputs.app, labels::STACK_ID),
        );
        if new != old || new.is_empty() {
            return Err(RebaseError::Stack { new, old });
        }
        return Ok(());
    }
    let warn_or = |error: RebaseError| {
        if inputs.force {
            inputs.log.warn(&error);
            return Ok(());
        }
        Err(error)
    };
    if label(inputs.app, labels::REBASABLE) == "false" {
        warn_or(RebaseError::NotRebasable)?;
    }
    let (new, old) = (analyze::target(inputs.base), analyze::target(inputs.app));
    if !fits(&new, &old) {
        warn_or(RebaseError::Target {
            new: shown(&new),
            old: shown(&old),
        })?;
    }
    Ok(())
}

/// Whether what runs on the old target runs on the new one.
fn fits(new: &Target, old: &Target) -> bool {
    let may_be = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    let variant = |target: &Target| target.variant.clone().unwrap_or_default();
    let same_machine = new.os == old.os && new.arch == old.arch;
    let distro = new.distro.as_ref().is_none_or(|new| {
        let says = |new: &str, old: &str| new.is_empty() || new == old;
        old.distro
            .as_ref()
            .is_some_and(|old| says(&new.name, &old.name) && says(&new.version, &old.version))
    });
    same_machine && may_be(&variant(new), &variant(old)) && distro
}

fn shown(target: &Target) -> String {
    let distro = target.distro.clone().unwrap_or_default();
    let text = format!(
        "{}/{} {} {}",
        target.os, target.arch, distro.name, distro.version
    );
    text.trim().to_owned()
}

/// The base's layers, then those that the app's image has above its old base.
fn swap_layers(inputs: &Inputs<'_>, metadata: &LayersMetadata) -> Result<Image, RebaseError> {
    let (app, base) = (inputs.app, inputs.base);
    let top_layer = &metadata.run_image.top_layer;
    let above = match end_of_base(&app.config.rootfs.diff_ids, metadata) {
        Some(end) => end,
        // A base without layers has no top.
        None if top_layer.is_empty() => 0,
        None => {
            return Err(RebaseError::TopLayer {
                top_layer: top_layer.clone(),
            });
        }
    };
    let mut image = app.clone();
    image.manifest = image.manifest.into_oci();
    let of_base = base.manifest.clone().into_oci().layers;
    image.manifest.layers.splice(..above, of_base);
    let config = &mut image.config;
    let history = |image: &Image| -> Vec<History> {
        let count = image.config.rootfs.diff_ids.len();
        let entries = image
            .config
            .history
            .iter()
            .filter(|entry| !entry.empty_layer);
        let entries: Vec<History> = entries.cloned().collect();
        if entries.len() == count {
            entries
        } else {
            vec![History::default(); count]
        }
    };
    let mut entries = history(app);
    entries.splice(..above, history(base));
    config.history = entries;
    config
        .rootfs
        .diff_ids
        .splice(..above, base.config.rootfs.diff_ids.iter().copied());
    config.os_version.clone_from(&base.config.os_version);
    Ok(image)
}

/// The label goes on naming the base by what the builder called it, as long as the new one is among those names.
fn keep_names(inputs: &Inputs<'_>, metadata: &mut LayersMetadata) -> Result<(), RebaseError> {
    let bare = |name: &str| {
        name.split_once('@')
            .map_or(name, |(name, _)| name)
            .to_owned()
    };
    let stack = metadata.stack.clone().unwrap_or_default().run_image;
    let known = &metadata.run_image.names;
    let is_known = known
        .all()
        .chain(stack.all())
        .any(|name| bare(name) == bare(inputs.base_name));
    if is_known {
        return Ok(());
    }
    let names: Vec<&str> = known.all().chain(stack.all()).collect();
    let error = RebaseError::UnknownBase {
        name: inputs.base_name.to_owned(),
        known: if names.is_empty() {
            "not found".to_owned()
        } else {
            names.join(", ")
        },
    };
    if !inputs.force {
        return Err(error);
    }
    inputs.log.warn(error);
    let names = RunImageNames {
        image: Some(inputs.base_name.to_owned()),
        mirrors: Vec::new(),
    };
    metadata.run_image.names = names.clone();
    metadata.stack = Some(StackMetadata { run_image: names });
    Ok(())
}

#[cfg(test)]
#[path = "rebase_tests.rs"]
mod tests;

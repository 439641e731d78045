//! Images with buildpacks: layers below `/cnb/buildpacks`, and the labels that tell of them. Packages and builders are
//! made alike.

use super::builder::{LAYERS_LABEL, Layers};
use super::module::Module;
use super::source::PACKAGE_LABEL;
use crate::build::sandboxed::BUILDPACKS;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use cnb_spec::group::GroupElement;
use cnb_spec::target::oci_architecture;
use oci_image::{
    Compression, Descriptor, History, Image, LayerBlob, LayerError, LayerTar, Owner, TreeRules,
    write_layer,
};
use std::path::Path;

/// Archives and builders are made once and fetched often.
pub(crate) const COMPRESSION: Compression = Compression { level: 6 };

/// Adds a layer that `entries` make.
pub(crate) fn add_layer(
    store: &Store,
    image: &mut Image,
    what: &str,
    entries: impl FnOnce(&mut LayerTar<'_>) -> Result<(), LayerError>,
) -> Result<LayerBlob, Failure> {
    let layer = write_layer(store.blobs(), COMPRESSION, entries)
        .or_fail(Exit::Store, || format!("cannot write {what}"))?;
    push(image, &layer, what);
    Ok(layer)
}

/// Adds a layer that is in the store.
pub(crate) fn push(image: &mut Image, layer: &LayerBlob, what: &str) {
    image.manifest.layers.push(layer.descriptor());
    image.config.rootfs.diff_ids.push(layer.diff_id);
    image.config.history.push(History {
        created: Some("1980-01-01T00:00:01Z".to_owned()),
        created_by: Some(what.to_owned()),
        ..History::default()
    });
}

/// Adds a buildpack as a layer and tells of it in `layers`.
pub(crate) fn add_buildpack(
    store: &Store,
    image: &mut Image,
    layers: &mut Layers,
    module: &Module,
) -> Result<(), Failure> {
    let element = &module.element;
    let at = format!("{BUILDPACKS}/{}", module.place());
    let layer = add_layer(store, image, &format!("Buildpack {element}"), |tar| {
        // Not /cnb itself: the base may have given it other rights.
        if let Some(parent) = Path::new(&at).parent() {
            tar.directory(parent, 0o755, Owner::ROOT)?;
        }
        tar.tree(module.folder(), &at, &TreeRules::owned_by(Owner::ROOT))
    })?;
    layers
        .entry(element.id.clone())
        .or_default()
        .insert(element.version.clone(), description(module, &layer)?);
    Ok(())
}

/// What the label says of one buildpack, in pack's words.
fn description(module: &Module, layer: &LayerBlob) -> Result<serde_json::Value, Failure> {
    let buildpack = &module.buildpack;
    let failed = || format!("cannot describe the buildpack {}", module.element);
    let json =
        |value: Result<serde_json::Value, serde_json::Error>| value.or_fail(Exit::General, failed);
    let mut text = serde_json::Map::new();
    text.insert("api".to_owned(), buildpack.api.to_string().into());
    if buildpack.is_composite() {
        text.insert(
            "order".to_owned(),
            json(serde_json::to_value(&buildpack.order))?,
        );
    } else {
        text.insert(
            "targets".to_owned(),
            json(serde_json::to_value(&buildpack.targets))?,
        );
    }
    text.insert("layerDiffID".to_owned(), layer.diff_id.to_string().into());
    for (name, value) in [
        ("homepage", &buildpack.info.homepage),
        ("name", &buildpack.info.name),
    ] {
        if let Some(value) = value {
            text.insert(name.to_owned(), value.as_str().into());
        }
    }
    Ok(text.into())
}

/// An image that is a package of buildpacks: what `pack buildpack package` makes.
pub(crate) fn package(
    store: &Store,
    main: &GroupElement,
    modules: &[Module],
) -> Result<Descriptor, Failure> {
    let mut image = Image::empty("linux", oci_architecture(std::env::consts::ARCH));
    image.config.created = Some("1980-01-01T00:00:01Z".to_owned());
    let mut layers = Layers::default();
    for module in modules {
        add_buildpack(store, &mut image, &mut layers, module)?;
    }
    let info = modules
        .iter()
        .find(|module| module.element == *main)
        .map(|module| &module.buildpack);
    // Stacks are for readers from before targets.
    let mut metadata =
        serde_json::json!({"id": main.id, "version": main.version, "stacks": [{"id": "*"}]});
    if let Some(buildpack) = info {
        if let Some(homepage) = &buildpack.info.homepage {
            metadata["homepage"] = homepage.as_str().into();
        }
        // pack wants to know what a package runs on; a composite one runs where its parts do.
        let targets = if buildpack.targets.is_empty() {
            common_targets(modules)
        } else {
            buildpack.targets.clone()
        };
        metadata["targets"] = serde_json::to_value(targets)
            .or_fail(Exit::General, || format!("cannot describe {main}"))?;
    }
    label(&mut image, PACKAGE_LABEL, &metadata)?;
    label(&mut image, LAYERS_LABEL, &layers)?;
    image
        .save(store.blobs())
        .or_fail(Exit::Store, || format!("cannot save the image of {main}"))
}

/// The targets that every component has; without distributions, which the components check themselves.
fn common_targets(modules: &[Module]) -> Vec<cnb_spec::target::BuildpackTarget> {
    let mut components = modules
        .iter()
        .filter(|module| !module.buildpack.is_composite())
        .map(|module| &module.buildpack.targets);
    let mut common = components.next().cloned().unwrap_or_default();
    for targets in components {
        common.retain(|target| targets.contains(target));
    }
    common
}

pub(crate) fn label(
    image: &mut Image,
    name: &str,
    value: &impl serde::Serialize,
) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .or_fail(Exit::General, || format!("cannot write the label {name}"))?;
    image.config.config.labels.insert(name.to_owned(), text);
    Ok(())
}

//! The analyzer: what is known of the run image and of the last build's.

use crate::Failure;
use crate::images::{Found, Images};
use crate::inputs::Inputs;
use crate::output::Output;
use crate::registries;
use crate::scratch::Scratch;
use cnb_phases::log::{Level, Logger};
use cnb_phases::{analyze, cache};
use cnb_spec::analyzed::Analyzed;
use cnb_spec::exit_code;
use cnb_spec::run::{Run, RunImageNames, Stack};
use cnb_spec::toml_file;

const CODE: u8 = exit_code::ANALYZE_ERROR;

/// Images that the phase reads or writes, as far as flags and files name them.
pub(crate) fn names(inputs: &Inputs) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = inputs.images.iter().chain(&inputs.tags).cloned().collect();
    names.extend(inputs.previous_image.clone());
    names.extend(inputs.cache_image.clone());
    match &inputs.run_image {
        Some(name) => names.push(name.clone()),
        None => names.extend(
            offered(inputs)?
                .iter()
                .flat_map(|it| it.all().map(str::to_owned)),
        ),
    }
    if !inputs.daemon {
        check_registries(inputs)?;
    }
    for name in &names {
        registries::parse(name)?;
    }
    Ok(names)
}

/// The run images that the builder offers.
pub(crate) fn offered(inputs: &Inputs) -> Result<Vec<RunImageNames>, Failure> {
    let failed = |error: &toml_file::FileError| {
        Failure::from_error(exit_code::INVALID_ARGS, "resolve inputs", error)
    };
    if inputs.api.at_least(12) {
        let run: Option<Run> = toml_file::read_if_exists(&inputs.run).map_err(|it| failed(&it))?;
        return Ok(run.unwrap_or_default().images);
    }
    let stack: Option<Stack> =
        toml_file::read_if_exists(&inputs.stack).map_err(|it| failed(&it))?;
    Ok(stack.map(|stack| stack.run_image).into_iter().collect())
}

/// All images that are written have to be in one registry.
pub(crate) fn check_registries(inputs: &Inputs) -> Result<(), Failure> {
    let mut registry = None;
    for name in inputs.images.iter().chain(&inputs.tags) {
        let reference = registries::parse(name)?;
        let own = reference.registry().to_owned();
        if registry.get_or_insert_with(|| own.clone()) != &own {
            return Err(Failure::new(
                exit_code::INVALID_ARGS,
                "failed to resolve inputs: writing to multiple registries is unsupported",
            ));
        }
    }
    Ok(())
}

/// Analyzes and writes `analyzed.toml`.
pub(crate) fn run(inputs: &Inputs, output: &Output, images: &Images) -> Result<Analyzed, Failure> {
    let [target] = inputs.images.as_slice() else {
        return Err(Failure::new(
            exit_code::INVALID_ARGS,
            format!(
                "failed to parse arguments: received {} arguments, but expected 1",
                inputs.images.len()
            ),
        ));
    };
    let scratch = Scratch::new(CODE)?;
    let store = &scratch.blobs;
    let sink = |level: Level, line: &str| output.log(level, line);
    let log = Logger::new(&sink);

    let run_name = run_image(inputs, images, &scratch, target)?;
    let previous_name = inputs.previous_image.as_deref().unwrap_or(target);
    let warn = |message: &str| output.log(Level::Warn, message);
    let previous = images.find_previous(store, previous_name, CODE, warn)?;
    let run_image = images.find_run_image(store, &run_name, CODE, "analyze")?;
    for name in inputs.images.iter().chain(&inputs.tags) {
        images.check_write(name, CODE)?;
    }
    if let Some(name) = &inputs.cache_image {
        images.registries().check_push(name, CODE)?;
    }
    if previous.is_none() {
        output.log(
            Level::Info,
            &format!("Image with name \"{previous_name}\" not found"),
        );
    }

    let analysis = analyze::analyze(&analyze::Inputs {
        run_image: &run_image.image,
        run_image_reference: &run_image.identifier,
        run_image_name: inputs.api.at_least(12).then_some(run_name.as_str()),
        previous: previous
            .as_ref()
            .map(|found| (&found.image, found.identifier.as_str())),
        log,
    });
    let mut analyzed = analysis.analyzed;
    if !inputs.api.at_least(12)
        && let Some(run_image) = &mut analyzed.run_image
    {
        run_image.target = None;
    }
    let mut layers = analysis.previous_layers.unwrap_or_default();
    if let Some(previous) = &previous {
        // A layer that the image names and does not have could not be taken over.
        let there = previous.layers();
        let is_there = |sha: &str| sha.parse().is_ok_and(|digest| there.contains_key(&digest));
        for buildpack in &mut layers.buildpacks {
            buildpack.layers.retain(|_, layer| is_there(&layer.sha));
        }
        if let Some(sbom) = layers.sbom.as_ref().filter(|it| is_there(&it.sha))
            && inputs.api.at_least(8)
            && !inputs.skip_layers
        {
            restore_sboms(inputs, output, images, &scratch, previous, &sbom.sha);
        }
    }
    analyzed
        .set_layers(&layers)
        .map_err(|error| Failure::from_error(CODE, "write analyzed metadata", &error))?;
    toml_file::write(&inputs.analyzed, &analyzed)
        .map_err(|error| Failure::from_error(CODE, "write analyzed metadata", &error))?;
    Ok(analyzed)
}

/// The image's SBOM files; without them buildpacks make them again.
fn restore_sboms(
    inputs: &Inputs,
    output: &Output,
    images: &Images,
    scratch: &Scratch,
    previous: &Found,
    sha: &str,
) {
    let sink = |level: Level, line: &str| output.log(level, line);
    match images.open_layer(&scratch.blobs, previous, sha) {
        Ok(Some(blob)) => cache::restore::launch_sboms(&inputs.layers, blob, Logger::new(&sink)),
        Ok(None) => {}
        Err(error) => {
            let failure =
                Failure::from_error(CODE, "read the previous image's SBOM files", &*error);
            let text = format!("Skipping restore for SBOM: {}", failure.message);
            output.log(Level::Warn, &text);
        }
    }
}

/// The name of the run image: the platform's choice, else the builder's first one, from where the target is or else
/// where it can be read first.
fn run_image(
    inputs: &Inputs,
    images: &Images,
    scratch: &Scratch,
    target: &str,
) -> Result<String, Failure> {
    if let Some(name) = &inputs.run_image {
        return Ok(name.clone());
    }
    let failed = |message: &str| {
        Failure::new(
            exit_code::INVALID_ARGS,
            format!("failed to resolve inputs: {message}"),
        )
    };
    let offered = offered(inputs)?;
    let Some(first) = offered.first().filter(|names| names.image.is_some()) else {
        return Err(failed(
            "-run-image is required when there is no run metadata available",
        ));
    };
    best(first, Some(target), images, scratch)?.ok_or_else(|| failed(&unreadable(first)))
}

/// What to say when an image can be read under none of its names.
pub(crate) fn unreadable(names: &RunImageNames) -> String {
    let names: Vec<&str> = names.all().collect();
    format!(
        "failed to find accessible run image: {} cannot be read; check the names and the credentials for their registries",
        names.join(", ")
    )
}

/// The name among those of one image that is in the target's registry and can be read, else the first that can.
pub(crate) fn best(
    names: &RunImageNames,
    target: Option<&str>,
    images: &Images,
    scratch: &Scratch,
) -> Result<Option<String>, Failure> {
    let registry = target
        .map(registries::parse)
        .transpose()?
        .map(|target| target.registry().to_owned());
    let is_near = |name: &str| {
        registries::parse(name).is_ok_and(|name| Some(name.registry()) == registry.as_deref())
    };
    let (near, far): (Vec<&str>, Vec<&str>) = names.all().partition(|name| is_near(name));
    Ok(near
        .into_iter()
        .chain(far)
        .find(|name| {
            images
                .find(&scratch.blobs, name, CODE)
                .is_ok_and(|found| found.is_some())
        })
        .map(str::to_owned))
}

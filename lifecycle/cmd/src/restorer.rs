//! The restorer: the layers folder gets what the next build may see of the last one.

use crate::Failure;
use crate::analyzer;
use crate::build_cache::{self, CacheRepository};
use crate::images::Images;
use crate::inputs::Inputs;
use crate::output::Output;
use crate::phases;
use crate::registries;
use crate::scratch::Scratch;
use cnb_phases::analyze;
use cnb_phases::cache::{LayerCache, restore};
use cnb_phases::log::{Level, Logger};
use cnb_spec::analyzed::Analyzed;
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::toml_file;

const CODE: u8 = exit_code::RESTORE_ERROR;

/// Images that the phase reads.
pub(crate) fn names(inputs: &Inputs) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = inputs.cache_image.iter().cloned().collect();
    if inputs.api.at_least(14) {
        let offered = analyzer::offered(inputs)?;
        names.extend(offered.iter().flat_map(|it| it.all().map(str::to_owned)));
    }
    // What extensions chose; a file that is broken is a failure later on.
    let analyzed = toml_file::read_if_exists::<Analyzed>(&inputs.analyzed);
    let run_image = analyzed.ok().flatten().and_then(|it| it.run_image);
    let chosen = run_image.and_then(|it| it.image);
    names.extend(chosen.filter(|name| registries::parse(name).is_ok()));
    Ok(names)
}

/// Restores, with what the other phases left in files.
pub(crate) fn run(inputs: &Inputs, output: &Output, images: &Images) -> Result<(), Failure> {
    if !inputs.images.is_empty() {
        return Err(Failure::new(
            exit_code::INVALID_ARGS,
            "failed to parse arguments: received unexpected arguments",
        ));
    }
    build_cache::warn_of_none(inputs, output);
    let group = phases::group(inputs, CODE)?;
    let analyzed: Option<Analyzed> = toml_file::read_if_exists(&inputs.analyzed)
        .map_err(|error| Failure::from_error(CODE, "read what was analyzed", &error))?;
    if analyzed.is_none() {
        let message = format!(
            "Not using analyzed data, usable file not found: {}",
            inputs.analyzed.display()
        );
        output.log(Level::Warn, &message);
    }
    let mut analyzed = analyzed.unwrap_or_default();
    use_readable_run_image(inputs, images, &mut analyzed)?;
    if !group.group_extensions.is_empty() {
        look_at_run_image(inputs, images, &mut analyzed)?;
    }
    let scratch = Scratch::new(CODE)?;
    let repository = CacheRepository::find(inputs, output, images, &scratch);
    let cache = build_cache::open(inputs, repository.as_ref(), CODE)?;
    restore(inputs, output, &group, &analyzed, cache.as_deref())
}

/// Restores. `cache` is the layer cache, when there is one.
pub(crate) fn restore(
    inputs: &Inputs,
    output: &Output,
    group: &Group,
    analyzed: &Analyzed,
    cache: Option<&dyn LayerCache>,
) -> Result<(), Failure> {
    let sink = |level: Level, line: &str| output.log(level, line);
    restore::restore(&restore::Inputs {
        platform_api: inputs.api,
        layers_dir: &inputs.layers,
        layers_path: &inputs.layers,
        group,
        previous: &analyzed.layers(),
        cache,
        skip_layers: inputs.skip_layers,
        owner: inputs.owner,
        log: Logger::new(&sink),
    })
    .map_err(|error| Failure::from_error(error.exit_code(), "restore", &error))
}

/// An extension or the platform may have chosen another run image since the analysis (from 0.14 on).
fn use_readable_run_image(
    inputs: &Inputs,
    images: &Images,
    analyzed: &mut Analyzed,
) -> Result<(), Failure> {
    let Some(run_image) = analyzed
        .run_image
        .as_mut()
        .filter(|_| inputs.api.at_least(14))
    else {
        return Ok(());
    };
    let Some(name) = run_image.image.clone() else {
        return Ok(());
    };
    let offered = analyzer::offered(inputs)?;
    let Some(names) = offered.iter().find(|it| it.all().any(|it| it == name)) else {
        return Ok(());
    };
    let scratch = Scratch::new(CODE)?;
    // The analyzer had a reason for its choice: it stays while it can be read.
    let readable = images
        .find(&scratch.blobs, &name, CODE)
        .is_ok_and(|found| found.is_some());
    if readable {
        return Ok(());
    }
    let best = analyzer::best(names, None, images, &scratch)?
        .ok_or_else(|| Failure::new(CODE, analyzer::unreadable(names)))?;
    run_image.image = Some(best.clone());
    run_image.reference = best;
    toml_file::write(&inputs.analyzed, analyzed)
        .map_err(|error| Failure::from_error(CODE, "write analyzed metadata", &error))
}

/// An extension chose another run image: later phases have to know which it is exactly, and what it is for.
fn look_at_run_image(
    inputs: &Inputs,
    images: &Images,
    analyzed: &mut Analyzed,
) -> Result<(), Failure> {
    let Some(run_image) = analyzed
        .run_image
        .as_mut()
        .filter(|it| it.target.as_ref().is_none_or(|it| it.os.is_empty()))
    else {
        return Ok(());
    };
    let name = run_image.image.as_ref().unwrap_or(&run_image.reference);
    let scratch = Scratch::new(CODE)?;
    let found = images.find_run_image(&scratch.blobs, name, CODE, "restore")?;
    run_image.reference = found.identifier;
    run_image.target = inputs
        .api
        .at_least(12)
        .then(|| analyze::target(&found.image));
    toml_file::write(&inputs.analyzed, analyzed)
        .map_err(|error| Failure::from_error(CODE, "write analyzed metadata", &error))
}

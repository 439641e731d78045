//! The rebaser: an image of an app gets another base.

use crate::Failure;
use crate::analyzer;
use crate::images::{Found, Images, Published};
use crate::inputs::Inputs;
use crate::output::Output;
use crate::registries;
use crate::scratch::Scratch;
use cnb_phases::log::{Level, Logger};
use cnb_phases::rebase;
use cnb_spec::report::{ImageReport, Report};
use cnb_spec::{exit_code, toml_file};

const CODE: u8 = exit_code::REBASE_ERROR;

/// Images that the phase reads or writes, as far as flags name them.
pub(crate) fn names(inputs: &Inputs) -> Result<Vec<String>, Failure> {
    if inputs.images.is_empty() {
        return Err(Failure::new(
            exit_code::INVALID_ARGS,
            "failed to parse arguments: at least one image argument is required",
        ));
    }
    if inputs.deprecated_image.is_some() && inputs.run_image_flag {
        return Err(Failure::new(
            exit_code::INVALID_ARGS,
            "failed to resolve inputs: supply only one of -run-image or (deprecated) -image",
        ));
    }
    let mut names = inputs.images.clone();
    names.extend(inputs.previous_image.clone());
    names.extend(inputs.deprecated_image.clone());
    names.extend(inputs.run_image.clone());
    if !inputs.daemon {
        analyzer::check_registries(inputs)?;
    }
    for name in &names {
        registries::parse(name)?;
    }
    Ok(names)
}

/// Rebases and writes the report.
pub(crate) fn run(inputs: &Inputs, output: &Output, images: &Images) -> Result<(), Failure> {
    let scratch = Scratch::new(CODE)?;
    let store = &scratch.blobs;
    let names = &inputs.images;
    let name = inputs.previous_image.as_ref().unwrap_or(&names[0]);
    let find = |name: &str| -> Result<Found, Failure> {
        images.find(store, name, CODE)?.ok_or_else(|| {
            Failure::new(CODE, format!("failed to rebase: there is no image {name}"))
        })
    };
    let failed =
        |error: &rebase::RebaseError| Failure::from_error(error.exit_code(), "rebase", error);
    let app = find(name)?;
    let given = inputs
        .deprecated_image
        .as_ref()
        .or(inputs.run_image.as_ref());
    let base_name = if let Some(name) = given {
        name.clone()
    } else {
        let known = rebase::base_of(&app.image).map_err(|error| failed(&error))?;
        analyzer::best(&known, Some(&names[0]), images, &scratch)?.ok_or_else(|| {
            Failure::new(
                exit_code::INVALID_ARGS,
                "failed to resolve inputs: no run image can be read; name one with -run-image",
            )
        })?
    };
    let base = find(&base_name)?;
    let sink = |level: Level, line: &str| output.log(level, line);
    let rebased = rebase::rebase(&rebase::Inputs {
        platform_api: inputs.api,
        app: &app.image,
        base: &base.image,
        base_reference: &base.identifier,
        base_name: &base_name,
        force: inputs.force,
        log: Logger::new(&sink),
    })
    .map_err(|error| failed(&error))?;
    let manifest = rebased
        .save(store)
        .map_err(|error| Failure::from_error(CODE, "rebase", &error))?;
    output.log(Level::Info, &format!("Saving {}...", names[0]));
    let warn = |message: &str| output.log(Level::Warn, message);
    let published = images.publish(store, &manifest, names, &[&base, &app], CODE, &warn)?;
    let mut report = ImageReport {
        tags: names.clone(),
        ..ImageReport::default()
    };
    let shown = match published {
        Published::Manifest(digest) => {
            report.digest = Some(digest.to_string());
            report.manifest_size = Some(manifest.size);
            digest.to_string()
        }
        Published::Id(id) | Published::Folders(id, _) => {
            report.image_id = Some(id.clone());
            id
        }
    };
    output.log(Level::Info, &format!("*** Images ({shown}):"));
    for name in names {
        output.log(Level::Info, &format!("      {name}"));
    }
    toml_file::write(&inputs.report, &Report { image: report })
        .map_err(|error| Failure::from_error(CODE, "write rebase report", &error))
}

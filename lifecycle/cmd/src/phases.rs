//! From inputs to phases: reads the files that they take, writes those that they make.

use crate::Failure;
use crate::analyzer;
use crate::inputs::Inputs;
use crate::modes;
use crate::output::Output;
use cnb_phases::detect::Detected;
use cnb_phases::log::{Level, Logger};
use cnb_phases::platform::Platform;
use cnb_phases::{api_check, build, detect, generate};
use cnb_spec::analyzed::Analyzed;
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::order::{Order, SystemToml};
use cnb_spec::plan::Plan;
use cnb_spec::target::{Distro, Target};
use cnb_spec::toml_file::{self, FileError};
use serde::de::DeserializeOwned;
use std::path::Path;

pub(crate) fn detect(inputs: &Inputs, output: &Output) -> Result<Detected, Failure> {
    let mut order: Order = read(&inputs.order, "read the order")?;
    if inputs.api.at_least(15)
        && let Some(file) =
            read_if_exists::<SystemToml>(&inputs.system, "read the system's buildpacks")?
    {
        order = order.with_system(&file.system);
    }
    if !order.order_extensions.is_empty() && !inputs.api.at_least(13) {
        modes::guard_experimental(modes::DOCKERFILES, output)?;
    }
    let target = target(inputs, output)?;
    let temp_dir = std::env::temp_dir();
    let sink = |level: Level, line: &str| output.log(level, line);
    let detected = detect::detect(&detect::Inputs {
        platform: platform(inputs, &target, &temp_dir),
        order: &order,
        log: Logger::new(&sink),
    })
    .map_err(|error| Failure::from_error(error.exit_code(), "detect", &error))?;
    detected
        .write(&inputs.group, &inputs.plan)
        .map_err(|error| Failure::from_error(exit_code::FAILED, "detect", &error))?;
    Ok(detected)
}

/// Runs the image extensions of the group that detection chose.
pub(crate) fn generate(
    inputs: &Inputs,
    output: &Output,
    detected: &Detected,
) -> Result<(), Failure> {
    if detected.group.group_extensions.is_empty() {
        return Ok(());
    }
    let analyzed: Option<Analyzed> = read_if_exists(&inputs.analyzed, "read what was analyzed")?;
    let analyzed = analyzed.unwrap_or_default();
    let target = target_of(&analyzed);
    let temp_dir = std::env::temp_dir();
    let sink = |level: Level, line: &str| output.log(level, line);
    let generated = generate::generate(&generate::Inputs {
        platform: platform(inputs, &target, &temp_dir),
        generated_dir: &inputs.generated,
        extensions: &detected.group.group_extensions,
        plan: &detected.plan,
        analyzed: &analyzed,
        run_images: &analyzer::offered(inputs)?,
        log: Logger::new(&sink),
    })
    .map_err(|error| Failure::from_error(error.exit_code(), "generate", &error))?;
    toml_file::write(&inputs.analyzed, &generated.analyzed)
        .and_then(|()| toml_file::write(&inputs.plan, &generated.plan))
        .map_err(|error| Failure::from_error(exit_code::GENERATE_ERROR, "generate", &error))
}

pub(crate) fn build(inputs: &Inputs, output: &Output) -> Result<(), Failure> {
    let group: Group = read(&inputs.group, "read the group")?;
    let plan: Plan = read(&inputs.plan, "read the plan")?;
    let target = target(inputs, output)?;
    let temp_dir = std::env::temp_dir();
    let sink = |level: Level, line: &str| output.log(level, line);
    build::build(&build::Inputs {
        platform: platform(inputs, &target, &temp_dir),
        layers_dir: &inputs.layers,
        group: &group,
        plan: &plan,
        log: Logger::new(&sink),
    })
    .map(|_| ())
    .map_err(|error| Failure::from_error(error.exit_code(), "build", &error))
}

fn platform<'a>(inputs: &'a Inputs, target: &'a Target, temp_dir: &'a Path) -> Platform<'a> {
    Platform {
        api: inputs.api,
        buildpacks_dir: &inputs.buildpacks,
        extensions_dir: &inputs.extensions,
        app_dir: &inputs.app,
        platform_dir: &inputs.platform,
        build_config_dir: &inputs.build_config,
        temp_dir,
        env: &inputs.env,
        target,
        exec_env: &inputs.exec_env,
    }
}

/// [`target_of`] what `analyzed.toml` says, if it is there.
fn target(inputs: &Inputs, output: &Output) -> Result<Target, Failure> {
    let analyzed: Option<Analyzed> = read_if_exists(&inputs.analyzed, "read what was analyzed")?;
    if analyzed.is_none() {
        let message = format!(
            "No analyzed metadata found at path \"{}\"",
            inputs.analyzed.display()
        );
        output.log(Level::Warn, &message);
    }
    Ok(target_of(&analyzed.unwrap_or_default()))
}

/// The run image's target, with what is not known of it taken from this system.
fn target_of(analyzed: &Analyzed) -> Target {
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let distro = Distro::from_os_release(&os_release);
    analyzed.run_target().or_from(distro.as_ref())
}

/// The group that detection chose, for phases whose own failures have this code.
pub(crate) fn group(inputs: &Inputs, code: u8) -> Result<Group, Failure> {
    let group: Group = toml_file::read(&inputs.group)
        .map_err(|error| Failure::from_error(code, "read the group", &error))?;
    api_check::check_group(&group).map_err(|error| {
        Failure::new(
            exit_code::BUILDPACK_API_INCOMPATIBLE,
            format!("failed to {error}"),
        )
    })?;
    Ok(group)
}

fn read<T: DeserializeOwned>(path: &Path, attempted: &str) -> Result<T, Failure> {
    toml_file::read(path).map_err(|error| failed(attempted, &error))
}

fn read_if_exists<T: DeserializeOwned>(path: &Path, attempted: &str) -> Result<Option<T>, Failure> {
    toml_file::read_if_exists(path).map_err(|error| failed(attempted, &error))
}

fn failed(attempted: &str, error: &FileError) -> Failure {
    Failure::from_error(exit_code::FAILED, attempted, error)
}

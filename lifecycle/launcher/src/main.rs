//! The launcher inside every image: finds out which process is meant, prepares its environment from the
//! launch layers, and becomes that process.
//!
//! It does what the upstream lifecycle's launcher does and says what that says, so that images behave the
//! same whichever lifecycle exported them ([Platform specification, `launcher`]). Its messages go to the
//! standard output, as upstream's do.
//!
//! [Platform specification, `launcher`]: https://github.com/buildpacks/spec/blob/main/platform.md#launcher

mod exec_d;
mod failure;
mod layers;
mod process;
mod start;

use crate::failure::{Failure, LaunchError};
use crate::process::StartCommand;
use cnb_spec::api::{self, ApiVersion};
use cnb_spec::env_delta::{Environment, apply_launch_layers, launch_environment};
use cnb_spec::launch::LaunchMetadata;
use cnb_spec::{env_vars, paths};
use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Everything that the launcher takes from its surroundings.
struct Inputs {
    /// The name it was called by, which may be a process type.
    argv0: OsString,
    arguments: Vec<OsString>,
    layers_dir: PathBuf,
    app_dir: PathBuf,
    exec_env: String,
    platform_api: ApiVersion,
    environment: Environment,
}

fn main() -> ExitCode {
    let Err(failure) = run();
    say("ERROR: ", RED, &failure.chain());
    ExitCode::from(failure.exit_code())
}

fn run() -> Result<Infallible, Failure> {
    let inputs = Inputs::gather()?;
    let metadata = LaunchMetadata::read(&inputs.layers_dir).map_err(Failure::Metadata)?;
    for buildpack in &metadata.buildpacks {
        check_buildpack_api(&buildpack.id, &buildpack.api)?;
    }
    warn_of_process_type(inputs.platform_api);
    launch(inputs, &metadata).map_err(Failure::Launch)
}

fn launch(inputs: Inputs, metadata: &LaunchMetadata) -> Result<Infallible, LaunchError> {
    let command = StartCommand::select(
        metadata,
        inputs.platform_api,
        &inputs.exec_env,
        &inputs.argv0,
        inputs.arguments,
    )
    .map_err(LaunchError::Select)?;
    let process_type = command.process_type.as_deref();

    env::set_current_dir(&inputs.app_dir).map_err(|source| LaunchError::AppDir {
        path: inputs.app_dir.clone(),
        source,
    })?;
    let group =
        layers::of_group(&inputs.layers_dir, &metadata.buildpacks).map_err(LaunchError::Layers)?;
    let mut environment = inputs.environment;
    for layers in &group {
        apply_launch_layers(&mut environment, layers, process_type)
            .map_err(LaunchError::Environment)?;
    }
    for path in layers::files(&group, "exec.d", process_type).map_err(LaunchError::Layers)? {
        exec_d::run(&path, &mut environment).map_err(LaunchError::ExecD)?;
    }

    if command.direct {
        start::direct(&command, &inputs.app_dir, &environment).map_err(LaunchError::Start)
    } else {
        let mut profiles =
            layers::files(&group, "profile.d", process_type).map_err(LaunchError::Layers)?;
        profiles.extend(start::app_profile(&inputs.app_dir).map_err(LaunchError::Start)?);
        start::with_bash(
            &command,
            &inputs.argv0,
            &profiles,
            &inputs.app_dir,
            &environment,
        )
        .map_err(LaunchError::Start)
    }
}

impl Inputs {
    fn gather() -> Result<Self, Failure> {
        let mut arguments = env::args_os();
        Ok(Self {
            argv0: arguments.next().unwrap_or_default(),
            arguments: arguments.collect(),
            layers_dir: directory(env_vars::LAYERS_DIR, paths::LAYERS_DIR),
            app_dir: directory(env_vars::APP_DIR, paths::APP_DIR),
            exec_env: variable(env_vars::EXEC_ENV).map_or_else(
                || "production".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            platform_api: platform_api()?,
            environment: launch_environment(env::vars_os()),
        })
    }
}

/// A variable that counts as absent when it is empty.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Absolute, because the launcher changes its working directory before it is done with the layers.
fn directory(name: &str, default: &str) -> PathBuf {
    let given = variable(name).unwrap_or_else(|| default.into());
    std::path::absolute(&given).unwrap_or_else(|_| Path::new(&given).to_owned())
}

fn platform_api() -> Result<ApiVersion, Failure> {
    let requested = variable(env_vars::PLATFORM_API).ok_or(Failure::NoPlatformApi)?;
    let requested = requested.to_string_lossy().into_owned();
    if requested.trim().is_empty() {
        return Err(Failure::NoPlatformApi);
    }
    match requested.parse::<ApiVersion>() {
        Ok(version) if version.is_supported(&api::PLATFORM) => Ok(version),
        Ok(_) => Err(Failure::PlatformApi(requested)),
        Err(_) => Err(Failure::PlatformApiSyntax(requested)),
    }
}

fn check_buildpack_api(id: &str, requested: &str) -> Result<(), Failure> {
    let (id, requested) = (id.to_owned(), requested.to_owned());
    match requested.parse::<ApiVersion>() {
        Ok(version) if version.is_supported(&api::BUILDPACK) => Ok(()),
        Ok(_) => Err(Failure::BuildpackApi { id, requested }),
        Err(_) => Err(Failure::BuildpackApiSyntax { id, requested }),
    }
}

/// Platform APIs before 0.4 chose the process by this variable. People still set it.
fn warn_of_process_type(platform: ApiVersion) {
    let Some(process_type) = variable(env_vars::PROCESS_TYPE) else {
        return;
    };
    let process_type = process_type.to_string_lossy();
    for line in [
        format!("CNB_PROCESS_TYPE is not supported in Platform API {platform}"),
        format!("Run with ENTRYPOINT '{process_type}' to invoke the '{process_type}' process type"),
    ] {
        say("Warning: ", YELLOW, &line);
    }
}

const RED: &str = "\x1b[31;1m";
const YELLOW: &str = "\x1b[33;1m";

/// Prints one message. Upstream colours its level everywhere; logs that nobody sees on a terminal are
/// better without.
fn say(level: &str, colour: &str, message: &str) {
    let mut out = io::stdout();
    let coloured = out.is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var(env_vars::NO_COLOR).map_or(true, |value| !is_true(&value));
    let line = if coloured {
        format!("{colour}{level}\x1b[0m{message}\n")
    } else {
        format!("{level}{message}\n")
    };
    // Where the output is closed, the exit code still tells.
    let _ = out.write_all(line.as_bytes());
}

/// The values that Go's `strconv.ParseBool` takes for true.
fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

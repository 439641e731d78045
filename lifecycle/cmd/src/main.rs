//! The phases of the lifecycle as programs that platforms execute: one file that is all of them.
//!
//! Which phase it is says the name it was started by (`detector`, `builder`) or its first argument (`detect`,
//! `build`). Inputs come from flags, then from `CNB_*` variables, then from the Platform API's defaults. Every line of
//! the log goes to standard output, as platforms expect it; the exit code is the Platform API's.
//!
//! This is the only place of the lifecycle that reads arguments and environment, and the only one that exits.

#![forbid(unsafe_code)]

mod flags;
mod inputs;
mod output;
mod phases;

use cnb_spec::api::{self, ApiVersion};
use cnb_spec::{env_vars, exit_code};
use flags::Flags;
use inputs::Inputs;
use output::Output;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// A failure and the exit code it leads to.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// What was attempted, and the error with all its causes.
    fn from_error(code: u8, attempted: &str, error: &dyn std::error::Error) -> Self {
        let mut message = format!("failed to {attempted}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self { code, message }
    }
}

/// A phase that this program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Detect,
    Build,
}

/// Phases that platforms know and this program does not run.
const ELSEWHERE: [&str; 12] = [
    "analyzer", "analyze", "restorer", "restore", "exporter", "export", "creator", "create",
    "extender", "extend", "rebaser", "rebase",
];

fn main() -> ExitCode {
    // Modes of files that end up in image layers must not depend on who builds.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let output = Output::default();
    match run(&output) {
        Ok(()) => ExitCode::from(exit_code::SUCCESS),
        Err(failure) => {
            output.error(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(output: &Output) -> Result<(), Failure> {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let mut args: Vec<OsString> = args.collect();
    let mut name = base_name(&program);
    if phase(&name).is_none() && !ELSEWHERE.contains(&name.as_str()) {
        if args.is_empty() {
            return Err(Failure::new(
                exit_code::INVALID_ARGS,
                "failed to parse arguments: name a phase, detect or build",
            ));
        }
        name = base_name(&args.remove(0));
    }
    if name == "-version" || name == "--version" {
        output::print(env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let phase = phase(&name).ok_or_else(|| unknown(&name))?;
    let flags = Flags::parse(args).map_err(|message| {
        Failure::new(
            exit_code::INVALID_ARGS,
            format!("failed to parse arguments: {message}"),
        )
    })?;
    if flags.version {
        output::print(env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let api = platform_api()?;
    let inputs = Inputs::resolve(&flags, api).map_err(|message| {
        Failure::new(
            exit_code::INVALID_ARGS,
            format!("failed to parse arguments: {message}"),
        )
    })?;
    output.set_level(inputs.log_level);
    if rustix::process::geteuid().is_root() {
        let verb = match phase {
            Phase::Detect => "detect",
            Phase::Build => "build",
        };
        return Err(Failure::new(
            exit_code::FAILED,
            format!(
                "failed to {verb}: refusing to run as root, because buildpacks run with the same rights"
            ),
        ));
    }
    match phase {
        Phase::Detect => phases::detect(&inputs, output),
        Phase::Build => phases::build(&inputs, output),
    }
}

/// The last part of a path without its extension.
fn base_name(path: &OsString) -> String {
    let name = Path::new(path).file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn phase(name: &str) -> Option<Phase> {
    match name {
        "detector" | "detect" => Some(Phase::Detect),
        "builder" | "build" => Some(Phase::Build),
        _ => None,
    }
}

fn unknown(name: &str) -> Failure {
    let message = if ELSEWHERE.contains(&name) {
        format!(
            "failed to recognize phase: {name} runs inside slugc and is no program; this one does detect and build"
        )
    } else {
        format!("failed to recognize phase: {name:?}; valid phases: detect, build")
    };
    Failure::new(exit_code::INVALID_ARGS, message)
}

fn platform_api() -> Result<ApiVersion, Failure> {
    let fail = |message: String| Failure::new(exit_code::PLATFORM_API_INCOMPATIBLE, message);
    let variable = env_vars::PLATFORM_API;
    let text = std::env::var(variable).unwrap_or_default();
    if text.trim().is_empty() {
        return Err(fail(format!(
            "failed to get platform API version; please set {variable} to specify the desired platform API version"
        )));
    }
    let version: ApiVersion = text
        .parse()
        .map_err(|error| fail(format!("failed to read {variable}: {error}")))?;
    if !version.is_supported(&api::PLATFORM) {
        return Err(fail(format!(
            "failed to set platform API: version {version} is not supported; 0.7 to 0.15 are"
        )));
    }
    Ok(version)
}

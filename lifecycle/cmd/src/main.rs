//! The phases of the lifecycle as programs that platforms execute: one file that is all of them.
//!
//! Which phase it is says the name it was started by (`detector`, `builder`, …) or its first argument (`detect`,
//! `build`, …). Inputs come from flags, then from `CNB_*` variables, then from the Platform API's defaults. Every line of
//! the log goes to standard output, as platforms expect it; the exit code is the Platform API's.
//!
//! This is the only place of the lifecycle that reads arguments and environment, and the only one that exits.

#![forbid(unsafe_code)]

mod analyzer;
mod build_cache;
mod creator;
mod daemon;
mod exporter;
mod flags;
mod images;
mod inputs;
mod layouts;
mod modes;
mod output;
mod phases;
mod rebaser;
mod registries;
mod restorer;
mod scratch;
mod socket_keeper;
mod user;

use cnb_spec::api::{self, ApiVersion};
use cnb_spec::{env_vars, exit_code};
use flags::Flags;
use images::Images;
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
        let message = format!("failed to {attempted}: {}", chain(error));
        Self { code, message }
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A phase that this program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Analyze,
    Detect,
    Restore,
    Build,
    Export,
    Create,
    Rebase,
}

/// The phases by the names that programs and arguments have.
const PHASES: [(&str, &str, Phase); 7] = [
    ("analyzer", "analyze", Phase::Analyze),
    ("detector", "detect", Phase::Detect),
    ("restorer", "restore", Phase::Restore),
    ("builder", "build", Phase::Build),
    ("exporter", "export", Phase::Export),
    ("creator", "create", Phase::Create),
    ("rebaser", "rebase", Phase::Rebase),
];

/// A phase that platforms know and this program refuses.
const ELSEWHERE: [&str; 2] = ["extender", "extend"];

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
    if let [first, socket] = args.as_slice()
        && first == socket_keeper::ARGUMENT
    {
        socket_keeper::keep(Path::new(socket));
        return Ok(());
    }
    let mut name = base_name(&program);
    if phase(&name).is_none() && !ELSEWHERE.contains(&name.as_str()) {
        if args.is_empty() {
            return Err(Failure::new(
                exit_code::INVALID_ARGS,
                "failed to parse arguments: name a phase, such as detect or build",
            ));
        }
        name = base_name(&args.remove(0));
    }
    if name == "-version" || name == "--version" {
        output::print(api::LIFECYCLE);
        return Ok(());
    }
    if ELSEWHERE.contains(&name.as_str()) {
        return Err(Failure::new(
            exit_code::EXTEND_ERROR,
            "failed to extend: applying the Dockerfiles of image extensions takes an engine, which this lifecycle does \
             not have; leave the extensions out of the order, or run the extender of another lifecycle",
        ));
    }
    let phase = phase(&name).ok_or_else(|| unknown(&name))?;
    let flags = Flags::parse(args).map_err(|message| {
        Failure::new(
            exit_code::INVALID_ARGS,
            format!("failed to parse arguments: {message}"),
        )
    })?;
    if flags.switch("version") == Some(true) {
        output::print(api::LIFECYCLE);
        return Ok(());
    }
    let api = platform_api()?;
    let knows_layouts = !matches!(phase, Phase::Detect | Phase::Build | Phase::Rebase);
    let mut inputs = Inputs::resolve(&flags, api, knows_layouts).map_err(|message| {
        Failure::new(
            exit_code::INVALID_ARGS,
            format!("failed to parse arguments: {message}"),
        )
    })?;
    output.set_level(inputs.log_level);
    // The restorer only reads what the analyzer was allowed to.
    if phase != Phase::Restore && inputs.layout.is_some() {
        modes::guard_experimental(modes::LAYOUT, output)?;
    }
    match phase {
        Phase::Detect | Phase::Build => run_buildpacks(phase, &inputs, output),
        Phase::Analyze => {
            let images = prepare(phase, &mut inputs, output, &analyzer::names)?;
            analyzer::run(&inputs, output, &images).map(drop)
        }
        Phase::Restore => {
            let images = prepare(phase, &mut inputs, output, &restorer::names)?;
            restorer::run(&inputs, output, &images)
        }
        Phase::Export => {
            let images = prepare(phase, &mut inputs, output, &exporter::names)?;
            exporter::run(&inputs, output, &images)
        }
        Phase::Create => {
            let images = prepare(phase, &mut inputs, output, &analyzer::names)?;
            creator::run(&inputs, output, &images)
        }
        Phase::Rebase => {
            let images = prepare(phase, &mut inputs, output, &rebaser::names)?;
            rebaser::run(&inputs, output, &images)
        }
    }
}

/// The phases without registries and without rights.
fn run_buildpacks(phase: Phase, inputs: &Inputs, output: &Output) -> Result<(), Failure> {
    let verb = match phase {
        Phase::Detect => "detect",
        _ => "build",
    };
    let failed = |code: u8, why: &str| Err(Failure::new(code, format!("failed to {why}")));
    if !inputs.images.is_empty() {
        return failed(
            exit_code::INVALID_ARGS,
            "parse arguments: received unexpected arguments",
        );
    }
    if rustix::process::geteuid().is_root() {
        return failed(
            exit_code::FAILED,
            &format!(
                "{verb}: refusing to run as root, because buildpacks run with the same rights"
            ),
        );
    }
    if phase == Phase::Build {
        return phases::build(inputs, output);
    }
    let detected = phases::detect(inputs, output)?;
    phases::generate(inputs, output, &detected)
}

/// What takes rights: credentials and sockets are opened, folders handed over. Then the process becomes the build's
/// user.
fn prepare(
    phase: Phase,
    inputs: &mut Inputs,
    output: &Output,
    names: &dyn Fn(&Inputs) -> Result<Vec<String>, Failure>,
) -> Result<Images, Failure> {
    let names = names(inputs)?;
    let images = Images::open(inputs, output, names.iter().map(String::as_str))?;
    let mut folders: Vec<&Path> = Vec::new();
    if !matches!(phase, Phase::Export | Phase::Rebase) {
        folders.push(&inputs.layers);
    }
    folders.extend(inputs.cache_dir.as_deref());
    folders.extend(inputs.launch_cache.as_deref());
    user::hand_over(inputs.owner, &folders)?;
    let was_root = rustix::process::geteuid().is_root();
    if was_root {
        user::become_user(inputs.owner)?;
    }
    if phase == Phase::Create && was_root {
        user::set_home(&mut inputs.env, inputs.owner.uid)?;
    }
    Ok(images)
}

/// The last part of a path without its extension.
fn base_name(path: &OsString) -> String {
    let name = Path::new(path).file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn phase(name: &str) -> Option<Phase> {
    PHASES
        .iter()
        .find(|(program, verb, _)| [*program, *verb].contains(&name))
        .map(|(_, _, phase)| *phase)
}

fn unknown(name: &str) -> Failure {
    let verbs: Vec<&str> = PHASES.iter().map(|(_, verb, _)| *verb).collect();
    Failure::new(
        exit_code::INVALID_ARGS,
        format!(
            "failed to recognize phase: {name:?}; valid phases: {}",
            verbs.join(", ")
        ),
    )
}

fn platform_api() -> Result<ApiVersion, Failure> {
    let fail = |message: String| Failure::new(exit_code::PLATFORM_API_INCOMPATIBLE, message);
    let variable = env_vars::PLATFORM_API;
    let text = std::env::var(variable).unwrap_or_default();
    if text.trim().is_empty() {
        return Err(fail(format!(
            "failed to get platform API version; please set '{variable}' to specify the desired platform API version"
        )));
    }
    let version: ApiVersion = text
        .parse()
        .map_err(|error| fail(format!("failed to parse platform API '{text}': {error}")))?;
    if !version.is_supported(&api::PLATFORM) {
        return Err(fail(format!(
            "failed to set platform API: platform API version '{version}' is incompatible with the lifecycle, \
             which speaks 0.7 to 0.15"
        )));
    }
    Ok(version)
}

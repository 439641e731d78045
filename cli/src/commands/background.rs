//! `slugc launch -d`: the same program once more, in a session of its own.
//!
//! Variables go through its standard input, for a command line is seen by every user; it says on
//! its standard output when dynos are started, and on the caller's standard error why not.

use crate::app::App;
use crate::args::LaunchArgs;
use crate::commands::launch::already_runs;
use crate::failure::{Exit, Failure, OrFail};
use crate::supervisor;
use crate::ui::printer::Printer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};

const READY: &[u8] = b"ready\n";

/// Starts the supervisor and returns when it runs.
pub(crate) fn start(
    printer: &Printer,
    app: &App,
    args: &LaunchArgs,
    overrides: &BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    let name = app.name.as_str();
    if let Some(client) = supervisor::find(printer, app)? {
        return Err(already_runs(&app.name, client.pid()));
    }
    let attempt = || format!("cannot launch {name} in the background");
    let own = std::env::current_exe().or_fail(Exit::General, attempt)?;
    let mut command = Command::new(own);
    command
        .args(["launch", "--background", "-a", name])
        .arg(format!("--boot-timeout={}", args.boot_timeout))
        .arg(format!("--stop-timeout={}", args.stop_timeout));
    if let Some(port) = args.port {
        command.arg(format!("--port={port}"));
    }
    for binding in &args.bindings {
        command.arg(format!("--binding={binding}"));
    }
    command.arg("--").args(&args.formation);
    let child = match spawn(command, overrides, attempt)? {
        Started::Ready(child) => child,
        Started::Failed(code) => return Ok(code),
    };
    let pid = child.id();
    let status = supervisor::running(printer, app)?
        .status()
        .map_err(|error| supervisor::refused(app, error))?;
    let address = status
        .port
        .map_or_else(String::new, |port| format!(" on http://localhost:{port}"));
    printer.result(&format!(
        "{name} runs in the background{address} (process {pid})."
    ));
    printer.result(&format!(
        "slugc ps -a {name} shows its dynos, slugc ps:stop -a {name} ends it."
    ));
    Ok(ExitCode::SUCCESS)
}

/// What became of a process in the background.
pub(crate) enum Started {
    Ready(Child),
    /// It has said why, and ended with this.
    Failed(ExitCode),
}

/// Starts the same program once more, tells it what it has to know, and waits until it is ready.
pub(crate) fn spawn(
    mut command: Command,
    told: &impl Serialize,
    attempt: impl Fn() -> String,
) -> Result<Started, Failure> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().or_fail(Exit::General, &attempt)?;
    let told = serde_json::to_vec(told).or_fail(Exit::General, &attempt)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ended already says why itself.
        drop(stdin.write_all(&told));
    }
    if is_ready(&mut child) {
        return Ok(Started::Ready(child));
    }
    let status = child.wait().or_fail(Exit::General, &attempt)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.filter(|code| *code != 0).unwrap_or(1);
    Ok(Started::Failed(ExitCode::from(code)))
}

fn is_ready(child: &mut Child) -> bool {
    let mut said = [0; READY.len()];
    let stdout = child.stdout.as_mut();
    stdout.is_some_and(|stdout| stdout.read_exact(&mut said).is_ok()) && said == READY
}

/// In the process in the background: leaves the caller's terminal, and takes what it is told.
pub(crate) fn leave_session<T: DeserializeOwned>() -> Result<T, Failure> {
    let attempt = || "cannot go into the background".to_owned();
    rustix::process::setsid().or_fail(Exit::General, attempt)?;
    let mut told = Vec::new();
    std::io::stdin()
        .read_to_end(&mut told)
        .or_fail(Exit::General, attempt)?;
    serde_json::from_slice(&told).or_fail(Exit::General, attempt)
}

/// In the process in the background: tells the caller, and lets go of the caller's streams.
pub(crate) fn tell_ready() {
    // Whoever started this may be gone, which is no reason to stop.
    let mut stdout = std::io::stdout();
    drop(stdout.write_all(READY));
    drop(stdout.flush());
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

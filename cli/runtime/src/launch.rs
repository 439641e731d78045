//! Launching: dynos in the foreground, their output as log lines, until they end or are stopped.

use crate::dyno::{self, App, DynoError, Prepared};
use crate::formation::{self, Planned};
use crate::journal::Journal;
use crate::logs::{Colour, LogBounds, LogError, LogWriter, Printout};
use crate::names::DynoName;
use crate::output::Output;
use crate::port::{self, ChosenPort, PortChoice, PortError};
use crate::processes::{Processes, ProcessesError};
use crate::signals::Signals;
use crate::supervise::{Supervised, Supervision};
use cnb_spec::names::ProcessType;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::isatty;
use sandbox::Stream;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// What [`launch`] needs.
#[derive(Clone, Copy)]
pub struct LaunchInputs<'a> {
    pub app: App<'a>,
    /// The process types to start, one dyno of each; the default one if there are none.
    pub types: &'a [ProcessType],
    /// The port of the web dyno.
    pub port: PortChoice,
    /// Where log lines go: standard output.
    pub output: BorrowedFd<'a>,
    pub colour: Colour,
    /// The folder of the app's log, which gets the same lines; none: they are not kept.
    pub logs: Option<&'a Path>,
    pub limits: Limits,
}

/// How long dynos may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a web dyno to bind to `PORT` (R10 afterwards).
    pub boot: Duration,
    /// For all processes of a dyno to exit after SIGTERM (R12 and SIGKILL afterwards).
    pub exit: Duration,
}

impl Default for Limits {
    /// Heroku's.
    fn default() -> Self {
        Self {
            boot: Duration::from_mins(1),
            exit: Duration::from_secs(30),
        }
    }
}

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("cannot tell what to launch")]
    Processes { source: ProcessesError },
    #[error("cannot give the web dyno a port")]
    Port { source: PortError },
    #[error(transparent)]
    Dyno(#[from] DynoError),
    #[error("cannot catch signals")]
    Signals { source: io::Error },
    #[error("cannot print the logs")]
    Output { source: io::Error },
    #[error("cannot keep the logs")]
    Logs { source: LogError },
    #[error("lost the dyno {name}")]
    Lost { name: DynoName, source: io::Error },
    #[error("cannot wait for the dynos")]
    Wait { source: io::Error },
    #[error(
        "{name} did not listen on $PORT ({port}) within {seconds} seconds{}: have it listen on 0.0.0.0:$PORT",
        elsewhere(listens_on)
    )]
    BootTimeout {
        name: DynoName,
        port: u16,
        seconds: u64,
        /// The ports on which it did listen.
        listens_on: BTreeSet<u16>,
    },
}

fn elsewhere(ports: &BTreeSet<u16>) -> String {
    if ports.is_empty() {
        return String::new();
    }
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!(", but on {}", ports.join(", "))
}

/// Starts dynos and returns when all have ended: 128 + n if signal n stopped the launch, else the
/// exit code of the first dyno that failed, else 0.
///
/// SIGINT, SIGTERM and SIGHUP stop all processes with SIGTERM, and with SIGKILL when
/// [`Limits::exit`] is over; a SIGINT while they stop kills them at once. So does nobody reading
/// the output any longer.
pub fn launch(inputs: &LaunchInputs<'_>) -> Result<i32, LaunchError> {
    let processes = Processes::of(inputs.app.image);
    let planned = processes
        .and_then(|processes| formation::plan(&processes, inputs.types))
        .map_err(|source| LaunchError::Processes { source })?;
    let port = if planned.iter().any(|dyno| dyno.is_web) {
        Some(port::choose(inputs.port).map_err(|source| LaunchError::Port { source })?)
    } else {
        None
    };
    let signals = Signals::catch(&[SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| LaunchError::Signals { source })?;
    let kept = inputs
        .logs
        .map(|folder| LogWriter::open(folder, LogBounds::default()))
        .transpose()
        .map_err(|source| LaunchError::Logs { source })?;
    let printout = Printout::new(inputs.colour, isatty(inputs.output));
    let output = Output::to(inputs.output, Journal::new(printout, kept))
        .map_err(|source| LaunchError::Output { source })?;
    let mut supervision = Supervision::new(output, signals, inputs.limits);
    for dyno in planned {
        let port = port.as_ref().filter(|_| dyno.is_web);
        let started = start(&inputs.app, dyno, port, &mut supervision);
        if let Err(error) = started {
            supervision.abandon();
            return Err(error.into());
        }
    }
    supervision.run()
}

fn start(
    app: &App<'_>,
    dyno: Planned,
    port: Option<&ChosenPort>,
    supervision: &mut Supervision,
) -> Result<(), DynoError> {
    let number = port.map(|port| port.number);
    let Prepared {
        mut sandbox,
        scratch,
    } = dyno::prepare(app, &dyno.name, &dyno.command, number, None)?;
    let watch = |source| DynoError::Watch {
        name: dyno.name.clone(),
        source,
    };
    let (read, write) = output_pipe().map_err(watch)?;
    dyno::give(&write, &sandbox).map_err(watch)?;
    sandbox.stdin = Stream::Null;
    sandbox.stdout = Stream::Fd(write.try_clone().map_err(watch)?);
    // One pipe for both keeps their order.
    sandbox.stderr = Stream::Fd(write);

    if let Some((taken, holder)) = port.and_then(|port| port.instead_of.as_ref()) {
        let text = format!("Port {taken} is taken by {holder}, so PORT is another one");
        supervision.say(&dyno.name, &text);
    }
    let command = dyno.command.shown;
    let heading = format!("Starting process with command `{command}`");
    supervision.say(&dyno.name, &heading);
    let child = sandbox::spawn(&sandbox).map_err(|source| DynoError::Start { command, source })?;
    drop(sandbox);
    supervision.add(Supervised::new(dyno.name, child, read, number, scratch));
    Ok(())
}

/// A pipe of which only the reading side, which stays here, never blocks.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, fcntl_getfl(&read)? | OFlags::NONBLOCK)?;
    Ok((read, write))
}

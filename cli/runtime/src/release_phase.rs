//! The release phase: the process type `release` as a one-off dyno before a release takes effect.

use crate::dyno::{App, DynoError};
use crate::logged::{Logged, Stopped, Times};
use crate::names::DynoName;
use crate::processes::{Processes, ProcessesError};
use crate::signals::Signals;
use cnb_spec::names::ProcessType;
use oci_image::Image;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a release command may take (Heroku Dev Center, "Release Phase").
pub const LIMIT: Duration = Duration::from_hours(1);

/// How long it may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// What [`run`] needs.
#[derive(Clone, Copy)]
pub struct ReleaseInputs<'a> {
    /// With the release's own image and config vars.
    pub app: App<'a>,
    /// The release's version, which is in the dyno's name.
    pub version: u64,
    /// [`LIMIT`].
    pub limit: Duration,
    /// The folder of the app's log.
    pub logs: &'a Path,
}

/// How a release command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this exit code; 128 + n when signal n ended it.
    Exited(i32),
    /// It was stopped because its time was over.
    TimedOut,
    /// It was stopped because this signal arrived here.
    Interrupted(i32),
}

/// Why a release command did not run.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("cannot tell what the release command is")]
    Command { source: ProcessesError },
    #[error(transparent)]
    Dyno(#[from] DynoError),
    #[error("cannot catch signals")]
    Signals { source: io::Error },
    #[error("lost the dyno {name}")]
    Lost { name: DynoName, source: io::Error },
}

/// The release command as its author wrote it; `None` when the image has none.
pub fn command(image: &Image) -> Result<Option<String>, ReleaseError> {
    let failed = |source| ReleaseError::Command { source };
    let processes = Processes::of(image).map_err(failed)?;
    match release_type(&processes) {
        Some(kind) => Ok(Some(processes.start(&kind).map_err(failed)?.shown)),
        None => Ok(None),
    }
}

fn release_type(processes: &Processes) -> Option<ProcessType> {
    let mut types = processes.all().iter().map(|process| &process.process_type);
    types.find(|name| name.as_str() == "release").cloned()
}

/// Runs the release command of an image that has one, without input; what it prints goes to
/// `print` as it comes.
///
/// SIGINT, SIGTERM and SIGHUP stop it with SIGTERM, and with SIGKILL half a minute later; a second
/// one kills it at once.
pub fn run(
    inputs: &ReleaseInputs<'_>,
    print: &mut dyn FnMut(&[u8]),
) -> Result<Outcome, ReleaseError> {
    let failed = |source| ReleaseError::Command { source };
    let processes = Processes::of(inputs.app.image).map_err(failed)?;
    let kind = release_type(&processes).ok_or_else(|| failed(ProcessesError::NoCommand))?;
    let command = processes.start(&kind).map_err(failed)?;
    let name = DynoName::of_release(inputs.version);
    let signals = Signals::catch(&[SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| ReleaseError::Signals { source })?;
    let times = Times {
        limit: Some(inputs.limit),
        grace: GRACE,
    };
    let mut dyno = Logged::start(&inputs.app, &name, command, inputs.logs, times, signals)?;
    let (code, stopped) = dyno
        .attend(print)
        .map_err(|source| ReleaseError::Lost { name, source })?;
    Ok(match stopped {
        None => Outcome::Exited(code),
        Some(Stopped::TimedOut) => Outcome::TimedOut,
        Some(Stopped::Interrupted(number)) => Outcome::Interrupted(number),
    })
}

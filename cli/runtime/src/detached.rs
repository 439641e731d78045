//! Detached one-off dynos: nobody sits in front of them, and their output is in the app's log.

use crate::dyno::App;
use crate::logged::{Logged, Times};
use crate::names::DynoName;
use crate::one_offs::OneOff;
use crate::processes::Processes;
use crate::run::RunError;
use crate::signals::Signals;
use jiff::Timestamp;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::time::Duration;

/// How long a dyno may take to end after SIGTERM (Heroku Dev Center, "Dyno Shutdown").
pub const GRACE: Duration = Duration::from_secs(30);

/// What [`run_detached`] needs.
#[derive(Clone, Copy)]
pub struct DetachedInputs<'a> {
    pub app: App<'a>,
    /// From [`crate::one_offs::fresh_name`].
    pub name: &'a DynoName,
    /// As [`crate::run::RunInputs::command`].
    pub command: &'a [String],
    /// The folder of the app's log.
    pub logs: &'a Path,
    /// [`GRACE`].
    pub grace: Duration,
}

/// Runs a command in a dyno of its own and returns its exit code, 128 + n when signal n ended it.
/// `started` is called when it runs.
///
/// SIGINT, SIGTERM and SIGHUP stop it with SIGTERM, and with SIGKILL when `grace` is over; a second
/// one kills it at once.
pub fn run_detached(inputs: &DetachedInputs<'_>, started: impl FnOnce()) -> Result<i32, RunError> {
    let processes = Processes::of(inputs.app.image);
    let command = processes
        .and_then(|processes| processes.one_off(inputs.command))
        .map_err(|source| RunError::Command { source })?;
    let signals = Signals::catch(&[SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| RunError::Signals { source })?;
    let times = Times {
        limit: None,
        grace: inputs.grace,
    };
    let shown = command.shown.clone();
    let name = inputs.name;
    let mut dyno = Logged::start(&inputs.app, name, command, inputs.logs, times, signals)?;
    let lost = |source| RunError::Lost {
        name: name.to_string(),
        source,
    };
    let metadata = inputs.app.metadata;
    dyno.record(&OneOff {
        name: name.to_string(),
        command: shown,
        since: Timestamp::now(),
        release: metadata.map(|metadata| metadata.release_version),
        image: metadata.map(|metadata| metadata.image.clone()),
        pid: dyno.pid(),
        attendant: std::process::id(),
        is_detached: true,
    })
    .map_err(lost)?;
    dyno.say("State changed from starting to up");
    started();
    let (code, _) = dyno.attend(&mut |_| {}).map_err(lost)?;
    // As on Heroku, where the end of a one-off is no crash, whatever its exit code.
    dyno.say("State changed from up to complete");
    Ok(code)
}

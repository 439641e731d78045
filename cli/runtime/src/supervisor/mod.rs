//! One process per app that starts dynos, keeps them running, and obeys commands.
//!
//! ```text
//! commands ─► client ─► api (thread, HTTP over a Unix socket) ─► orders ─┐
//!                                                                        ▼
//! signals, ends, output, ports, deadlines ───────────────────► supervision (poll loop)
//!                                          formation: places ◄───┤       ├─► journal
//!                                          running: one dyno ◄───┘       └─► routing (router's threads)
//! ```
//! The loop does nothing that takes longer than starting a process: images are unpacked by the
//! API's thread, files of ended dynos removed by the sweeper.

mod api;
mod client;
mod cool_off;
mod cycling;
mod deployed;
mod error;
mod formation;
mod journal;
mod limits;
mod lock;
mod memory;
mod messages;
mod orders;
mod places;
mod report;
mod routing;
mod running;
mod supervision;
mod sweeper;

pub use client::{Client, ClientError, Supervisor};
pub use deployed::{Deployed, Loader};
pub use error::SupervisorError;
pub use limits::Limits;
pub use lock::{LockError, SupervisorLock};
pub use messages::{DynoState, DynoStatus, Quantities, Status, Target};

use crate::dyno::HostFiles;
use crate::logs::{Colour, LogBounds, LogWriter, Printout};
use crate::output::Output;
use crate::port::PortChoice;
use crate::signals::Signals;
use crate::state::AppState;
use journal::{Journal, Watched};
use rustix::termios::isatty;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use supervision::{Parts, Site, Supervision};

/// What [`supervise`] needs.
pub struct Inputs {
    /// The app's name.
    pub app: String,
    pub lock: SupervisorLock,
    /// The release to begin with.
    pub deployed: Deployed,
    /// Makes later releases ready.
    pub loader: Loader,
    /// How many dynos of which types; types that the image does not have are an error.
    pub formation: Quantities,
    /// Variables of this launch alone, which win over config vars.
    pub overrides: BTreeMap<String, String>,
    pub host: HostFiles,
    /// The router's port.
    pub port: PortChoice,
    /// Where log lines go while somebody watches.
    pub output: Option<OwnedFd>,
    pub colour: Colour,
    pub limits: Limits,
}

/// Starts the formation and returns when it was stopped: 128 + n by signal n, else 0.
///
/// SIGINT, SIGTERM, SIGHUP and [`Client::quit`] stop all processes with SIGTERM, and with SIGKILL
/// when [`Limits::exit`] is over; a SIGINT while they stop kills them at once. So does nobody
/// reading the output any longer. `ready` is called when dynos are started and commands heard.
pub fn supervise(inputs: Inputs, ready: impl FnOnce(&Status)) -> Result<i32, SupervisorError> {
    let processes_error = |source| SupervisorError::Processes { source };
    let processes = inputs.deployed.processes().map_err(processes_error)?;
    for process_type in inputs.formation.keys() {
        processes.start(process_type).map_err(processes_error)?;
    }
    let signals = Signals::catch(&[SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| SupervisorError::Signals { source })?;
    let control = |source| SupervisorError::Control { source };
    let (outbox, inbox) = orders::mailbox().map_err(control)?;
    let listener = api::listen(inputs.lock.folder()).map_err(control)?;
    let watched = match inputs.output {
        Some(output) => Some(Watched {
            printout: Printout::new(inputs.colour, isatty(&output)),
            output: Output::to(output.as_fd())
                .map_err(|source| SupervisorError::Output { source })?,
        }),
        None => None,
    };
    let logs = inputs.lock.folder().join("logs");
    let kept = LogWriter::open(&logs, LogBounds::default())
        .map_err(|source| SupervisorError::Logs { source })?;
    let site = Site {
        name: inputs.app,
        run_dir: inputs.lock.folder().join("run"),
        host: inputs.host,
        overrides: inputs.overrides,
        state: AppState::new(inputs.lock.folder().to_owned()),
    };
    let mut supervision = Supervision::new(Parts {
        site,
        deployed: inputs.deployed,
        processes,
        wanted: inputs.formation,
        journal: Journal::new(watched, Some(kept)),
        port: inputs.port,
        limits: inputs.limits,
        signals,
        inbox,
    });
    if let Err(error) = supervision.begin() {
        supervision.abandon();
        return Err(error);
    }
    if let Err(source) = api::serve(listener, outbox, inputs.loader) {
        supervision.abandon();
        return Err(SupervisorError::Control { source });
    }
    ready(&supervision.status());
    let code = supervision.run();
    drop(inputs.lock);
    code
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

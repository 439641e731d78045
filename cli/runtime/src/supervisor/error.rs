//! Why a supervisor could not start, or could not go on.

use crate::dyno::DynoError;
use crate::logs::LogError;
use crate::names::DynoName;
use crate::port::PortError;
use crate::processes::ProcessesError;
use crate::router::RouterError;
use std::io;

/// Why a supervisor could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("cannot tell what to launch")]
    Processes { source: ProcessesError },
    #[error("cannot listen for requests")]
    Port { source: PortError },
    #[error("cannot start the router")]
    Router { source: RouterError },
    #[error(transparent)]
    Dyno(#[from] DynoError),
    #[error("cannot catch signals")]
    Signals { source: io::Error },
    #[error("cannot print the logs")]
    Output { source: io::Error },
    #[error("cannot keep the logs")]
    Logs { source: LogError },
    #[error("cannot listen for commands")]
    Control { source: io::Error },
    #[error("lost the dyno {name}")]
    Lost { name: DynoName, source: io::Error },
    #[error("cannot wait for the dynos")]
    Wait { source: io::Error },
}

//! Why something about an add-on failed.

use crate::port::PortError;
use std::io;
use std::path::PathBuf;

/// Why something about an add-on failed. No message contains a password.
#[derive(Debug, thiserror::Error)]
pub enum AddonError {
    #[error("there is no add-on {name:?}")]
    Unknown { name: String },
    #[error("there is an add-on {name:?} already")]
    Exists { name: String },
    #[error("{name:?} cannot be an add-on's name")]
    Name { name: String },
    #[error("the app {app} has an attachment {attachment} already")]
    Attached { attachment: String, app: String },
    #[error("cannot make certificates")]
    Certificates { source: rcgen::Error },
    #[error("cannot {attempt} {}", path.display())]
    File {
        attempt: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    State(#[from] crate::state::StateError),
    #[error("the files of {service} servers are not in the store")]
    NoRoot { service: super::Service },
    #[error("the add-on {name} cannot listen on its port {port}")]
    Port {
        name: String,
        port: u16,
        source: PortError,
    },
    #[error("cannot find a free port for the add-on")]
    NoPort,
    #[error("the kernel gives no random bytes")]
    Random { source: io::Error },
    #[error("cannot start {what} of the add-on {name} in a sandbox")]
    Sandbox {
        what: &'static str,
        name: String,
        source: sandbox::Error,
    },
    #[error("the add-on {name} could not be set up (exit code {code}): {said}")]
    Setup {
        name: String,
        code: i32,
        said: String,
    },
    #[error("the server of the add-on {name} ended before it was ready: {said}")]
    Ended { name: String, said: String },
    #[error("the server of the add-on {name} is not ready after {seconds} seconds: {said}")]
    NotReady {
        name: String,
        seconds: u64,
        said: String,
    },
    #[error("the add-on {name} could not be started: {reason}")]
    Start { name: String, reason: String },
    #[error("another process still runs the server of the add-on {name}")]
    StillRunning { name: String },
    #[error("the server of the add-on {name} has not stopped after {seconds} seconds")]
    NotStopped { name: String, seconds: u64 },
    #[error("cannot watch the server of the add-on {name}")]
    Watch { name: String, source: io::Error },
    #[error("cannot run {program}")]
    Client {
        program: String,
        source: crate::run::RunError,
    },
}

/// Names the attempt and the file.
pub(super) fn failed<'p>(
    attempt: &'static str,
    path: &'p std::path::Path,
) -> impl Fn(io::Error) -> AddonError + use<'p> {
    move |source| AddonError::File {
        attempt,
        path: path.to_owned(),
        source,
    }
}

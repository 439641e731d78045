//! `exec.d`: programs of buildpacks that compute environment variables when the image starts
//! ([Buildpack specification, Exec.d]).
//!
//! [Buildpack specification, Exec.d]: https://github.com/buildpacks/spec/blob/main/buildpack.md#execd

use cnb_spec::env_delta::Environment;
use cnb_spec::toml_file::{self, FileError};
use std::collections::BTreeMap;
use std::io::{self, PipeWriter, Read};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The descriptor that the program writes its variables to.
const OUTPUT: RawFd = 3;

/// A program in `exec.d` did not give variables.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecDError {
    #[error("failed to create pipe")]
    Pipe(#[source] io::Error),
    #[error("failed to execute exec.d file at path '{}'", path.display())]
    Execute { path: PathBuf, source: io::Error },
    #[error("failed to execute exec.d file at path '{}': {}", path.display(), reason(*status))]
    Status { path: PathBuf, status: ExitStatus },
    #[error("failed to read output from exec.d file at path '{}'", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to decode output from exec.d file at path '{}'", path.display())]
    Decode { path: PathBuf, source: FileError },
}

fn reason(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Runs one program in the environment made so far and adds its variables to it.
pub(crate) fn run(path: &Path, environment: &mut Environment) -> Result<(), ExecDError> {
    let (mut output, sink) = io::pipe().map_err(ExecDError::Pipe)?;
    let mut child = spawn(path, environment, sink).map_err(|source| ExecDError::Execute {
        path: path.to_owned(),
        source,
    })?;
    let mut text = String::new();
    let read = output.read_to_string(&mut text);
    let status = child.wait().map_err(|source| ExecDError::Execute {
        path: path.to_owned(),
        source,
    })?;
    // The program's own failure explains a bad output, so it goes first.
    if !status.success() {
        let path = path.to_owned();
        return Err(ExecDError::Status { path, status });
    }
    read.map_err(|source| ExecDError::Read {
        path: path.to_owned(),
        source,
    })?;
    let variables: BTreeMap<String, String> = toml_file::parse(Path::new("output"), &text)
        .map_err(|source| ExecDError::Decode {
            path: path.to_owned(),
            source,
        })?;
    environment.extend(
        variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    Ok(())
}

/// Starts the program with `sink` as its descriptor 3. Our end of `sink` is closed on return, so that the
/// output ends with the program.
fn spawn(
    path: &Path,
    environment: &Environment,
    sink: PipeWriter,
) -> io::Result<std::process::Child> {
    let descriptor = sink.as_raw_fd();
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env_clear().envs(environment);
    let place = move || {
        if descriptor == OUTPUT {
            return Ok(rustix::io::fcntl_setfd(
                sink.as_fd(),
                rustix::io::FdFlags::empty(),
            )?);
        }
        // SAFETY: the child owns its descriptor table. Number 3 is open there, since the pipe took the two
        // lowest free numbers and the standard streams are open; whatever it is, nothing in the child uses
        // it any more, and the wrapper is never dropped, so it is not closed twice.
        let mut output = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(OUTPUT) });
        Ok(rustix::io::dup2(sink.as_fd(), &mut output)?)
    };
    // SAFETY: between fork and exec the closure makes one system call and touches no memory that another
    // thread could hold; the launcher has one thread.
    unsafe { command.pre_exec(place) };
    command.spawn()
}

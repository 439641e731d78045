//! The Python that the virtual environment stands on.

use crate::command::{self, CommandError};
use crate::python_version::{PythonVersion, parse_version};
use libcnb::Env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An installed `CPython`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// The program itself, links resolved.
    pub(crate) executable: PathBuf,
    pub(crate) version: PythonVersion,
}

/// An interpreter that is there but that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterpreterError {
    #[error("could not ask {} for its version", program.display())]
    Probe {
        program: PathBuf,
        #[source]
        source: CommandError,
    },
    #[error("{} did not answer with its version, but with \"{answer}\"", program.display())]
    Answer { program: PathBuf, answer: String },
}

/// Prints version, implementation and real path; nothing is imported that costs time.
const PROBE: &str = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.implementation.name, \
                     getattr(sys, '_base_executable', None) or sys.executable, sep='\\n')";

/// The stack's own Python: `python3` on the `PATH`, if there is one.
pub(crate) fn of_stack(env: &Env) -> Result<Option<Interpreter>, InterpreterError> {
    find_program("python3", env.get("PATH").map(AsRef::as_ref))
        .map(|program| probe(&program, env))
        .transpose()
}

/// Asks a Python who it is.
pub(crate) fn probe(program: &Path, env: &Env) -> Result<Interpreter, InterpreterError> {
    let answer = command::capture(
        Command::new(program)
            .args(["-I", "-S", "-c", PROBE])
            .env_clear()
            .envs(env),
    )
    .map_err(|source| InterpreterError::Probe {
        program: program.to_path_buf(),
        source,
    })?;
    parse_answer(&answer).ok_or_else(|| InterpreterError::Answer {
        program: program.to_path_buf(),
        answer: answer.trim().to_owned(),
    })
}

fn parse_answer(answer: &str) -> Option<Interpreter> {
    let mut lines = answer.lines();
    let (series, patch) = parse_version(lines.next()?)?;
    if lines.next()? != "cpython" {
        return None;
    }
    let executable = Path::new(lines.next()?);
    Some(Interpreter {
        // The name with the series in it stays right when the stack moves `python3` on.
        executable: executable.canonicalize().ok()?,
        version: PythonVersion {
            series,
            patch: patch?,
        },
    })
}

/// Where a program lies on a `PATH`.
pub(crate) fn find_program(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

//! The Python that the virtual environment stands on.

use crate::command::{self, CommandError};
use crate::python_version::{Implementation, PythonVersion, parse_version};
use libcnb::Env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An installed `CPython` or `PyPy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// The program itself, links resolved.
    pub(crate) executable: PathBuf,
    /// Of the language.
    pub(crate) version: PythonVersion,
    pub(crate) implementation: Implementation,
    /// What its folder in `lib` is called: `python3.13`, `python3.13t`, `pypy3.11`.
    pub(crate) library: String,
    /// What it adds to the names of bytecode files: `cpython-313`.
    pub(crate) bytecode_tag: String,
}

impl Interpreter {
    /// What its makers call it.
    pub(crate) fn name(&self) -> &'static str {
        match self.implementation {
            Implementation::CPython => "Python",
            Implementation::PyPy => "PyPy",
        }
    }
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

/// Prints version, implementation, real path and what the names of its files have; nothing is imported that costs time.
const PROBE: &str = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.implementation.name, \
                     getattr(sys, '_base_executable', None) or sys.executable, \
                     't' if 't' in getattr(sys, 'abiflags', '') else '', sys.implementation.cache_tag, sep='\\n')";

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
    let implementation = match lines.next()? {
        "cpython" => Implementation::CPython,
        "pypy" => Implementation::PyPy,
        _ => return None,
    };
    let executable = Path::new(lines.next()?);
    let library = match implementation {
        Implementation::CPython => format!("python{series}{}", lines.next()?),
        Implementation::PyPy => {
            lines.next()?;
            format!("pypy{series}")
        }
    };
    let bytecode_tag = lines.next()?.to_owned();
    Some(Interpreter {
        // The name with the series in it stays right when the stack moves `python3` on.
        executable: executable.canonicalize().ok()?,
        version: PythonVersion {
            series,
            patch: patch?,
        },
        implementation,
        library,
        bytecode_tag,
    })
}

/// Where a program lies on a `PATH`.
pub(crate) fn find_program(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

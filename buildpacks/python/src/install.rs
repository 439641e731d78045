//! Running the installers on a virtual environment.

pub(crate) mod pip;
pub(crate) mod uv;

use crate::command::CommandError;
use crate::layers::pip::Pip;
use crate::layers::uv::UV_VERSION;
use libcnb::Env;
use std::fmt;
use std::path::{Path, PathBuf};

/// The variable that chooses the installer.
pub(crate) const INSTALLER_VARIABLE: &str = "BP_PYTHON_INSTALLER";

/// What installs the requirements.
pub(crate) enum Installer {
    /// There are none.
    Nothing,
    Uv {
        program: PathBuf,
        cache: PathBuf,
    },
    Pip {
        pip: Pip,
        cache: PathBuf,
    },
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Uv { .. } => write!(f, "uv {UV_VERSION}"),
            Self::Pip { pip, .. } => write!(f, "pip {}", pip.version),
        }
    }
}

/// Whether what the installer knows of the index and of local sources may be taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// As HTTP's own rules allow.
    Cached,
    /// Everything is asked for again.
    Revalidated,
}

/// The requirements could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("could not install the requirements with {installer}")]
pub(crate) struct InstallError {
    pub(crate) installer: String,
    /// The line that the installer could not read, if it said so.
    pub(crate) location: Option<Location>,
    #[source]
    pub(crate) source: CommandError,
}

/// A line of a requirements file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: String,
    pub(crate) line: usize,
}

/// Makes the environment hold exactly what the requirements ask for.
///
/// uv brings an existing environment up to date; pip, which cannot remove what nobody asks for any
/// more, needs a fresh one.
pub(crate) fn install(
    installer: &Installer,
    venv: &Path,
    freshness: Freshness,
    app_dir: &Path,
    env: &Env,
) -> Result<(), InstallError> {
    let result = match installer {
        Installer::Nothing => Ok(()),
        Installer::Uv { program, cache } => {
            uv::install(program, cache, venv, freshness, app_dir, env)
        }
        Installer::Pip { pip, cache } => pip::install(&pip.program, cache, venv, app_dir, env),
    };
    result.map_err(|source| InstallError {
        installer: installer.to_string(),
        location: uv::location(source.output(), app_dir),
        source,
    })
}

//! Running the installers on a virtual environment.

pub(crate) mod pip;
mod project_tool;
pub(crate) mod uv;

use crate::app_files::Listing;
use crate::command::CommandError;
use crate::layers::pip::Pip;
use crate::layers::project_tool::ProjectTool;
use crate::project::{Plan, Source};
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
        version: String,
        cache: PathBuf,
    },
    Pip {
        pip: Pip,
        cache: PathBuf,
    },
    /// Poetry, PDM or Pipenv, each for its own lock.
    Own {
        tool: ProjectTool,
        cache: PathBuf,
    },
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Uv { version, .. } => write!(f, "uv {version}"),
            Self::Pip { pip, .. } => write!(f, "pip {}", pip.version),
            Self::Own { tool, .. } => write!(f, "{} {}", tool.kind.name(), tool.version),
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
    /// As HTTP's own rules allow, into an empty environment and from wheels alone: what the cache has of a wheel stands.
    /// (To uv, an upgrade means that it asks for each wheel again.)
    Shared,
}

/// The requirements could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("could not install {file} with {installer}")]
pub(crate) struct InstallError {
    pub(crate) installer: String,
    /// What was being installed.
    pub(crate) source_file: Source,
    /// Its name.
    pub(crate) file: String,
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
    /// In bytes, from 1.
    pub(crate) column: usize,
}

/// Makes the environment hold exactly what the plan asks for.
///
/// uv brings an existing environment up to date; pip, which cannot remove what nobody asks for any
/// more, needs a fresh one, and the tools of locks get one as well, so that it always equals a first build's.
pub(crate) fn install(
    installer: &Installer,
    plan: Option<&Plan>,
    venv: &Path,
    freshness: Freshness,
    app_dir: &Path,
    env: &Env,
) -> Result<(), InstallError> {
    let Some(plan) = plan else {
        return Ok(());
    };
    // Building the app's own packages leaves notes and copies beside their sources, which would be in the
    // image after a first build and not after a second one.
    let cleaned = plan.source != Source::Requirements && plan.local_sources;
    // An app that can't be listed is not cleaned: what is left there is only weight.
    let before = cleaned.then(|| Listing::of(app_dir).ok()).flatten();
    let result = match installer {
        Installer::Nothing => Ok(()),
        Installer::Uv { program, cache, .. } => {
            uv::install(program, cache, plan, venv, freshness, app_dir, env).map(drop)
        }
        Installer::Pip { pip, cache } => {
            pip::install(&pip.program, cache, plan, venv, app_dir, env)
        }
        Installer::Own { tool, cache } => {
            project_tool::install(tool, cache, plan, venv, app_dir, env)
        }
    };
    if let Some(before) = before {
        before.remove_added(app_dir);
    }
    result.map_err(|source| InstallError {
        installer: installer.to_string(),
        source_file: plan.source.clone(),
        file: plan.source.to_string(),
        location: uv::location(source.output(), app_dir),
        source,
    })
}

//! Poetry, PDM, Pipenv and another uv than ours, each in an environment of its own: pinned with the digests of all that it needs,
//! fetched from the user's package index by uv. Build and cache layer, kept while tool, Python and platform
//! stay the same.

use super::Platform;
use crate::command::{self, CommandError};
use crate::interpreter::Interpreter;
use crate::{BuildpackError, PythonBuildpack, files, log, tool_env};
use libcnb::Env;
use libcnb::build::BuildContext;
use libcnb::data::layer::LayerName;
use libcnb::data::layer_name;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tool with a lock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pdm,
    Pipenv,
    Poetry,
    /// A uv of a version that the user asks for.
    Uv,
}

impl Kind {
    /// Its name as its authors write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pdm => "PDM",
            Self::Pipenv => "Pipenv",
            Self::Poetry => "Poetry",
            Self::Uv => "uv",
        }
    }

    /// The variable that asks for another version.
    pub(crate) fn version_variable(self) -> &'static str {
        match self {
            Self::Pdm => "BP_PDM_VERSION",
            Self::Pipenv => "BP_PIPENV_VERSION",
            Self::Poetry => "BP_POETRY_VERSION",
            Self::Uv => "BP_UV_VERSION",
        }
    }

    /// The name of its package and of its program.
    fn package(self) -> &'static str {
        match self {
            Self::Pdm => "pdm",
            Self::Pipenv => "pipenv",
            Self::Poetry => "poetry",
            Self::Uv => "uv",
        }
    }

    fn layer(self) -> LayerName {
        match self {
            Self::Pdm => layer_name!("pdm"),
            Self::Pipenv => layer_name!("pipenv"),
            Self::Poetry => layer_name!("poetry"),
            Self::Uv => layer_name!("uv-asked-for"),
        }
    }

    /// Its requirements with their digests, which hold the version that this buildpack is tested with.
    fn lock(self) -> &'static str {
        match self {
            Self::Pdm => include_str!("../../locks/pdm.txt"),
            Self::Pipenv => include_str!("../../locks/pipenv.txt"),
            Self::Poetry => include_str!("../../locks/poetry.txt"),
            // Ours comes from elsewhere.
            Self::Uv => "",
        }
    }

    /// The version that this buildpack is tested with.
    fn pinned(self) -> &'static str {
        if self == Self::Uv {
            return super::uv::UV_VERSION;
        }
        let prefix = format!("{}==", self.package());
        self.lock()
            .lines()
            .find_map(|line| line.strip_prefix(prefix.as_str()))
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_default()
    }
}

/// A tool, ready to run.
pub(crate) struct ProjectTool {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    pub(crate) program: PathBuf,
}

/// A tool could not be provided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectToolError {
    #[error("{} names \"{value}\", which is no version", kind.version_variable())]
    Version { kind: Kind, value: String },
    #[error("could not install {} {version}", kind.name())]
    Install {
        kind: Kind,
        version: String,
        #[source]
        source: CommandError,
    },
    #[error("could not prepare {}", folder.display())]
    Prepare {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    version: String,
    python: String,
    platform: Platform,
}

/// Provides a tool; uv installs it, for the Python given.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
    kind: Kind,
    uv: &Path,
    python: &Interpreter,
    env: &Env,
) -> libcnb::Result<ProjectTool, BuildpackError> {
    let version = version(kind, env).map_err(BuildpackError::ProjectTool)?;
    let metadata = Metadata {
        version: version.clone(),
        python: format!("{} {}", python.version, python.executable.display()),
        platform: Platform::of(context),
    };
    let layer = context.cached_layer(
        kind.layer(),
        CachedLayerDefinition {
            build: true,
            launch: false,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, path| {
                let program = path.join("venv/bin").join(kind.package());
                if *cached == metadata && program.is_file() {
                    RestoredLayerAction::KeepLayer
                } else {
                    RestoredLayerAction::DeleteLayer
                }
            },
        },
    )?;
    let folder = layer.path();
    if let LayerState::Empty { .. } = layer.state {
        log::step(format!("Fetching {} {version}.", kind.name()));
        install(kind, &version, uv, python, &folder, env).map_err(BuildpackError::ProjectTool)?;
        layer.write_metadata(metadata)?;
    }
    Ok(ProjectTool {
        kind,
        version,
        program: folder.join("venv/bin").join(kind.package()),
    })
}

/// Whether the user asks for another version than the pinned one.
pub(crate) fn is_asked_for(kind: Kind, env: &Env) -> Result<bool, ProjectToolError> {
    Ok(version(kind, env)? != kind.pinned())
}

/// The version that the user asks for, else the pinned one.
fn version(kind: Kind, env: &Env) -> Result<String, ProjectToolError> {
    let asked = env
        .get(kind.version_variable())
        .map(|value| value.to_string_lossy().trim().to_owned())
        .filter(|value| !value.is_empty());
    match asked {
        None => Ok(kind.pinned().to_owned()),
        Some(value)
            if value.starts_with(|first: char| first.is_ascii_digit())
                && value.chars().all(|character| {
                    character.is_ascii_alphanumeric() || ".+!-".contains(character)
                }) =>
        {
            Ok(value)
        }
        Some(value) => Err(ProjectToolError::Version { kind, value }),
    }
}

fn install(
    kind: Kind,
    version: &str,
    uv: &Path,
    python: &Interpreter,
    folder: &Path,
    env: &Env,
) -> Result<(), ProjectToolError> {
    let prepare = |source| ProjectToolError::Prepare {
        folder: folder.to_path_buf(),
        source,
    };
    let failed = |source| ProjectToolError::Install {
        kind,
        version: version.to_owned(),
        source,
    };
    let is_pinned = version == kind.pinned();
    let requirements = folder.join("requirements.txt");
    let text = if is_pinned {
        kind.lock().to_owned()
    } else {
        format!("{}=={version}\n", kind.package())
    };
    std::fs::write(&requirements, text).map_err(prepare)?;
    let venv = folder.join("venv");
    let cache = folder.join("cache");
    let env = tool_env::for_uv(env);
    let run = |command: &mut Command| {
        command
            .arg("--quiet")
            .arg("--no-config")
            .current_dir(folder)
            .env_clear()
            .envs(&env)
            .env("UV_CACHE_DIR", &cache)
            .env("UV_LINK_MODE", "hardlink")
            // The user's constraints and overrides are for the app.
            .env_remove("UV_CONSTRAINT")
            .env_remove("UV_OVERRIDE");
        command::stream(command).map_err(failed)
    };
    run(Command::new(uv)
        .arg("venv")
        .arg(&venv)
        .arg("--python")
        .arg(&python.executable))?;
    let mut command = Command::new(uv);
    command
        .args(["pip", "install", "--compile-bytecode", "--python"])
        .arg(venv.join("bin/python"))
        .arg("--requirement")
        .arg(&requirements);
    if is_pinned {
        command.arg("--require-hashes");
    }
    run(&mut command)?;
    files::remove_if_there(&requirements).map_err(prepare)?;
    match std::fs::remove_dir_all(&cache) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(prepare(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned_with_digests() {
        for kind in [Kind::Pdm, Kind::Pipenv, Kind::Poetry] {
            assert!(kind.pinned().contains('.'), "{}", kind.name());
            for line in kind.lock().lines().filter(|line| !line.starts_with('#')) {
                assert!(line.contains("=="), "{line}");
                assert!(line.contains(" --hash=sha256:"), "{line}");
            }
        }
    }

    #[test]
    fn versions_are_versions() {
        let mut env = Env::new();
        assert_eq!(version(Kind::Poetry, &env).unwrap(), Kind::Poetry.pinned());
        env.insert("BP_POETRY_VERSION", "2.1.0");
        assert_eq!(version(Kind::Poetry, &env).unwrap(), "2.1.0");
        env.insert("BP_POETRY_VERSION", "2.1.0 --index-url=http://elsewhere");
        assert!(version(Kind::Poetry, &env).is_err());
    }
}

//! pip as a tool: the stack's archive of pip, unpacked and compiled, because from the archive each start
//! compiles it anew. Build and cache layer, kept while the archive and the Python stay the same.

use crate::command::{self, CommandError};
use crate::interpreter::Interpreter;
use crate::{BuildpackError, PythonBuildpack, bytecode, log};
use libcnb::Env;
use libcnb::build::BuildContext;
use libcnb::data::layer_name;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Prints where pip's archive is, and unpacks it when a folder is given.
const UNPACK: &str = include_str!("../helpers/unpack_pip.py");

/// pip could not be provided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipError {
    #[error("could not find pip in the stack")]
    Unpack(#[source] CommandError),
    #[error("could not list pip's modules in {}", folder.display())]
    List {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    /// The pip that Python brings along is fixed by Python's version and the distribution.
    python: String,
    distro: String,
    version: String,
}

/// pip, ready to run.
pub(crate) struct Pip {
    /// A folder that Python can run.
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

/// Provides pip for the Python given.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
    python: &Interpreter,
    env: &Env,
) -> libcnb::Result<Pip, BuildpackError> {
    let distro = super::Platform::of(context).distro;
    let layer = context.cached_layer(
        layer_name!("pip"),
        CachedLayerDefinition {
            build: true,
            launch: false,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, path| {
                if cached.python == python.version.to_string()
                    && cached.distro == distro
                    && path.join("pip").is_dir()
                {
                    (RestoredLayerAction::KeepLayer, Some(cached.version.clone()))
                } else {
                    (RestoredLayerAction::DeleteLayer, None)
                }
            },
        },
    )?;
    let folder = layer.path();
    let program = folder.join("pip");
    if let LayerState::Restored {
        cause: Some(version),
    } = &layer.state
    {
        return Ok(Pip {
            program,
            version: version.clone(),
        });
    }
    let version = unpack(&folder, python, env)?;
    log::step(format!("Using pip {version} of the stack."));
    layer.write_metadata(Metadata {
        python: python.version.to_string(),
        distro,
        version: version.clone(),
    })?;
    Ok(Pip { program, version })
}

fn unpack(folder: &Path, python: &Interpreter, env: &Env) -> Result<String, BuildpackError> {
    let version = command::capture(
        Command::new(&python.executable)
            .args(["-I", "-S", "-c", UNPACK])
            .arg(folder)
            .env_clear()
            .envs(env),
    )
    .map_err(|source| BuildpackError::Pip(PipError::Unpack(source)))?
    .trim()
    .to_owned();
    let mut modules = Vec::new();
    list_modules(&folder.join("pip"), &mut modules).map_err(|source| {
        BuildpackError::Pip(PipError::List {
            folder: folder.to_path_buf(),
            source,
        })
    })?;
    bytecode::start(&python.executable, modules, None)
        .and_then(bytecode::Compilation::finish)
        .map_err(BuildpackError::Bytecode)?;
    Ok(version)
}

fn list_modules(folder: &Path, modules: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            list_modules(&path, modules)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            modules.push(path);
        }
    }
    Ok(())
}

//! A Python that the stack does not have: python-build-standalone, through uv's catalogue, whose
//! checksums uv verifies. Build, launch and cache layer, kept while the request stays the same.

use crate::command::{self, CommandError};
use crate::interpreter::{self, Interpreter};
use crate::python_version::{Implementation, Request, Series, Stage, Variety};
use crate::{BuildpackError, PythonBuildpack, bytecode, files, log, tool_env};
use libcnb::Env;
use libcnb::build::BuildContext;
use libcnb::data::layer_name;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What uv says when its catalogue lacks a version.
pub(crate) const NOT_IN_CATALOGUE: &str = "No download found for request";

/// The Python asked for could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonError {
    #[error("could not install Python {request}")]
    Install {
        request: Request,
        /// The stack's own series, which would need no download.
        stack: Option<Series>,
        #[source]
        source: CommandError,
    },
    #[error("there is no Python in {}", folder.display())]
    NotInstalled { folder: PathBuf },
    #[error("could not prepare the Python in {}", folder.display())]
    Prepare {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    request: String,
    arch: String,
    uv: String,
    /// Where the program lies in the layer.
    program: PathBuf,
}

/// Installs the Python asked for, unless it is there.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
    uv: &Path,
    request: Request,
    stack: Option<&Interpreter>,
    env: &Env,
) -> libcnb::Result<Interpreter, BuildpackError> {
    let wanted = |cached: &Metadata| {
        cached.request == request.to_string()
            && cached.arch == context.target.arch
            && cached.uv == super::uv::UV_VERSION
    };
    let layer = context.cached_layer(
        layer_name!("python"),
        CachedLayerDefinition {
            build: true,
            launch: true,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, path| {
                let program = path.join(&cached.program);
                if wanted(cached) && program.is_file() {
                    (RestoredLayerAction::KeepLayer, Some(program))
                } else {
                    (RestoredLayerAction::DeleteLayer, None)
                }
            },
        },
    )?;
    if let LayerState::Restored {
        cause: Some(program),
    } = &layer.state
    {
        return Ok(interpreter::probe(program, env).map_err(BuildpackError::Interpreter)?);
    }

    let folder = layer.path();
    let makers = match request.variety.implementation {
        Implementation::CPython => "python-build-standalone",
        Implementation::PyPy => "PyPy's own build",
    };
    log::step(format!("Installing Python {request} ({makers})."));
    let env = &tool_env::for_uv(env);
    install(uv, request, &folder, env).map_err(|source| {
        BuildpackError::Python(PythonError::Install {
            request,
            stack: stack.map(|python| python.version.series),
            source,
        })
    })?;
    let prepare = |source| {
        BuildpackError::Python(PythonError::Prepare {
            folder: folder.clone(),
            source,
        })
    };
    let program = program_in(&folder, request)
        .map_err(prepare)?
        .ok_or_else(|| {
            BuildpackError::Python(PythonError::NotInstalled {
                folder: folder.clone(),
            })
        })?;
    let installed = interpreter::probe(&program, env).map_err(BuildpackError::Interpreter)?;
    let mut modules = Vec::new();
    if let Some(library) = standard_library(&installed) {
        collect_modules(&library, &mut modules).map_err(prepare)?;
    }
    bytecode::start(&installed.executable, modules, None)
        .and_then(bytecode::Compilation::finish)
        .map_err(BuildpackError::Bytecode)?;
    for left_behind in [".lock", ".gitignore"] {
        files::remove_if_there(&folder.join(left_behind)).map_err(prepare)?;
    }
    // Empty once uv is done; whatever else is in it must not be in an image either.
    match std::fs::remove_dir_all(folder.join(".temp")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(prepare(error))?,
        _ => {}
    }
    let in_layer = program.strip_prefix(&folder).unwrap_or(&program);
    layer.write_metadata(Metadata {
        request: request.to_string(),
        arch: context.target.arch.clone(),
        uv: super::uv::UV_VERSION.to_owned(),
        program: in_layer.to_path_buf(),
    })?;
    Ok(installed)
}

/// The exact patch release if there is one, else the newest of its series, with a warning.
fn install(uv: &Path, request: Request, folder: &Path, env: &Env) -> Result<(), CommandError> {
    let install = |version: String| {
        command::stream(
            Command::new(uv)
                .args([
                    "python",
                    "install",
                    "--no-bin",
                    "--no-config",
                    "--install-dir",
                ])
                .arg(folder)
                .arg(version)
                .env_clear()
                .envs(env)
                .env("UV_PYTHON_DOWNLOADS", "manual"),
        )
    };
    match install(request.for_uv()) {
        Err(error)
            if request.patch.is_some()
                && request.variety.stage == Stage::Released
                && error.output().contains(NOT_IN_CATALOGUE) =>
        {
            let any = Request {
                patch: None,
                ..request
            };
            log::warning(
                &format!("Python {request} can't be had"),
                &format!(
                    "The catalogue of Pythons has no {request}. The newest {any} is used instead.\n\
                     To get every security fix in time, write only \"{any}\" in {file}.",
                    file = request.file
                ),
            );
            install(any.for_uv())
        }
        other => other,
    }
}

/// Finds `cpython-<version>-<platform>/bin/python3.<minor>`, of other builds `…/python3.<minor>t` or
/// `pypy-<version>-<platform>/bin/pypy3.<minor>`; the link without a patch in its name is
/// left aside, as it may move.
fn program_in(folder: &Path, request: Request) -> io::Result<Option<PathBuf>> {
    let Variety {
        implementation,
        free_threaded,
        ..
    } = request.variety;
    let name = match implementation {
        Implementation::CPython if free_threaded => format!("bin/python{}t", request.series),
        Implementation::CPython => format!("bin/python{}", request.series),
        Implementation::PyPy => format!("bin/pypy{}", request.series),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.path().join(&name).is_file() {
            found.push(entry.path().join(&name));
        }
    }
    found.sort();
    Ok(found.pop())
}

fn standard_library(python: &Interpreter) -> Option<PathBuf> {
    let prefix = python.executable.parent()?.parent()?;
    let library = prefix.join("lib").join(&python.library);
    library.is_dir().then_some(library)
}

/// The modules of the standard library, without its tests.
fn collect_modules(folder: &Path, modules: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if name != "test" && name != "tests" && name != "site-packages" {
                collect_modules(&path, modules)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "py") {
            modules.push(path);
        }
    }
    Ok(())
}

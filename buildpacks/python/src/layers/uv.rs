//! uv, pinned: taken from the stack or the builder when they have it, then from the platform when it
//! keeps tools for all apps, else fetched from the user's package index. Build and cache layer, kept
//! while uv's version and the processor stay the same.

use crate::command::{self, CommandError};
use crate::interpreter::{Interpreter, find_program};
use crate::{BuildpackError, PythonBuildpack, log, tool_env};
use libcnb::Env;
use libcnb::build::BuildContext;
use libcnb::data::layer_name;
use libcnb::generic::GenericMetadata;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that this buildpack is tested with.
pub(crate) const UV_VERSION: &str = "0.13.9";

/// SHA-256 of its wheels for glibc: x86-64, then aarch64 for newer and for older systems.
const WHEELS: [&str; 3] = [
    "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
    "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
];

/// Names the folder in which a platform keeps tools for all apps: `<sha256>/<name>`, as `buildpack.toml`
/// lists them. The platform vouches for what is in it and keeps builds from writing to it.
pub(crate) const TOOLS_VARIABLE: &str = "BP_TOOLS_DIR";

const FETCH: &str = include_str!("../helpers/fetch_uv.py");

/// uv could not be provided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UvError {
    #[error("could not fetch uv {UV_VERSION}")]
    Fetch(#[source] CommandError),
    #[error("there is no Python to fetch uv with")]
    NoPython,
    #[error("could not link the platform's uv to {}", link.display())]
    Link {
        link: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    uv: String,
    arch: String,
}

/// Returns uv's path; `python` (the stack's) fetches it if need be.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
    python: Option<&Interpreter>,
    env: &Env,
) -> libcnb::Result<PathBuf, BuildpackError> {
    if let Some(program) = on_path(env) {
        return Ok(program);
    }
    let metadata = Metadata {
        uv: UV_VERSION.to_owned(),
        arch: context.target.arch.clone(),
    };
    let layer = context.cached_layer(
        layer_name!("uv"),
        CachedLayerDefinition {
            build: true,
            launch: false,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, path| {
                if *cached == metadata && path.join("bin/uv").is_file() {
                    RestoredLayerAction::KeepLayer
                } else {
                    RestoredLayerAction::DeleteLayer
                }
            },
        },
    )?;
    let bin = layer.path().join("bin");
    if let LayerState::Empty { .. } = layer.state {
        if let Some(program) = offered(context, env) {
            link(&program, &bin).map_err(BuildpackError::Uv)?;
            layer.write_metadata(metadata)?;
            return Ok(program);
        }
        let python = python.ok_or(BuildpackError::Uv(UvError::NoPython))?;
        log::step(format!("Fetching uv {UV_VERSION}."));
        command::stream(
            Command::new(&python.executable)
                .args(["-I", "-S", "-c", FETCH, UV_VERSION])
                .arg(&bin)
                .args(WHEELS)
                .env_clear()
                .envs(&tool_env::for_pip(env)),
        )
        .map_err(|source| BuildpackError::Uv(UvError::Fetch(source)))?;
        layer.write_metadata(metadata)?;
    }
    Ok(bin.join("uv"))
}

/// The uv that the platform keeps for all apps.
fn offered(context: &BuildContext<PythonBuildpack>, env: &Env) -> Option<PathBuf> {
    let folder = Path::new(env.get(TOOLS_VARIABLE)?);
    let sha256 = pinned(&context.buildpack_descriptor.metadata, &context.target.arch)?;
    let program = folder.join(sha256).join("uv");
    program.is_file().then_some(program)
}

/// The sha256 of uv itself, which `buildpack.toml` has for some processors.
fn pinned<'a>(metadata: &'a GenericMetadata, arch: &str) -> Option<&'a str> {
    let tools = metadata.as_ref()?.get("tools")?.as_array()?;
    let has = |tool: &toml::Value, key: &str, value: &str| {
        tool.get(key).and_then(toml::Value::as_str) == Some(value)
    };
    tools
        .iter()
        .find(|tool| {
            has(tool, "name", "uv") && has(tool, "version", UV_VERSION) && has(tool, "arch", arch)
        })?
        .get("sha256")?
        .as_str()
}

/// Later buildpacks find uv in the layer, wherever it is.
fn link(program: &Path, bin: &Path) -> Result<(), UvError> {
    let link = bin.join("uv");
    std::fs::create_dir_all(bin)
        .and_then(|()| symlink(program, &link))
        .map_err(|source| UvError::Link { link, source })
}

/// A uv of exactly the pinned version on the `PATH`.
fn on_path(env: &Env) -> Option<PathBuf> {
    let program = find_program("uv", env.get("PATH").map(AsRef::as_ref))?;
    let answer = command::capture(
        Command::new(&program)
            .arg("--version")
            .env_clear()
            .envs(env),
    )
    .ok()?;
    (answer.split_whitespace().nth(1) == Some(UV_VERSION)).then_some(program)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_pins_the_version_that_is_used() {
        let descriptor: toml::Table = include_str!("../../buildpack.toml").parse().unwrap();
        let metadata = descriptor["metadata"].as_table().cloned();
        let sha256 = pinned(&metadata, "amd64").unwrap();
        assert_eq!(sha256.len(), 64);
        assert_eq!(pinned(&metadata, "s390x"), None);
        assert_eq!(pinned(&None, "amd64"), None);
    }
}

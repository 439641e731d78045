//! What a `bin/build` left: layers, the environment they make, `build.toml`, `launch.toml`, SBOM files.

use super::sbom::{self, Sbom};
use super::{BuildError, remove_tree};
use crate::layers_dir::{self, IGNORED};
use cnb_spec::build_toml::BuildToml;
use cnb_spec::buildpack::Buildpack;
use cnb_spec::env_delta::{Environment, apply_build_layer};
use cnb_spec::launch_toml::LaunchToml;
use cnb_spec::layer::LayerTypes;
use cnb_spec::plan::BuildpackPlan;
use cnb_spec::toml_file;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// See the module.
pub(super) struct Outputs {
    /// Names of the plan's entries that the buildpack met.
    pub(super) met: Vec<String>,
    pub(super) launch: LaunchToml,
    pub(super) sboms: Vec<Sbom>,
    pub(super) warnings: Vec<String>,
}

/// Reads the outputs of `buildpack` in its layers folder `dir`, sets layers of no type aside and applies build
/// layers to `env`.
pub(super) fn collect(
    buildpack: &Buildpack,
    name: &str,
    dir: &Path,
    plan: &BuildpackPlan,
    env: &mut Environment,
) -> Result<Outputs, BuildError> {
    let output = |source| BuildError::Output {
        buildpack: name.to_owned(),
        source,
    };
    let mut layers: BTreeMap<String, LayerTypes> = BTreeMap::new();
    for layer in layers_dir::described_layers(dir)? {
        let types = layer.metadata().map_err(output)?.types;
        if types.is_ignored() {
            set_aside(&layer.dir)?;
        }
        layers.insert(layer.name, types);
    }
    for (layer, _) in layers.iter().filter(|(_, types)| types.build) {
        apply_build_layer(env, &dir.join(layer))?;
    }

    let build_toml: BuildToml = toml_file::read_if_exists(&dir.join("build.toml"))
        .map_err(output)?
        .unwrap_or_default();
    let met = build_toml.met(plan).map_err(|source| BuildError::Unmet {
        buildpack: name.to_owned(),
        source,
    })?;
    let sboms = sbom::find(buildpack, name, dir, &layers)?;
    let mut launch = LaunchToml::read(
        &dir.join("launch.toml"),
        buildpack.api,
        buildpack.info.id.as_str(),
    )
    .map_err(output)?
    .unwrap_or_default();
    let warnings = std::mem::take(&mut launch.warnings);
    Ok(Outputs {
        met,
        launch,
        sboms,
        warnings,
    })
}

/// Renames a layer of no type, so that no later buildpack comes to depend on it.
fn set_aside(layer: &Path) -> Result<(), BuildError> {
    let mut ignored = layer.as_os_str().to_owned();
    ignored.push(IGNORED);
    if !layer.exists() {
        return Ok(());
    }
    remove_tree(Path::new(&ignored))?;
    match std::fs::rename(layer, &ignored) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(BuildError::Remove {
            path: layer.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

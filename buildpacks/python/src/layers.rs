//! The layers of a Python image, one file each.

pub(crate) mod pip;
pub(crate) mod pip_cache;
pub(crate) mod python;
pub(crate) mod static_files;
pub(crate) mod uv;
pub(crate) mod uv_cache;
pub(crate) mod venv;

use crate::{BuildpackError, PythonBuildpack};
use libcnb::build::BuildContext;
use libcnb::data::layer::LayerName;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The platform that a cache was filled on; wheels built from source fit no other.
#[derive(Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Platform {
    arch: String,
    distro: String,
}

impl Platform {
    fn of(context: &BuildContext<PythonBuildpack>) -> Self {
        Self {
            arch: context.target.arch.clone(),
            distro: format!(
                "{} {}",
                context.target.distro_name, context.target.distro_version
            ),
        }
    }
}

/// A layer that only the next build sees.
fn cache_folder(
    context: &BuildContext<PythonBuildpack>,
    name: &LayerName,
) -> libcnb::Result<PathBuf, BuildpackError> {
    let platform = Platform::of(context);
    let layer = context.cached_layer(
        name,
        CachedLayerDefinition {
            build: false,
            launch: false,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Platform, _| {
                if *cached == platform {
                    RestoredLayerAction::KeepLayer
                } else {
                    RestoredLayerAction::DeleteLayer
                }
            },
        },
    )?;
    if let LayerState::Empty { .. } = layer.state {
        layer.write_metadata(platform)?;
    }
    Ok(layer.path())
}

//! The layers of a Python image, one file each.

pub(crate) mod nltk;
pub(crate) mod pip;
pub(crate) mod pip_cache;
pub(crate) mod project_tool;
pub(crate) mod python;
pub(crate) mod static_files;
pub(crate) mod tool_cache;
pub(crate) mod uv;
pub(crate) mod uv_cache;
pub(crate) mod venv;

use crate::{BuildpackError, PythonBuildpack};
use libcnb::Env;
use libcnb::Platform as _;
use libcnb::build::BuildContext;
use libcnb::data::layer::LayerName;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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

/// Names the folder in which a platform wants to hear of layers that are done, each by an empty file
/// `<buildpack's folder>/<layer>`: it may read them while the build goes on.
pub(crate) const SEALED_VARIABLE: &str = "BP_SEALED_DIR";

/// Beside the buildpack's folders: layers that are of use however the build ends, in folders of the same names.
const CACHES: &str = "caches";

/// Tells the platform, if it wants to know, that nothing more will be written to a layer.
pub(crate) fn announce(context: &BuildContext<PythonBuildpack>, env: &Env, layer: &LayerName) {
    tell(context, env, Path::new(""), layer);
}

fn tell(context: &BuildContext<PythonBuildpack>, env: &Env, kind: &Path, layer: &LayerName) {
    let (Some(folder), Some(own)) = (env.get(SEALED_VARIABLE), context.layers_dir.file_name())
    else {
        return;
    };
    let folder = Path::new(folder).join(kind).join(own);
    // What is not heard of is read after the build, and is gone when it fails.
    let _ = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(layer.as_str()), ""));
}

/// A layer that only the next build sees, one after a failure as well.
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
    // Installers look at what is in their caches before they use it, and move into them what is whole.
    tell(context, context.platform.env(), Path::new(CACHES), name);
    Ok(layer.path())
}

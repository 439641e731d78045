//! Paths that platforms, lifecycles and images agree on.

use std::path::{Path, PathBuf};

/// Everything of the lifecycle inside an image.
pub const CNB_DIR: &str = "/cnb";
/// Where the launcher is.
pub const LIFECYCLE_DIR: &str = "/cnb/lifecycle";
/// The launcher, entrypoint of an image without a default process.
pub const LAUNCHER: &str = "/cnb/lifecycle/launcher";
/// One symlink to the launcher per process type.
pub const PROCESS_DIR: &str = "/cnb/process";
/// Default of `-app`.
pub const APP_DIR: &str = "/workspace";
/// Default of `-layers`.
pub const LAYERS_DIR: &str = "/layers";
/// Default of `-platform`.
pub const PLATFORM_DIR: &str = "/platform";
/// Default of `-buildpacks`.
pub const BUILDPACKS_DIR: &str = "/cnb/buildpacks";
/// Default of `-extensions`.
pub const EXTENSIONS_DIR: &str = "/cnb/extensions";
/// Default of `-build-config`.
pub const BUILD_CONFIG_DIR: &str = "/cnb/build-config";
/// Default of `-order` when the layers folder has no order.toml.
pub const ORDER: &str = "/cnb/order.toml";
/// Default of `-run`.
pub const RUN: &str = "/cnb/run.toml";
/// Default of `-stack`.
pub const STACK: &str = "/cnb/stack.toml";
/// Default of `-system`.
pub const SYSTEM: &str = "/cnb/system.toml";

/// The symlink of a process type.
pub fn process(process_type: &str) -> String {
    format!("{PROCESS_DIR}/{process_type}")
}

/// `<layers>/config/metadata.toml`.
pub fn build_metadata(layers_dir: &Path) -> PathBuf {
    layers_dir.join("config").join("metadata.toml")
}

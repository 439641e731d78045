//! Arguments of the commands that package for other platforms.

use super::{MirrorArgs, RegistryArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc lifecycle package lifecycle.tgz            for [lifecycle] uri in pack's builder.toml
  slugc lifecycle image registry.example/lifecycle for pack build --lifecycle-image")]
pub(crate) struct LifecycleArgs {
    #[command(subcommand)]
    pub(crate) action: LifecycleAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LifecycleAction {
    /// Write the lifecycle as an archive that pack builder create takes
    Package {
        /// The archive
        #[arg(value_name = "FILE.tgz")]
        file: PathBuf,
    },
    /// Write the lifecycle as an image, on the stack's run image
    Image {
        /// Where to: a place as for slugc copy
        #[arg(value_name = "PLACE")]
        target: String,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        mirror: MirrorArgs,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc buildpack package python python.tgz
  pack build shop --buildpack python.tgz --builder registry.example/builder")]
pub(crate) struct BuildpackArgs {
    #[command(subcommand)]
    pub(crate) action: BuildpackAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildpackAction {
    /// Write one of slugc's buildpacks as an archive that pack takes
    Package {
        /// The buildpack
        #[arg(value_parser = crate::parts::BUILDPACKS)]
        name: String,
        /// The archive
        #[arg(value_name = "FILE.tgz")]
        file: PathBuf,
    },
}

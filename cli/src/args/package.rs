//! Arguments of the commands that package for other platforms.

use super::{MirrorArgs, Output, PullPolicy, RegistryArgs};
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
  slugc buildpack package python-procfile app.cnb
  slugc buildpack package ./mine registry.example/mine
  slugc buildpack new acme/tool
  pack build shop --buildpack python.tgz --builder registry.example/builder")]
pub(crate) struct BuildpackArgs {
    #[command(subcommand)]
    pub(crate) action: BuildpackAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildpackAction {
    /// Write a buildpack that detects and builds, to begin with
    // `--version` is the buildpack's here, as in pack.
    #[command(disable_version_flag = true)]
    New {
        /// Its id, for example acme/tool
        id: String,
        /// The Buildpack API that it speaks
        #[arg(short, long, default_value = "0.10")]
        api: String,
        /// Its version
        #[arg(short = 'V', long, default_value = "0.1.0")]
        version: String,
        /// Where to [default: a folder with the last part of the id as its name]
        #[arg(short, long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Write a buildpack as an archive, a folder or an image that pack takes
    Package {
        /// python, procfile, python-procfile (both in one), or another buildpack: a folder, an archive, an image
        #[arg(value_name = "BUILDPACK")]
        name: String,
        /// What to write: FILE.tgz, FILE.cnb, a folder (with / at its end or in front), or a place as for slugc copy
        #[arg(value_name = "FILE.tgz|FILE.cnb|DIR/|PLACE")]
        target: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Show a buildpack: what it is made of, its order, its targets
    Inspect {
        /// As for slugc build --buildpack
        #[arg(value_name = "BUILDPACK")]
        buildpack: String,
        /// How to print it
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
        /// When to ask registries for images [default: if-not-present]
        #[arg(long, value_enum, value_name = "POLICY")]
        pull_policy: Option<PullPolicy>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Get a buildpack's image into the store
    Pull {
        #[arg(value_name = "IMAGE")]
        image: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
}

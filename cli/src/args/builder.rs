//! Arguments of `slugc builder` and `slugc settings`.

use super::{DetailArgs, MirrorArgs, Output, PullPolicy, RegistryArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc builder create registry.example/builder --config builder.toml --publish
  slugc builder inspect registry.example/builder
  slugc build . --builder registry.example/builder")]
pub(crate) struct BuilderArgs {
    #[command(subcommand)]
    pub(crate) action: BuilderAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuilderAction {
    /// Make a builder: a build image with buildpacks, an order and a lifecycle
    Create {
        /// Its name in the store
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// What goes into it, in the format of pack's builder.toml
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Also push it to the registry that its name is in
        #[arg(long)]
        publish: bool,
        /// Also write it there, to any place that slugc copy takes; may be repeated
        #[arg(short = 'o', long = "output", value_name = "PLACE")]
        outputs: Vec<String>,
        /// When to ask registries for images [default: if-not-present]
        #[arg(long, value_enum, value_name = "POLICY")]
        pull_policy: Option<PullPolicy>,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        mirror: MirrorArgs,
        #[command(flatten)]
        detail: DetailArgs,
    },
    /// Show a builder: buildpacks, order, run images, lifecycle
    Inspect {
        /// A name in the store, a registry's image or another place [default: the default builder]
        #[arg(value_name = "IMAGE")]
        name: Option<String>,
        /// How to print it
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
        /// When to ask registries for images [default: if-not-present]
        #[arg(long, value_enum, value_name = "POLICY")]
        pull_policy: Option<PullPolicy>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Name builders that many people use
    Suggest,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc settings
  slugc settings default-builder registry.example/builder
  slugc settings run-image-mirrors add registry.example/run -m mirror.example/run
  slugc settings registry-mirrors add docker.io -m mirror.example
  slugc settings pull-policy always")]
pub(crate) struct SettingsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<SettingsAction>,
    /// How to print them
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsAction {
    /// Show, set or forget the builder of builds that name none
    DefaultBuilder {
        #[arg(value_name = "IMAGE", conflicts_with = "unset")]
        name: Option<String>,
        /// Forget it
        #[arg(short, long)]
        unset: bool,
    },
    /// Show, set or forget when registries are asked for builders, run images and buildpacks
    PullPolicy {
        #[arg(value_enum, value_name = "POLICY", conflicts_with = "unset")]
        policy: Option<PullPolicy>,
        /// Forget it
        #[arg(short, long)]
        unset: bool,
    },
    /// Show, set or forget how much the store's blobs may take before builds remove what nobody needs
    CacheLimit {
        /// Such as 20GB, 500MB
        #[arg(value_name = "SIZE", conflicts_with = "unset")]
        size: Option<String>,
        /// Forget it
        #[arg(short, long)]
        unset: bool,
    },
    /// Other places of run images, tried before the names that a builder gives
    RunImageMirrors {
        #[command(subcommand)]
        action: Option<MirrorAction>,
    },
    /// Show, set or forget the index of the registry of buildpacks, which urn:cnb:registry:ID@VERSION asks: a folder in
    /// the format of the index that pack uses
    RegistryIndex {
        #[arg(value_name = "DIR", conflicts_with = "unset")]
        folder: Option<PathBuf>,
        /// Forget it
        #[arg(short, long)]
        unset: bool,
    },
    /// Hosts to ask in the place of a registry; * stands for every registry
    RegistryMirrors {
        #[command(subcommand)]
        action: Option<MirrorAction>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MirrorAction {
    /// List them
    List,
    /// Add one
    Add {
        #[arg(value_name = "NAME")]
        name: String,
        /// The mirror; may be repeated for run images
        #[arg(short, long = "mirror", value_name = "MIRROR", required = true)]
        mirrors: Vec<String>,
    },
    /// Remove one, or all of a name
    Remove {
        #[arg(value_name = "NAME")]
        name: String,
        /// Only this mirror; may be repeated
        #[arg(short, long = "mirror", value_name = "MIRROR")]
        mirrors: Vec<String>,
    },
}

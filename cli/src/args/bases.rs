//! Arguments of the commands on what images stand on.

use super::{MirrorArgs, RegistryArgs};
use clap::Args;

/// What an image is built on.
#[derive(Debug, Args)]
pub(crate) struct BaseArgs {
    /// Put the app on this run image instead of the stack's: a name in the store, or a place. A
    /// registry's is pulled once, and again with --refresh
    #[arg(long, value_name = "PLACE")]
    pub(crate) run_image: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc rebase shop
  slugc rebase registry.example/team/shop:1.4 --publish
  slugc rebase registry.example/shop:1.4 --run-image registry.example/run:13
  slugc rebase oci:layout:1.4 -o registry.example/shop:1.4

The layers of the app stay as they are; those of the base are swapped. What is in a registry
changes there: nothing is downloaded that the registry can take from another repository.")]
pub(crate) struct RebaseArgs {
    /// The image: an app, a name in the store, or a place
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The new base: a stack, a name in the store, or a place [default: the one that the image
    /// itself names, as it is now]
    #[arg(long, value_name = "PLACE")]
    pub(crate) run_image: Option<String>,
    /// The image that its registry has, even if the store has one of that name
    #[arg(long)]
    pub(crate) publish: bool,
    /// Write the rebased image there and leave IMAGE as it is; may be repeated
    #[arg(short = 'o', long = "output", value_name = "PLACE")]
    pub(crate) outputs: Vec<String>,
    /// Even if the image was not made for such a base
    #[arg(long)]
    pub(crate) force: bool,
    /// Which image of an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) mirror: MirrorArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc outdated
  slugc outdated registry.example/team/shop:1.4 --json")]
pub(crate) struct OutdatedArgs {
    /// Images to look at: apps, names in the store, or places [default: all in the store]
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// One JSON document with every image, those that are up to date too
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StackPushArgs {
    /// Where to: REGISTRY/REPOSITORY[:TAG] or oci:DIR[:TAG]
    #[arg(value_name = "PLACE")]
    pub(crate) target: String,
    /// The stack
    #[arg(default_value = debian_stack::DEFAULT)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) mirror: MirrorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StackPullArgs {
    /// From where: REGISTRY/REPOSITORY[:TAG] or oci:DIR[:TAG]
    #[arg(value_name = "PLACE")]
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

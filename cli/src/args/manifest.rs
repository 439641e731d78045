//! Arguments of the commands on indexes.

use super::{Output, RegistryArgs};
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc manifest create registry.example/shop:1.4 shop oci:arm64-layout:1.4
  slugc manifest push registry.example/shop:1.4
  slugc manifest inspect registry.example/shop:1.4")]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    pub(crate) action: ManifestAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ManifestAction {
    /// Put images for several platforms under one name, in the store
    Create {
        /// What the index is called
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// The images: apps, names in the store, or places; of an index all its images
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Show the images of an index, of the store's or a registry's
    Inspect {
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// How to print it
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Write an index and its images to a registry or another place
    Push {
        /// An index that manifest create made
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// Where to: a registry, a layout or an oci-archive [default: the registry that the name
        /// names]
        #[arg(value_name = "PLACE")]
        target: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Forget indexes
    Rm {
        #[arg(required = true, value_name = "NAME[:TAG]")]
        names: Vec<String>,
    },
}

//! Arguments of the commands on images.

use super::{AppArgs, CompressionArgs, Output};
use clap::Args;
use std::path::PathBuf;

/// How registries are talked to.
#[derive(Debug, Default, Args)]
pub(crate) struct RegistryArgs {
    /// A registry that may be spoken to without encryption; may be repeated
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub(crate) insecure: Vec<String>,
    /// Certificate authorities in PEM to trust besides this machine's; may be repeated
    #[arg(long = "ca-file", value_name = "FILE")]
    pub(crate) authorities: Vec<PathBuf>,
    /// How long a registry may be silent before a request counts as failed, in seconds
    #[arg(
        long = "registry-timeout",
        value_name = "SECONDS",
        env = "SLUGC_REGISTRY_TIMEOUT",
        value_parser = clap::value_parser!(u64).range(1..=3600),
        hide_env_values = true
    )]
    pub(crate) timeout: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Places:
  registry.example/team/shop:1.4   in a registry
  oci:DIR[:TAG]                    an OCI layout
  oci-archive:FILE[:TAG]           the same in one file
  docker-archive:FILE[:NAME]       what docker load reads
  docker-daemon:NAME, podman:NAME  an engine on this machine
  containerd:NAME                  containerd, through its program ctr

Examples:
  slugc copy shop docker-daemon:shop
  slugc copy shop docker-archive:shop.tar
  slugc copy registry.example/shop:1.4 mirror.example/shop:1.4")]
pub(crate) struct CopyArgs {
    /// From where: an app, a name in the store, or a place
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// To where
    #[arg(value_name = "DST")]
    pub(crate) target: String,
    /// Which image of an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc pull registry.example/team/shop:1.4
  slugc pull docker-archive:shop.tar -t shop:1.4")]
pub(crate) struct PullArgs {
    /// From where: a registry's image or another place
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// The name in the store [default: the image's own]
    #[arg(short = 't', long = "tag", value_name = "NAME[:TAG]")]
    pub(crate) name: Option<String>,
    /// Which image of an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc push registry.example/team/shop:1.4
  slugc push localhost:5000/shop -a shop
  slugc push docker-daemon:shop -a shop
  slugc push registry.example/team/shop:1.4 --sbom --provenance

What is pushed: the app's last image; without -a, the image of the store that has the target's
name, if there is one. Logins of docker and podman are used, credential helpers and
CNB_REGISTRY_AUTH too.")]
pub(crate) struct PushArgs {
    /// Where to: a registry, or any other place that slugc copy takes
    #[arg(value_name = "REGISTRY/REPOSITORY[:TAG]")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) compression: CompressionArgs,
    #[command(flatten)]
    pub(crate) attach: super::AttachmentArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc tag shop registry.example/team/shop:1.4")]
pub(crate) struct TagArgs {
    /// An app, or a name in the store
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct RmiArgs {
    /// Names in the store; what no name, app or stack needs goes with the next cache prune
    #[arg(required = true, value_name = "NAME[:TAG]")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc login registry.example
  slugc login registry.example -u ann --password-stdin < token.txt

The login is kept as docker keeps it, in its config.json or its credential helper.")]
pub(crate) struct LoginArgs {
    /// The registry
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) host: String,
    /// The user name [default: asked for]
    #[arg(short = 'u', long = "username", value_name = "USER")]
    pub(crate) username: Option<String>,
    /// Read the password from stdin instead of asking for it
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry
    #[arg(value_name = "HOST[:PORT]")]
    pub(crate) host: String,
}

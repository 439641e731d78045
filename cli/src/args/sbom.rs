//! Arguments that are about what is in an image and where it comes from.

use super::{AppArgs, RegistryArgs};
use crate::sbom::Format;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc sbom > shop.cdx.json
  slugc sbom shop --format spdx
  slugc sbom registry.example/team/shop:1.4 --output-dir sbom
  slugc sbom docker-archive:shop.tar

An SBOM that slugc push --sbom attached to a registry's image is printed as it is; else the image is
looked into.")]
pub(crate) struct SbomArgs {
    /// An app, a name in the store, or a place as for slugc copy [default: this folder's app]
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// How to print it
    #[arg(long, value_enum, default_value = "cyclonedx")]
    pub(crate) format: Format,
    /// What is in the image, or what only the app's last build used
    #[arg(long, value_enum, default_value = "launch")]
    pub(crate) layer: SbomLayer,
    /// Write the SBOM there in every format, and the buildpacks' own files as pack sbom download does
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Which image of an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Which of a build's layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SbomLayer {
    Launch,
    Build,
}

/// What `slugc build` does with SBOM files.
#[derive(Debug, Args)]
pub(crate) struct SbomOutputArgs {
    /// Copy the buildpacks' SBOM files there, those of build layers too
    #[arg(long = "sbom-output-dir", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

/// What `slugc push` sends besides an image.
#[derive(Debug, Args)]
pub(crate) struct AttachmentArgs {
    /// Attach SBOMs to the image in the registry, in every format
    #[arg(long)]
    pub(crate) sbom: bool,
    /// Attach the provenance of the build (SLSA v1) to the image in the registry
    #[arg(long)]
    pub(crate) provenance: bool,
}

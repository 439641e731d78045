//! Arguments of the commands on signatures.

use super::RegistryArgs;
use crate::signing::statement::Kind;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc sign --generate-key --key cosign.key
  slugc sign registry.example/team/shop:1.4 --key cosign.key
  slugc sign registry.example/team/shop:1.4 --key cosign.key --attest provenance,cyclonedx

Keys are ECDSA on P-256: cosign's files, closed with the password in COSIGN_PASSWORD, or PEM as openssl
writes it. cosign verify --key cosign.pub --insecure-ignore-tlog verifies what slugc signs, and slugc
verify what cosign sign --key signs.")]
pub(crate) struct SignArgs {
    /// The image, in its registry; signed is its digest
    #[arg(
        value_name = "REGISTRY/REPOSITORY[:TAG]",
        required_unless_present = "generate_key",
        conflicts_with = "generate_key"
    )]
    pub(crate) image: Option<String>,
    /// The private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Make a new key, closed with a password if one is set, and its public key beside it (.pub)
    #[arg(long)]
    pub(crate) generate_key: bool,
    /// Also sign a statement on it, and attach that: provenance, cyclonedx, spdx; may be repeated
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        conflicts_with = "generate_key"
    )]
    pub(crate) attest: Vec<Kind>,
    /// Attach signatures as sigstore bundles, as cosign 3 does, instead of under tags
    #[arg(long, conflicts_with = "generate_key")]
    pub(crate) bundle: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc verify registry.example/team/shop:1.4 --key cosign.pub --attest provenance
  slugc verify registry.example/team/shop:1.4 --key cosign.pub

Prints the digest that was verified; ends with 8 when no signature of this key is right.")]
pub(crate) struct VerifyArgs {
    /// The image, in its registry
    #[arg(value_name = "REGISTRY/REPOSITORY[:TAG]")]
    pub(crate) image: String,
    /// The public key of who is trusted
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Verify signed statements on it instead of its signature; may be repeated
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) attest: Vec<Kind>,
    /// Print the statements that were verified, one JSON document a line
    #[arg(long, requires = "attest")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

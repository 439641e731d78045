//! `releases`, its verbs, and `rollback`.

use crate::args::{AppArgs, RegistryArgs};
use clap::Args;
use clap::builder::RangedU64ValueParser;

#[derive(Debug, Args)]
pub(crate) struct ReleasesArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value = "15", value_parser = at_least_one())]
    pub(crate) num: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc releases:create registry.example/team/shop:1.4     run what was built elsewhere
  slugc releases:create shop-staging -a shop               promote another app's image
  slugc releases:create docker-archive:shop.tar -a shop

The config vars stay as they are; the image's release command runs first, and decides. slugc build and slugc rollback make
the next release as ever.")]
pub(crate) struct ReleasesCreateArgs {
    /// The image: another app, a name in the store, a registry's image or another place
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReleasesInfoArgs {
    /// The release, as v7 or 7 [default: the newest]
    #[arg(value_name = "RELEASE", value_parser = version)]
    pub(crate) release: Option<u64>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Print the config vars as a shell and an .env file understand them
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) shell: bool,
    /// Print JSON, without config vars
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc rollback        to the release before the current one
  slugc rollback v7

The image and the config vars of that release come back in a new one; add-ons and their data stay as they are.")]
pub(crate) struct RollbackArgs {
    /// The release, as v7 or 7 [default: the one before the current one]
    #[arg(value_name = "RELEASE", value_parser = version)]
    pub(crate) release: Option<u64>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// `v7`, `V7` or `7`.
fn version(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix(['v', 'V']).unwrap_or(text);
    match number.parse() {
        Ok(0) | Err(_) => Err("a release is called v1, v2 and so on".to_owned()),
        Ok(version) => Ok(version),
    }
}

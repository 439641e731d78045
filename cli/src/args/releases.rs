//! `releases`, its verbs, and `rollback`.

use crate::args::AppArgs;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ReleasesArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value = "15")]
    pub(crate) num: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
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

/// `v7`, `V7` or `7`.
fn version(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix(['v', 'V']).unwrap_or(text);
    match number.parse() {
        Ok(0) | Err(_) => Err("a release is called v1, v2 and so on".to_owned()),
        Ok(version) => Ok(version),
    }
}

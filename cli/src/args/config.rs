//! `config` and its verbs.

use crate::args::AppArgs;
use clap::Args;
use std::path::PathBuf;

/// How config vars are printed.
#[derive(Debug, Args)]
pub(crate) struct ConfigFormatArgs {
    /// Print KEY=value lines that a shell and an .env file understand
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) shell: bool,
    /// Print JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc config
  slugc config -s > .env")]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) format: ConfigFormatArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigGetArgs {
    /// The config vars' names
    #[arg(required = true, value_name = "KEY")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) format: ConfigFormatArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc config:set DEBUG=1 GREETING='Hello there'
  slugc config:set --env-file .env
  printf 'SECRET_KEY=%s\\n' \"$secret\" | slugc config:set --env-file -

What stands on a command line is seen by every user of this machine; what comes from a file is not.")]
pub(crate) struct ConfigSetArgs {
    /// What to set
    #[arg(required_unless_present = "env_file", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Set what this .env file has, - for standard input; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigUnsetArgs {
    /// The config vars' names
    #[arg(required = true, value_name = "KEY")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigEditArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

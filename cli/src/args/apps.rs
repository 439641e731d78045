//! `apps` and its verbs.

use crate::args::{AppArgs, MirrorArgs};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct AppsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "slugc build and slugc config:set make an app by themselves.")]
pub(crate) struct AppsCreateArgs {
    /// The app's name
    #[arg(conflicts_with = "app")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc apps:setup
  slugc apps:setup ~/src/shop -a shop -e MAIL_HOST=mail.example

It sets the config vars that app.json names and makes its add-ons, builds the image and runs the
postdeploy script. What is there already stays as it is. The first slugc launch of an app does the
same for one that was built without.")]
pub(crate) struct AppsSetupArgs {
    /// The app's folder
    #[arg(default_value = ".", value_name = "PATH")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// A config var; KEY alone takes this shell's value; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// An .env file with config vars; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) mirror: MirrorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppsDestroyArgs {
    /// The app's name
    #[arg(conflicts_with = "app")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The app's name once more, as a confirmation
    #[arg(short, long, value_name = "APP")]
    pub(crate) confirm: Option<String>,
}

//! `doctor`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc doctor
  slugc doctor ~/src/shop -e DISABLE_COLLECTSTATIC=1
  slugc doctor --json | jq -r '.[] | select(.level == \"error\") | .title'

Nothing is built, downloaded or changed. It ends with 3 when something was found that would stop
a build, else with 0, warnings or not.")]
pub(crate) struct DoctorArgs {
    /// The app's folder
    #[arg(default_value = ".", value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// A variable for the build, as for slugc build; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// An .env file with variables for the build; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Print JSON: a list of objects with level (ok, warning, error), title and detail
    #[arg(long)]
    pub(crate) json: bool,
}

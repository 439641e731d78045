//! `launch`, `ps` and its verbs, `maintenance`, `status`.

use crate::args::AppArgs;
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc launch
  slugc launch web=2 worker --port 8000
  slugc launch -d                       leave it running in the background

^C stops everything: SIGTERM, after --stop-timeout SIGKILL; a second ^C kills at once.")]
pub(crate) struct LaunchArgs {
    /// Process types and how many dynos of each [default: what ps:scale stored, else web=1]
    #[arg(value_name = "TYPE[=N]")]
    pub(crate) formation: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The port of the router, behind which all web dynos are [default: 5000, or the next free one]
    #[arg(short, long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// A variable for this launch's dynos; KEY alone takes this shell's value; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// A service binding for this launch's dynos: its folder has a file `type` and one for each secret; may be repeated
    #[arg(long = "binding", value_name = "NAME=DIR")]
    pub(crate) bindings: Vec<String>,
    /// Leave the app running in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// A web dyno that does not listen on $PORT after so many seconds is killed (R10)
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds())]
    pub(crate) boot_timeout: u64,
    /// A dyno that still runs so many seconds after SIGTERM is killed (R12)
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds())]
    pub(crate) stop_timeout: u64,
    /// This is the process in the background: say so on standard output when dynos are started
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub(crate) background: bool,
}

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=24 * 60 * 60)
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc ps:scale                 print the formation
  slugc ps:scale web=2 worker+1

The quantities are kept for later launches; an app that runs follows at once.")]
pub(crate) struct PsScaleArgs {
    /// How many dynos of a type, or how many more or fewer
    #[arg(value_name = "TYPE=N|TYPE+N|TYPE-N")]
    pub(crate) changes: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc ps:type                              show the sizes
  slugc ps:type web=standard-2x worker=basic
  slugc ps:type standard-1x                  for all types
  slugc ps:type web=none                     as much memory as it likes

A dyno that takes more memory than its size has is told of in the log (R14), one that takes more than
twice as much is killed (R15). Sizes are Heroku's: eco, basic and standard-1x have 512 MiB, standard-2x
1 GiB, performance-m 2.5 GiB, performance-l 14 GiB.")]
pub(crate) struct PsTypeArgs {
    /// A size for a type, or for all types
    #[arg(value_name = "TYPE=SIZE|SIZE")]
    pub(crate) changes: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PsRestartArgs {
    /// The dyno, as web.1, or the process type [default: all dynos]
    #[arg(value_name = "DYNO|TYPE")]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PsStopArgs {
    /// The dyno, as web.1, or the process type, until it is restarted [default: the whole app]
    #[arg(value_name = "DYNO|TYPE")]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc features
  slugc features:disable preboot      stop old dynos before new ones start
  slugc features:enable preboot")]
pub(crate) struct FeaturesArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FeatureArgs {
    /// The feature: preboot
    #[arg(value_name = "FEATURE")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

//! `run` and its verbs.

use crate::args::AppArgs;
use clap::Args;
use cnb_spec::names::ProcessType;
use slug_runtime::size::Size;
use std::ffi::OsString;

/// What all programs that run once take.
#[derive(Debug, Args)]
pub(crate) struct OneOffArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// A variable for the command; KEY alone takes this shell's value; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Its size, as standard-1x: what takes more than twice the memory of that is killed
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) size: Option<Size>,
    /// The process type whose size it gets
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) process_type: Option<ProcessType>,
    /// The command and its arguments, or a process type
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc run python manage.py migrate
  slugc run bash
  slugc run -e DEBUG=1 -- python -m http.server

A single argument goes through the image's shell: slugc run 'ls | wc -l'.")]
pub(crate) struct RunArgs {
    /// A service binding for the command: its folder has a file `type` and one for each secret; may be repeated
    #[arg(long = "binding", value_name = "NAME=DIR")]
    pub(crate) bindings: Vec<String>,
    #[command(flatten)]
    pub(crate) one_off: OneOffArgs,
    #[command(flatten)]
    pub(crate) terminal: TerminalArgs,
}

/// How the command is connected.
#[derive(Debug, Args)]
pub(crate) struct TerminalArgs {
    /// No terminal for the command, even if this is one
    #[arg(long)]
    pub(crate) no_tty: bool,
    /// Pass the exit code through, which slugc always does
    #[arg(short = 'x', long, hide = true)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc run:detached python manage.py import_prices
  slugc run:detached -t 'python report.py > /tmp/report && cat /tmp/report'

Its output is in the app's log; slugc ps lists it, slugc ps:stop run.4711 ends it.")]
pub(crate) struct RunDetachedArgs {
    /// A service binding for the command: its folder has a file `type` and one for each secret; may be repeated
    #[arg(long = "binding", value_name = "NAME=DIR")]
    pub(crate) bindings: Vec<String>,
    /// Go on printing what it logs; ^C ends that, not the dyno
    #[arg(short, long)]
    pub(crate) tail: bool,
    #[command(flatten)]
    pub(crate) one_off: OneOffArgs,
    /// This is the process that attends the dyno: say so on standard output when it runs
    #[arg(long, hide = true, conflicts_with = "tail")]
    pub(crate) background: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc run:inside web.1 bash
  slugc run:inside web.1 -- ps aux
  slugc run:inside run.4711 'cat /tmp/progress'

The command sees the dyno's files, processes and environment. The dyno goes on when it ends.")]
pub(crate) struct RunInsideArgs {
    /// The dyno, as web.1
    pub(crate) dyno: String,
    #[command(flatten)]
    pub(crate) one_off: OneOffArgs,
    #[command(flatten)]
    pub(crate) terminal: TerminalArgs,
}

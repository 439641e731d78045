//! `slugc completions SHELL`.

use crate::args::{Cli, CompletionArgs};
use crate::failure::Failure;
use clap::CommandFactory;
use std::process::ExitCode;

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub(crate) fn run(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let mut command = Cli::command();
    clap_complete::generate(args.shell, &mut command, "slugc", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}

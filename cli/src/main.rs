//! slugc: Heroku for Python on one Linux machine, without Docker, root or an account.

mod app;
mod args;
mod build;
mod build_env;
mod commands;
mod failure;
mod host;
mod images;
mod logins;
mod parts;
mod place;
mod project;
mod source;
mod stack;
mod store;
mod transfer;
mod ui;

use args::{Cli, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox's user reads what is laid out for it; the store as a whole is closed to others.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            ui::error::print(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Build(args) => commands::build::run(&args),
        Command::Launch(args) => commands::launch::run(&args),
        Command::Run(args) => commands::run::run(args),
        Command::Push(args) => commands::push::run(&args),
        Command::Pull(args) => commands::pull::run(&args),
        Command::Copy(args) => commands::copy::run(&args),
        Command::Images(args) => commands::images::run(&args),
        Command::Tag(args) => commands::tag::run(&args),
        Command::Rmi(args) => commands::tag::remove(&args),
        Command::Login(args) => commands::login::run(&args),
        Command::Logout(args) => commands::login::logout(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Cache(args) => commands::cache::run(&args),
        Command::Stack(args) => commands::stack::run(args.action),
        Command::Completions(args) => commands::completions::run(&args),
    }
}

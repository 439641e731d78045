//! slugc: Heroku for Python on one Linux machine, without Docker, root or an account.

mod addon_root;
mod addon_vars;
mod app;
mod app_json;
mod args;
mod bases;
mod build;
mod build_env;
mod commands;
mod failure;
mod git;
mod host;
mod images;
mod in_use;
mod indexes;
mod isolation;
mod kafka_programs;
mod leftovers;
mod logins;
mod mirrors;
mod package;
mod parts;
mod place;
mod platform;
mod project;
mod provenance;
mod quantities;
mod referrers;
mod release;
mod sbom;
mod setup;
mod signing;
mod source;
mod stack;
mod statements;
mod store;
mod supervisor;
mod tools;
mod transfer;
mod ui;
mod verbs;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = sandbox::trace_if_called(std::env::args_os()) {
        return ExitCode::from(code);
    }
    // The sandbox's user reads what is laid out for it; the store as a whole is closed to others.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match run(Cli::parse_from(verbs::spelled(
        std::env::args_os(),
        &Cli::command(),
    ))) {
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
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Launch(args) => commands::launch::run(&args),
        Command::Ps(args) => commands::ps::run(&args),
        Command::PsScale(args) => commands::ps_scale::run(&args),
        Command::PsType(args) => commands::ps_type::run(&args),
        Command::PsRestart(args) => commands::ps_restart::run(&args),
        Command::PsStop(args) => commands::ps_stop::run(&args),
        Command::MaintenanceOn(args) => commands::maintenance::run(&args, true),
        Command::MaintenanceOff(args) => commands::maintenance::run(&args, false),
        Command::Features(args) => commands::features::run(&args),
        Command::FeaturesEnable(args) => commands::features::set(&args, true),
        Command::FeaturesDisable(args) => commands::features::set(&args, false),
        Command::Apps(args) => commands::apps::run(&args),
        Command::AppsCreate(args) => commands::apps::create(&args),
        Command::AppsSetup(args) => commands::apps::setup(&args),
        Command::AppsDestroy(args) => commands::apps::destroy(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Run(args) => commands::run::run(args),
        Command::RunDetached(args) => commands::run_detached::run(args),
        Command::RunInside(args) => commands::run_inside::run(args),
        Command::Logs(args) => commands::logs::run(&args),
        Command::Config(args) => commands::config::run(&args),
        Command::ConfigGet(args) => commands::config_get::run(&args),
        Command::ConfigSet(args) => commands::config_set::run(&args),
        Command::ConfigUnset(args) => commands::config_unset::run(&args),
        Command::ConfigEdit(args) => commands::config_edit::run(&args),
        Command::Releases(args) => commands::releases::run(&args),
        Command::ReleasesInfo(args) => commands::releases_info::run(&args),
        Command::ReleasesCreate(args) => commands::releases_create::run(&args),
        Command::Rollback(args) => commands::rollback::run(&args),
        Command::Push(args) => commands::push::run(&args),
        Command::Pull(args) => commands::pull::run(&args),
        Command::Rebase(args) => commands::rebase::run(&args),
        Command::Outdated(args) => commands::outdated::run(&args),
        Command::Copy(args) => commands::copy::run(&args),
        Command::Images(args) => commands::images::run(&args),
        Command::Tag(args) => commands::tag::run(&args),
        Command::Rmi(args) => commands::tag::remove(&args),
        Command::Manifest(args) => commands::manifest::run(&args.action),
        Command::Login(args) => commands::login::run(&args),
        Command::Logout(args) => commands::login::logout(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Sbom(args) => commands::sbom::run(&args),
        Command::Sign(args) => commands::sign::run(&args),
        Command::Verify(args) => commands::sign::verify(&args),
        Command::Cache(args) => commands::cache::run(&args),
        Command::Lifecycle(args) => commands::lifecycle::run(&args.action),
        Command::Builder(args) => commands::builder::run(&args.action),
        Command::Settings(args) => commands::settings::run(&args),
        Command::Buildpack(args) => commands::buildpack::run(&args.action),
        Command::Stack(args) => commands::stack::run(args.action),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Addons(command) => commands::addons::run(command),
    }
}

//! `redis:cli` and `redis:info`.

use super::failure;
use super::find::World;
use crate::args::{DatabaseArgs, RedisCliArgs};
use crate::commands::running::pass_through;
use crate::failure::Failure;
use crate::ui::printer::Printer;
use slug_runtime::addons::{Addon, Client, Service, Streams, run_client};
use slug_runtime::run::Terminal;
use std::process::ExitCode;

pub(super) fn cli(printer: &Printer, args: RedisCliArgs) -> Result<ExitCode, Failure> {
    let world = World::open(&args.database.app)?;
    let addon = world.of_service(Service::Redis, args.database.addon.as_deref())?;
    redis_cli(printer, &world, &addon, args.command)
}

pub(super) fn info(printer: &Printer, args: &DatabaseArgs) -> Result<ExitCode, Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Redis, args.addon.as_deref())?;
    printer.result(&format!("=== {} ({})", addon.name, addon.plan()));
    let sections = [
        "INFO",
        "server",
        "clients",
        "memory",
        "persistence",
        "keyspace",
    ];
    redis_cli(
        printer,
        &world,
        &addon,
        sections.map(str::to_owned).to_vec(),
    )
}

fn redis_cli(
    printer: &Printer,
    world: &World,
    addon: &Addon,
    command: Vec<String>,
) -> Result<ExitCode, Failure> {
    let _in_use = world.start(printer, addon)?;
    let mut argv: Vec<String> = ["redis-cli", "-e", "-h", "127.0.0.1", "-p"]
        .map(str::to_owned)
        .to_vec();
    argv.push(addon.port.to_string());
    argv.extend(command);
    let term = std::env::var("TERM").ok();
    let code = run_client(
        &world.addons,
        addon,
        Client {
            argv: &argv,
            env: &[("REDISCLI_AUTH", &addon.password)],
            folder: None,
            files: &[],
            streams: Streams::Own(Terminal::WhenThereIsOne {
                term: term.as_deref(),
            }),
        },
    )
    .map_err(|error| failure("cannot run redis-cli", error))?;
    Ok(pass_through(code))
}

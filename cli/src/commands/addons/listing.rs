//! `addons`, `addons:info` and `addons:docs`.

use super::find::World;
use super::{failure, print_json};
use crate::args::{DocsArgs, ListArgs, OneArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::Printer;
use serde_json::{Value, json};
use slug_runtime::addons::{Addon, Addons, Plan, Service, is_running};

pub(super) fn list(printer: &Printer, args: &ListArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let listed = if args.all {
        world.addons.all()
    } else {
        world.addons.of_app(world.app_name())
    };
    let listed = listed.map_err(|error| failure("cannot list the add-ons", error))?;
    if args.json {
        let values = listed
            .iter()
            .map(|addon| as_json(&world.addons, addon))
            .collect::<Result<Vec<_>, _>>()?;
        return print_json(printer, &Value::Array(values));
    }
    if listed.is_empty() {
        printer.result(&if args.all {
            "No add-ons".to_owned()
        } else {
            format!("No add-ons for {}", world.app_name())
        });
    }
    for addon in &listed {
        printer.result(&format!(
            "{:<30} {:<30} {:<8} {}",
            addon.name,
            addon.plan().to_string(),
            state(&world.addons, addon)?,
            attachments(addon, world.app_name(), args.all)
        ));
    }
    Ok(())
}

pub(super) fn info(printer: &Printer, args: &OneArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.find(&args.addon)?;
    printer.result(&format!("=== {}", addon.name));
    for (label, value) in [
        ("Plan", addon.plan().to_string()),
        ("State", state(&world.addons, &addon)?.to_owned()),
        ("Address", format!("127.0.0.1:{}", addon.port)),
        ("Attachments", attachments(&addon, world.app_name(), true)),
        ("Owning app", addon.app.clone()),
        ("Installed at", addon.created_at.to_string()),
        (
            "Data",
            world.addons.folder(&addon.name).display().to_string(),
        ),
    ] {
        printer.result(&format!("{:<14}{value}", format!("{label}:")));
    }
    Ok(())
}

pub(super) fn docs(printer: &Printer, args: &DocsArgs) -> Result<(), Failure> {
    let services: Vec<Service> = match &args.service {
        None => Service::ALL.to_vec(),
        Some(name) => {
            let plan: Plan = name
                .parse()
                .or_fail(Exit::Usage, || "there is nothing to tell".to_owned())?;
            vec![plan.service]
        }
    };
    for service in services {
        let (server, variables, commands) = match service {
            Service::Postgres => (
                "PostgreSQL 17 with contrib",
                "DATABASE_URL, HEROKU_POSTGRESQL_<COLOUR>_URL",
                "pg:psql, pg:info, pg:wait, pg:reset, pg:promote, pg:backups",
            ),
            Service::Redis => ("Redis 8", "REDIS_URL", "redis:cli, redis:info"),
            Service::Kafka => (
                "Apache Kafka 4.1, one node",
                "KAFKA_URL; KAFKA_PREFIX on basic plans",
                "kafka:topics and kafka:topics:create, info, write, tail, destroy",
            ),
        };
        printer.result(&format!("{service} (on Heroku {})", service.on_heroku()));
        printer.result(&format!("  Server       {server}"));
        printer.result(&format!("  Config vars  {variables}"));
        printer.result(&format!("  Commands     {commands}"));
    }
    printer.result("Every plan is the same server; the section Add-ons of README.md has the rest.");
    Ok(())
}

fn state(addons: &Addons, addon: &Addon) -> Result<&'static str, Failure> {
    let running = is_running(addons, &addon.name)
        .map_err(|error| failure(format!("cannot look after {}", addon.name), error))?;
    Ok(if running { "running" } else { "stopped" })
}

fn attachments(addon: &Addon, app: &str, with_apps: bool) -> String {
    let names: Vec<String> = addon
        .attachments
        .iter()
        .filter(|it| with_apps || it.app == app)
        .map(|it| {
            if with_apps {
                format!("{}::{}_URL", it.app, it.name)
            } else {
                format!("{}_URL", it.name)
            }
        })
        .collect();
    names.join(", ")
}

/// Without address and password: `slugc config` has them.
fn as_json(addons: &Addons, addon: &Addon) -> Result<Value, Failure> {
    Ok(json!({
        "name": addon.name,
        "service": addon.service.to_string(),
        "plan": addon.plan().to_string(),
        "app": addon.app,
        "state": state(addons, addon)?,
        "port": addon.port,
        "created_at": addon.created_at,
        "attachments": addon.attachments,
    }))
}

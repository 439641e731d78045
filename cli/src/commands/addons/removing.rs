//! `addons:detach`, `addons:destroy` and `addons:stop`.

use super::config;
use super::confirm::confirm;
use super::failure;
use super::find::World;
use crate::args::{DestroyArgs, DetachArgs, OneArgs};
use crate::failure::{Exit, Failure};
use crate::release;
use crate::ui::printer::Printer;
use slug_runtime::addons::{self, Attachment};
use std::collections::BTreeSet;

pub(super) fn detach(printer: &Printer, args: &DetachArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let app = world.app_name().to_owned();
    let wanted = args
        .attachment
        .strip_suffix("_URL")
        .unwrap_or(&args.attachment);
    let addon = world.find(wanted)?;
    let names: Vec<&str> = addon.names_in(&app).collect();
    // An add-on's own name is good enough when there is no choice.
    let name = match names.iter().find(|name| **name == wanted) {
        Some(name) => (*name).to_owned(),
        None if names.len() == 1 => names[0].to_owned(),
        None => {
            return Err(Failure::new(
                Exit::Usage,
                format!("{wanted} is not the name of an attachment of {app}"),
            )
            .hint(format!("choose one: {}", names.join(", "))));
        }
    };
    if addon.app == app && names.len() == 1 {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{name} is the last attachment of {} to the app that owns it",
                addon.name
            ),
        )
        .hint(format!(
            "slugc addons:destroy {} --confirm {app} removes it with its data",
            addon.name
        )));
    }
    let is_it = |it: &Attachment| it.app == app && it.name == name;
    let gone = Attachment {
        app: app.clone(),
        name: name.clone(),
    };
    let release = config::detach(printer, &world, &world.app, &addon, &[gone])?;
    world
        .addons
        .update(&addon.name, |attachments| {
            attachments.retain(|it| !is_it(it));
        })
        .map_err(|error| failure("cannot detach the add-on", error))?;
    release::notify(printer, &world.app);
    printer.result(&format!(
        "Detached {} as {name}_URL from {app}, v{}",
        addon.name, release.version
    ));
    Ok(())
}

pub(super) fn destroy(printer: &Printer, args: &DestroyArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.find(&args.addon)?;
    let apps: BTreeSet<&str> = addon.attachments.iter().map(|it| it.app.as_str()).collect();
    let others: Vec<&str> = apps
        .iter()
        .copied()
        .filter(|app| *app != addon.app)
        .collect();
    if !others.is_empty() && !args.force {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{} is attached to other apps: {}",
                addon.name,
                others.join(", ")
            ),
        )
        .hint("detach it there first, or add --force"));
    }
    confirm(
        printer,
        &addon.app,
        args.confirm.as_deref(),
        &format!(
            "this destroys {} of {} with all its data",
            addon.name, addon.app
        ),
        &format!("addons:destroy {}", addon.name),
    )?;
    let removing = |error| failure(format!("cannot destroy {}", addon.name), error);
    for app in apps {
        let lost: Vec<Attachment> = addon
            .attachments
            .iter()
            .filter(|it| it.app == app)
            .cloned()
            .collect();
        let of = world.other_app(app)?;
        config::detach(printer, &world, &of, &addon, &lost)?;
        let detach = |all: &mut Vec<Attachment>| all.retain(|it| it.app != app);
        world.addons.update(&addon.name, detach).map_err(removing)?;
        release::notify(printer, &of);
    }
    addons::stop(&world.addons, &addon.name).map_err(removing)?;
    world.addons.remove(&addon.name).map_err(removing)?;
    printer.result(&format!("Destroyed {}", addon.name));
    Ok(())
}

pub(super) fn stop(printer: &Printer, args: &OneArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.find(&args.addon)?;
    let stopped = addons::stop(&world.addons, &addon.name)
        .map_err(|error| failure(format!("cannot stop {}", addon.name), error))?;
    printer.result(&if stopped {
        format!("Stopped {}", addon.name)
    } else {
        format!("{} did not run", addon.name)
    });
    Ok(())
}

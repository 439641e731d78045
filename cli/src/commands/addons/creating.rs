//! `addons:create` and `addons:attach`.

use super::config;
use super::failure;
use super::find::World;
use crate::addon_root;
use crate::args::{AttachArgs, CreateArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::isolation;
use crate::release::Occasion;
use crate::ui::printer::Printer;
use slug_runtime::addons::{self, Attachment, NewAddon, Plan, Service, colour_variable};
use slug_runtime::state::config_vars;

pub(super) fn create(printer: &Printer, args: &CreateArgs) -> Result<(), Failure> {
    let plan: Plan = args
        .plan
        .parse()
        .or_fail(Exit::Usage, || "cannot make the add-on".to_owned())
        .map_err(|failure| failure.hint("slugc addons:docs lists services and plans"))?;
    let attachment = args.attachment.as_deref().map(checked).transpose()?;
    isolation::require_namespaces("add-ons need")?;
    let world = World::open(&args.app)?;
    addon_root::ensure(
        &world.store,
        printer,
        plan.service,
        args.mirror.mirror.as_deref(),
    )?;
    let config = config::config_of(&world.app)?;
    printer.result(&format!("Creating {plan} on {}", world.app_name()));
    let addon = world
        .addons
        .create(&NewAddon {
            plan: &plan,
            app: world.app_name(),
            name: args.name.as_deref(),
            attachment,
            is_set: &|name| config.contains_key(name),
            created_at: jiff::Timestamp::now(),
        })
        .map_err(|error| failure("cannot make the add-on", error))?;
    // The server is set up now, so that what is in its way shows now.
    let started = world.start(printer, &addon).and_then(|in_use| {
        let names: Vec<&str> = addon.names_in(world.app_name()).collect();
        let release = config::attach(printer, &world, &world.app, &addon, &names)?;
        Ok((in_use, release))
    });
    let release = match started {
        Ok((_, release)) => release,
        Err(failure) => {
            // The failure is what counts; a folder without a record is swept by the next creation.
            drop(addons::stop(&world.addons, &addon.name));
            drop(world.addons.remove(&addon.name));
            return Err(failure);
        }
    };
    let variables: Vec<String> = addon
        .names_in(world.app_name())
        .map(|name| format!("{name}_URL"))
        .collect();
    printer.result(&format!(
        "Created {} as {}, v{}",
        addon.name,
        variables.join(", "),
        release.version
    ));
    Ok(())
}

pub(super) fn attach(printer: &Printer, args: &AttachArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let given = args.attachment.as_deref().map(checked).transpose()?;
    if args.addon.contains("://") {
        return attach_url(printer, &world, &args.addon, given);
    }
    let addon = world.find(&args.addon)?;
    let app = world.app_name();
    let config = config::config_of(&world.app)?;
    let is_free = |name: &str| !config.contains_key(&format!("{name}_URL"));
    let coloured = colour_variable(addon.service, &addon.colour);
    let name = match given {
        Some(name) => name.to_owned(),
        None if is_free(addon.service.first_attachment()) => {
            addon.service.first_attachment().to_owned()
        }
        None => coloured,
    };
    if !is_free(&name) {
        return Err(taken(app, &name));
    }
    let attachment = Attachment {
        app: app.to_owned(),
        name: name.clone(),
    };
    // Recorded without a config var: the command was killed the last time.
    let addon = if addon.attachments.contains(&attachment) {
        addon
    } else {
        let attach = |all: &mut Vec<Attachment>| all.push(attachment.clone());
        world
            .addons
            .update(&addon.name, attach)
            .map_err(|error| failure("cannot attach the add-on", error))?
    };
    let release =
        config::attach(printer, &world, &world.app, &addon, &[&name]).inspect_err(|_| {
            config::put_back(printer, &world, &addon.name, |all| {
                all.retain(|it| *it != attachment);
            });
        })?;
    printer.result(&format!(
        "Attached {} to {app} as {name}_URL, v{}",
        addon.name, release.version
    ));
    Ok(())
}

/// A server that is not slugc's: nothing but a config var.
fn attach_url(
    printer: &Printer,
    world: &World,
    url: &str,
    given: Option<&str>,
) -> Result<(), Failure> {
    let scheme = url.split("://").next().unwrap_or_default();
    let service = match scheme {
        "postgres" | "postgresql" => Some(Service::Postgres),
        "redis" | "rediss" => Some(Service::Redis),
        "kafka" | "kafka+ssl" => Some(Service::Kafka),
        _ => None,
    };
    let Some(name) = given.or(service.map(Service::first_attachment)) else {
        return Err(Failure::new(
            Exit::Usage,
            format!("cannot tell what to call a server at {scheme}://…"),
        )
        .hint("name the attachment: --as NAME, and its address is in NAME_URL"));
    };
    let variable = format!("{name}_URL");
    if config::config_of(&world.app)?.contains_key(&variable) {
        return Err(taken(world.app_name(), name));
    }
    let release = config::set_config_vars(
        printer,
        world,
        &world.app,
        Occasion::Change,
        format!("Set {variable} config vars"),
        |config| drop(config.insert(variable.clone(), url.to_owned())),
    )?;
    printer.result(&format!(
        "Attached the server to {} as {variable}, v{}; slugc config:unset {variable} detaches it",
        world.app_name(),
        release.version
    ));
    Ok(())
}

fn taken(app: &str, name: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("the app {app} has a config var {name}_URL already"),
    )
    .hint("choose another name with --as NAME")
}

/// The name of an attachment as a user typed it; the `_URL` is added.
fn checked(name: &str) -> Result<&str, Failure> {
    let name = name.strip_suffix("_URL").unwrap_or(name);
    config_vars::check_name(&format!("{name}_URL")).or_fail(Exit::Usage, || {
        format!("{name:?} cannot be an attachment's name")
    })?;
    Ok(name)
}

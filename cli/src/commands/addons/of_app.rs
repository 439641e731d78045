//! An app's add-ons as a whole: made with it, shown with it, destroyed with it.

use super::failure;
use crate::app::App;
use crate::args::{AppArgs, CreateArgs, MirrorArgs};
use crate::failure::{Exit, Failure};
use crate::store::Store;
use crate::ui::printer::Printer;
use serde::Serialize;
use slug_runtime::addons::{self, Addons, is_running};
use std::collections::BTreeSet;

/// One of an app's add-ons.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) plan: String,
    pub(crate) running: bool,
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// The config vars with its address.
    pub(crate) config_vars: Vec<String>,
}

/// What an app has.
pub(crate) fn summaries(store: &Store, app: &App) -> Result<Vec<Summary>, Failure> {
    let addons = Addons::new(store.root());
    let name = app.name.as_str();
    let listed = addons
        .of_app(name)
        .map_err(|error| failure("cannot list the app's add-ons", error))?;
    let summaries = listed.iter().map(|addon| {
        let running = is_running(&addons, &addon.name)
            .map_err(|error| failure(format!("cannot look after {}", addon.name), error))?;
        let config_vars = addon.names_in(name).map(|name| format!("{name}_URL"));
        Ok(Summary {
            name: addon.name.clone(),
            plan: addon.plan().to_string(),
            running,
            port: addon.port,
            config_vars: config_vars.collect(),
        })
    });
    summaries.collect()
}

/// `addons:create` for an app.
pub(crate) fn create_for(
    printer: &Printer,
    app: &str,
    plan: &str,
    attachment: Option<String>,
    mirror: Option<&str>,
) -> Result<(), Failure> {
    let args = CreateArgs {
        plan: plan.to_owned(),
        app: AppArgs {
            app: Some(app.to_owned()),
        },
        attachment,
        name: None,
        mirror: MirrorArgs {
            mirror: mirror.map(str::to_owned),
        },
    };
    super::creating::create(printer, &args)
}

/// Other apps' data does not go in passing.
pub(crate) fn refuse_if_shared(store: &Store, app: &App) -> Result<(), Failure> {
    let name = app.name.as_str();
    let listed = Addons::new(store.root())
        .of_app(name)
        .map_err(|error| failure("cannot list the app's add-ons", error))?;
    for addon in listed.iter().filter(|addon| addon.app == name) {
        let apps: BTreeSet<&str> = addon.attachments.iter().map(|it| it.app.as_str()).collect();
        let others: Vec<&str> = apps.into_iter().filter(|app| *app != name).collect();
        if let Some(other) = others.first() {
            let message = format!(
                "{} of {name} is attached to other apps: {}",
                addon.name,
                others.join(", ")
            );
            return Err(Failure::new(Exit::Usage, message).hint(format!(
                "detach it there first: slugc addons:detach {} -a {other}",
                addon.name
            )));
        }
    }
    Ok(())
}

/// Destroys the add-ons that the app owns, and forgets that it used others.
pub(crate) fn destroy_all(printer: &Printer, store: &Store, app: &App) -> Result<(), Failure> {
    let name = app.name.as_str();
    let all = Addons::new(store.root());
    let listed = all
        .of_app(name)
        .map_err(|error| failure("cannot list the app's add-ons", error))?;
    for addon in listed {
        let failed = |error| failure(format!("cannot destroy {}", addon.name), error);
        if addon.app == name {
            addons::stop(&all, &addon.name).map_err(failed)?;
            all.remove(&addon.name).map_err(failed)?;
            printer.result(&format!("Destroyed {}", addon.name));
        } else {
            all.update(&addon.name, |attachments| {
                attachments.retain(|it| it.app != name);
            })
            .map_err(failed)?;
        }
    }
    Ok(())
}

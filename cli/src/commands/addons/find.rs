//! Which add-on is meant, and its server started.

use super::failure;
use crate::addon_root;
use crate::app::{App, AppName};
use crate::args::AppArgs;
use crate::failure::{Exit, Failure};
use crate::isolation;
use crate::store::{Lock, Store};
use crate::ui::printer::Printer;
use slug_runtime::addons::{Addon, Addons, InUse, Service, ensure_running};
use slug_runtime::nearest::nearest;
use std::path::Path;

/// An app and the add-ons of its store.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) addons: Addons,
    pub(super) app: App,
    /// Keeps `cache prune` away.
    _used: Lock,
}

impl World {
    pub(super) fn open(args: &AppArgs) -> Result<Self, Failure> {
        let store = Store::open()?;
        Ok(Self {
            _used: store.use_lock()?,
            addons: Addons::new(store.root()),
            app: App::of(&store, AppName::choose(args, Path::new("."))?),
            store,
        })
    }

    pub(super) fn app_name(&self) -> &str {
        self.app.name.as_str()
    }

    /// Another app of the same store.
    pub(super) fn other_app(&self, name: &str) -> Result<App, Failure> {
        Ok(App::of(&self.store, AppName::parse(name)?))
    }

    /// By an add-on's name, or an attachment's (`DATABASE`, `DATABASE_URL`, `RED`).
    pub(super) fn find(&self, wanted: &str) -> Result<Addon, Failure> {
        let all = self
            .addons
            .all()
            .map_err(|error| failure("cannot list the add-ons", error))?;
        let app = self.app_name();
        let attachment = wanted.strip_suffix("_URL").unwrap_or(wanted);
        let colour = format!("_{attachment}");
        let is_meant = |addon: &&Addon| {
            addon.name == wanted
                || addon.names_in(app).any(|name| {
                    name == attachment || (name.starts_with("HEROKU_") && name.ends_with(&colour))
                })
        };
        if let Some(addon) = all.iter().find(is_meant) {
            return Ok(addon.clone());
        }
        let known = all
            .iter()
            .flat_map(|addon| std::iter::once(addon.name.as_str()).chain(addon.names_in(app)));
        let meant = nearest(wanted, known);
        let message = match meant {
            Some(name) => format!("there is no add-on {wanted}: did you mean {name}?"),
            None => format!("there is no add-on {wanted}"),
        };
        Err(Failure::new(Exit::Input, message).hint("slugc addons --all lists them"))
    }

    /// The one that is named, else the app's first of a service.
    pub(super) fn of_service(
        &self,
        service: Service,
        wanted: Option<&str>,
    ) -> Result<Addon, Failure> {
        if let Some(wanted) = wanted {
            let addon = self.find(wanted)?;
            if addon.service == service {
                return Ok(addon);
            }
            return Err(Failure::new(
                Exit::Input,
                format!("{} is no {service} but {}", addon.name, addon.service),
            ));
        }
        let mut addons = self
            .addons
            .of_app(self.app_name())
            .map_err(|error| failure("cannot list the add-ons", error))?;
        addons.retain(|addon| addon.service == service);
        let first = addons.iter().position(|addon| {
            addon
                .names_in(self.app_name())
                .any(|name| name == service.first_attachment())
        });
        if addons.is_empty() {
            return Err(Failure::new(
                Exit::Input,
                format!("the app {} has no {service}", self.app_name()),
            )
            .hint(format!(
                "make one: slugc addons:create {service} -a {}",
                self.app_name()
            )));
        }
        Ok(addons.swap_remove(first.unwrap_or(0)))
    }

    /// Starts a server unless it runs, and waits until it answers.
    pub(super) fn start(&self, printer: &Printer, addon: &Addon) -> Result<InUse, Failure> {
        start(printer, &self.store, std::slice::from_ref(addon))
    }
}

/// Starts the servers that an app needs.
pub(crate) fn start_for(printer: &Printer, store: &Store, app: &App) -> Result<InUse, Failure> {
    let addons = Addons::new(store.root())
        .of_app(app.name.as_str())
        .map_err(|error| failure("cannot list the app's add-ons", error))?;
    start(printer, store, &addons)
}

fn start(printer: &Printer, store: &Store, wanted: &[Addon]) -> Result<InUse, Failure> {
    if !wanted.is_empty() {
        isolation::require_namespaces("add-ons need")?;
    }
    let addons = Addons::new(store.root());
    for addon in wanted {
        // A root that is there serves, even if this slugc would make a newer one.
        if !addons.has_files(addon.service) {
            addon_root::ensure(store, printer, addon.service, None)?;
        }
    }
    let names: Vec<&str> = wanted.iter().map(|addon| addon.name.as_str()).collect();
    let spinner = printer.spinner(&format!("Starting {}", names.join(", ")));
    let started = ensure_running(store.root(), &names);
    spinner.finish_and_clear();
    started.map_err(|error| {
        let name = names.first().copied().unwrap_or_default();
        let log = addons.folder(name).join("log");
        failure("cannot start the app's add-ons", error)
            .hint(format!("its server's log is {}", log.display()))
    })
}

//! The folder of all add-ons.

use super::certificates::Certificates;
use super::credentials::{below, word};
use super::error::{AddonError, failed};
use super::kafka::KAFKA_PROGRAMS;
use super::names::{colour_variable, is_name, random_colour, random_name};
use super::record::{Addon, Attachment};
use super::service::{Plan, Service};
use crate::port;
use crate::scratch::{private_folder, remove_tree};
use crate::state::files;
use oci_image::Digest;
use rustix::fs::FlockOperation;
use serde::Deserialize;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Ports of servers lie here: below those of web dynos, which would take the port of a server that is not running,
/// and below the range that the kernel gives to outgoing connections (`ip_local_port_range`, from 32768 on).
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// Bytes of the generator in a password, base32: 256 bits.
const PASSWORD: usize = 52;

/// All add-ons of a store.
#[derive(Debug, Clone)]
pub struct Addons {
    store: PathBuf,
}

/// What [`Addons::create`] needs.
#[derive(Clone, Copy)]
pub struct NewAddon<'a> {
    pub plan: &'a Plan,
    /// The app that it is for.
    pub app: &'a str,
    /// A name of the user's choice; else a random one.
    pub name: Option<&'a str>,
    /// The attachment's name (`--as`); else the service's first one if it is free, and the colour.
    pub attachment: Option<&'a str>,
    /// Whether the app has a config var of this name that no add-on gave it.
    pub is_set: &'a dyn Fn(&str) -> bool,
    pub created_at: jiff::Timestamp,
}

/// Of what a bootstrap of an add-on's root leaves in `stacks/`, the part that matters here.
#[derive(Deserialize)]
struct Made {
    diff_id: Digest,
}

impl Addons {
    /// `store` is slugc's folder, which has `roots/`, `stacks/` and `apps/` as well.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
        }
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// An add-on's folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.store.join("addons").join(name)
    }

    /// Every add-on, by name.
    pub fn all(&self) -> Result<Vec<Addon>, AddonError> {
        let folder = self.store.join("addons");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &folder)(error)),
        };
        let mut addons = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("list", &folder))?;
            // A folder without a record is one that is being made or removed.
            if let Some(addon) = files::read::<Addon>(&entry.path().join("addon.json"))? {
                addons.push(addon);
            }
        }
        addons.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(addons)
    }

    /// Those that an app sees.
    pub fn of_app(&self, app: &str) -> Result<Vec<Addon>, AddonError> {
        let mut addons = self.all()?;
        addons.retain(|addon| addon.names_in(app).next().is_some());
        Ok(addons)
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Result<Addon, AddonError> {
        let unknown = || AddonError::Unknown {
            name: name.to_owned(),
        };
        if !is_name(name) {
            return Err(unknown());
        }
        files::read(&self.folder(name).join("addon.json"))?.ok_or_else(unknown)
    }

    /// Makes the record of a new add-on, with random credentials and a port of its own. Its server
    /// is set up when it is first started.
    pub fn create(&self, new: &NewAddon<'_>) -> Result<Addon, AddonError> {
        let _lock = self.lock()?;
        let all = self.all()?;
        let service = new.plan.service;
        let is_taken = |name: &str| {
            (new.is_set)(&format!("{name}_URL"))
                || all
                    .iter()
                    .any(|addon| addon.names_in(new.app).any(|taken| taken == name))
        };
        let colour = random_colour(|colour| is_taken(&colour_variable(service, colour)))?;
        let names = match new.attachment {
            Some(name) if is_taken(name) => {
                return Err(AddonError::Attached {
                    attachment: name.to_owned(),
                    app: new.app.to_owned(),
                });
            }
            Some(name) => vec![name.to_owned()],
            None if is_taken(service.first_attachment()) => {
                vec![colour_variable(service, &colour)]
            }
            // A database has its colour's name as well: it stays when another is promoted.
            None if service == Service::Postgres => vec![
                service.first_attachment().to_owned(),
                colour_variable(service, &colour),
            ],
            None => vec![service.first_attachment().to_owned()],
        };
        let ports: Vec<u16> = all
            .iter()
            .flat_map(|addon| [Some(addon.port), addon.controller_port])
            .flatten()
            .collect();
        let port = free_port(&ports)?;
        let controller_port = match service {
            Service::Kafka => Some(free_port(&[ports, vec![port]].concat())?),
            Service::Postgres | Service::Redis => None,
        };
        let certificates = match service {
            Service::Kafka => Some(Certificates::make(new.created_at)?),
            Service::Postgres | Service::Redis => None,
        };
        let name = match new.name {
            Some(name) => name.to_owned(),
            None => random_name(service)?,
        };
        if !is_name(&name) {
            return Err(AddonError::Name { name });
        }
        let addon = Addon {
            service,
            plan: new.plan.name.clone(),
            colour,
            created_at: new.created_at,
            app: new.app.to_owned(),
            port,
            controller_port,
            certificates,
            user: word('u', 13)?,
            password: word('p', PASSWORD)?,
            database: word('d', 13)?,
            attachments: names
                .into_iter()
                .map(|name| Attachment {
                    app: new.app.to_owned(),
                    name,
                })
                .collect(),
            name,
        };
        let folder = self.folder(&addon.name);
        private_folder(&self.store.join("addons")).map_err(failed("make", &folder))?;
        if folder.join("addon.json").exists() {
            return Err(AddonError::Exists { name: addon.name });
        }
        // What a killed creation or removal left.
        remove_tree(&folder).map_err(failed("remove", &folder))?;
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(failed("make", &folder))?;
        self.save(&addon)?;
        Ok(addon)
    }

    /// Changes an add-on's attachments. An app knows no two add-ons by one name.
    pub fn update(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<Attachment>),
    ) -> Result<Addon, AddonError> {
        let _lock = self.lock()?;
        let mut addon = self.get(name)?;
        let before = addon.attachments.clone();
        change(&mut addon.attachments);
        let of_others: Vec<Attachment> = self
            .all()?
            .into_iter()
            .filter(|other| other.name != name)
            .flat_map(|other| other.attachments)
            .collect();
        let times = |all: &[Attachment], it| all.iter().filter(|other| *other == it).count();
        for it in &addon.attachments {
            let known = times(&before, it);
            if times(&addon.attachments, it) > known.max(1) || known == 0 && of_others.contains(it)
            {
                return Err(AddonError::Attached {
                    attachment: it.name.clone(),
                    app: it.app.clone(),
                });
            }
        }
        self.save(&addon)?;
        Ok(addon)
    }

    /// Removes an add-on and its data. Its server must be stopped.
    pub fn remove(&self, name: &str) -> Result<(), AddonError> {
        let _lock = self.lock()?;
        let folder = self.folder(name);
        // Without its record it is gone, whatever happens to the rest.
        files::remove(&folder.join("addon.json")).map_err(failed("remove", &folder))?;
        remove_tree(&folder).map_err(failed("remove", &folder))
    }

    /// The unpacked root that servers of a kind run in now.
    pub fn root(&self, service: Service) -> Result<PathBuf, AddonError> {
        let record = self.recipe_folder(service).join("addon.json");
        let made: Option<Made> = files::read(&record)?;
        made.map(|made| self.store.join("roots").join(made.diff_id.hex()))
            .filter(|root| root.is_dir())
            .ok_or(AddonError::NoRoot { service })
    }

    /// Whether all is there that servers of a kind are made of.
    pub fn has_files(&self, service: Service) -> bool {
        let programs = self.recipe_folder(service).join(KAFKA_PROGRAMS);
        self.root(service).is_ok() && (service != Service::Kafka || programs.is_dir())
    }

    /// Where what belongs to a kind of server is kept beside its root.
    pub fn recipe_folder(&self, service: Service) -> PathBuf {
        self.store.join("stacks").join(format!("addon-{service}"))
    }

    /// Names in `roots/` of what running servers run in.
    pub fn roots_in_use(&self) -> Result<Vec<String>, AddonError> {
        let mut roots = Vec::new();
        for addon in self.all()? {
            if super::is_running(self, &addon.name)? {
                let path = self.folder(&addon.name).join("root");
                roots.push(fs::read_to_string(&path).map_err(failed("read", &path))?);
            }
        }
        Ok(roots)
    }

    fn save(&self, addon: &Addon) -> Result<(), AddonError> {
        files::replace(&self.folder(&addon.name).join("addon.json"), addon)?;
        Ok(())
    }

    /// Held while records change.
    fn lock(&self) -> Result<File, AddonError> {
        super::locks::lock(
            &self.store.join("addons.lock"),
            FlockOperation::LockExclusive,
        )
    }
}

fn free_port(taken: &[u16]) -> Result<u16, AddonError> {
    for _ in 0..1000 {
        let offset = below(u32::from(PORTS.end - PORTS.start))?;
        let port = PORTS.start + u16::try_from(offset).unwrap_or(0);
        if !taken.contains(&port) && port::require_free(port).is_ok() {
            return Ok(port);
        }
    }
    Err(AddonError::NoPort)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

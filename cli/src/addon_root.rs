//! Root file systems of add-ons' servers: made on first use, kept in the store, no stacks for apps.

use crate::app;
use crate::failure::{Exit, Failure, OrFail};
use crate::kafka_programs;
use crate::stack::{self, Making, Stack};
use crate::store::{self, Store};
use crate::ui::printer::Printer;
use crate::ui::size;
use oci_image::Digest;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use slug_runtime::addons::Service;
use std::path::PathBuf;
use std::time::Instant;

/// Begins the names of recipes of add-ons.
pub(crate) const PREFIX: &str = "addon-";

/// A root in the store: `stacks/addon-…/addon.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AddonRoot {
    pub(crate) name: String,
    /// Of the recipe and the lock: another one asks for another root.
    recipe: String,
    /// For people: distribution, packages.
    pub(crate) summary: String,
    /// Names the unpacked layer in `roots/`.
    pub(crate) diff_id: Digest,
}

impl AddonRoot {
    /// Reads a root; `None` when it was not made, or its files were removed.
    pub(crate) fn read(store: &Store, name: &str) -> Result<Option<Self>, Failure> {
        let root: Option<Self> = app::read_json(&store.stack(name).join("addon.json"))?;
        Ok(root.filter(|root| root.path(store).is_dir()))
    }

    /// The unpacked files.
    pub(crate) fn path(&self, store: &Store) -> PathBuf {
        store.roots().join(self.diff_id.hex())
    }
}

/// The root for a service, made unless it is there.
pub(crate) fn ensure(
    store: &Store,
    printer: &Printer,
    service: Service,
    mirror: Option<&str>,
) -> Result<AddonRoot, Failure> {
    let making = Making {
        mirror,
        update: false,
        force: false,
    };
    let root = make(store, printer, &format!("{PREFIX}{service}"), &making)?;
    if service == Service::Kafka {
        kafka_programs::ensure(store, printer, &root.path(store))?;
    }
    Ok(root)
}

/// Makes a root unless it is there already.
pub(crate) fn make(
    store: &Store,
    printer: &Printer,
    name: &str,
    making: &Making<'_>,
) -> Result<AddonRoot, Failure> {
    let identity = stack::identity(name)?;
    let current = |root: &AddonRoot| root.recipe == identity && !making.force && !making.update;
    if let Some(root) = AddonRoot::read(store, name)?
        && current(&root)
    {
        return Ok(root);
    }
    let _lock = store::lock(
        &store.stacks().join(format!("{name}.lock")),
        FlockOperation::LockExclusive,
    )?;
    // Another slugc may have made it while this one waited.
    if let Some(root) = AddonRoot::read(store, name)?
        && current(&root)
    {
        return Ok(root);
    }
    bootstrap(store, printer, name, identity, making)
}

fn bootstrap(
    store: &Store,
    printer: &Printer,
    name: &str,
    identity: String,
    making: &Making<'_>,
) -> Result<AddonRoot, Failure> {
    let start = Instant::now();
    let service = name.strip_prefix(PREFIX).unwrap_or(name);
    printer.heading(&format!(
        "Making the root of {service} servers from Debian packages (once)"
    ));
    let (_, made) = stack::assemble(store, printer, name, making)?;
    let saving = || format!("cannot save the root {name}");
    // Nothing is pushed or exported from here: the unpacked root is all that is needed.
    store
        .blobs()
        .remove(&made.run.blob.digest)
        .or_fail(Exit::Store, saving)?;
    made.lock
        .write(&Stack::lock_file(store, name))
        .or_fail(Exit::Store, saving)?;
    let root = AddonRoot {
        name: name.to_owned(),
        recipe: identity,
        summary: format!("Debian 13, {} packages", made.lock.packages.len()),
        diff_id: made.run.blob.diff_id,
    };
    app::write_json(&store.stack(name).join("addon.json"), &root)?;
    printer.line(&format!(
        "{name}: {}, in {}",
        root.summary,
        size::duration(start.elapsed())
    ));
    Ok(root)
}

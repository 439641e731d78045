//! `slugc cache`: what the store holds, and what of it nobody needs.

use crate::addon_root::{self, AddonRoot};
use crate::addon_vars;
use crate::app::{App, AppName};
use crate::args::{CacheAction, CacheArgs, Output};
use crate::build::record::Record;
use crate::build::sandboxed;
use crate::build::wheels;
use crate::commands::ps;
use crate::failure::{Exit, Failure, OrFail};
use crate::images::Images;
use crate::in_use;
use crate::indexes::NamedIndex;
use crate::leftovers;
use crate::parts::{self, Parts};
use crate::stack::Stack;
use crate::store::{self, Store};
use crate::supervisor;
use crate::tools;
use crate::ui::error::chain;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use oci_image::{Descriptor, Digest, Image, Index};
use serde::Serialize;
use slug_runtime::addons::{Addons, Service};
use slug_runtime::roots::Roots;
use slug_runtime::state::{StateError, StateLock};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// So many releases of an app keep their images, for rollbacks.
const KEPT: usize = 10;

pub(crate) fn run(args: &CacheArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    match &args.action {
        None => show(&printer, &store, args.output)?,
        Some(CacheAction::Prune { apps }) => prune(&printer, &store, apps)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sizes in bytes as `du` counts them: what the disk gives, hard links once.
#[derive(Debug, Serialize)]
struct Usage {
    store: PathBuf,
    blobs: u64,
    roots: u64,
    stacks: u64,
    parts: u64,
    tools: u64,
    /// Buildpacks that were fetched.
    buildpacks: u64,
    /// Packages of Python apps, for all apps.
    wheels: u64,
    addons: u64,
    /// Where caches of builds have been given names.
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<u64>,
    apps: BTreeMap<String, u64>,
    /// Of `blobs`, what no app and no stack needs; unknown where that cannot be found out.
    unused_blobs: Option<u64>,
}

fn show(printer: &Printer, store: &Store, output: Output) -> Result<(), Failure> {
    let _used = store.use_lock()?;
    let mut closed = Vec::new();
    let mut measure = |folder: &Path| disk_usage(folder, &mut closed);
    let mut apps = BTreeMap::new();
    for name in store::folders(&store.apps())? {
        let used = measure(&store.app(&name))?;
        apps.insert(name, used);
    }
    let unused = match Needed::find(printer, store, &[]) {
        Ok(needed) => {
            let blobs = all_blobs(store)?.into_iter();
            let unused = blobs.filter(|(digest, _)| !needed.blobs.contains(digest));
            Some(unused.map(|(_, size)| size).sum())
        }
        Err(failure) => {
            printer.warning(&chain(&failure));
            None
        }
    };
    let usage = Usage {
        store: store.root().to_owned(),
        blobs: measure(&store.root().join("blobs"))?,
        roots: measure(&store.roots())?,
        stacks: measure(&store.stacks())?,
        parts: measure(&store.parts())?,
        tools: measure(&store.tools())?,
        buildpacks: measure(&store.buildpacks())?,
        wheels: measure(&store.wheels())?,
        addons: measure(&store.addons())?,
        volumes: store
            .volumes()
            .is_dir()
            .then(|| measure(&store.volumes()))
            .transpose()?,
        apps,
        unused_blobs: unused,
    };
    if let Some(first) = closed.first() {
        let others = match closed.len() {
            1 => String::new(),
            count => format!(" and {} others", count - 1),
        };
        printer.warning(&format!(
            "{}{others} cannot be looked into: what is in there counts as nothing",
            first.display()
        ));
    }
    match output {
        Output::Json => printer.result(
            &serde_json::to_string_pretty(&usage).or_fail(Exit::General, || {
                "cannot print the cache as JSON".to_owned()
            })?,
        ),
        Output::Text => {
            printer.result(&format!("Store       {}", usage.store.display()));
            for (name, count) in [
                ("Blobs", usage.blobs),
                ("Roots", usage.roots),
                ("Stacks", usage.stacks),
                ("Programs", usage.parts),
                ("Tools", usage.tools),
                ("Buildpacks", usage.buildpacks),
                ("Wheels", usage.wheels),
                ("Add-ons", usage.addons),
            ]
            .into_iter()
            .chain(usage.volumes.map(|count| ("Volumes", count)))
            {
                printer.result(&format!("{name:<10} {:>9}", size::bytes(count)));
            }
            printer.result("Apps");
            for (name, count) in &usage.apps {
                printer.result(&format!("  {:>17}  {name}", size::bytes(*count)));
            }
            if let Some(unused) = usage.unused_blobs {
                printer.result(&format!(
                    "slugc cache prune would remove {} of blobs",
                    size::bytes(unused)
                ));
            }
        }
    }
    Ok(())
}

/// Waits for every running command, then removes what nothing refers to.
fn prune(printer: &Printer, store: &Store, forget: &[String]) -> Result<(), Failure> {
    let _alone = store.exclusive_lock(printer)?;
    let before = disk_usage(store.root(), &mut Vec::new())?;
    let mut apps = Vec::new();
    for name in forget {
        let app = App::of(store, AppName::parse(name)?);
        if !app.folder().is_dir() {
            return Err(
                Failure::new(Exit::Input, format!("there is no app {name} in the store"))
                    .hint("slugc cache lists the apps"),
            );
        }
        let lock = refuse_to_forget(printer, store, &app)?;
        apps.push((app, lock));
    }
    let forgotten: Vec<&AppName> = apps.iter().map(|(app, _)| &app.name).collect();
    // Found out before anything is removed: what stops it must not do half of it.
    let needed = Needed::find(printer, store, &forgotten)?;
    for (app, _lock) in &apps {
        store::remove_tree(app.folder())?;
    }
    remove_blobs(store, &needed)?;
    store.blobs().remove_partials().or_fail(Exit::Store, || {
        "cannot remove what broken-off downloads left".to_owned()
    })?;
    remove_roots(store, &needed)?;
    Roots::open(store.roots())
        .and_then(|roots| roots.sweep())
        .or_fail(Exit::Store, || {
            format!("cannot tidy {}", store.roots().display())
        })?;
    for service in Service::ALL {
        let name = format!("{}{service}", addon_root::PREFIX);
        if !needed.services.contains(&name) {
            store::remove_tree(&store.stack(&name))?;
        }
    }
    for name in store::folders(&store.parts())? {
        if name != parts::ID {
            store::remove_tree(&store.parts().join(name))?;
        }
    }
    prune_tools(store)?;
    wheels::prune(store)?;
    // Unpacked again from their archives and images by the builds that want them.
    store::remove_tree(&store.buildpacks())?;
    // Filled again by the builds that name them.
    store::remove_tree(&store.volumes())?;
    leftovers::sweep(store)?;
    for app in App::all(store)? {
        sandboxed::recover(&app)?;
        // Where there are no overlays, running dynos have their roots there.
        let unused = if needed.running.contains(app.name.as_str()) {
            sandboxed::trees(&app)
        } else {
            app.trees()
        };
        store::remove_tree(&unused)?;
        store::remove_tree(&app.work())?;
    }
    for name in store::folders(&store.stacks())? {
        store::remove_tree(&store.stack(&name).join("downloads"))?;
    }
    let after = disk_usage(store.root(), &mut Vec::new())?;
    printer.result(&format!(
        "Removed {}",
        size::bytes(before.saturating_sub(after))
    ));
    Ok(())
}

/// Returns how many bytes of blobs nobody needs any more.
fn remove_blobs(store: &Store, needed: &Needed) -> Result<u64, Failure> {
    let mut removed = 0;
    for (digest, size) in all_blobs(store)? {
        if !needed.blobs.contains(&digest) {
            store
                .blobs()
                .remove(&digest)
                .or_fail(Exit::Store, || format!("cannot remove the blob {digest}"))?;
            removed += size;
        }
    }
    Ok(removed)
}

fn remove_roots(store: &Store, needed: &Needed) -> Result<(), Failure> {
    for name in store::folders(&store.roots())? {
        if !needed.roots.contains(&name) {
            store::remove_tree(&store.roots().join(name))?;
        }
    }
    Ok(())
}

/// Removes blobs that nobody needs, and what was unpacked of them, if all blobs take more than `limit` bytes and no other
/// command uses the store. The caller has let go of the store's lock.
pub(crate) fn keep_within(printer: &Printer, store: &Store, limit: u64) -> Result<(), Failure> {
    let taken: u64 = all_blobs(store)?.iter().map(|(_, size)| size).sum();
    if taken <= limit {
        return Ok(());
    }
    let Some(_alone) = store.try_exclusive_lock()? else {
        return Ok(());
    };
    let needed = Needed::find(printer, store, &[])?;
    // What a record that cannot be read needs is not known: `cache prune`, which is asked for, goes on.
    if needed.is_partial {
        return Ok(());
    }
    let removed = remove_blobs(store, &needed)?;
    if removed > 0 {
        remove_roots(store, &needed)?;
        printer.line(&format!(
            "Removed {} of blobs that nobody needs: the store has more than {} (slugc settings cache-limit)",
            size::bytes(removed),
            size::bytes(limit)
        ));
    }
    Ok(())
}

/// What runs, what has data and what is being changed is not forgotten in passing.
fn refuse_to_forget(printer: &Printer, store: &Store, app: &App) -> Result<StateLock, Failure> {
    let name = app.name.as_str();
    // Whoever makes a release has this lock before the store's, so it is not waited for.
    let lock = app
        .state()
        .try_claim()
        .or_fail(Exit::Store, || format!("cannot forget {name}"))?
        .ok_or_else(|| {
            Failure::new(
                Exit::Input,
                format!("another command makes a release of {name}"),
            )
            .hint("do the same again when it is done")
        })?;
    if supervisor::find(printer, app)?.is_some() || !ps::running_one_offs(app)?.is_empty() {
        return Err(Failure::new(Exit::Input, format!("{name} runs"))
            .hint(format!("stop it first: slugc ps:stop -a {name}")));
    }
    if !addon_vars::of(store, app)?.is_empty() {
        return Err(
            Failure::new(Exit::Input, format!("{name} has add-ons")).hint(format!(
                "slugc addons -a {name} lists them; destroy or detach them first"
            )),
        );
    }
    Ok(lock)
}

/// Tools of other versions of slugc go, and what a killed command left while it took one over.
fn prune_tools(store: &Store) -> Result<(), Failure> {
    let listed = tools::listed(&Parts::in_store(store)?)?;
    let tidying = || format!("cannot tidy {}", store.tools().display());
    for entry in fs::read_dir(store.tools()).or_fail(Exit::Store, tidying)? {
        let entry = entry.or_fail(Exit::Store, tidying)?;
        if listed.iter().any(|tool| *tool.hex() == *entry.file_name()) {
            continue;
        }
        if entry.file_type().or_fail(Exit::Store, tidying)?.is_dir() {
            store::remove_tree(&entry.path())?;
        } else {
            fs::remove_file(entry.path()).or_fail(Exit::Store, tidying)?;
        }
    }
    Ok(())
}

/// What the apps' images and releases, the named images and the stacks refer to.
#[derive(Debug, Default)]
struct Needed {
    blobs: BTreeSet<Digest>,
    roots: BTreeSet<String>,
    /// Folders in `stacks/` of services that there are add-ons of.
    services: BTreeSet<String>,
    /// Apps that run.
    running: BTreeSet<String>,
    /// Something could not be read.
    is_partial: bool,
}

impl Needed {
    /// Everything that is needed when some apps are forgotten. What cannot be read needs nothing where it is made again
    /// when it is asked for; releases are not.
    fn find(printer: &Printer, store: &Store, without: &[&AppName]) -> Result<Self, Failure> {
        let mut needed = Self::default();
        let mut manifests = BTreeSet::new();
        let is_partial = Cell::new(false);
        let tell = |failure: &Failure| {
            is_partial.set(true);
            printer.warning(&chain(failure));
        };
        for name in store::folders(&store.stacks())? {
            match Stack::read(store, &name) {
                Ok(stack) => manifests.extend(
                    stack
                        .into_iter()
                        .flat_map(|it| [it.run_image.digest, it.build_image.digest]),
                ),
                Err(failure) => tell(&failure),
            }
        }
        for app in App::all(store)? {
            if without.contains(&&app.name) {
                continue;
            }
            match app.image() {
                Ok(image) => manifests.extend(image.map(|image| image.manifest.digest)),
                Err(failure) => tell(&failure),
            }
            manifests.extend(images_of_releases(&app)?);
            match Record::read(&app) {
                Ok(record) => manifests.extend(record.map(|record| record.manifest.digest)),
                Err(failure) => tell(&failure),
            }
            if let Some(images) = in_use::images_of(printer, &app)? {
                manifests.extend(images);
                needed.running.insert(app.name.as_str().to_owned());
            }
        }
        for image in Images::of(store).all()? {
            match image {
                Ok((image, _)) => drop(manifests.insert(image.manifest.digest)),
                Err(failure) => tell(&failure),
            }
        }
        for index in NamedIndex::all(store)? {
            let added = index.and_then(|index| needed.add_index(store, &index.manifest));
            added.unwrap_or_else(|failure| tell(&failure));
        }
        needed.add_addons(store)?;
        for manifest in &manifests {
            needed
                .add_image(store, manifest)
                .unwrap_or_else(|failure| tell(&failure));
        }
        needed.is_partial = is_partial.get();
        Ok(needed)
    }

    /// What servers of add-ons run in, now or when they are started next.
    fn add_addons(&mut self, store: &Store) -> Result<(), Failure> {
        let reading = || "cannot list the add-ons".to_owned();
        let addons = Addons::new(store.root());
        for addon in addons.all().or_fail(Exit::Store, reading)? {
            let name = format!("{}{}", addon_root::PREFIX, addon.service);
            if let Some(root) = AddonRoot::read(store, &name)? {
                self.roots.insert(root.diff_id.hex());
            }
            self.services.insert(name);
        }
        let running = addons.roots_in_use().or_fail(Exit::Store, reading)?;
        self.roots.extend(running);
        Ok(())
    }

    /// An index with its images, of which the store may have no layers.
    fn add_index(&mut self, store: &Store, manifest: &Descriptor) -> Result<(), Failure> {
        self.blobs.insert(manifest.digest);
        let reading = || format!("cannot read the index {}", manifest.digest);
        let bytes = store.blobs().read(&manifest.digest);
        let index: Index = serde_json::from_slice(&bytes.or_fail(Exit::Store, reading)?)
            .or_fail(Exit::Store, reading)?;
        for entry in &index.manifests {
            self.add_image(store, &entry.digest)?;
        }
        Ok(())
    }

    /// A blob that is missing already needs nothing: the next build makes it again.
    fn add_image(&mut self, store: &Store, manifest: &Digest) -> Result<(), Failure> {
        self.blobs.insert(*manifest);
        let there = store
            .blobs()
            .contains(manifest)
            .or_fail(Exit::Store, || format!("cannot look for {manifest}"))?;
        if !there {
            return Ok(());
        }
        let image = Image::load(store.blobs(), manifest)
            .or_fail(Exit::Store, || format!("cannot read the image {manifest}"))?;
        self.blobs.insert(image.manifest.config.digest);
        self.blobs
            .extend(image.manifest.layers.iter().map(|layer| layer.digest));
        self.roots
            .extend(image.config.rootfs.diff_ids.iter().map(Digest::hex));
        Ok(())
    }
}

/// What an app runs, and what it can be rolled back to.
fn images_of_releases(app: &App) -> Result<Vec<Digest>, Failure> {
    let name = app.name.as_str();
    let read = || Ok::<_, StateError>((app.state().newest(KEPT)?, app.state().current()?));
    let (newest, current) = read()
        .or_fail(Exit::Store, || {
            format!("cannot tell which images {name} can be rolled back to")
        })
        .map_err(|failure| {
            failure.hint(format!(
                "nothing was removed; mend or remove that file, or forget the app: slugc cache prune -a {name}"
            ))
        })?;
    let releases = newest.into_iter().chain(current);
    Ok(releases
        .filter_map(|release| Some(release.image?.manifest.digest))
        .collect())
}

fn all_blobs(store: &Store) -> Result<Vec<(Digest, u64)>, Failure> {
    let listing = || "cannot list the store's blobs".to_owned();
    store
        .blobs()
        .iter()
        .or_fail(Exit::Store, listing)?
        .collect::<Result<_, _>>()
        .or_fail(Exit::Store, listing)
}

/// What the disk gives to a tree, in bytes; `closed` is told what cannot be looked into.
fn disk_usage(folder: &Path, closed: &mut Vec<PathBuf>) -> Result<u64, Failure> {
    let mut seen = BTreeSet::new();
    add_usage(folder, &mut seen, closed).or_fail(Exit::Store, || {
        format!("cannot measure {}", folder.display())
    })
}

fn add_usage(
    path: &Path,
    seen: &mut BTreeSet<u64>,
    closed: &mut Vec<PathBuf>,
) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let meta = match fs::symlink_metadata(path) {
        // Another command removed it meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        meta => meta?,
    };
    if meta.nlink() > 1 && !meta.is_dir() && !seen.insert(meta.ino()) {
        return Ok(0);
    }
    let mut total = meta.blocks() * 512;
    if meta.is_dir() {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(total),
            // A buildpack closed it to everybody.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                closed.push(path.to_owned());
                return Ok(total);
            }
            entries => entries?,
        };
        for entry in entries {
            total += match add_usage(&entry?.path(), seen, closed) {
                // It can be listed, but not entered.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    closed.push(path.to_owned());
                    return Ok(total);
                }
                size => size?,
            };
        }
    }
    Ok(total)
}

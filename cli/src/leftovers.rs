//! What killed commands left half written in the store. [`sweep`] is `cache prune`'s, which holds the store's lock
//! alone: what is written under that lock is nobody's any more.

use crate::app::App;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::{self, Store};
use slug_runtime::addons::{Addons, is_running};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What names of files begin with that are going to be renamed.
const STAGED: &str = ".tmp";
/// What names of files in the user's editor begin with: config vars.
pub(crate) const EDITED: &str = ".tmp-config-";
/// Supervisors and `ps:scale` write small files without the store's lock, each in an instant.
const ABANDONED: Duration = Duration::from_hours(1);

/// Removes it all.
pub(crate) fn sweep(store: &Store) -> Result<(), Failure> {
    let at_once = Duration::ZERO;
    for app in App::all(store)? {
        remove(app.folder(), ".layers-", at_once)?;
        // A file in an editor may be older than a slow writer's.
        if remove_edited(&app)? {
            remove(app.folder(), STAGED, ABANDONED)?;
        }
        remove(&app.folder().join("releases"), STAGED, ABANDONED)?;
    }
    for name in store::folders(&store.stacks())? {
        remove(&store.stack(&name), STAGED, at_once)?;
    }
    // What a killed command unpacked there. Settings are written there without the store's lock.
    remove(store.root(), STAGED, ABANDONED)?;
    for folder in entries(store.root(), STAGED)? {
        if folder.is_dir() {
            store::remove_tree(&folder)?;
        }
    }
    let of_images = ["", "pushed", "indexes"].map(|name| store.images().join(name));
    for folder in of_images.into_iter().chain([store.parts()]) {
        remove(&folder, STAGED, at_once)?;
    }
    sweep_addons(store)
}

/// Removes files that were open in editors of killed commands; none, and false, while somebody edits.
pub(crate) fn remove_edited(app: &App) -> Result<bool, Failure> {
    if entries(app.folder(), EDITED)?.is_empty() {
        return Ok(true);
    }
    let Some(_lock) = store::try_lock(&app.edit_lock_file())? else {
        return Ok(false);
    };
    remove(app.folder(), EDITED, Duration::ZERO)?;
    Ok(true)
}

/// Dumps that were not finished, and add-ons whose making or removal was not.
fn sweep_addons(store: &Store) -> Result<(), Failure> {
    let addons = Addons::new(store.root());
    let folder = store.addons();
    if !folder.is_dir() {
        return Ok(());
    }
    for name in store::folders(&folder)? {
        let folder = folder.join(&name);
        remove(&folder, STAGED, Duration::ZERO)?;
        remove(&folder.join("backups"), STAGED, Duration::ZERO)?;
        let is_one = folder.join("addon.json").exists();
        if !is_one
            && !is_running(&addons, &name).or_fail(Exit::Store, || {
                format!("cannot find out whether {name} runs")
            })?
        {
            store::remove_tree(&folder)?;
        }
    }
    Ok(())
}

/// Removes what begins so and has not been written to for that long, in one folder, which may not be there.
fn remove(folder: &Path, prefix: &str, age: Duration) -> Result<(), Failure> {
    let now = SystemTime::now();
    for path in entries(folder, prefix)? {
        let removing = || format!("cannot remove {}", path.display());
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata.or_fail(Exit::Store, removing)?,
        };
        let modified = metadata.modified().or_fail(Exit::Store, removing)?;
        let is_old = age.is_zero() || now.duration_since(modified).is_ok_and(|since| since >= age);
        if !is_old {
            continue;
        }
        if metadata.is_dir() {
            store::remove_tree(&path)?;
            continue;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done.or_fail(Exit::Store, removing)?,
        }
    }
    Ok(())
}

fn entries(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>, Failure> {
    let listing = || format!("cannot list {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.or_fail(Exit::Store, listing)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.or_fail(Exit::Store, listing)?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes())
        {
            found.push(entry.path());
        }
    }
    Ok(found)
}

//! `pg:backups`, `pg:backups:capture`, `download` and `restore`.

use super::confirm::confirm;
use super::database::{Connection, copy_out, run_to_end};
use super::find::World;
use crate::args::{DatabaseArgs, DownloadArgs, RestoreArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::Printer;
use crate::ui::size;
use slug_runtime::addons::{Addon, Service};
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A dump in an add-on's folder: `backups/b001.dump`.
struct Backup {
    number: u32,
    path: PathBuf,
    bytes: u64,
    made: jiff::Timestamp,
}

impl Backup {
    fn id(&self) -> String {
        format!("b{:03}", self.number)
    }
}

pub(super) fn list(printer: &Printer, args: &DatabaseArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Postgres, args.addon.as_deref())?;
    let backups = backups(&world, &addon)?;
    if backups.is_empty() {
        printer.result(&format!("No backups of {}", addon.name));
    }
    for backup in backups.iter().rev() {
        printer.result(&format!(
            "{}  {}  {:>9}  {}",
            backup.id(),
            backup.made.strftime("%Y-%m-%d %H:%M:%S +0000"),
            size::bytes(backup.bytes),
            addon.name
        ));
    }
    Ok(())
}

pub(super) fn capture(printer: &Printer, args: &DatabaseArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Postgres, args.addon.as_deref())?;
    let folder = folder(&world, &addon);
    let writing = || format!("cannot write a backup to {}", folder.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .or_fail(Exit::Store, writing)?;
    let number = backups(&world, &addon)?
        .last()
        .map_or(1, |newest| newest.number + 1);
    let _in_use = world.start(printer, &addon)?;
    let staged = tempfile::NamedTempFile::new_in(&folder).or_fail(Exit::Store, writing)?;
    let stdout = staged.as_file().try_clone().or_fail(Exit::Store, writing)?;
    let words = ["pg_dump", "--format=custom", "--no-owner", "--no-acl"].map(str::to_owned);
    run_to_end(
        &world,
        &addon,
        &words,
        &Connection::of(&addon).env(),
        None,
        Some(stdout),
    )?;
    staged.as_file().sync_all().or_fail(Exit::Store, writing)?;
    let bytes = staged
        .as_file()
        .metadata()
        .or_fail(Exit::Store, writing)?
        .len();
    let path = folder.join(format!("b{number:03}.dump"));
    staged
        .persist_noclobber(&path)
        .or_fail(Exit::Store, writing)?;
    printer.result(&format!(
        "Backed up {} to b{number:03} ({})",
        addon.name,
        size::bytes(bytes)
    ));
    Ok(())
}

pub(super) fn download(printer: &Printer, args: &DownloadArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Postgres, None)?;
    let backup = find(&world, &addon, args.backup.as_deref())?;
    copy_out(open(&backup.path)?, &args.output)?;
    printer.result(&format!(
        "Wrote {} of {} to {}",
        backup.id(),
        addon.name,
        args.output.display()
    ));
    Ok(())
}

pub(super) fn restore(printer: &Printer, args: &RestoreArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Postgres, args.addon.as_deref())?;
    let (shown, path) = match args.backup.as_deref() {
        Some(file) if Path::new(file).is_file() => (file.to_owned(), PathBuf::from(file)),
        wanted => {
            let backup = find(&world, &addon, wanted)?;
            (backup.id(), backup.path)
        }
    };
    let dump = open(&path)?;
    confirm(
        printer,
        world.app_name(),
        args.confirm.as_deref(),
        &format!("this replaces all data of {} by {shown}", addon.name),
        &format!("pg:backups:restore {shown}"),
    )?;
    let _in_use = world.start(printer, &addon)?;
    // In one transaction: what cannot be restored whole leaves everything as it was.
    let words = [
        "pg_restore".to_owned(),
        "--clean".to_owned(),
        "--if-exists".to_owned(),
        "--no-owner".to_owned(),
        "--no-acl".to_owned(),
        "--single-transaction".to_owned(),
        format!("--dbname={}", addon.database),
    ];
    run_to_end(
        &world,
        &addon,
        &words,
        &Connection::of(&addon).env(),
        Some(dump),
        None,
    )?;
    printer.result(&format!("Restored {shown} to {}", addon.name));
    Ok(())
}

fn folder(world: &World, addon: &Addon) -> PathBuf {
    world.addons.folder(&addon.name).join("backups")
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).or_fail(Exit::Input, || format!("cannot read {}", path.display()))
}

/// The one that is named, else the newest.
fn find(world: &World, addon: &Addon, wanted: Option<&str>) -> Result<Backup, Failure> {
    let mut backups = backups(world, addon)?;
    let found = match wanted {
        None => backups.pop(),
        Some(wanted) => backups.into_iter().find(|backup| backup.id() == wanted),
    };
    found.ok_or_else(|| {
        let what = wanted.map_or_else(|| "no backup".to_owned(), |id| format!("no backup {id}"));
        Failure::new(Exit::Input, format!("there is {what} of {}", addon.name))
            .hint("slugc pg:backups lists them, slugc pg:backups:capture makes one")
    })
}

/// Every backup, oldest first.
fn backups(world: &World, addon: &Addon) -> Result<Vec<Backup>, Failure> {
    let folder = folder(world, addon);
    let listing = || format!("cannot list {}", folder.display());
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.or_fail(Exit::Store, listing)?,
    };
    let mut backups = Vec::new();
    for entry in entries {
        let entry = entry.or_fail(Exit::Store, listing)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| {
            let number = name.strip_prefix('b')?.strip_suffix(".dump")?;
            number.parse().ok()
        });
        if let Some(number) = number {
            let metadata = entry.metadata().or_fail(Exit::Store, listing)?;
            let made = metadata.modified().or_fail(Exit::Store, listing)?;
            backups.push(Backup {
                number,
                path: entry.path(),
                bytes: metadata.len(),
                made: made.try_into().or_fail(Exit::Store, listing)?,
            });
        }
    }
    backups.sort_by_key(|backup| backup.number);
    Ok(backups)
}

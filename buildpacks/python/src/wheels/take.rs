//! Takes an app's packages from the wheel store: asks the platform to have them there, then copies what the app's
//! environment lacks, each file checked against its digest, and removes what nobody asks for any more.
//!
//! Copies, not links: the app's own code may write to its layers while it is built, and a link would lead into the store.

use super::{DESCRIPTION, Identity, OFFER_VARIABLE, ORDERS, Order, Stocked, is_shared};
use crate::files::without_detours;
use crate::interpreter::Interpreter;
use crate::layers::uv::UV_VERSION;
use crate::layers::{SEALED_VARIABLE, venv};
use crate::project::Plan;
use crate::records::{self, Installed};
use crate::requirements::normalized;
use crate::{PythonBuildpack, bytecode, files, fingerprint, log};
use libcnb::build::BuildContext;
use libcnb::{Env, Platform as _};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// In the offered folder while somebody looks for orders.
const OPEN: &str = "open";
/// What an order's number is followed by when it was carried out, or will not be.
const DONE: &str = "done";
const DECLINED: &str = "declined";
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The second order is for what the first one's install had damaged.
const ORDERS_AT_MOST: usize = 2;
/// How much of a file is in memory at once, in bytes.
const BLOCK: usize = 1 << 18;

/// What is wanted.
pub(crate) struct Wish<'a> {
    pub(crate) plan: &'a Plan,
    /// uv's version.
    pub(crate) version: &'a str,
    pub(crate) python: &'a Interpreter,
    /// The user's variables over the buildpack's.
    pub(crate) env: &'a Env,
    /// Whether everything is to be asked for again.
    pub(crate) refresh: bool,
}

/// What came of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// The environment has just the packages that are asked for.
    Complete,
    /// Nothing was done.
    None,
    /// The environment is in between.
    Broken,
}

/// A platform's offer to have packages in the wheel store.
pub(crate) struct Offer<'a> {
    wish: Wish<'a>,
    /// Where installs appear.
    folder: PathBuf,
    orders: PathBuf,
    venv: &'a Path,
}

/// A file to be copied.
struct Copy<'a> {
    package: &'a OsString,
    from: PathBuf,
    to: PathBuf,
    expected: Expected,
}

/// What a file's SHA-256 has to be.
enum Expected {
    Anything,
    /// As in a `RECORD`.
    Base64(String),
    Hex(String),
}

impl<'a> Offer<'a> {
    /// The offer, where there is one and the app's packages are such as apps share.
    pub(crate) fn find(
        context: &BuildContext<PythonBuildpack>,
        wish: Wish<'a>,
        venv: &'a Path,
    ) -> Option<Self> {
        let env = context.platform.env();
        let folder = PathBuf::from(env.get(OFFER_VARIABLE)?);
        let orders = Path::new(env.get(SEALED_VARIABLE)?).join(ORDERS);
        let is_one = folder.join(OPEN).exists()
            && wish.version == UV_VERSION
            && !wish.python.executable.starts_with(&context.layers_dir)
            && is_shared(wish.plan, &context.app_dir);
        is_one.then_some(Self {
            wish,
            folder,
            orders,
            venv,
        })
    }

    /// Brings the environment to what is wanted.
    pub(crate) fn supply(&self) -> io::Result<Supply> {
        let mut order = Order {
            refresh: self.wish.refresh,
            damaged: BTreeSet::new(),
            of: Identity::new(self.wish.python, self.wish.plan, self.wish.env),
        };
        let mut supply = Supply::None;
        for number in 1..=ORDERS_AT_MOST {
            let Some((folder, stocked)) = self.ask(number, &order)? else {
                return Ok(supply);
            };
            supply = Supply::Broken;
            let damaged = self.take(&folder, &stocked)?;
            if damaged.is_empty() {
                return Ok(Supply::Complete);
            }
            for package in &damaged {
                log::step(format!(
                    "The wheel store's {package} is not what it was: it is fetched anew."
                ));
            }
            order.damaged = damaged;
        }
        Ok(supply)
    }

    /// Has an install made, and waits for it.
    fn ask(&self, number: usize, order: &Order) -> io::Result<Option<(PathBuf, Stocked)>> {
        fs::create_dir_all(&self.orders)?;
        let path = self.orders.join(number.to_string());
        let staged = path.with_extension("new");
        fs::write(&staged, serde_json::to_vec(order)?)?;
        fs::rename(&staged, &path)?;
        let folder = self.folder.join(number.to_string());
        loop {
            if folder.with_extension(DECLINED).exists() {
                return Ok(None);
            }
            if folder.with_extension(DONE).exists() {
                break;
            }
            if !self.folder.join(OPEN).exists() {
                return Ok(None);
            }
            thread::sleep(LOOK_AGAIN);
        }
        let stocked: Stocked = serde_json::from_slice(&fs::read(folder.join(DESCRIPTION))?)?;
        Ok((stocked.of == order.of).then_some((folder, stocked)))
    }

    /// Makes the environment hold what an install holds; returns the names of packages whose files are not what their
    /// digests say, after which none of the new ones is there.
    fn take(&self, folder: &Path, stocked: &Stocked) -> io::Result<BTreeSet<String>> {
        let theirs = folder.join("venv");
        let there = venv::site_packages(&theirs, self.wish.python);
        let here = venv::site_packages(self.venv, self.wish.python);
        let (before, wanted) = (records::installed(&here)?, records::installed(&there)?);
        let is_plain = !records::share_files(&before);
        let mut new = BTreeSet::new();
        for name in wanted.keys() {
            let record = Path::new(name).join("RECORD");
            let is_same = is_plain
                && before.contains_key(name)
                && fs::read(here.join(&record))? == fs::read(there.join(&record))?;
            if !is_same {
                new.insert(name);
            }
        }
        let stale: Vec<&OsString> = before
            .keys()
            .filter(|name| !wanted.contains_key(*name) || new.contains(name))
            .collect();
        self.remove(&here, &before, &stale)?;
        let (copies, mut damaged) = self.copies(&theirs, &there, stocked, &new)?;
        if damaged.is_empty() {
            damaged = copy_all(&copies)?;
        }
        if !damaged.is_empty() {
            for copy in &copies {
                files::remove_if_there(&copy.to)?;
            }
            return Ok(damaged);
        }
        tell(stocked, &stale, &new, wanted.len());
        Ok(damaged)
    }

    fn remove(&self, here: &Path, installed: &Installed, names: &[&OsString]) -> io::Result<()> {
        let tag = self.wish.python.bytecode_tag.clone();
        let mut folders = BTreeSet::new();
        for package in names.iter().filter_map(|name| installed.get(*name)) {
            for module in venv::modules(here, package) {
                let bytecode = bytecode::place(&module, &tag);
                files::remove_if_there(&bytecode)?;
                folders.extend(bytecode.parent().map(Path::to_path_buf));
            }
            for file in &package.files {
                let path = without_detours(&here.join(file));
                if path.starts_with(self.venv) {
                    files::remove_if_there(&path)?;
                    folders.extend(path.parent().map(Path::to_path_buf));
                }
            }
        }
        let (inside, outside) = folders
            .into_iter()
            .partition(|folder: &PathBuf| folder.starts_with(here));
        files::remove_empty(here, &inside)?;
        files::remove_empty(self.venv, &outside)
    }

    /// All files of the packages named, with the names of packages that claim one outside of the environment.
    fn copies<'n>(
        &self,
        theirs: &Path,
        there: &Path,
        stocked: &Stocked,
        names: &BTreeSet<&'n OsString>,
    ) -> io::Result<(Vec<Copy<'n>>, BTreeSet<String>)> {
        let (mut copies, mut outside) = (Vec::new(), BTreeSet::new());
        let mut seen = BTreeSet::new();
        let nothing = BTreeMap::new();
        for name in names {
            let record = fs::read(there.join(name).join("RECORD"))?;
            let bytecode = stocked
                .bytecode
                .get(&*name.to_string_lossy())
                .unwrap_or(&nothing);
            let files = records::entries(&record).into_iter().map(|entry| {
                let expected = entry.sha256.map_or(Expected::Anything, Expected::Base64);
                (entry.path, expected)
            });
            let compiled = bytecode
                .iter()
                .filter(|(_, digest)| !digest.is_empty())
                .map(|(path, digest)| (path.clone(), Expected::Hex(digest.clone())));
            for (path, expected) in files.chain(compiled) {
                let from = without_detours(&there.join(path));
                let Ok(inside) = from.strip_prefix(theirs) else {
                    outside.insert(package(name).0);
                    continue;
                };
                if !seen.insert(from.clone()) {
                    continue;
                }
                copies.push(Copy {
                    package: name,
                    to: self.venv.join(inside),
                    from,
                    expected,
                });
            }
        }
        Ok((copies, outside))
    }
}

/// Says what uv would say of an environment that it brings up to date.
fn tell(stocked: &Stocked, stale: &[&OsString], new: &BTreeSet<&OsString>, all: usize) {
    for line in stocked.said.lines() {
        if !line.starts_with(" + ") {
            log::step(line);
        }
    }
    let of = |names: &mut dyn Iterator<Item = &&OsString>, sign: char| -> Vec<(String, String)> {
        names
            .map(|name| {
                let (name, version) = package(name);
                (format!("{name}=={version}"), format!(" {sign} "))
            })
            .collect()
    };
    let mut changes = of(&mut stale.iter(), '-');
    changes.extend(of(&mut new.iter(), '+'));
    changes.sort();
    for (package, sign) in changes {
        log::step(format!("{sign}{package}"));
    }
    log::step(format!(
        "Took {} of {all} packages from the wheel store.",
        new.len()
    ));
    if stocked.compiled > 0 {
        log::step(format!(
            "Compiled {} modules to bytecode.",
            stocked.compiled
        ));
    }
}

/// Name and version of a `.dist-info` folder.
fn package(folder: &OsString) -> (String, String) {
    let folder = folder.to_string_lossy();
    let stem = folder.strip_suffix(".dist-info").unwrap_or(&folder);
    let (name, version) = stem.split_once('-').unwrap_or((stem, ""));
    (normalized(name), version.to_owned())
}

/// Copies on all processors; returns the names of packages with files that are not what they have to be.
fn copy_all(copies: &[Copy]) -> io::Result<BTreeSet<String>> {
    let folders: BTreeSet<&Path> = copies.iter().filter_map(|copy| copy.to.parent()).collect();
    for folder in folders {
        fs::create_dir_all(folder)?;
    }
    let next = AtomicUsize::new(0);
    let damaged = Mutex::new(BTreeSet::new());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || {
            let mut block = vec![0; BLOCK];
            while let Some(copy) = copies.get(next.fetch_add(1, Ordering::Relaxed)) {
                if !copy.run(&mut block)?
                    && let Ok(mut damaged) = damaged.lock()
                {
                    damaged.insert(package(copy.package).0);
                }
            }
            Ok(())
        };
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    })?;
    damaged
        .into_inner()
        .map_err(|_| io::Error::other("a thread panicked"))
}

impl Copy<'_> {
    /// Copies the file with its mode; whether it is what it has to be.
    fn run(&self, block: &mut [u8]) -> io::Result<bool> {
        let mut source = match File::open(&self.from) {
            // The record lies.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            source => source?,
        };
        let metadata = source.metadata()?;
        if !metadata.is_file() {
            return Ok(false);
        }
        files::remove_if_there(&self.to)?;
        let mut target = File::create_new(&self.to)?;
        let mut hash = Sha256::new();
        loop {
            let count = source.read(block)?;
            if count == 0 {
                break;
            }
            hash.update(&block[..count]);
            target.write_all(&block[..count])?;
        }
        target.set_permissions(metadata.permissions())?;
        let digest = hash.finalize();
        Ok(match &self.expected {
            Expected::Anything => true,
            Expected::Base64(expected) => fingerprint::base64_url(&digest) == *expected,
            Expected::Hex(expected) => fingerprint::hex(&digest) == *expected,
        })
    }
}

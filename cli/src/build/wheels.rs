//! The wheel store: packages of Python apps, unpacked and compiled once for all apps of the user.
//!
//! No app's code gets to write to it. A build that wants packages orders them, by a file in the folder that it shares
//! with slugc. slugc then starts the Python buildpack once more, in a sandbox of its own that sees the source and the
//! requirements and runs none of it: nothing is built from source, no hook, no Django, no other buildpack. That sandbox
//! alone may write to the store; the build sees what came of it read-only, checks it and copies it.
//!
//! ```text
//! wheels/<key>/uv/…, bytecode/…      what the buildpack keeps; key: the stack and where packages come from
//! wheels/<key>/installs/<app>/<n>/   what an order gave, for one build
//! ```

use crate::build::Request;
use crate::build::buildpacks::Buildpacks;
use crate::build::foundation::Foundation;
use crate::build::phases::{LOOK_AGAIN, Phases};
use crate::build::sandboxed::{self, BUILDPACKS, HOME, LAYERS, PLATFORM, Workplace};
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::parts::Parts;
use crate::store::{self, Store};
use crate::tools;
use crate::ui::error::chain;
use cnb_spec::env_vars;
use cnb_spec::target::oci_architecture;
use oci_image::Digest;
use rustix::fs::{Mode, OFlags};
use sandbox::{Mount, Root, Sandbox, Stream, Tier, Writable};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Where builds see what was ordered.
pub(crate) const OFFERED: &str = "/cnb/wheels";
/// With which an app asks for it.
const ASKED: &str = "BP_SHARED_WHEELS";
/// Tells a build where.
pub(crate) const VARIABLE: &str = "BP_WHEELS_DIR";
/// Where the store is while it is stocked.
const STORE: &str = "/cnb/wheel-store";
/// What the Python buildpack is told there: the store's folder, and what is ordered.
const STORE_VARIABLE: &str = "BP_WHEEL_STORE";
const ORDER_VARIABLE: &str = "BP_WHEEL_ORDER";
/// In the folder for layers that are done: orders by their numbers.
const ORDERS: &str = "wheels";
/// So many orders a build may give: the second is for what was found to be damaged.
const ORDERS_AT_MOST: usize = 2;
/// An order is a list of names of packages.
const LONGEST_ORDER: u64 = 64 * 1024;
/// What no build used for so long is removed by `slugc cache prune`.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// Raised when what is kept changes.
const LAYOUT: &str = "2";

/// Settings of installers that say where packages come from: each set of values has a store of its own.
const SOURCES: [&str; 6] = [
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_INDEX_URL",
];
/// Settings that change nothing of what is installed.
const HARMLESS: [&str; 2] = ["PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT"];
/// Whom downloads trust.
const TRUST: [&str; 3] = ["REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"];

/// In the offered folder while somebody looks for orders.
const OPEN: &str = "open";

/// Takes the offer back however serving it ends, so that no build waits for ever. Removing works on a full disk.
struct Closing(PathBuf);

impl Drop for Closing {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// The store, for one build.
#[derive(Debug)]
pub(crate) struct Wheels {
    /// With everything that was made of the same sources for the same stack.
    folder: PathBuf,
    installs: PathBuf,
    /// Of the app, which is a folder's name as well.
    app: String,
    /// The Python buildpack's folder, and its place below the buildpacks' folder inside.
    buildpack: (PathBuf, String),
    /// Its folder for layers.
    layers: String,
}

/// Whether the app takes part: for few packages, installing them anew is quicker than the store's detours.
fn is_asked_for(env: &BTreeMap<String, String>) -> bool {
    let value = env
        .get(ASKED)
        .map(|value| value.trim().to_ascii_lowercase());
    value.is_some_and(|value| !matches!(&*value, "" | "0" | "false" | "no" | "off"))
}

impl Wheels {
    /// Prepares the store for a build; none where its settings or its sandbox are such that others can't share it.
    pub(super) fn offer(
        store: &Store,
        parts: &Parts,
        request: &Request<'_>,
        buildpacks: &Buildpacks,
        stack: &Foundation,
    ) -> Result<Option<Self>, Failure> {
        if !is_asked_for(request.env) {
            return Ok(None);
        }
        // A program that is only kept from writing by Landlock or its owner could change what it reads.
        let is_closed = matches!(sandbox::tier(), Tier::Root | Tier::UserNamespace);
        // Another builder's Python is not ours to vouch for.
        let is_own = stack.lifecycle.is_none() && stack.name == debian_stack::DEFAULT;
        let own = parts.buildpack("python");
        let mounted = buildpacks
            .mounts()
            .iter()
            .find(|(folder, _)| *folder == own);
        let (Some(mounted), Some(sources)) = (mounted, sources(request.env)) else {
            return Ok(None);
        };
        if !is_closed || !is_own {
            return Ok(None);
        }
        let key =
            Digest::of(format!("{LAYOUT}\n{}\n{sources}", stack.build_image).as_bytes()).hex();
        let folder = store.wheels().join(&key[..16]);
        let app = request.app.name.as_str().to_owned();
        let installs = folder.join("installs").join(&app);
        // A killed build left it.
        store::remove_tree(&installs)?;
        let making = || format!("cannot make the wheel store {}", folder.display());
        fs::create_dir_all(&installs).or_fail(Exit::Store, making)?;
        let (uid, gid) = sandbox::host_ids(stack.uid, stack.gid);
        sandboxed::own(&folder, 0, uid, gid).or_fail(Exit::Store, making)?;
        // Buildpacks wait for what they order only where somebody looks for it.
        File::create(installs.join(OPEN)).or_fail(Exit::Store, making)?;
        let buildpack = mounted.clone();
        let layers = buildpack.1.split('/').next().unwrap_or_default().to_owned();
        Ok(Some(Self {
            folder,
            installs,
            app,
            buildpack,
            layers,
        }))
    }

    /// What stands behind [`OFFERED`].
    pub(super) fn installs(&self) -> &Path {
        &self.installs
    }

    /// Carries out a build's orders until the sender of `ended` is gone.
    pub(super) fn serve(
        &self,
        phases: &Phases<'_>,
        work: &Workplace,
        ended: &Receiver<Infallible>,
    ) {
        let _closing = Closing(self.installs.join(OPEN));
        let mut number = 1;
        while number <= ORDERS_AT_MOST
            && ended.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Timeout)
        {
            let Some(order) = read_order(&work.sealed().join(ORDERS).join(number.to_string()))
            else {
                continue;
            };
            let stocked = self.stock(phases, work, number, order);
            let end = match &stocked {
                Ok(()) => "done",
                Err(failure) => {
                    let why = format!("Not from the wheel store: {}", chain(failure));
                    phases.printer.detail(&why);
                    "declined"
                }
            };
            if File::create(self.installs.join(format!("{number}.{end}"))).is_err() {
                break;
            }
            number += 1;
        }
    }

    /// Has the Python buildpack install the app's packages into the store.
    fn stock(
        &self,
        phases: &Phases<'_>,
        work: &Workplace,
        number: usize,
        order: String,
    ) -> Result<(), Failure> {
        let stack = phases.stack;
        // Fetched by this very build, perhaps.
        tools::keep(phases.store, phases.parts, &phases.request.app.layers())?;
        let install = self.installs.join(number.to_string());
        let preparing = || format!("cannot prepare {}", install.display());
        let layers = work.layers_of_stocking(number);
        fs::create_dir_all(&install).or_fail(Exit::Store, preparing)?;
        fs::create_dir_all(&layers).or_fail(Exit::Store, preparing)?;
        fs::write(install.join("plan.toml"), "entries = []\n").or_fail(Exit::Store, preparing)?;
        let inside = Path::new(STORE)
            .join("installs")
            .join(&self.app)
            .join(number.to_string());
        // The environment has the path that it will have in the image, and lies in the store all the same, where its
        // files can be links.
        symlink(&inside, layers.join(&self.layers)).or_fail(Exit::Store, preparing)?;
        let (uid, gid) = sandbox::host_ids(stack.uid, stack.gid);
        sandboxed::own(&install, 1, uid, gid).or_fail(Exit::Store, preparing)?;
        let said = install.join("log");
        let log = File::create(&said).or_fail(Exit::Store, preparing)?;

        let sandbox = self.sandbox(phases, work, &layers, order, log)?;
        let starting = || "cannot stock the wheel store".to_owned();
        let mut child = sandbox::spawn(&sandbox).or_fail(Exit::Sandbox, starting)?;
        drop(sandbox);
        let status = child.wait().or_fail(Exit::Sandbox, starting)?;
        if sandbox::exit_code(status) == 0 {
            return Ok(());
        }
        let said = fs::read(&said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        Err(Failure::new(
            Exit::General,
            last.unwrap_or("the buildpack failed").trim().to_owned(),
        ))
    }

    fn sandbox(
        &self,
        phases: &Phases<'_>,
        work: &Workplace,
        layers: &Path,
        order: String,
        log: File,
    ) -> Result<Sandbox, Failure> {
        let (stack, surroundings) = (phases.stack, phases.request.surroundings);
        let (folder, place) = &self.buildpack;
        let buildpack = Path::new(BUILDPACKS).join(place);
        let own_layers = Path::new(LAYERS).join(&self.layers);
        let plan = own_layers.join("plan.toml");
        let root = Root {
            lower: stack.lowers.clone(),
            writable: Writable::Tmpfs,
        };
        let argv = [
            &buildpack.join("bin/build"),
            &own_layers,
            Path::new(PLATFORM),
            &plan,
        ];
        let mut sandbox = Sandbox::new(root, argv.map(OsString::from).to_vec());
        sandbox.uid = stack.uid;
        sandbox.gid = stack.gid;
        "slugc-wheels".clone_into(&mut sandbox.hostname);
        sandbox.cwd = PathBuf::from(&surroundings.workspace);
        sandbox.network = surroundings.network;
        sandbox.tmpfs.push(PathBuf::from(HOME));
        let text = |path: &Path| path.display().to_string();
        let architecture = oci_architecture(std::env::consts::ARCH);
        let variables = [
            (env_vars::BUILDPACK_DIR, text(&buildpack)),
            (env_vars::LAYERS_DIR, text(&own_layers)),
            (env_vars::PLATFORM_DIR, PLATFORM.to_owned()),
            (env_vars::BP_PLAN_PATH, text(&plan)),
            (env_vars::TARGET_OS, "linux".to_owned()),
            (env_vars::TARGET_ARCH, architecture.to_owned()),
            (env_vars::TARGET_DISTRO_NAME, stack.name.clone()),
            (env_vars::TARGET_DISTRO_VERSION, String::new()),
            (tools::VARIABLE, tools::INSIDE.to_owned()),
            (STORE_VARIABLE, STORE.to_owned()),
            (ORDER_VARIABLE, order),
        ];
        let mut env = sandboxed::common_environment(stack);
        env.extend(variables.map(|(name, value)| (name.into(), value.into())));
        sandbox.env = env.into_iter().collect();
        sandbox.stdin = Stream::Null;
        let copy = log.try_clone().or_fail(Exit::General, || {
            "cannot share the log of the wheel store".to_owned()
        })?;
        sandbox.stdout = Stream::Fd(log.into());
        sandbox.stderr = Stream::Fd(copy.into());
        sandbox.mounts = vec![
            Mount::read_only(work.app(), &surroundings.workspace),
            Mount::read_only(layers, LAYERS),
            Mount::read_only(work.platform(), PLATFORM),
            Mount::read_write(&self.folder, STORE),
            Mount::read_only(folder, buildpack),
            Mount::read_only(phases.store.tools(), tools::INSIDE),
        ];
        sandbox.mounts.extend(host::network_mounts());
        Ok(sandbox)
    }

    /// Removes what was made for this build, which nobody has to wait for.
    pub(super) fn sweep(&self) -> JoinHandle<()> {
        let installs = self.installs.clone();
        std::thread::spawn(move || drop(store::remove_tree(&installs)))
    }
}

/// What of a build's variables says where packages come from; none where they say it in a way that cannot be shared.
fn sources(env: &BTreeMap<String, String>) -> Option<String> {
    let mut text = String::new();
    for (name, value) in env {
        let name = name.as_str();
        let is_setting = name.starts_with("PIP_") || name.starts_with("UV_");
        if SOURCES.contains(&name) {
            // A folder of the app's would be another one for each app.
            if !value.split_whitespace().all(is_address) {
                return None;
            }
            text = format!("{text}{name}\0{value}\0");
        } else if TRUST.contains(&name) || is_setting && !HARMLESS.contains(&name) {
            return None;
        }
    }
    Some(text)
}

/// Whether this is the address of an index, for uv perhaps after a name for it.
fn is_address(index: &str) -> bool {
    let address = match index.split_once('=') {
        Some((name, address))
            if name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) =>
        {
            address
        }
        _ => index,
    };
    address.starts_with("https://") || address.starts_with("http://")
}

/// The order, if it is there. Build code wrote it: it is opened for what it seems to be, and not read for ever.
fn read_order(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST_ORDER).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Removes what no build used for long. The store's lock is held alone.
pub(crate) fn prune(store: &Store) -> Result<(), Failure> {
    let now = SystemTime::now();
    for name in store::folders(&store.wheels())? {
        let folder = store.wheels().join(name);
        store::remove_tree(&folder.join("installs"))?;
        let mut used = BTreeSet::new();
        for (path, modified) in entries(&folder.join("bytecode"))? {
            if now.duration_since(modified).is_ok_and(|since| since > KEPT) {
                fs::remove_file(&path)
                    .or_fail(Exit::Store, || format!("cannot remove {}", path.display()))?;
            } else if let Ok(note) = fs::read(&path)
                && let Ok(note) = serde_json::from_slice::<Value>(&note)
            {
                used.extend(
                    note.get("archive")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
            }
        }
        if used.is_empty() {
            store::remove_tree(&folder)?;
            continue;
        }
        let mut archives = entries(&folder.join("uv/archive-v0"))?;
        archives.extend(entries(&folder.join("uv-locked/archive-v0"))?);
        for (path, _) in archives {
            let is_used = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| used.contains(name));
            if !is_used {
                store::remove_tree(&path)?;
            }
        }
    }
    Ok(())
}

/// What is in a folder that may not be there, with the times of the last changes.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, SystemTime)>, Failure> {
    let listing = || format!("cannot list {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.or_fail(Exit::Store, listing)?,
    };
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.metadata()?.modified()?))
        })
        .collect::<std::io::Result<_>>()
        .or_fail(Exit::Store, listing)
}

#[cfg(test)]
#[path = "wheels_tests.rs"]
mod tests;

//! What differs from one kind of server to the next, and the sandbox that all of them run in.

use super::error::AddonError;
use super::record::Addon;
use super::service::Service;
use super::store::Addons;
use super::{kafka, postgres, redis};
use sandbox::{Mount, Network, Root, Sandbox, Signal, Stream, Writable};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whom servers run as; the recipes of their roots give the number a name. `PostgreSQL` refuses uid 0.
pub(super) const UID: u32 = 60_520;

/// Where a server's own files are, inside.
pub(super) const DATA: &str = "/srv";

/// Where Kafka's programs are, inside.
pub(super) const PROGRAMS: &str = "/opt";

/// A kind of server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// A line for the shell that fills [`DATA`], which is empty; finds `ADDON_…` in its environment.
    pub(super) setup: &'static str,
    /// The server's command line.
    pub(super) argv: fn(&Addon) -> Vec<String>,
    /// Whether the server answers by now.
    pub(super) answers: fn(&Addon) -> bool,
    /// What makes it stop cleanly.
    pub(super) stop: Signal,
    /// How long it may take to be ready: recovery after a crash is included.
    pub(super) patience: Duration,
}

pub(super) fn kind(service: Service) -> Kind {
    match service {
        Service::Postgres => postgres::KIND,
        Service::Redis => redis::KIND,
        Service::Kafka => kafka::KIND,
    }
}

/// The directories that a server or a client of it sees.
pub(super) fn root(addons: &Addons, service: Service) -> Result<(Root, Vec<Mount>), AddonError> {
    let root = Root {
        lower: vec![addons.root(service)?],
        writable: Writable::Tmpfs,
    };
    let mut mounts = Vec::new();
    if service == Service::Kafka {
        let programs: PathBuf = addons.recipe_folder(service).join(kafka::KAFKA_PROGRAMS);
        if !programs.is_dir() {
            return Err(AddonError::NoRoot { service });
        }
        mounts.push(Mount::read_only(programs, PROGRAMS));
    }
    Ok((root, mounts))
}

/// A sandbox in which `argv` runs as the server's user, with a data folder.
pub(super) fn sandbox(
    addons: &Addons,
    addon: &Addon,
    data: &Path,
    argv: Vec<String>,
) -> Result<Sandbox, AddonError> {
    let (root, mut mounts) = root(addons, addon.service)?;
    mounts.push(Mount::read_write(data, DATA));
    let mut sandbox = Sandbox::new(root, argv.into_iter().map(OsString::from).collect());
    sandbox.uid = UID;
    sandbox.gid = UID;
    sandbox.hostname.clone_from(&addon.name);
    sandbox.cwd = DATA.into();
    sandbox.env = environment()
        .chain([("HOME".into(), "/home/addon".into())])
        .collect();
    sandbox.mounts = mounts;
    sandbox.network = Network::Host;
    sandbox.stdin = Stream::Null;
    Ok(sandbox)
}

/// What every program in an add-on's root is told.
pub(super) fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    [
        (
            "PATH",
            "/usr/lib/postgresql/17/bin:/usr/lib/jvm/default-java/bin:/usr/local/bin:/usr/bin:/bin",
        ),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value.into()))
}

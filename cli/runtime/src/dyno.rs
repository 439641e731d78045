//! One dyno: what the sandbox has to be for a command of an image.

use crate::bindings::{self, Binding, BindingError};
use crate::control_groups::{Bound, Group};
use crate::metadata::Metadata;
use crate::names::{self, DynoName};
use crate::processes::Command;
use crate::scratch::{Scratch, private_folder};
use crate::size::Size;
use crate::user::{self, User, UserError};
use oci_image::Image;
use rustix::fs::{Gid, OFlags, Uid};
use sandbox::{Mount, Root, Sandbox, Writable};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};

/// Where Docker looks for programs when the image doesn't say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much memory a dyno is to use, in MiB; what Heroku's own Python buildpack calls it.
const DYNO_RAM: &str = "DYNO_RAM";
/// Where Debian's programs look for certificates of authorities.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Files of the host that a dyno sees, read-only: its network is the host's.
#[derive(Debug, Clone, Default)]
pub struct HostFiles {
    /// Name servers, for /etc/resolv.conf.
    pub resolv_conf: Option<PathBuf>,
    /// Names of hosts; a dyno finds a copy with its own name added at /etc/hosts.
    pub hosts: Option<PathBuf>,
    /// Certificates of authorities in PEM, for /etc/ssl/certs/ca-certificates.crt.
    pub ca_bundle: Option<PathBuf>,
    /// Service bindings, which dynos find below [`bindings::INSIDE`].
    pub bindings: Vec<Binding>,
}

/// What all dynos of an app have in common. Not `Debug`: config vars are secrets.
#[derive(Clone, Copy)]
pub struct App<'a> {
    pub image: &'a Image,
    /// The image's unpacked layers, topmost first: [`crate::roots::Roots::lowers`].
    pub lowers: &'a [PathBuf],
    /// The app's config vars. They win over the image's environment, not over `PORT` and `DYNO`.
    pub config_vars: &'a BTreeMap<String, String>,
    /// What dynos find in `HEROKU_…` variables, if there is a release.
    pub metadata: Option<&'a Metadata>,
    pub host: &'a HostFiles,
    /// The dyno's size, where it has one.
    pub bound: Option<Bound<'a>>,
    /// A folder for what dynos write, each in a folder of its own that goes with it. What killed
    /// dynos leave there is removed by the next one.
    pub run_dir: &'a Path,
}

/// A sandbox ready to be spawned, with what has to outlive it.
pub(crate) struct Prepared {
    pub(crate) sandbox: Sandbox,
    /// Without any effect where the dyno has no size.
    pub(crate) group: Group,
    pub(crate) scratch: Scratch,
}

/// Why a dyno could not be prepared or started.
#[derive(Debug, thiserror::Error)]
pub enum DynoError {
    #[error("cannot find out who the dyno runs as")]
    User { source: UserError },
    #[error("cannot prepare the dyno's own files in {}", path.display())]
    Scratch { path: PathBuf, source: io::Error },
    #[error("cannot read the host's {}", path.display())]
    HostFile { path: PathBuf, source: io::Error },
    #[error("cannot make a control group for the dyno {name}, whose size is {size}")]
    ControlGroup {
        name: DynoName,
        size: Size,
        source: io::Error,
    },
    #[error(transparent)]
    Binding(#[from] BindingError),
    #[error("cannot start `{command}` in a dyno")]
    Start {
        command: String,
        source: sandbox::Error,
    },
    #[error("cannot watch the dyno {name}")]
    Watch { name: DynoName, source: io::Error },
}

/// Builds the sandbox of a dyno. `port` is for web dynos only, `terminal` is the value of `TERM`
/// for dynos with a terminal.
pub(crate) fn prepare(
    app: &App<'_>,
    name: &DynoName,
    command: &Command,
    port: Option<u16>,
    terminal: Option<&str>,
) -> Result<Prepared, DynoError> {
    let config = &app.image.config.config;
    let user =
        user::resolve(&config.user, app.lowers).map_err(|source| DynoError::User { source })?;
    let in_run_dir = |source| DynoError::Scratch {
        path: app.run_dir.to_owned(),
        source,
    };
    let scratch = Scratch::create(app.run_dir, &name.to_string()).map_err(in_run_dir)?;
    let cwd = match config.working_dir.as_str() {
        "" => Path::new("/"),
        path => Path::new(path),
    };
    let writable = writable(scratch.path(), app.run_dir).map_err(in_run_dir)?;
    if let Writable::Dir { upper, .. } = &writable
        && sandbox::tier().keeps_ids()
        && user.uid != 0
    {
        for folder in [&user.home, cwd] {
            hand_over(folder, &user, app.lowers, upper).map_err(in_run_dir)?;
        }
    }
    let root = Root {
        lower: app.lowers.to_vec(),
        writable,
    };
    let argv = command.argv.iter().map(OsString::from).collect();
    let mut sandbox = Sandbox::new(root, argv);
    sandbox.uid = user.uid;
    sandbox.gid = user.gid;
    sandbox.hostname = name.to_string();
    sandbox.cwd = Path::new("/").join(cwd);
    sandbox.env = environment(app, name, &user, port, terminal);
    sandbox.mounts = mounts(app.host, name, scratch.path())?;
    if !app.host.bindings.is_empty() {
        let folder = scratch.path().join("bindings");
        let owner = sandbox::host_ids(user.uid, user.gid);
        bindings::make_folder(&folder, owner).map_err(in_run_dir)?;
        for binding in &app.host.bindings {
            binding.copy(&folder, owner)?;
        }
        sandbox
            .mounts
            .push(Mount::read_only(folder, bindings::INSIDE));
        sandbox
            .env
            .push((bindings::VARIABLE.into(), bindings::INSIDE.into()));
    }
    let group = match app.bound {
        Some(bound) => bounded(&mut sandbox, bound, name)?,
        None => Group::default(),
    };
    Ok(Prepared {
        sandbox,
        group,
        scratch,
    })
}

/// Keeps a dyno to its size.
fn bounded(sandbox: &mut Sandbox, bound: Bound<'_>, name: &DynoName) -> Result<Group, DynoError> {
    let Bound { size, groups } = bound;
    let failed = |source| DynoError::ControlGroup {
        name: name.clone(),
        size,
        source,
    };
    let group = groups.group(&name.to_string(), size).map_err(failed)?;
    sandbox.control_groups = group.entrances().map_err(failed)?;
    Ok(group)
}

/// Exactly the image's environment and the app's; nothing of the host's.
fn environment(
    app: &App<'_>,
    name: &DynoName,
    user: &User,
    port: Option<u16>,
    terminal: Option<&str>,
) -> Vec<(OsString, OsString)> {
    let home = user.home.as_os_str().to_owned();
    let mut env: BTreeMap<OsString, OsString> =
        BTreeMap::from([("HOME".into(), home), ("PATH".into(), DEFAULT_PATH.into())]);
    if let Some(terminal) = terminal {
        env.insert("TERM".into(), terminal.into());
    }
    let of_image = app.image.config.config.env.iter();
    env.extend(of_image.filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.into(), value.into()))
    }));
    env.extend(
        app.config_vars
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    if let Some(metadata) = app.metadata {
        let facts = metadata.variables().into_iter();
        env.extend(facts.map(|(name, value)| (name.into(), value.into())));
        env.insert("HEROKU_DYNO_ID".into(), names::dyno_id().into());
    }
    if let Some(bound) = app.bound {
        let mebibytes = bound.size.memory() >> 20;
        env.entry(DYNO_RAM.into())
            .or_insert_with(|| mebibytes.to_string().into());
    }
    env.insert("DYNO".into(), name.to_string().into());
    env.remove(OsString::from("PORT").as_os_str());
    if let Some(port) = port {
        env.insert("PORT".into(), port.to_string().into());
    }
    env.into_iter().collect()
}

fn mounts(host: &HostFiles, name: &DynoName, scratch: &Path) -> Result<Vec<Mount>, DynoError> {
    let mut mounts = Vec::new();
    if let Some(path) = &host.resolv_conf {
        mounts.push(Mount::read_only(path, "/etc/resolv.conf"));
    }
    if let Some(path) = &host.ca_bundle {
        mounts.push(Mount::read_only(path, CA_BUNDLE));
    }
    let known = match &host.hosts {
        Some(path) => fs::read(path).map_err(|source| DynoError::HostFile {
            path: path.clone(),
            source,
        })?,
        None => b"127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_vec(),
    };
    // Servers look up their own host's name as they start; a name server would take its time.
    let own = format!("\n127.0.1.1\t{name}\n").into_bytes();
    let hosts = scratch.join("hosts");
    fs::write(&hosts, [known, own].concat())
        .and_then(|()| fs::set_permissions(&hosts, Permissions::from_mode(0o644)))
        .map_err(|source| DynoError::Scratch {
            path: hosts.clone(),
            source,
        })?;
    mounts.push(Mount::read_only(hosts, "/etc/hosts"));
    Ok(mounts)
}

/// Where a dyno's writes go: to disk if the file system can hold them, else to memory. Where there
/// are no overlays, to a tree on disk that stays for the app's next dynos.
fn writable(scratch: &Path, run_dir: &Path) -> io::Result<Writable> {
    let trees = sandbox::tier().lays_out_trees();
    if !trees && !holds_overlays(scratch)? {
        return Ok(Writable::Tmpfs);
    }
    let upper = scratch.join("upper");
    let work = if trees {
        run_dir.with_file_name("trees").join("run")
    } else {
        scratch.join("work")
    };
    // The upper folder's own mode is that of `/` in the dyno.
    DirBuilder::new().mode(0o755).create(&upper)?;
    fs::set_permissions(&upper, Permissions::from_mode(0o755))?;
    private_folder(&work)?;
    Ok(Writable::Dir { upper, work })
}

/// Whether overlayfs takes a folder of this file system as its upper one (overlayfs.rst, "Upper
/// and lower filesystems"): it refuses itself and what lives on other machines or in user space.
fn holds_overlays(folder: &Path) -> io::Result<bool> {
    const OVERLAYFS: u64 = 0x794c_7630;
    const NFS: u64 = 0x6969;
    const SMB2: u64 = 0xfe53_4d42;
    const FUSE: u64 = 0x6573_5546;
    const NINE_P: u64 = 0x0102_1997;
    let kind = u64::try_from(rustix::fs::statfs(folder)?.f_type).unwrap_or_default();
    // Some file systems' magic numbers have the 32nd bit set, which some platforms extend.
    Ok(![OVERLAYFS, NFS, SMB2, FUSE, NINE_P].contains(&(kind & 0xffff_ffff)))
}

/// Makes a folder of the image belong to the dyno's user. In the store layers belong to whoever
/// unpacked them; where that is root and the dyno's user is somebody else, that user could write
/// neither at home nor in the app's folder.
fn hand_over(folder: &Path, user: &User, lowers: &[PathBuf], upper: &Path) -> io::Result<()> {
    let mut inside = PathBuf::new();
    let names: Vec<_> = folder
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    for (index, name) in names.iter().enumerate() {
        inside.push(name);
        let Some(existing) = folder_in(lowers, &inside)? else {
            return Ok(());
        };
        let path = upper.join(&inside);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => done?,
        }
        let (uid, gid) = if index + 1 == names.len() {
            sandbox::host_ids(user.uid, user.gid)
        } else {
            (existing.uid(), existing.gid())
        };
        chown(&path, Some(uid), Some(gid))?;
        fs::set_permissions(&path, existing.permissions())?;
    }
    Ok(())
}

/// The topmost layer's folder at a path inside, when it is one.
fn folder_in(lowers: &[PathBuf], inside: &Path) -> io::Result<Option<fs::Metadata>> {
    let Some(inside) = inside.to_str() else {
        return Ok(None);
    };
    for layer in lowers {
        if let Some(found) = user::open_beneath(layer, inside, OFlags::PATH)? {
            let metadata = fs::File::from(found).metadata()?;
            return Ok(metadata.is_dir().then_some(metadata));
        }
    }
    Ok(None)
}

/// Gives a pipe or terminal to the dyno's user, who may want to open it again as /dev/stdout.
pub(crate) fn give(descriptor: impl std::os::fd::AsFd, sandbox: &Sandbox) -> io::Result<()> {
    if !sandbox::tier().keeps_ids() {
        return Ok(());
    }
    let (uid, gid) = sandbox::host_ids(sandbox.uid, sandbox.gid);
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::fchown(descriptor, Some(uid), Some(gid))?;
    Ok(())
}

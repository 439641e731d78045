//! The tier without namespaces: the program runs in the caller's own root, as lifecycle does inside
//! a build image, and Landlock limits what it may write.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};
use rustix::io::Errno;

use crate::error::Error;
use crate::spec::{Access, Network, Sandbox, Writable};
use crate::step::check;
use crate::tier;

/// The newest version of Landlock whose rules are asked for; what an older kernel lacks is left out.
const NEWEST: ABI = ABI::V6;

/// What programs write to besides their mounts.
const ALWAYS_WRITABLE: [&str; 9] = [
    "/tmp",
    "/var/tmp",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];

/// Whether this tier can do what is asked; see [`crate::spawn()`] for the rules.
pub(crate) fn require_possible(sandbox: &Sandbox) -> Result<(), Error> {
    let wanted = if sandbox
        .root
        .lower
        .iter()
        .any(|lower| lower != Path::new("/"))
    {
        String::from("a root of its own")
    } else if matches!(sandbox.root.writable, Writable::Dir { .. }) {
        String::from("keeping the root's changes")
    } else if sandbox.network == Network::None {
        String::from("a network of its own")
    } else if sandbox.uid == 0 && !rustix::process::geteuid().is_root() {
        String::from("user 0")
    } else if let Some(path) = sandbox.tmpfs.first() {
        format!("an in-memory {}", path.display())
    } else if let Some(mount) = sandbox
        .mounts
        .iter()
        .find(|mount| mount.source != mount.target)
    {
        format!(
            "mounting {} at {}",
            mount.source.display(),
            mount.target.display()
        )
    } else {
        return Ok(());
    };
    Err(Error::NeedsNamespaces {
        wanted,
        refusals: tier::probe().refusals.clone(),
    })
}

/// The rules: everything may be read and executed, only read-write mounts and [`ALWAYS_WRITABLE`] be
/// written; signals and abstract sockets end at the sandbox's border where the kernel knows how.
pub(crate) fn ruleset(sandbox: &Sandbox) -> io::Result<OwnedFd> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .map_err(io::Error::other)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    let root = PathFd::new("/").map_err(io::Error::other)?;
    ruleset = ruleset
        .add_rule(PathBeneath::new(root, AccessFs::from_read(NEWEST)))
        .map_err(io::Error::other)?;
    let mounts = sandbox
        .mounts
        .iter()
        .filter(|mount| mount.access == Access::ReadWrite);
    let mounts = mounts.map(|mount| mount.source.as_path());
    for path in ALWAYS_WRITABLE
        .into_iter()
        .map(Path::new)
        .filter(|path| path.exists())
        .chain(mounts)
    {
        let place = PathFd::new(path).map_err(io::Error::other)?;
        let access = if path.is_dir() {
            AccessFs::from_all(NEWEST)
        } else {
            AccessFs::from_file(NEWEST)
        };
        ruleset = ruleset
            .add_rule(PathBeneath::new(place, access))
            .map_err(io::Error::other)?;
    }
    let fd: Option<OwnedFd> = ruleset.into();
    fd.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The rules of a laid-out root: everything may be done in it, nothing outside of it, and signals
/// and abstract sockets end at the sandbox's border. None where the kernel lacks Landlock, or has
/// the first version, which forbids to rename files across directories.
pub(crate) fn within(root: &Path, network: Network) -> io::Result<Option<OwnedFd>> {
    if !is_supported() {
        return Ok(None);
    }
    let place = PathFd::new(root).map_err(io::Error::other)?;
    let ruleset = confinement(network)?
        .add_rule(PathBeneath::new(place, AccessFs::from_all(NEWEST)))
        .map_err(io::Error::other)?;
    Ok(ruleset.into())
}

/// Forbids all that this kernel's Landlock watches; rules then allow some of it.
fn confinement(network: Network) -> io::Result<RulesetCreated> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .map_err(io::Error::other)?;
    if network == Network::None {
        ruleset = ruleset
            .handle_access(AccessNet::from_all(NEWEST))
            .map_err(io::Error::other)?;
    }
    ruleset.create().map_err(io::Error::other)
}

/// Whether the kernel has Landlock in a version that lets files be renamed across directories.
pub(crate) fn is_supported() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)
        .and_then(Ruleset::create)
        .is_ok()
}

/// The rules of a view put together of places: some may be read and executed, in others everything
/// be done; signals and abstract sockets end at the sandbox's border where the kernel knows how.
pub(crate) fn places<'a>(
    readable: impl Iterator<Item = &'a Path>,
    writable: impl Iterator<Item = &'a Path>,
    network: Network,
) -> io::Result<OwnedFd> {
    let mut ruleset = confinement(network)?;
    let rules = readable
        .map(|path| (path, AccessFs::from_read(NEWEST)))
        .chain(writable.map(|path| (path, AccessFs::from_all(NEWEST))));
    for (path, access) in rules {
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(NEWEST)
        };
        let place = PathFd::new(path).map_err(io::Error::other)?;
        ruleset = ruleset
            .add_rule(PathBeneath::new(place, access))
            .map_err(io::Error::other)?;
    }
    let fd: Option<OwnedFd> = ruleset.into();
    fd.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Puts this process and its children under the rules, for good.
pub(crate) fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}

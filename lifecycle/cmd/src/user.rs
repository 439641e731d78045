//! Rights: what root does before it becomes the build's user (Platform API, "Run as root").

use crate::Failure;
use cnb_spec::exit_code;
use oci_image::Owner;
use rustix::fs::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

/// Makes folders with all below them the user's, if this is root and the user may not write to them.
pub(crate) fn hand_over(owner: Owner, folders: &[&Path]) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for folder in folders {
        let handed = match folder.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // One that has the right owner is taken for one whose files have, too: looking at all of them takes long.
            Ok(metadata) if may_write(owner, &metadata) => continue,
            Ok(_) => give(folder, owner),
            Err(error) => Err(error),
        };
        handed.map_err(|error| {
            Failure::new(
                exit_code::FAILED,
                format!(
                    "failed to chown volumes: {} cannot become the build user's: {error}",
                    folder.display()
                ),
            )
        })?;
    }
    Ok(())
}

fn may_write(owner: Owner, metadata: &Metadata) -> bool {
    let mode = metadata.mode();
    metadata.uid() == owner.uid
        || (metadata.gid() == owner.gid && mode & 0o020 != 0)
        || mode & 0o002 != 0
}

fn give(path: &Path, owner: Owner) -> io::Result<()> {
    lchown(path, Some(owner.uid), Some(owner.gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in path.read_dir()? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

/// Becomes the user for good. There must be no other thread yet: the kernel changes only this one.
pub(crate) fn become_user(owner: Owner) -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    let already = rustix::process::getuid() == uid
        && rustix::process::geteuid() == uid
        && rustix::process::getgid() == gid;
    if already {
        return Ok(());
    }
    let change = || -> rustix::io::Result<()> {
        if rustix::process::geteuid().is_root() {
            set_thread_groups(&[gid])?;
        }
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    };
    change().map_err(|error| {
        Failure::new(
            exit_code::FAILED,
            format!(
                "failed to exec as user {}:{}: {error}",
                owner.uid, owner.gid
            ),
        )
    })
}

/// Sets `HOME` and `USER` to those of a user, as logging in would.
pub(crate) fn set_home(env: &mut Vec<(OsString, OsString)>, uid: u32) -> Result<(), Failure> {
    let failed = |why: &str| {
        Failure::new(
            exit_code::FAILED,
            format!("failed to set environment for user {uid}: {why}"),
        )
    };
    let users = std::fs::read_to_string("/etc/passwd")
        .map_err(|error| failed(&format!("/etc/passwd cannot be read: {error}")))?;
    let found = users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_user = fields.get(2)?.parse() == Ok(uid);
        is_user.then_some((*fields.first()?, *fields.get(5)?))
    });
    let Some((name, home)) = found else {
        return Err(failed("/etc/passwd does not have it"));
    };
    for (variable, value) in [("HOME", home), ("USER", name)] {
        env.retain(|(name, _)| name != variable);
        env.push((variable.into(), value.into()));
    }
    Ok(())
}

//! Ids and capabilities of the new processes.

use std::ffi::CStr;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::plan::{IdMaps, Plan};
use crate::spec::Tier;
use crate::step::check;

/// What uid 0 keeps, to configure packages: the same in every tier, so that scripts take the same
/// turns. No MKNOD, SETFCAP or `SYS_ADMIN`.
const ROOT_KEEPS: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// Maps one inside id to the caller's own, in the new user namespace.
///
/// `user_namespaces(7)`: without privileges the group map may only be written after setgroups is denied.
pub(crate) fn map_ids(maps: &IdMaps) -> Result<(), Errno> {
    write_all(c"/proc/self/setgroups", b"deny")?;
    write_all(c"/proc/self/uid_map", &maps.uid)?;
    write_all(c"/proc/self/gid_map", &maps.gid)
}

fn write_all(path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // These files take their content in one write or not at all.
    if rustix::io::write(&file, content)? == content.len() {
        Ok(())
    } else {
        Err(Errno::IO)
    }
}

/// Keeps others from reading this process' memory, which is a copy of the caller's.
pub(crate) fn hide() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Makes this process the program's user without the privileges to become anyone else.
pub(crate) fn become_program(plan: &Plan) -> Result<(), Errno> {
    let keep = match plan.tier {
        _ if !plan.uid.is_root() => CapabilitySet::empty(),
        Tier::Root | Tier::UserNamespace => ROOT_KEEPS,
        // With SYS_CHROOT it could leave. A container may have taken others from the caller already.
        Tier::Chroot => ROOT_KEEPS
            .difference(CapabilitySet::SYS_CHROOT)
            .intersection(permitted()?),
        Tier::Traced | Tier::Landlock => CapabilitySet::empty(),
    };
    drop_bounding_set(plan, keep)?;
    set_ids(plan)?;
    hold(keep)?;
    set_no_new_privs(true)
}

/// What this process may use.
pub(crate) fn permitted() -> Result<CapabilitySet, Errno> {
    Ok(rustix::thread::capabilities(None)?.permitted)
}

/// Makes init the program's user, who may still signal whatever user the program turns into. With a
/// chroot it stays root: the program sees it and could kill a process of its own user.
pub(crate) fn become_init(plan: &Plan) -> Result<(), Errno> {
    if plan.tier != Tier::Chroot {
        set_keep_capabilities(true)?;
        set_ids(plan)?;
        set_keep_capabilities(false)?;
    }
    if matches!(plan.tier, Tier::Traced | Tier::Landlock) {
        hold(CapabilitySet::empty())?;
    } else {
        hold(CapabilitySet::KILL)?;
    }
    set_no_new_privs(true)?;
    // Changing ids resets it.
    hide()
}

fn set_ids(plan: &Plan) -> Result<(), Errno> {
    if plan.set_ids {
        set_thread_groups(&plan.groups)?;
        set_thread_res_gid(plan.gid, plan.gid, plan.gid)?;
        set_thread_res_uid(plan.uid, plan.uid, plan.uid)?;
    }
    Ok(())
}

fn hold(capabilities: CapabilitySet) -> Result<(), Errno> {
    set_capabilities(
        None,
        CapabilitySets {
            effective: capabilities,
            permitted: capabilities,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    match rustix::thread::clear_ambient_capability_set() {
        // Before Linux 4.3 there was none.
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}

fn drop_bounding_set(plan: &Plan, keep: CapabilitySet) -> Result<(), Errno> {
    for number in 0..64 {
        if keep.bits() & (1 << number) != 0 {
            continue;
        }
        // SAFETY: takes numbers only.
        match check(libc::c_long::from(unsafe {
            libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0)
        })) {
            Ok(_) => {}
            // Past the kernel's last capability.
            Err(Errno::INVAL) => break,
            // A plain user has nothing to drop; no_new_privs keeps it so.
            Err(Errno::PERM) if !plan.tier.has_namespaces() => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

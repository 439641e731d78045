//! What an ordinary container does to its root, without a container: Docker's capabilities, and no
//! namespaces.

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;
use std::process::{Child, Command};

/// Those that Docker leaves to a container's root by default.
const KEPT: [CapabilitySet; 14] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FSETID,
    CapabilitySet::FOWNER,
    CapabilitySet::MKNOD,
    CapabilitySet::NET_RAW,
    CapabilitySet::SETGID,
    CapabilitySet::SETUID,
    CapabilitySet::SETFCAP,
    CapabilitySet::SETPCAP,
    CapabilitySet::NET_BIND_SERVICE,
    CapabilitySet::SYS_CHROOT,
    CapabilitySet::KILL,
    CapabilitySet::AUDIT_WRITE,
];

/// Starts a command that may not make namespaces. A thread of its own is confined, and what it
/// starts inherits that.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    std::thread::scope(|scope| {
        let confined = scope.spawn(|| {
            confine().map_err(io::Error::other)?;
            command.spawn()
        });
        confined
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn confine() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for number in 0..64 {
        let Some(capability) = CapabilitySet::from_bits(1 << number) else {
            continue;
        };
        if KEPT.contains(&capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // Past the kernel's last one.
            Err(rustix::io::Errno::INVAL) => {}
            other => other?,
        }
    }
    let mut refused: BTreeMap<_, _> = [
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
    ]
    .map(|number| (number, Vec::new()))
    .into();
    let namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    let rules = namespaces.into_iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        let condition = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(flag),
            flag,
        )?;
        SeccompRule::new(vec![condition])
    });
    refused.insert(libc::SYS_clone, rules.collect::<Result<_, _>>()?);
    // Its flags are out of a filter's sight; Docker's own refuses it alike.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, errno) in [(absent, libc::ENOSYS), (refused, libc::EPERM)] {
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(errno.unsigned_abs()),
            TargetArch::try_from(std::env::consts::ARCH)?,
        )?;
        seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    }
    Ok(())
}

//! Which system calls stop for the tracer, and which are refused because it could not follow them.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::{answers, paths, sockets};
use crate::program;

/// Ways to name files that came later and have forerunners, to which C libraries fall back; and
/// ways around the tracer's view that nobody needs.
const ABSENT: [c_long; 11] = [
    libc::SYS_openat2,
    libc::SYS_execveat,
    libc::SYS_fchmodat2,
    libc::SYS_name_to_handle_at,
    STATMOUNT,
    LISTMOUNT,
    463, // setxattrat
    464, // getxattrat
    465, // listxattrat
    466, // removexattrat
    467, // open_tree_attr
];
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;

/// The first of those that no kernel had when this was written.
const UNKNOWN: u32 = 468;

/// Another tracer, or a hand in this one's memory.
const REFUSED: [c_long; 3] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    libc::SYS_chroot,
];

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` of seccomp(2).
const LISTENER: u64 = 1 << 3;

/// Installs the filters in this process, for good. The next call that names a file stops for the tracer.
pub(super) fn install() -> io::Result<()> {
    for program in programs().map_err(io::Error::other)? {
        program::install(&program)?;
    }
    Ok(())
}

fn programs() -> Result<Vec<BpfProgram>, Box<dyn std::error::Error + Send + Sync>> {
    let all = |numbers: &[c_long]| -> BTreeMap<c_long, Vec<SeccompRule>> {
        numbers.iter().map(|number| (*number, Vec::new())).collect()
    };
    let errno = |errno: Errno| SeccompAction::Errno(errno.raw_os_error().unsigned_abs());
    let mut traced: BTreeMap<c_long, Vec<SeccompRule>> = paths::calls()
        .chain(answers::CALLS)
        .chain(sockets::CALLS)
        .chain([libc::SYS_execve])
        .map(|number| (number, Vec::new()))
        .collect();
    // Only with an address; connected sockets have none.
    let has_address = SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    traced.insert(libc::SYS_sendto, vec![SeccompRule::new(vec![has_address])?]);
    // A process that is not dumpable would be closed to its tracer.
    let undumpable = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::from(libc::PR_SET_DUMPABLE.unsigned_abs()),
    )?;
    // A filter that asks a process of the program's own would be asked instead of this tracer.
    let dword = |index, operator, value| {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
    };
    let set_filter = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    let asking = SeccompRule::new(vec![
        dword(0, SeccompCmpOp::Eq, set_filter)?,
        dword(1, SeccompCmpOp::MaskedEq(LISTENER), LISTENER)?,
    ])?;
    let asking = BTreeMap::from([(libc::SYS_seccomp, vec![asking])]);
    let pretended = BTreeMap::from([(libc::SYS_prctl, vec![SeccompRule::new(vec![undumpable])?])]);
    Ok(vec![
        compile(all(&ABSENT), errno(Errno::NOSYS))?,
        without_unknown()?,
        compile(all(&REFUSED), errno(Errno::PERM))?,
        compile(asking, errno(Errno::PERM))?,
        compile(pretended, SeccompAction::Errno(0))?,
        compile(traced, SeccompAction::Trace(0))?,
    ])
}

fn compile(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    action: SeccompAction,
) -> Result<BpfProgram, Box<dyn std::error::Error + Send + Sync>> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()?)
}

/// Whatever the future brings is not there.
fn without_unknown() -> Result<BpfProgram, std::num::TryFromIntError> {
    let instruction =
        |code: u32, jt, jf, k| u16::try_from(code).map(|code| sock_filter { code, jt, jf, k });
    let absent = libc::SECCOMP_RET_ERRNO | Errno::NOSYS.raw_os_error().unsigned_abs();
    [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, UNKNOWN),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, absent),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
    .into_iter()
    .collect()
}

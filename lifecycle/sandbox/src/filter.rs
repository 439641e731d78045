//! System-call filters.
//!
//! A deny list in the spirit of Docker's and systemd's: what is refused reaches for the kernel or
//! the host, not for the program's own work. Namespaces and missing capabilities refuse most of it
//! already; the filter shrinks what a kernel bug can be reached by.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use libc::{
    SYS_acct, SYS_add_key, SYS_bpf, SYS_clock_adjtime, SYS_clock_settime, SYS_clone, SYS_clone3,
    SYS_delete_module, SYS_fanotify_init, SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen,
    SYS_fspick, SYS_init_module, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup,
    SYS_ioctl, SYS_kexec_file_load, SYS_kexec_load, SYS_keyctl, SYS_lookup_dcookie, SYS_mount,
    SYS_mount_setattr, SYS_move_mount, SYS_nfsservctl, SYS_open_by_handle_at, SYS_open_tree,
    SYS_perf_event_open, SYS_pivot_root, SYS_quotactl, SYS_quotactl_fd, SYS_reboot,
    SYS_request_key, SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_settimeofday, SYS_swapoff,
    SYS_swapon, SYS_syslog, SYS_umount2, SYS_unshare, SYS_userfaultfd, SYS_vhangup, c_long,
};
use libc::{
    SYS_capset, SYS_fchown, SYS_fchownat, SYS_mknodat, SYS_setfsgid, SYS_setfsuid, SYS_setgid,
    SYS_setgroups, SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid, SYS_setuid,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use crate::spec::Filter;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Fail with EPERM.
const REFUSED: [c_long; 42] = [
    SYS_acct,
    SYS_add_key,
    SYS_bpf,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_nfsservctl,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pivot_root,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_reboot,
    SYS_request_key,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_userfaultfd,
    SYS_vhangup,
];

/// Not in the libc crate for every architecture: Linux 6.15's `open_tree_attr`.
const SYS_OPEN_TREE_ATTR: c_long = 467;

/// Do nothing and report success.
const FAKED: [c_long; 12] = [
    SYS_capset,
    SYS_fchown,
    SYS_fchownat,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setuid,
];

/// Calls that newer architectures never had.
#[cfg(target_arch = "x86_64")]
const FAKED_OLD: [c_long; 2] = [libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const FAKED_OLD: [c_long; 0] = [];

#[cfg(target_arch = "x86_64")]
const REFUSED_OLD: [c_long; 2] = [libc::SYS_ioperm, libc::SYS_iopl];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OLD: [c_long; 0] = [];

/// Flags of clone and unshare that make a namespace.
const NAMESPACES: [libc::c_int; 8] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWTIME,
];

/// ioctls that type into a terminal, whose other end is outside.
const INJECTIONS: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// The programs to install, in order; compiled once per process.
pub(crate) fn programs(filter: Filter) -> io::Result<Vec<&'static [sock_filter]>> {
    static REFUSALS: OnceLock<Vec<BpfProgram>> = OnceLock::new();
    static FAKES: OnceLock<Vec<BpfProgram>> = OnceLock::new();
    let mut programs = cached(&REFUSALS, refusals)?;
    match filter {
        Filter::Default => {}
        Filter::FakeOwnership => programs.extend(cached(&FAKES, fakes)?),
    }
    Ok(programs)
}

fn cached(
    cell: &'static OnceLock<Vec<BpfProgram>>,
    make: fn() -> Result<Vec<BpfProgram>, Box<dyn std::error::Error + Send + Sync>>,
) -> io::Result<Vec<&'static [sock_filter]>> {
    let programs = if let Some(programs) = cell.get() {
        programs
    } else {
        let compiled = make().map_err(io::Error::other)?;
        cell.get_or_init(|| compiled)
    };
    Ok(programs.iter().map(Vec::as_slice).collect())
}

fn refusals() -> Result<Vec<BpfProgram>, Box<dyn std::error::Error + Send + Sync>> {
    let mut refused = Rules::new();
    for number in REFUSED
        .into_iter()
        .chain(REFUSED_OLD)
        .chain([SYS_OPEN_TREE_ATTR])
    {
        refused.insert(number, Vec::new());
    }
    for number in [SYS_clone, SYS_unshare] {
        let rules = NAMESPACES.into_iter().map(|flag| {
            let flag = u64::from(flag.unsigned_abs());
            rule(0, SeccompCmpOp::MaskedEq(flag), flag)
        });
        refused.insert(number, rules.collect::<Result<_, _>>()?);
    }
    let injections = INJECTIONS
        .into_iter()
        .map(|request| rule(1, SeccompCmpOp::Eq, request));
    refused.insert(SYS_ioctl, injections.collect::<Result<_, _>>()?);
    // Its flags are behind a pointer, out of a filter's sight; the C library falls back to clone.
    let absent = Rules::from([(SYS_clone3, Vec::new())]);
    let mut programs = vec![
        compile(refused, SeccompAction::Errno(libc::EPERM.unsigned_abs()))?,
        compile(absent, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?,
    ];
    if cfg!(target_arch = "x86_64") {
        programs.push(without_x32()?);
    }
    Ok(programs)
}

fn fakes() -> Result<Vec<BpfProgram>, Box<dyn std::error::Error + Send + Sync>> {
    let mut faked = Rules::new();
    for number in FAKED.into_iter().chain(FAKED_OLD) {
        faked.insert(number, Vec::new());
    }
    let devices = |mode_argument| {
        [libc::S_IFCHR, libc::S_IFBLK]
            .into_iter()
            .map(|kind| {
                rule(
                    mode_argument,
                    SeccompCmpOp::MaskedEq(u64::from(libc::S_IFMT)),
                    u64::from(kind),
                )
            })
            .collect::<Result<Vec<_>, _>>()
    };
    faked.insert(SYS_mknodat, devices(2)?);
    #[cfg(target_arch = "x86_64")]
    faked.insert(libc::SYS_mknod, devices(1)?);
    Ok(vec![compile(faked, SeccompAction::Errno(0))?])
}

fn rule(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?])
}

fn compile(
    rules: Rules,
    action: SeccompAction,
) -> Result<BpfProgram, Box<dyn std::error::Error + Send + Sync>> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)?.try_into()?)
}

/// The x32 way to make the same calls: numbers with bit 30 set, which a list of numbers misses.
fn without_x32() -> Result<BpfProgram, std::num::TryFromIntError> {
    const X32: u32 = 0x4000_0000;
    let instruction =
        |code: u32, jt, jf, k| u16::try_from(code).map(|code| sock_filter { code, jt, jf, k });
    [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
    .into_iter()
    .collect()
}

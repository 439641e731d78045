//! The second process: becomes the program.

use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::fs::Mode;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Signal, ioctl_tiocsctty, set_parent_process_death_signal, setsid, umask};
use seccompiler::sock_filter;

use crate::landlocked;
use crate::plan::{Descriptors, EndedBy, Plan};
use crate::privileges;
use crate::step::{At, Failure, Step, check};
use crate::traced;

/// Comes back only if something failed.
pub(crate) fn become_it(plan: &Plan, descriptors: &Descriptors) -> Failure {
    let Err(failure) = prepare(plan, descriptors) else {
        return execute(plan);
    };
    failure
}

fn prepare(plan: &Plan, descriptors: &Descriptors) -> Result<(), Failure> {
    setsid().at(Step::Terminal)?;
    connect(descriptors.streams).at(Step::Streams)?;
    if plan.terminal {
        // SAFETY: standard input was just connected.
        ioctl_tiocsctty(unsafe { BorrowedFd::borrow_raw(0) }).at(Step::Terminal)?;
    }
    if let Some(tree) = &plan.tree {
        rustix::process::fchdir(&tree.root).at(Step::Chroot)?;
        rustix::process::chroot(c".").at(Step::Chroot)?;
    }
    privileges::become_program(plan).at(Step::Privileges)?;
    if plan.ended_by == EndedBy::Parent {
        // Changing ids resets it.
        set_parent_process_death_signal(Some(Signal::KILL)).at(Step::Privileges)?;
    }
    umask(Mode::from_raw_mode(0o022));
    close_on_exec().at(Step::Descriptors)?;
    if let Some(orders) = &plan.trace {
        // The tracer does the rest: it needs its own executable, which the rules do not show.
        let rules = plan.landlock.as_ref().ok_or(Errno::BADF);
        hand_over([
            descriptors.ready,
            orders.as_raw_fd(),
            rules.at(Step::Landlock)?.as_raw_fd(),
        ])
        .at(Step::Descriptors)?;
    } else {
        rustix::process::chdir(plan.program.cwd.as_c_str()).at(Step::WorkingDirectory)?;
        if let Some(ruleset) = &plan.landlock {
            landlocked::restrict_self(ruleset.as_fd()).at(Step::Landlock)?;
        }
    }
    default_signals().at(Step::Signals)?;
    for filter in &plan.filters {
        install(filter).at(Step::Filter)?;
    }
    Ok(())
}

/// Puts descriptors where the tracer looks for them, open across exec.
fn hand_over(descriptors: [RawFd; 3]) -> Result<(), Errno> {
    move_all(descriptors, traced::DESCRIPTORS)
}

/// Standard streams may come as any numbers, each other's too: first out of the way, then in place.
fn connect(streams: [RawFd; 3]) -> Result<(), Errno> {
    move_all(streams, [0, 1, 2])
}

fn move_all(from: [RawFd; 3], to: [RawFd; 3]) -> Result<(), Errno> {
    let mut moved = [const { None }; 3];
    for (moved, descriptor) in moved.iter_mut().zip(from) {
        // SAFETY: the caller left these open for this process.
        *moved = Some(fcntl_dupfd_cloexec(
            unsafe { BorrowedFd::borrow_raw(descriptor) },
            10,
        )?);
    }
    for (number, descriptor) in to.into_iter().zip(moved.iter().flatten()) {
        replace(descriptor.as_fd(), number)?;
    }
    Ok(())
}

/// dup2(2) onto a number that nothing in this process owns.
pub(crate) fn replace(source: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: the caller's promise about `number`; `source` is open.
    check(libc::c_long::from(unsafe {
        libc::dup2(source.as_raw_fd(), number)
    }))
    .map(drop)
}

fn close_on_exec() -> Result<(), Errno> {
    // SAFETY: only marks descriptors.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
    .map(drop)
}

/// Undoes what the caller ignores (Rust programs ignore SIGPIPE) and blocks.
fn default_signals() -> Result<(), Errno> {
    reset_handlers();
    // SAFETY: an all-zero set is the empty set, and the old one is not asked for.
    check(libc::c_long::from(unsafe {
        let empty: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut())
    }))
    .map(drop)
}

/// Every signal gets its default action.
pub(crate) fn reset_handlers() {
    for number in 1..=64 {
        // KILL, STOP and the C library's two refuse, and have nothing to reset.
        // SAFETY: installs no handler.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Installs a filter in this process, for good.
pub(crate) fn install(filter: &[sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the program is a sock_fprog over `filter`, whose items have the layout of libc's, and the kernel copies it.
    check(libc::c_long::from(unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
            0,
            0,
        )
    }))
    .map(drop)
}

fn execute(plan: &Plan) -> Failure {
    let program = &plan.program;
    let errno = execute_one_of(
        &program.candidates,
        program.argv.as_ptr(),
        program.env.as_ptr(),
    );
    Failure {
        step: Step::Exec,
        index: 0,
        errno,
    }
}

/// Comes back only if none of the candidates can be run. Both arrays end with NULL and point to C
/// strings.
pub(crate) fn execute_one_of(
    candidates: &[CString],
    argv: *const *const c_char,
    env: *const *const c_char,
) -> Errno {
    let mut worst = Errno::NOENT;
    for candidate in candidates {
        // SAFETY: the caller's promise about the arrays.
        let result = check(libc::c_long::from(unsafe {
            libc::execve(candidate.as_ptr(), argv, env)
        }));
        match result {
            // As execvp(3): a later directory of PATH may have a better one.
            Err(Errno::NOENT | Errno::NOTDIR) | Ok(_) => {}
            Err(Errno::ACCESS) => worst = Errno::ACCESS,
            Err(errno) => return errno,
        }
    }
    worst
}

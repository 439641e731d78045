//! One more program in a sandbox that runs.
//!
//! ```text
//! caller ── clone ──► joiner            joins the sandbox's namespaces
//!                      └── clone ──► program, drops privileges, execs
//! ```
//! Joining a pid namespace only counts for children, and joining a user namespace would change the
//! caller itself: hence the process in between. It stays to collect the program: a sandbox's init
//! cannot end before that is done, and the caller may be stopped, or busy.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, pidfd_open,
    set_parent_process_death_signal, waitid, waitpid,
};

use crate::error::Error;
use crate::init::{close_range, end, report};
use crate::plan::{Descriptors, EndedBy, Plan};
use crate::spawn::{Side, block_signals, explain, outcome, restore_signals};
use crate::spec::{Sandbox, Tier};
use crate::step::{At, Failure, Step, check};
use crate::{privileges, program, tier};

/// A program that was started in somebody else's sandbox. Dropping it kills it, and leaves the sandbox running.
#[derive(Debug)]
pub struct Visitor {
    /// The program's, which is that of its process group.
    pid: Pid,
    /// The joiner's, which ends right after the program.
    process: OwnedFd,
    /// Where the joiner tells the program's wait status.
    told: PipeReader,
    status: Option<ExitStatus>,
}

/// Starts a program in the sandbox whose init process (see [`crate::Child::pid`]) this is: it sees the
/// files, processes and host name of the sandbox, and ends with it, or with the thread that called this.
///
/// Of `visit` counts what is about the program: ids, environment, working directory, arguments,
/// filter, streams (no [`crate::Stream::Pipe`]) and terminal. Root, mounts and names are the sandbox's.
pub fn enter(init: u32, visit: &Sandbox) -> Result<Visitor, Error> {
    require_entrances()?;
    let gone = |source| Error::Gone { init, source };
    let (sandbox, namespaces) = namespaces_of(init).map_err(gone)?;
    let tier = if namespaces & libc::CLONE_NEWUSER == 0 {
        Tier::Root
    } else {
        Tier::UserNamespace
    };
    let mut plan = Plan::new(visit, tier)?;
    plan.ended_by = EndedBy::Parent;
    let attempt = |attempt| {
        move |source| Error::Setup {
            attempt,
            tier,
            source,
        }
    };
    let stream = |wanted, own, read| {
        Side::new(wanted, own, read).map_err(attempt("connect the standard streams"))
    };
    let input = stream(&visit.stdin, 0, true)?;
    let output = stream(&visit.stdout, 1, false)?;
    let errors = stream(&visit.stderr, 2, false)?;
    let (mut ready, ready_inside) = io::pipe().map_err(attempt("make a pipe"))?;
    let (mut told, tell) = io::pipe().map_err(attempt("make a pipe"))?;
    let descriptors = Descriptors {
        ready: ready_inside.as_raw_fd(),
        control: tell.as_raw_fd(),
        // Nobody watches it: the kernel ends the program with its caller.
        caller: ready_inside.as_raw_fd(),
        streams: [input.inside, output.inside, errors.inside],
    };
    let joiner = fork(&plan, &descriptors, sandbox.as_raw_fd(), namespaces)
        .map_err(attempt("start the program's process"))?;
    drop((ready_inside, tell));
    let process = pidfd_open(joiner, PidfdFlags::empty())
        .map_err(io::Error::from)
        .map_err(attempt("watch the program's process"))?;
    let failed = outcome(&mut ready).map_err(attempt("hear from the new process"))?;
    let pid = number(&mut told).and_then(Pid::from_raw);
    match (pid, failed) {
        (Some(pid), None) => Ok(Visitor {
            pid,
            process,
            told,
            status: None,
        }),
        (_, failed) => {
            // It has nothing left to do but to end.
            let _ = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
            Err(match failed {
                Some(failure) => explain(visit, tier, failure),
                None => gone(io::ErrorKind::Interrupted.into()),
            })
        }
    }
}

/// Fails where sandboxes cannot be entered, because they have no namespaces.
pub fn require_entrances() -> Result<(), Error> {
    let probe = tier::probe();
    if probe.tier.has_namespaces() {
        return Ok(());
    }
    Err(Error::NeedsNamespaces {
        wanted: "entering a running sandbox".to_owned(),
        refusals: probe.refusals.clone(),
    })
}

/// What the joiner tells.
fn number(told: &mut PipeReader) -> Option<i32> {
    let mut bytes = [0; 4];
    told.read_exact(&mut bytes).ok()?;
    Some(i32::from_ne_bytes(bytes))
}

impl Visitor {
    /// The program's pid on the host.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// A descriptor that becomes readable when the program has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Sends a signal to the program's process group.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // Its number belongs to nobody else until the joiner has told how it ended.
        if self.status.is_some() || self.has_ended() {
            return Ok(());
        }
        match kill_process_group(self.pid, signal) {
            // It has ended, and nobody of its group is left.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Kills the program's process group.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    fn has_ended(&self) -> bool {
        let mut wait = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut wait, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Waits for the program's end; what it left running in the background goes on.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        loop {
            match waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED) {
                // The caller ignores SIGCHLD: the kernel has collected the joiner.
                Ok(Some(_)) | Err(Errno::CHILD) => {
                    let raw = number(&mut self.told).unwrap_or(Signal::KILL.as_raw());
                    return Ok(*self.status.insert(ExitStatus::from_raw(raw)));
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may have ended already; there is nobody to tell anyway.
            drop(self.kill());
            drop(self.wait());
        }
    }
}

/// The host's pid of the program that a sandbox was started for, given its init's.
///
/// Init itself hides its memory, and with it its namespaces and its environment, from plain users.
pub fn program_of(init: u32) -> io::Result<u32> {
    let children = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything, closing parentheses too (proc(5)).
            let (_, rest) = stat.rsplit_once(')')?;
            let mut fields = rest.split_ascii_whitespace();
            let parent: u32 = fields.nth(1)?.parse().ok()?;
            let started: u64 = fields.nth(17)?.parse().ok()?;
            (parent == init).then_some((started, pid))
        });
    // Orphans that init adopted are younger.
    let program = children.min().map(|(_, pid)| pid);
    program.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// What joins a sandbox's namespaces: a pidfd of a process in it, and which of them differ from ours.
fn namespaces_of(init: u32) -> io::Result<(OwnedFd, libc::c_int)> {
    let program = program_of(init)?;
    let pid = i32::try_from(program).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut differing = 0;
    for (name, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mnt", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("net", libc::CLONE_NEWNET),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ] {
        let own = fs::read_link(format!("/proc/self/ns/{name}"))?;
        if fs::read_link(format!("/proc/{program}/ns/{name}"))? != own {
            differing |= flag;
        }
    }
    // Its number may have been given to another process while it was looked at.
    if differing & libc::CLONE_NEWPID == 0 || program_of(init)? != program {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((process, differing))
}

/// fork(2): the child goes its own way in [`join`].
fn fork(
    plan: &Plan,
    descriptors: &Descriptors,
    sandbox: RawFd,
    namespaces: libc::c_int,
) -> io::Result<Pid> {
    // A signal that arrives in the child must not run the caller's handler.
    let mask = block_signals()?;
    // SAFETY: without CLONE_VM this is fork. The child calls nothing that allocates or locks, and
    // never returns from here.
    let result = check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) });
    if result == Ok(0) {
        join(plan, descriptors, sandbox, namespaces);
    }
    restore_signals(&mask)?;
    let pid = i32::try_from(result?).map_err(io::Error::other)?;
    Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn join(plan: &Plan, descriptors: &Descriptors, sandbox: RawFd, namespaces: libc::c_int) -> ! {
    match start(plan, descriptors, sandbox, namespaces) {
        Ok(pid) => attend(pid, descriptors.control),
        Err(failure) => report(descriptors.ready, failure),
    }
    end(0)
}

/// Tells the program's pid, and how it ended.
fn attend(pid: i32, tell: RawFd) {
    // The program's pipes must end when the program's copies do.
    for (first, last) in [
        (0, tell.unsigned_abs()),
        (tell.unsigned_abs() + 1, u32::MAX),
    ] {
        if first < last {
            let last = if last == u32::MAX { last } else { last - 1 };
            // Those that stay open are closed with this process.
            let _ = close_range(first, last);
        }
    }
    // SAFETY: open in this process, which is a copy of the one that opened it.
    let tell = unsafe { BorrowedFd::borrow_raw(tell) };
    // If the caller is gone there is nobody to tell, and the program ends with this process.
    let _ = rustix::io::write(tell, &pid.to_ne_bytes());
    loop {
        match waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                let _ = rustix::io::write(tell, &status.as_raw().to_ne_bytes());
                return;
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn start(
    plan: &Plan,
    descriptors: &Descriptors,
    sandbox: RawFd,
    namespaces: libc::c_int,
) -> Result<i32, Failure> {
    program::reset_handlers();
    // Out of the caller's session: what its terminal sends is for the caller to handle.
    rustix::process::setsid().at(Step::Enter)?;
    // The sandbox's programs must not read this memory, which is a copy of the caller's.
    privileges::hide().at(Step::Enter)?;
    // SAFETY: takes numbers only.
    check(libc::c_long::from(unsafe {
        libc::setns(sandbox, namespaces)
    }))
    .at(Step::Enter)?;
    // Changing capabilities resets both.
    privileges::hide().at(Step::Enter)?;
    set_parent_process_death_signal(Some(Signal::KILL)).at(Step::Enter)?;
    // SAFETY: as in `fork`.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) });
    let pid = pid.at(Step::Fork)?;
    if pid == 0 {
        report(descriptors.ready, program::become_it(plan, descriptors));
        end(127);
    }
    i32::try_from(pid)
        .map_err(|_| Errno::OVERFLOW)
        .at(Step::Fork)
}

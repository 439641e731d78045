//! The tier of a plain user without namespaces: a second process watches the program by ptrace(2)
//! and puts the host's paths into its system calls, so that it sees a root of its own.
//!
//! ```text
//! caller ── clone ──► init           reaps orphans, forwards signals
//!                      └── clone ──► tracer        the caller's own executable, see [`trace_if_called`]
//!                                     └── fork ──► program
//! ```
//!
//! A seccomp filter stops the program at calls that name files and at nothing else. What files are
//! and where links lead the tracer answers itself; the other calls get the host's path below the
//! program's stack. None of this is what keeps the program in: Landlock is, which both are under. A
//! program that fools the tracer reaches no file that it may not see.
//!
//! The kernel ends everything when the tracer ends.

mod answers;
mod exec;
mod filter;
mod layout;
mod memory;
mod orders;
mod paths;
mod sockets;
mod tracee;
mod tracer;
mod view;

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, pid_t};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;

use crate::landlocked;
use crate::step::{At, Failure, Step, check};
use tracer::Tracer;
use view::{Last, Place};

pub(crate) use layout::Layout;
pub(crate) use orders::Orders;
pub(crate) use view::View;

/// What the tracer is called as.
pub(crate) const NAME: &CStr = c"sandbox-tracer";
/// The caller's executable, whatever it is called and whether or not it was replaced meanwhile.
pub(crate) const EXECUTABLE: &CStr = c"/proc/self/exe";
/// Its only argument if it is to find out whether tracing works here.
const TRIAL: &str = "trial";
/// A user id that nobody has, for the trial.
const UNCOMMON: u32 = 0x7fff_1234;

/// Where the tracer finds its descriptors: it tells a failure by the first, has its orders in the
/// second, and its Landlock rules in the third.
pub(crate) const DESCRIPTORS: [RawFd; 3] = [3, 4, 5];

/// How the tracer ends if it could not do its work.
const BROKEN: c_int = 125;

static CALLABLE: AtomicBool = AtomicBool::new(false);

/// To be called first in `main`, with the command line, by whoever wants [`crate::Tier::Traced`]: if
/// this process was started to be a sandbox's tracer, it is that, and has to end with this exit code.
pub fn trace_if_called(arguments: impl IntoIterator<Item = OsString>) -> Option<u8> {
    let mut arguments = arguments.into_iter();
    if arguments.next()?.as_bytes() != NAME.to_bytes() {
        CALLABLE.store(true, Ordering::Relaxed);
        return None;
    }
    let is_trial = arguments.next().is_some_and(|argument| argument == TRIAL);
    let code = if is_trial { trial() } else { live() };
    Some(u8::try_from(code).unwrap_or(u8::MAX))
}

/// Whether this process' executable can trace, and the kernel lets it.
pub(crate) fn attempt() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        return Err(String::from("system calls are traced on x86-64 only"));
    }
    if !CALLABLE.load(Ordering::Relaxed) {
        return Err(String::from("this program has no tracer"));
    }
    if !landlocked::is_supported() {
        return Err(String::from("the kernel has no Landlock (Linux 5.19)"));
    }
    let outcome = Command::new("/proc/self/exe")
        .arg0(OsStr::from_bytes(NAME.to_bytes()))
        .arg(TRIAL)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match outcome {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(String::from("processes may not be traced (ptrace)")),
        Err(error) => Err(format!("the tracer cannot be started: {error}")),
    }
}

/// Traces a child that asks who it is.
fn trial() -> c_int {
    let root = Place {
        inside: Vec::new(),
        host: Vec::new(),
        writable: false,
    };
    let orders = Orders {
        view: View { places: vec![root] },
        uid: UNCOMMON,
        gid: UNCOMMON,
        cwd: Vec::new(),
        candidates: Vec::new(),
        argv: Vec::new(),
        env: Vec::new(),
    };
    let asked = trace(orders, None, |_| {
        if rustix::thread::set_no_new_privs(true).is_err() || filter::install().is_err() {
            return Err(BROKEN);
        }
        Err(c_int::from(rustix::process::getuid().as_raw() != UNCOMMON))
    });
    match asked {
        Ok(status) if libc::WIFEXITED(status) => libc::WEXITSTATUS(status),
        _ => BROKEN,
    }
}

/// The tracer of a sandbox.
fn live() -> c_int {
    // SAFETY: who started this process as a tracer put these descriptors there for it.
    let [ready, orders, rules] = DESCRIPTORS.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
    let begun = || -> Result<Orders, Failure> {
        for kept in [&ready, &orders, &rules] {
            rustix::io::fcntl_setfd(kept, rustix::io::FdFlags::CLOEXEC).at(Step::Descriptors)?;
        }
        rustix::thread::set_name(NAME).at(Step::Signals)?;
        let orders = orders.try_clone().and_then(Orders::open);
        let orders = orders
            .map_err(|error| errno_of(&error))
            .at(Step::Descriptors)?;
        landlocked::restrict_self(rules.as_fd()).at(Step::Landlock)?;
        Ok(orders)
    };
    let orders = match begun() {
        Ok(orders) => orders,
        Err(failure) => {
            report(&ready, failure);
            return BROKEN;
        }
    };
    match trace(orders, Some(ready), |orders| Ok(become_program(orders))) {
        Ok(status) if libc::WIFEXITED(status) => libc::WEXITSTATUS(status),
        Ok(status) => die_of(libc::WTERMSIG(status)),
        Err(_) => BROKEN,
    }
}

/// Runs `child` in a process of its own and traces it until it ends; its wait status. What the child
/// fails at is told by `ready`, which exec closes; else it gives its exit status.
fn trace(
    orders: Orders,
    ready: Option<OwnedFd>,
    child: impl FnOnce(&Orders) -> Result<Failure, c_int>,
) -> Result<c_int, Errno> {
    let begun = begin(&orders, ready.as_ref(), child);
    if let (Err(errno), Some(ready)) = (begun, &ready) {
        let step = Step::Trace;
        report(
            ready,
            Failure {
                step,
                index: 0,
                errno,
            },
        );
    }
    // The caller waits for the end of the last copy, which must be the child's.
    drop(ready);
    Tracer::new(orders, begun?).run()
}

/// Forks the child and becomes its tracer.
fn begin(
    orders: &Orders,
    ready: Option<&OwnedFd>,
    child: impl FnOnce(&Orders) -> Result<Failure, c_int>,
) -> Result<pid_t, Errno> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    set_all_blocked(true)?;
    // SAFETY: this process has one thread, so its copy may do anything.
    let main: pid_t = unsafe { libc::fork() };
    check(libc::c_long::from(main))?;
    if main == 0 {
        drop(writer);
        let mut go = [0];
        // Nobody at the other end: the tracer failed, and what it traces must not run untraced.
        let is_traced = rustix::io::read(&reader, &mut go) == Ok(1);
        let outcome = if is_traced && set_all_blocked(false).is_ok() {
            child(orders)
        } else {
            Err(BROKEN)
        };
        let code = match outcome {
            Ok(failure) => {
                if let Some(ready) = ready {
                    report(ready, failure);
                }
                127
            }
            Err(code) => code,
        };
        // SAFETY: ends this process without running what was registered for the other's end.
        unsafe { libc::_exit(code) };
    }
    tracee::seize(main)?;
    rustix::io::write(&writer, &[1])?;
    Ok(main)
}

/// Tells the caller. If it is gone there is nobody to tell, and this process ends next.
fn report(ready: &OwnedFd, failure: Failure) {
    let _ = rustix::io::write(ready, &failure.encode());
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Comes back only if something failed.
fn become_program(orders: &Orders) -> Failure {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let nothing = std::collections::HashMap::new();
    let who = view::Onlooker {
        thread: own,
        process: own,
        programs: &nothing,
    };
    let prepare = || -> Result<(), Failure> {
        let cwd = orders
            .view
            .resolve(who, b"", &orders.cwd, Last::Followed)
            .at(Step::WorkingDirectory)?;
        let host = view::slash_if_empty(orders.view.to_host(&cwd));
        rustix::process::chdir(host.as_slice()).at(Step::WorkingDirectory)?;
        filter::install()
            .map_err(|error| errno_of(&error))
            .at(Step::Filter)
    };
    if let Err(failure) = prepare() {
        return failure;
    }
    let (argv, env) = (array(&orders.argv), array(&orders.env));
    let errno = crate::program::execute_one_of(&orders.candidates, argv.as_ptr(), env.as_ptr());
    Failure {
        step: Step::Exec,
        index: 0,
        errno,
    }
}

fn array(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

/// Nothing that is meant for the program's group may end its tracer.
fn set_all_blocked(blocked: bool) -> Result<(), Errno> {
    // SAFETY: both functions initialize the set, and the old mask is not asked for.
    check(libc::c_long::from(unsafe {
        let mut set = std::mem::MaybeUninit::uninit();
        if blocked {
            libc::sigfillset(set.as_mut_ptr());
        } else {
            libc::sigemptyset(set.as_mut_ptr());
        }
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    }))
    .map(drop)
}

/// Ends this process by the signal that ended the program, so that whoever waits sees the same.
fn die_of(signal: c_int) -> c_int {
    // The program's own core dump, if any, is the one that counts.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    crate::program::reset_handlers();
    // SAFETY: takes numbers only.
    unsafe { libc::kill(libc::getpid(), signal) };
    // Pending until now.
    let _ = set_all_blocked(false);
    128 + signal
}

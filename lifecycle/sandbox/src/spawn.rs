//! From the caller's wish to a running program.

use std::io::{self, PipeReader, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, waitid};

use crate::child::{Child, Message, Tree};
use crate::chroot;
use crate::error::Error;
use crate::init;
use crate::landlocked;
use crate::plan::{Descriptors, Plan, Program};
use crate::spec::{Sandbox, Stream, Tier, Writable};
use crate::step::{Failure, Step, check};
use crate::tier::tier;
use crate::traced::{Layout, Orders};
use crate::write_back::WriteBack;

/// Starts the program in the strongest kind of sandbox this process can make.
///
/// In [`Tier::Chroot`] the root must be [`Writable::Dir`]. A tree of hard links and copies in `work`
/// stands for the root. A mount is a directory that is moved there as long as the program runs
/// (read-write; its source is missing meanwhile), a tree of links (read-only) or a copy (a file, which
/// must be read-only). A program that is not uid 0 writes to the tree and nowhere else, and the next
/// sandbox starts afresh; changes of uid 0 go to the upper directory. There is no `/proc`, no
/// `/dev/pts` and no host name of its own; what is in memory elsewhere is on disk; signals and abstract
/// sockets end at the border where the kernel's Landlock knows how, as does TCP with
/// [`crate::Network::None`]. Files that `uid` owns in the lower directories cost a copy. A tree stays
/// for the next sandbox, so what the lower directories hold must not change.
///
/// In [`Tier::Traced`] the root must be [`Writable::Dir`]. A tree of hard links in `work`, which many
/// sandboxes may share, stands for the root; mounts are where they are. A program that is not uid 0
/// may write to read-write mounts, `/tmp`, `/var/tmp`, `/dev/shm`, and to copies of its working
/// directory and of `HOME`, which are made in `upper`; the tree is as new for the next one. Changes of
/// uid 0, which has a tree of its own, go to `upper`. `/proc` is the host's, `/dev` has no terminals
/// but the program's own, there is no host name of its own, and what is in memory elsewhere is on
/// disk. Other users' ids cannot be taken, and capabilities there are none. Signals, abstract sockets and TCP are
/// as in [`Tier::Chroot`].
///
/// In [`Tier::Landlock`] the program runs in the caller's own root and sees everything of it. It may
/// write to read-write mounts, `/tmp`, `/var/tmp` and the usual devices only. Therefore `root.lower`
/// must be `/` alone, each mount's target its source, `tmpfs` empty, the network the host's, `uid` not
/// 0 unless the caller is root, and the root not [`Writable::Dir`]; anything else is
/// [`Error::NeedsNamespaces`]. `hostname` is without effect, and so are the ids unless the caller is root.
pub fn spawn(sandbox: &Sandbox) -> Result<Child, Error> {
    spawn_at(sandbox, tier())
}

/// Starts the program in a sandbox of this kind, which may be weaker than what is possible.
pub fn spawn_at(sandbox: &Sandbox, tier: Tier) -> Result<Child, Error> {
    let mut plan = Plan::new(sandbox, tier)?;
    let attempt = |attempt| {
        move |source| Error::Setup {
            attempt,
            tier,
            source,
        }
    };
    let mut tree = None;
    if tier == Tier::Chroot {
        let laid_out = chroot::Tree::lay_out(sandbox)?;
        let step = |step: Step| attempt(step.attempt());
        plan.tree = Some(laid_out.descriptors().map_err(step(Step::Chroot))?);
        plan.landlock =
            landlocked::within(laid_out.root(), sandbox.network).map_err(step(Step::Landlock))?;
        tree = Some(Tree::Chroot(laid_out));
    }
    if tier == Tier::Traced {
        let layout = Layout::make(sandbox)?;
        let step = |step: Step| attempt(step.attempt());
        plan.landlock = Some(layout.ruleset(sandbox).map_err(step(Step::Landlock))?);
        plan.trace = Some(
            Orders::of(&plan.program, sandbox, layout.view())
                .seal()
                .map_err(step(Step::Trace))?,
        );
        plan.program = Program::tracer();
        plan.lock = layout.held().transpose().map_err(step(Step::Trace))?;
        tree = Some(Tree::Traced(layout));
    }
    let stream = |wanted, own, read| {
        Side::new(wanted, own, read).map_err(attempt("connect the standard streams"))
    };
    let input = stream(&sandbox.stdin, 0, true)?;
    let output = stream(&sandbox.stdout, 1, false)?;
    let errors = stream(&sandbox.stderr, 2, false)?;
    let streams = [input.inside, output.inside, errors.inside];
    let started = start(&mut plan, streams, init::live).map_err(attempt("create namespaces"))?;
    // The caller's copies of the program's ends: its pipes must end when the program's do.
    let (input, output, errors) = (input.outside(), output.outside(), errors.outside());
    if let Some(failure) = started
        .outcome()
        .map_err(attempt("hear from the new process"))?
    {
        // It has nothing left to do but to end.
        let _ = waitid(
            WaitId::PidFd(started.process.as_fd()),
            WaitIdOptions::EXITED,
        );
        return Err(explain(sandbox, tier, failure));
    }
    let mut write_back = None;
    let mut early = None;
    let mut litter = None;
    if let Writable::Dir { upper, work } = &sandbox.root.writable
        && tier.has_namespaces()
    {
        litter = Some(work.join("work"));
        match Message::receive(&started.control) {
            Ok((Message::Upper, Some(from))) => {
                write_back = Some(WriteBack {
                    from,
                    to: upper.clone(),
                    lower: sandbox.root.lower.clone(),
                });
            }
            Ok((Message::Ended(status), _)) => early = Some(status),
            // Nothing to say: the upper directory is the caller's own.
            Ok(_) | Err(_) => {}
        }
    }
    let mut child = Child::new(
        tier,
        started.pid,
        started.process,
        started.control,
        early,
        write_back,
        litter,
    );
    child.keep(tree);
    child.stdin = input.map(Into::into);
    child.stdout = output.map(Into::into);
    child.stderr = errors.map(Into::into);
    Ok(child)
}

/// Tries what `tier` needs of the kernel, without running anything.
pub(crate) fn rehearse(sandbox: &Sandbox, tier: Tier) -> Result<(), Error> {
    let mut plan = Plan::new(sandbox, tier)?;
    let attempt = |attempt| {
        move |source| Error::Setup {
            attempt,
            tier,
            source,
        }
    };
    let started =
        start(&mut plan, [0, 1, 2], init::rehearse).map_err(attempt("create namespaces"))?;
    let outcome = started
        .outcome()
        .map_err(attempt("hear from the new process"))?;
    let status = waitid(
        WaitId::PidFd(started.process.as_fd()),
        WaitIdOptions::EXITED,
    )
    .map_err(io::Error::from)
    .map_err(attempt("wait for the new process"))?;
    match outcome {
        Some(failure) => Err(explain(sandbox, tier, failure)),
        None if status.is_some_and(|status| status.killed() || status.dumped()) => {
            Err(attempt("keep the new process alive")(
                io::ErrorKind::Interrupted.into(),
            ))
        }
        None => Ok(()),
    }
}

struct Started {
    pid: u32,
    process: OwnedFd,
    control: OwnedFd,
    ready: PipeReader,
}

impl Started {
    /// Waits until the program runs (exec closes the pipe) or something failed.
    fn outcome(&self) -> io::Result<Option<Failure>> {
        outcome(&mut &self.ready)
    }
}

/// Reads until exec closes the pipe, or a failure.
pub(crate) fn outcome(ready: &mut impl Read) -> io::Result<Option<Failure>> {
    let mut bytes = Vec::with_capacity(Failure::SIZE);
    ready.take(Failure::SIZE as u64).read_to_end(&mut bytes)?;
    Ok(<[u8; Failure::SIZE]>::try_from(bytes)
        .ok()
        .and_then(Failure::decode))
}

fn start(
    plan: &mut Plan,
    streams: [RawFd; 3],
    life: fn(&mut Plan, &Descriptors) -> !,
) -> io::Result<Started> {
    let (ready, ready_inside) = io::pipe()?;
    let (control, control_inside) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let caller = pidfd_open(getpid(), PidfdFlags::empty())?;
    let descriptors = Descriptors {
        ready: ready_inside.as_raw_fd(),
        control: control_inside.as_raw_fd(),
        caller: caller.as_raw_fd(),
        streams,
    };
    let (pid, process) = clone(plan, &descriptors, life)?;
    Ok(Started {
        pid,
        process,
        control,
        ready,
    })
}

/// clone(2) without sharing memory: the child is a copy that goes its own way in `life`.
fn clone(
    plan: &mut Plan,
    descriptors: &Descriptors,
    life: fn(&mut Plan, &Descriptors) -> !,
) -> io::Result<(u32, OwnedFd)> {
    let flags = plan.namespaces() | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: libc::c_int = -1;
    // A signal that arrives in the child before it takes over must not run the caller's handler.
    let mask = block_signals()?;
    // SAFETY: without CLONE_VM this is fork; the third argument is where CLONE_PIDFD stores the
    // descriptor. The child calls nothing that allocates or locks, and never returns from here.
    let result = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) });
    if result == Ok(0) {
        life(plan, descriptors);
    }
    restore_signals(&mask)?;
    let pid = u32::try_from(result?).map_err(io::Error::other)?;
    // SAFETY: the kernel just made it, for this process alone.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

pub(crate) fn block_signals() -> io::Result<libc::sigset_t> {
    let mut old = MaybeUninit::uninit();
    // SAFETY: sigfillset initializes the new set, pthread_sigmask the old one when it succeeds.
    unsafe {
        let mut all = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        match libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr()) {
            0 => Ok(old.assume_init()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

pub(crate) fn restore_signals(mask: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `mask` is initialized; the old set is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Both sides of a standard stream.
pub(crate) struct Side {
    /// What the program gets.
    pub(crate) inside: RawFd,
    /// Keeps `inside` open until the program has it, if this made it.
    _owned: Option<OwnedFd>,
    outside: Option<OwnedFd>,
}

impl Side {
    pub(crate) fn new(wanted: &Stream, own: RawFd, program_reads: bool) -> io::Result<Self> {
        let owned = |inside: OwnedFd, outside| Self {
            inside: inside.as_raw_fd(),
            _owned: Some(inside),
            outside,
        };
        match wanted {
            Stream::Inherit => Ok(Self {
                inside: own,
                _owned: None,
                outside: None,
            }),
            Stream::Fd(fd) => Ok(Self {
                inside: fd.as_raw_fd(),
                _owned: None,
                outside: None,
            }),
            Stream::Null => {
                let null = std::fs::File::options()
                    .read(true)
                    .write(true)
                    .open("/dev/null")?;
                Ok(owned(null.into(), None))
            }
            Stream::Pipe => {
                let (reader, writer) = io::pipe()?;
                Ok(if program_reads {
                    owned(reader.into(), Some(writer.into()))
                } else {
                    owned(writer.into(), Some(reader.into()))
                })
            }
        }
    }

    fn outside(self) -> Option<OwnedFd> {
        self.outside
    }
}

pub(crate) fn explain(sandbox: &Sandbox, tier: Tier, failure: Failure) -> Error {
    let source = io::Error::from(failure.errno);
    let index = usize::try_from(failure.index).unwrap_or(usize::MAX);
    let path =
        |paths: &mut dyn Iterator<Item = &PathBuf>| paths.nth(index).cloned().unwrap_or_default();
    match failure.step {
        Step::Lower => Error::Source {
            path: path(&mut sandbox.root.lower.iter()),
            source,
        },
        Step::Source => Error::Source {
            path: path(&mut sandbox.mounts.iter().map(|mount| &mount.source)),
            source,
        },
        Step::Upper => {
            let directories: &[&PathBuf] = match &sandbox.root.writable {
                Writable::Dir { upper, work } => &[upper, work],
                Writable::ReadOnly | Writable::Tmpfs => &[],
            };
            Error::Source {
                path: path(&mut directories.iter().copied()),
                source,
            }
        }
        Step::Overlay => Error::Overlay {
            lower: sandbox.root.lower.clone(),
            source,
        },
        Step::Target => Error::Mount {
            target: path(&mut sandbox.mounts.iter().map(|mount| &mount.target)),
            source,
        },
        Step::TmpfsTarget => Error::Mount {
            target: path(&mut sandbox.tmpfs.iter()),
            source,
        },
        Step::WorkingDirectory => Error::WorkingDirectory {
            path: sandbox.cwd.clone(),
            source,
        },
        Step::Exec => {
            let program = sandbox.argv.first().map(PathBuf::from).unwrap_or_default();
            Error::Exec { program, source }
        }
        step => Error::Setup {
            attempt: step.attempt(),
            tier,
            source,
        },
    }
}

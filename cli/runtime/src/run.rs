//! One-off dynos: one command, the caller's own streams, its exit code passed through.

use crate::dyno::{self, App, DynoError, Prepared};
use crate::one_offs::{self, OneOff};
use crate::processes::{Processes, ProcessesError};
use crate::signals::Signals;
use crate::terminal::{self, Pty, RawMode, Received};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::isatty;
use sandbox::{Child, Sandbox, Signal, Stream, Visitor};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// What [`run_one_off`] needs.
#[derive(Clone, Copy)]
pub struct RunInputs<'a> {
    pub app: App<'a>,
    /// The command: one argument is a line for the shell, several are words that reach the program
    /// as they are; a first word that is a process type stands for that type's command.
    pub command: &'a [String],
    pub terminal: Terminal<'a>,
}

/// Whether the dyno gets a terminal.
#[derive(Debug, Clone, Copy)]
pub enum Terminal<'a> {
    /// If standard input and output are terminals; `term` is the caller's `TERM`.
    WhenThereIsOne { term: Option<&'a str> },
    /// No: the streams are passed on as they are.
    Never,
}

/// Why a one-off dyno did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot run the command")]
    Command { source: ProcessesError },
    #[error(transparent)]
    Dyno(#[from] DynoError),
    #[error("cannot set up the dyno's terminal")]
    Terminal { source: io::Error },
    #[error("cannot catch signals")]
    Signals { source: io::Error },
    #[error("cannot keep the records of one-off dynos in {}", path.display())]
    Names { path: PathBuf, source: io::Error },
    #[error("lost the dyno {name}")]
    Lost { name: String, source: io::Error },
}

/// So many ^C within [`BREAK_WINDOW`] end a dyno that ignores them, as with `heroku run`.
const BREAKS: usize = 4;
const BREAK_WINDOW: Duration = Duration::from_secs(1);
/// What a raw terminal sends for ^C.
const INTERRUPT: u8 = 3;

/// How a one-off dyno ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// 128 + n when signal n ended it.
    pub code: i32,
    /// Whether the kernel had to kill something to keep it to its size.
    pub ran_out_of_memory: bool,
}

/// Runs a command in a dyno of its own.
///
/// SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to the dyno.
pub fn run_one_off(inputs: &RunInputs<'_>) -> Result<Ended, RunError> {
    let processes = Processes::of(inputs.app.image);
    let command = processes
        .and_then(|processes| processes.one_off(inputs.command))
        .map_err(|source| RunError::Command { source })?;
    let name = one_offs::fresh_name(inputs.app.run_dir).map_err(|source| RunError::Names {
        path: inputs.app.run_dir.to_owned(),
        source,
    })?;
    let term = inputs.terminal.term();
    let prepared = dyno::prepare(&inputs.app, &name, &command, None, term)?;
    let Prepared {
        sandbox,
        group,
        scratch,
    } = prepared;
    let metadata = inputs.app.metadata;
    let code = attend(sandbox, term.is_some(), |sandbox| {
        let child = start(sandbox, &command.shown)?;
        let one_off = OneOff {
            name: name.to_string(),
            command: command.shown.clone(),
            since: Timestamp::now(),
            release: metadata.map(|metadata| metadata.release_version),
            image: metadata.map(|metadata| metadata.image.clone()),
            pid: child.pid(),
            attendant: std::process::id(),
            is_detached: false,
        };
        one_off.record(&scratch).map_err(|source| RunError::Names {
            path: inputs.app.run_dir.to_owned(),
            source,
        })?;
        Ok(child)
    });
    drop(scratch);
    Ok(Ended {
        code: code?,
        ran_out_of_memory: group.ran_out_of_memory(),
    })
}

/// Runs a program in a sandbox with the caller's streams, in a terminal of its own if there is one
/// to be had, and returns its exit code; signals are passed on.
pub(crate) fn in_foreground(
    mut sandbox: Sandbox,
    terminal: Terminal<'_>,
    shown: &str,
) -> Result<i32, RunError> {
    let term = terminal.term();
    if let Some(term) = term {
        sandbox.env.push(("TERM".into(), term.into()));
    }
    attend(sandbox, term.is_some(), |sandbox| start(sandbox, shown))
}

fn start(sandbox: &Sandbox, shown: &str) -> Result<Child, RunError> {
    Ok(sandbox::spawn(sandbox).map_err(|source| DynoError::Start {
        command: shown.to_owned(),
        source,
    })?)
}

/// Starts a program with the caller's streams, in a terminal of its own if there is to be one, and
/// returns its exit code.
pub(crate) fn attend<P: Attended>(
    mut sandbox: Sandbox,
    has_terminal: bool,
    start: impl FnOnce(&Sandbox) -> Result<P, RunError>,
) -> Result<i32, RunError> {
    let pty = if has_terminal {
        Some(attach_terminal(&mut sandbox)?)
    } else {
        None
    };
    let mut signals = Signals::catch(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH])
        .map_err(|source| RunError::Signals { source })?;
    let name = sandbox.hostname.clone();
    let mut child = start(&sandbox)?;
    // Holds the follower of the terminal, whose end would not be seen otherwise.
    drop(sandbox);
    let watched = match pty {
        Some(leader) => relay(&child, &leader, &mut signals),
        None => pass_signals(&child, &mut signals),
    };
    if watched.is_err() {
        // What cannot be watched must not go on unwatched; the first error is the one to tell.
        drop(child.kill());
    }
    let status = watched.and_then(|()| child.wait());
    let status = status.map_err(|source| RunError::Lost { name, source })?;
    Ok(sandbox::exit_code(status))
}

/// A program with the caller's streams.
pub(crate) trait Attended {
    /// Readable when it has ended.
    fn pidfd(&self) -> BorrowedFd<'_>;
    /// Signals its process group.
    fn signal(&self, signal: Signal) -> io::Result<()>;
    /// Signals all that it has started.
    fn signal_all(&self, signal: Signal) -> io::Result<()>;
    fn kill(&self) -> io::Result<()>;
    fn wait(&mut self) -> io::Result<ExitStatus>;
}

/// A dyno's own.
impl Attended for Child {
    fn pidfd(&self) -> BorrowedFd<'_> {
        Child::pidfd(self)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Child::signal(self, signal)
    }

    fn signal_all(&self, signal: Signal) -> io::Result<()> {
        Child::signal_all(self, signal)
    }

    fn kill(&self) -> io::Result<()> {
        Child::kill(self)
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        Child::wait(self)
    }
}

/// One more in a dyno that runs, whose other programs are none of the caller's business.
impl Attended for Visitor {
    fn pidfd(&self) -> BorrowedFd<'_> {
        Visitor::pidfd(self)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Visitor::signal(self, signal)
    }

    fn signal_all(&self, signal: Signal) -> io::Result<()> {
        Visitor::signal(self, signal)
    }

    fn kill(&self) -> io::Result<()> {
        Visitor::kill(self)
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        Visitor::wait(self)
    }
}

impl<'a> Terminal<'a> {
    /// The value of `TERM`, if there is to be a terminal.
    pub(crate) fn term(self) -> Option<&'a str> {
        match self {
            Self::WhenThereIsOne { term } if is_terminal() => Some(term.unwrap_or("xterm")),
            _ => None,
        }
    }
}

fn is_terminal() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// Gives the dyno a terminal and returns the side that stays here.
fn attach_terminal(sandbox: &mut Sandbox) -> Result<OwnedFd, RunError> {
    let mut attempt = || {
        let pty = Pty::open()?;
        terminal::copy_size(stdin(), &pty.leader)?;
        dyno::give(&pty.follower, sandbox)?;
        sandbox.stdin = Stream::Fd(pty.follower.try_clone()?);
        sandbox.stdout = Stream::Fd(pty.follower.try_clone()?);
        if isatty(stderr()) {
            sandbox.stderr = Stream::Fd(pty.follower);
        }
        sandbox.terminal = true;
        Ok(pty.leader)
    };
    attempt().map_err(|source| RunError::Terminal { source })
}

/// Waits for the end of a dyno that has the caller's own streams.
fn pass_signals(child: &impl Attended, signals: &mut Signals) -> io::Result<()> {
    loop {
        let mut waits = vec![PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)];
        waits.extend(watch(signals));
        wait(&mut waits)?;
        let has_ended = !waits[0].revents().is_empty();
        pass_on(signals.take()?, child)?;
        if has_ended {
            return Ok(());
        }
    }
}

/// Carries bytes between the user's terminal and the dyno's until the dyno ends.
fn relay(child: &impl Attended, leader: &OwnedFd, signals: &mut Signals) -> io::Result<()> {
    let user = stdin();
    let _raw = RawMode::enter(user)?;
    let mut typed: VecDeque<u8> = VecDeque::new();
    let mut breaks = VecDeque::new();
    let mut buffer = vec![0; 64 * 1024];
    // A side that has hung up would wake the poll without end, so it is watched no longer.
    let (mut dyno_is_there, mut user_is_there) = (true, true);
    loop {
        let mut waits = vec![PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)];
        waits.extend(watch(signals));
        let own = waits.len();
        if dyno_is_there {
            let output = if typed.is_empty() {
                PollFlags::empty()
            } else {
                PollFlags::OUT
            };
            waits.push(PollFd::new(leader, PollFlags::IN | output));
        }
        // The next input is read when the dyno has taken the last.
        if user_is_there && typed.is_empty() {
            waits.push(PollFd::new(&user, PollFlags::IN));
        }
        wait(&mut waits)?;
        let has_ended = !waits[0].revents().is_empty();
        let mut sides = waits[own..].iter().map(|side| !side.revents().is_empty());
        let from_dyno = dyno_is_there && sides.next().unwrap_or(false);
        let from_user = sides.next().unwrap_or(false);

        let arrived = signals.take()?;
        if arrived.contains(&SIGWINCH) {
            terminal::copy_size(user, leader)?;
        }
        pass_on(arrived, child)?;
        if from_user {
            match terminal::receive(user, &mut buffer)? {
                Received::Bytes(count) => {
                    typed.extend(&buffer[..count]);
                    if is_break(&buffer[..count], &mut breaks) {
                        child.kill()?;
                    }
                }
                Received::NothingYet => {}
                // The terminal is gone, and the dyno learns it as any program would.
                Received::End => {
                    user_is_there = false;
                    child.signal_all(Signal::HUP)?;
                }
            }
        }
        send(leader, &mut typed)?;
        if from_dyno && !has_ended {
            dyno_is_there = show(leader, &mut buffer)? != Received::End;
        }
        if has_ended {
            // What the dyno wrote last is still in the terminal.
            while matches!(show(leader, &mut buffer)?, Received::Bytes(_)) {}
            return Ok(());
        }
    }
}

fn watch(signals: &Signals) -> impl Iterator<Item = PollFd<'_>> {
    signals
        .descriptors()
        .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
}

fn wait(descriptors: &mut [PollFd<'_>]) -> io::Result<()> {
    match poll(descriptors, None) {
        Err(Errno::INTR) => Ok(()),
        done => Ok(done.map(drop)?),
    }
}

fn pass_on(arrived: Vec<i32>, child: &impl Attended) -> io::Result<()> {
    for number in arrived {
        match number {
            // What a terminal sends goes where a terminal sends it.
            SIGINT => child.signal(Signal::INT)?,
            SIGQUIT => child.signal(Signal::QUIT)?,
            SIGHUP => child.signal_all(Signal::HUP)?,
            SIGTERM => child.signal_all(Signal::TERM)?,
            _ => {}
        }
    }
    Ok(())
}

/// Notes every ^C and tells when there were too many.
fn is_break(typed: &[u8], breaks: &mut VecDeque<Instant>) -> bool {
    let now = Instant::now();
    breaks.extend(typed.iter().filter(|byte| **byte == INTERRUPT).map(|_| now));
    while breaks
        .front()
        .is_some_and(|first| now.duration_since(*first) > BREAK_WINDOW)
    {
        breaks.pop_front();
    }
    breaks.len() >= BREAKS
}

fn send(leader: &OwnedFd, typed: &mut VecDeque<u8>) -> io::Result<()> {
    while !typed.is_empty() {
        match rustix::io::write(leader, typed.make_contiguous()) {
            Ok(count) => drop(typed.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // Nobody will read it.
            Err(Errno::IO) => typed.clear(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Prints what the dyno's terminal has. The user's terminal may be gone: then nobody sees it, and
/// the hangup ends the dyno.
fn show(leader: &OwnedFd, buffer: &mut [u8]) -> io::Result<Received> {
    let received = terminal::receive(leader, buffer)?;
    let Received::Bytes(count) = received else {
        return Ok(received);
    };
    let mut rest = &buffer[..count];
    while !rest.is_empty() {
        match rustix::io::write(stdout(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::IO | Errno::PIPE) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_interrupts_at_once_are_a_break() {
        let mut breaks = VecDeque::new();
        assert!(!is_break(&[INTERRUPT, b'a', INTERRUPT], &mut breaks));
        assert!(!is_break(&[INTERRUPT], &mut breaks));
        assert!(is_break(&[INTERRUPT], &mut breaks));
    }

    #[test]
    fn old_interrupts_do_not_count() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(5));
        let mut breaks: VecDeque<Instant> = long_ago.into_iter().cycle().take(3).collect();
        assert!(!is_break(&[INTERRUPT], &mut breaks));
    }
}

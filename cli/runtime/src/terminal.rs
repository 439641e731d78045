//! The user's terminal, and the one that is made for a dyno.

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Puts the user's terminal into raw mode while it lives.
#[derive(Debug)]
pub(crate) struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawMode<'a> {
    pub(crate) fn enter(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// A pseudo-terminal: the dyno has the follower, this process the leader.
#[derive(Debug)]
pub(crate) struct Pty {
    /// Never blocks.
    pub(crate) leader: OwnedFd,
    pub(crate) follower: OwnedFd,
}

impl Pty {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let leader = openpt(flags)?;
        grantpt(&leader)?;
        unlockpt(&leader)?;
        let follower = ioctl_tiocgptpeer(&leader, flags)?;
        fcntl_setfl(&leader, fcntl_getfl(&leader)? | OFlags::NONBLOCK)?;
        Ok(Self { leader, follower })
    }
}

/// Gives one terminal the size of another.
pub(crate) fn copy_size(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    Ok(tcsetwinsize(to, tcgetwinsize(from)?)?)
}

/// What reading without blocking gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(usize),
    NothingYet,
    /// The other side is gone, for good.
    End,
}

/// Reads what is there.
pub(crate) fn receive(from: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    match rustix::io::read(from, buffer) {
        // EIO is what Linux says of a terminal whose other side is closed.
        Ok(0) | Err(Errno::IO) => Ok(Received::End),
        Ok(count) => Ok(Received::Bytes(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Received::NothingYet),
        Err(error) => Err(error.into()),
    }
}

//! A running sandbox, as its caller holds it.

use std::fs::{self, Permissions};
use std::io::{self, PipeReader, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::chroot;
use crate::spec::Tier;
use crate::traced::Layout;
use crate::write_back::WriteBack;

/// A running sandbox. Dropping it kills everything in it, and loses changes still to be copied back.
#[derive(Debug)]
pub struct Child {
    tier: Tier,
    pid: u32,
    /// Of init, which the caller waits for.
    process: OwnedFd,
    control: OwnedFd,
    /// The program's own wait status, once init has told it.
    told: Option<i32>,
    status: Option<ExitStatus>,
    write_back: Option<WriteBack>,
    /// What overlayfs leaves in its scratch directory.
    litter: Option<PathBuf>,
    /// Where [`Tier::lays_out_trees`].
    tree: Option<Tree>,
    /// The program's standard input, if [`crate::Stream::Pipe`] was asked for.
    pub stdin: Option<PipeWriter>,
    /// The program's standard output, likewise.
    pub stdout: Option<PipeReader>,
    /// The program's standard error, likewise.
    pub stderr: Option<PipeReader>,
}

/// What stands for a root and mounts.
#[derive(Debug)]
pub(crate) enum Tree {
    Chroot(chroot::Tree),
    Traced(Layout),
}

impl Tree {
    fn forget_changes(&mut self) {
        match self {
            Self::Chroot(tree) => tree.forget_changes(),
            Self::Traced(layout) => layout.forget_changes(),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Chroot(tree) => tree.finish(),
            Self::Traced(layout) => layout.finish(),
        }
    }
}

/// Sends signals into a sandbox, for instance while another thread waits for its end.
#[derive(Debug)]
pub struct Signaller {
    tier: Tier,
    process: OwnedFd,
    control: OwnedFd,
}

impl Child {
    pub(crate) fn new(
        tier: Tier,
        pid: u32,
        process: OwnedFd,
        control: OwnedFd,
        told: Option<i32>,
        write_back: Option<WriteBack>,
        litter: Option<PathBuf>,
    ) -> Self {
        Self {
            tier,
            pid,
            process,
            control,
            told,
            status: None,
            write_back,
            litter,
            tree: None,
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    pub(crate) fn keep(&mut self, tree: Option<Tree>) {
        self.tree = tree;
    }

    /// The host's pid of the sandbox's init process: it lives as long as the sandbox.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor that becomes readable when everything in the sandbox has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// Waits until everything in the sandbox has ended, and gives the program's own exit status.
    ///
    /// Closes the caller's end of [`Child::stdin`] first, so that a program that reads to the end
    /// gets there. Errors come from copying changes back, see [`crate::Writable::Dir`].
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        loop {
            match self.collect(WaitIdOptions::EXITED) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The program's exit status if everything in the sandbox has ended already.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.collect(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Sends a signal to the program's process group.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        order(&self.control, Message::SignalGroup(signal.as_raw()))
    }

    /// Sends a signal to every process in the sandbox.
    pub fn signal_all(&self, signal: Signal) -> io::Result<()> {
        order(&self.control, Message::SignalAll(signal.as_raw()))
    }

    /// Kills everything in the sandbox at once. It still has to be waited for.
    pub fn kill(&self) -> io::Result<()> {
        kill(self.tier, &self.process, &self.control)
    }

    /// A second way to send signals.
    pub fn signaller(&self) -> io::Result<Signaller> {
        Ok(Signaller {
            tier: self.tier,
            process: self.process.try_clone()?,
            control: self.control.try_clone()?,
        })
    }

    fn collect(&mut self, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.status {
            return Ok(Some(status));
        }
        let own = match waitid(WaitId::PidFd(self.process.as_fd()), options) {
            Ok(None) => return Ok(None),
            Ok(Some(status)) => status
                .exit_status()
                .map(|code| code << 8)
                .or_else(|| status.terminating_signal())
                .map(ExitStatus::from_raw),
            // The caller ignores SIGCHLD: the kernel has collected it.
            Err(Errno::CHILD) => None,
            Err(errno) => return Err(errno.into()),
        };
        while let Ok(received) = Message::receive(&self.control) {
            if let (Message::Ended(raw), _) = received {
                self.told = Some(raw);
            }
        }
        let killed = ExitStatus::from_raw(Signal::KILL.as_raw());
        let status = *self.status.insert(
            self.told
                .map(ExitStatus::from_raw)
                .or(own)
                .unwrap_or(killed),
        );
        if let Some(litter) = self.litter.take() {
            sweep(&litter)?;
        }
        if let Some(write_back) = self.write_back.take() {
            write_back.run()?;
        }
        if let Some(tree) = self.tree.take() {
            tree.finish()?;
        }
        Ok(Some(status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.write_back = None;
            if let Some(tree) = &mut self.tree {
                tree.forget_changes();
            }
            // It may have ended already; there is nobody to tell anyway.
            drop(self.kill());
            drop(self.wait());
        }
    }
}

impl Signaller {
    /// Sends a signal to the program's process group.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        order(&self.control, Message::SignalGroup(signal.as_raw()))
    }

    /// Sends a signal to every process in the sandbox.
    pub fn signal_all(&self, signal: Signal) -> io::Result<()> {
        order(&self.control, Message::SignalAll(signal.as_raw()))
    }

    /// Kills everything in the sandbox at once.
    pub fn kill(&self) -> io::Result<()> {
        kill(self.tier, &self.process, &self.control)
    }
}

/// The exit code a shell would show: 128+n for a program that signal n ended.
pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}

fn order(control: &OwnedFd, message: Message) -> io::Result<()> {
    match rustix::net::send(control, &message.encode(), SendFlags::NOSIGNAL) {
        // It has ended.
        Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes what overlayfs leaves behind: a directory with a spare whiteout or two, closed even to
/// its owner, so that a plain user could not remove it recursively.
fn sweep(litter: &Path) -> io::Result<()> {
    let removed = fs::set_permissions(litter, Permissions::from_mode(0o700))
        .and_then(|()| fs::remove_dir_all(litter));
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where init is pid 1, killing it kills all, whatever state it is in; elsewhere it has to do it.
fn kill(tier: Tier, process: &OwnedFd, control: &OwnedFd) -> io::Result<()> {
    if !tier.has_namespaces() {
        return order(control, Message::Kill);
    }
    match pidfd_send_signal(process, Signal::KILL) {
        // It has ended.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// What goes over the socket between the caller and init, one per packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// To init: signal the program's group.
    SignalGroup(i32),
    /// To init: signal everyone.
    SignalAll(i32),
    /// To init: end it all.
    Kill,
    /// From init: the program's wait status.
    Ended(i32),
    /// From init, with a descriptor: the in-memory upper directory.
    Upper,
}

impl Message {
    pub(crate) const SIZE: usize = 8;

    pub(crate) fn encode(self) -> [u8; Self::SIZE] {
        let (kind, value) = match self {
            Self::SignalGroup(number) => (1, number),
            Self::SignalAll(number) => (2, number),
            Self::Kill => (3, 0),
            Self::Ended(status) => (4, status),
            Self::Upper => (5, 0),
        };
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&i32::to_ne_bytes(kind));
        bytes[4..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [k0, k1, k2, k3, v0, v1, v2, v3] = bytes;
        let value = i32::from_ne_bytes([v0, v1, v2, v3]);
        match i32::from_ne_bytes([k0, k1, k2, k3]) {
            1 => Some(Self::SignalGroup(value)),
            2 => Some(Self::SignalAll(value)),
            3 => Some(Self::Kill),
            4 => Some(Self::Ended(value)),
            5 => Some(Self::Upper),
            _ => None,
        }
    }

    /// Sends [`Message::Upper`]; called by init, so without allocating.
    pub(crate) fn send_upper(control: RawFd, upper: &OwnedFd) -> Result<(), Errno> {
        // SAFETY: init keeps its end open for life.
        let control = unsafe { BorrowedFd::borrow_raw(control) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [upper.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::MSGSIZE);
        }
        let bytes = Self::Upper.encode();
        rustix::net::sendmsg(
            control,
            &[IoSlice::new(&bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
        .map(drop)
    }

    /// The next message, without waiting for one.
    pub(crate) fn receive(control: &OwnedFd) -> Result<(Self, Option<OwnedFd>), Errno> {
        let mut bytes = [0; Self::SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(
            control,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            flags,
        )?;
        if received.bytes != Self::SIZE {
            return Err(Errno::PIPE);
        }
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok((Self::decode(bytes).ok_or(Errno::BADMSG)?, fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_socket() {
        for message in [
            Message::SignalGroup(15),
            Message::SignalAll(-1),
            Message::Kill,
            Message::Ended(0x0b),
            Message::Upper,
        ] {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
        assert_eq!(Message::decode([9; Message::SIZE]), None);
    }

    #[test]
    fn exit_codes_are_a_shell_s() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}

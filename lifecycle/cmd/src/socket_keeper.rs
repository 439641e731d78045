//! Connections to the engine's socket for a process that gave up the right to open it.
//!
//! The socket is root's, and phases run as the build's user. A connection that is opened in advance does not live for
//! as long as a build; so a process of this program stays root, does nothing but connect to the one socket, and hands
//! the connections over. It ends when the phase does, as it reads the end of its standard input.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The first argument that makes this program a keeper; the socket's path is the second.
pub(crate) const ARGUMENT: &str = "keep-socket";

/// The other process.
pub(crate) struct Keeper {
    control: Mutex<OwnedFd>,
    child: Child,
}

impl Keeper {
    /// Starts it, with this process's rights.
    pub(crate) fn start(socket: &Path) -> io::Result<Self> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let child = Command::new("/proc/self/exe")
            .arg(ARGUMENT)
            .arg(socket)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            control: Mutex::new(ours),
            child,
        })
    }

    /// A new connection to the socket.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        rustix::net::send(&*control, b"c", SendFlags::NOSIGNAL)?;
        let mut answer = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &*control,
            &mut [IoSliceMut::new(&mut answer)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let connection = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        match connection {
            Some(connection) => Ok(UnixStream::from(connection)),
            None if received.bytes == answer.len() => {
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(answer)))
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let control = self
            .control
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // It ends when it reads the end. One that could not be told would be waited for in vain.
        if rustix::net::shutdown(control, rustix::net::Shutdown::Both).is_ok() {
            drop(self.child.wait());
        }
    }
}

/// What the other process does, until nobody asks any more.
pub(crate) fn keep(socket: &Path) {
    let control = io::stdin();
    let mut request = [0; 1];
    while let Ok((_, 1)) = rustix::net::recv(control.as_fd(), &mut request, RecvFlags::empty()) {
        let (error, connection) = match UnixStream::connect(socket) {
            Ok(connection) => (0, Some(connection)),
            Err(error) => (error.raw_os_error().unwrap_or_default(), None),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<_> = connection.iter().map(AsFd::as_fd).collect();
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return;
        }
        let answer = i32::to_ne_bytes(error);
        let sent = rustix::net::sendmsg(
            control.as_fd(),
            &[IoSlice::new(&answer)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        if sent.is_err() {
            return;
        }
    }
}

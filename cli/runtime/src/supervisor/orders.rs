//! The way of commands from the control API's thread to the loop.

use crate::supervisor::deployed::Deployed;
use crate::supervisor::messages::{Quantities, Status, Target};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// What a command asks of the loop.
pub(crate) enum Order {
    Status,
    Scale(Quantities),
    Restart(Target),
    Stop(Target),
    /// End everything.
    Quit,
    /// Replace the dynos by those of another release.
    Deploy {
        deployed: Box<Deployed>,
        /// Whether the new dynos come up before the old ones go.
        overlap: bool,
    },
    /// The sizes of dynos may have changed.
    Resize,
    /// The app's maintenance mode may have changed.
    Maintenance,
}

/// Why the loop does not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("{0}")]
    NotFound(String),
    #[error("the supervisor ends")]
    Ending,
}

pub(crate) type Answer = Result<Status, Denied>;

pub(crate) struct Envelope {
    pub(crate) order: Order,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Wakes the loop up.
#[derive(Debug, Clone)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    /// A full counter is readable too, which is all that is wanted.
    pub(crate) fn ring(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// The loop's side.
pub(crate) struct Inbox {
    receiver: Receiver<Envelope>,
    bell: Bell,
}

/// The senders' side.
#[derive(Clone)]
pub(crate) struct Outbox {
    sender: Sender<Envelope>,
    bell: Bell,
}

pub(crate) fn mailbox() -> io::Result<(Outbox, Inbox)> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let bell = Bell(Arc::new(eventfd(0, flags)?));
    let (sender, receiver) = channel();
    let outbox = Outbox {
        sender,
        bell: bell.clone(),
    };
    Ok((outbox, Inbox { receiver, bell }))
}

impl Inbox {
    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Readable when somebody has rung.
    pub(crate) fn rung(&self) -> BorrowedFd<'_> {
        self.bell.0.as_fd()
    }

    pub(crate) fn take(&self) -> Vec<Envelope> {
        // Cleared first: an order that arrives in between rings again.
        let _ = rustix::io::read(&self.bell.0, &mut [0; 8]);
        self.receiver.try_iter().collect()
    }
}

impl Outbox {
    /// Sends an order and waits for what the loop says to it.
    pub(crate) async fn send(&self, order: Order) -> Answer {
        let (answer, answered) = oneshot::channel();
        let envelope = Envelope { order, answer };
        if self.sender.send(envelope).is_err() {
            return Err(Denied::Ending);
        }
        self.bell.ring();
        answered.await.unwrap_or(Err(Denied::Ending))
    }
}

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

/// The loop's side.
pub(crate) struct Inbox {
    receiver: Receiver<Envelope>,
    bell: Arc<OwnedFd>,
}

/// The senders' side.
#[derive(Clone)]
pub(crate) struct Outbox {
    sender: Sender<Envelope>,
    bell: Arc<OwnedFd>,
}

pub(crate) fn mailbox() -> io::Result<(Outbox, Inbox)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = channel();
    let outbox = Outbox {
        sender,
        bell: Arc::clone(&bell),
    };
    Ok((outbox, Inbox { receiver, bell }))
}

impl Inbox {
    /// Readable when there may be an order.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    pub(crate) fn take(&self) -> Vec<Envelope> {
        // Cleared first: an order that arrives in between rings again.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
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
        self.ring();
        answered.await.unwrap_or(Err(Denied::Ending))
    }

    /// Wakes the loop up. A full counter is readable too, which is all that is wanted.
    pub(crate) fn ring(&self) {
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

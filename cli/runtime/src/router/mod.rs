//! Heroku's router for one app: one port, all web dynos behind it.
//!
//! ```text
//! accept ─► worker ─► guard ─► hyper ─► proxy ─► upstream ─► dyno     a thread each; connections stay on theirs
//!                     strict            │  ▲
//!                                 backends  body, tunnel ─► exchange: one log line
//! ```
//!
//! Source of the behaviour: Dev Center's `http-routing`, `error-codes` and `request-timeout`, and the
//! router's open predecessor (github.com/heroku/vegur). HTTP/1.1 and HTTP/1.0; no TLS, no HTTP/2.
//! Interim answers of a dyno other than 101 are not passed on, and `100 Continue` is the router's own.

mod answer;
mod backends;
mod body;
mod exchange;
mod fields;
mod guard;
mod limits;
mod proxy;
mod strict;
mod tunnel;
mod upstream;
mod worker;

#[cfg(test)]
mod router_tests;

pub use backends::{BackendId, BackendState, Backends};
pub use limits::RouterLimits;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

/// Takes one line's text (what stands after `heroku[router]: `, without a line end). It is called on
/// the router's threads and must not block.
pub type Log = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// What [`Router::start`] needs.
pub struct RouterInputs {
    /// Bound and listening.
    pub listeners: Vec<TcpListener>,
    pub backends: Arc<Backends>,
    pub log: Log,
    pub limits: RouterLimits,
}

/// The router could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    #[error("the router's socket cannot be prepared: {0}")]
    Listener(io::Error),
    #[error("a thread of the router cannot be started: {0}")]
    Thread(io::Error),
}

/// A running router. Dropping it lets it stop by itself, without waiting for it.
#[derive(Debug)]
pub struct Router {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
}

impl Router {
    /// Starts the threads (`router-1` …) and serves from now on.
    pub fn start(inputs: RouterInputs) -> Result<Self, RouterError> {
        let RouterInputs {
            listeners,
            backends,
            log,
            limits,
        } = inputs;
        let mut addresses = Vec::new();
        for listener in &listeners {
            listener
                .set_nonblocking(true)
                .map_err(RouterError::Listener)?;
            addresses.push(listener.local_addr().map_err(RouterError::Listener)?);
        }
        let limits = Arc::new(limits);
        let stop = watch::Sender::new(false);
        let (desks, receivers): (Vec<_>, Vec<_>) = (0..limits.threads.max(1))
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let connections = Arc::new(AtomicUsize::new(0));
                (
                    worker::Desk {
                        sender,
                        connections,
                    },
                    receiver,
                )
            })
            .unzip();
        // Dropping it tells the threads that have started already to stop.
        let mut router = Self {
            stop,
            threads: Vec::new(),
            addresses,
        };
        let mut listeners = Some(listeners);
        for (index, accepted) in receivers.into_iter().enumerate() {
            let duty = worker::Duty {
                backends: Arc::clone(&backends),
                limits: Arc::clone(&limits),
                log: Arc::clone(&log),
                accepted,
                connections: Arc::clone(&desks[index].connections),
                stop: router.stop.subscribe(),
                listeners: listeners.take().unwrap_or_default(),
                desks: desks.clone(),
            };
            router.threads.push(spawn(index + 1, duty)?);
        }
        Ok(router)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// No new connections from now on; running requests go on. Returns at once.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether all threads have ended.
    pub fn is_stopped(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// [`Router::begin_stop`], then waits for running requests, at most [`RouterLimits::stop`].
    pub fn stop(mut self) {
        self.begin_stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended too.
            drop(thread.join());
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

fn spawn(number: usize, duty: worker::Duty) -> Result<JoinHandle<()>, RouterError> {
    let (started, outcome) = std::sync::mpsc::channel();
    let thread = thread::Builder::new()
        .name(format!("router-{number}"))
        .spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    drop(started.send(Ok(())));
                    runtime.block_on(worker::run(duty));
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })
        .map_err(RouterError::Thread)?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(RouterError::Thread(error)),
        Err(_) => Err(RouterError::Thread(io::ErrorKind::Other.into())),
    }
}

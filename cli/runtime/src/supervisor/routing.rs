//! The router in front of the web dynos, from the first of them on.

use crate::port::{self, Listening, PortChoice, PortError};
use crate::router::{BackendId, Backends, Router, RouterError, RouterInputs, RouterLimits};
use crate::supervisor::error::SupervisorError;
use crate::supervisor::journal::Journal;
use crate::supervisor::limits::Limits;
use crate::supervisor::orders::Bell;
use jiff::Timestamp;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the end of the app waits for clients that take their last answers slowly.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Heroku lets a request wait a little longer for a dyno than the dyno may take to boot.
const BOOT_SLACK: Duration = Duration::from_secs(15);

type Lines = Arc<Mutex<Vec<(Timestamp, Vec<u8>)>>>;

/// The router and what it knows of the dynos.
pub(crate) struct Routing {
    choice: PortChoice,
    backends: Arc<Backends>,
    bell: Bell,
    lines: Lines,
    serving: Option<(Router, u16)>,
}

impl Routing {
    pub(crate) fn new(choice: PortChoice, bell: Bell) -> Self {
        Self {
            choice,
            backends: Backends::new(),
            bell,
            lines: Lines::default(),
            serving: None,
        }
    }

    /// Starts the router, unless it runs.
    pub(crate) fn ensure(
        &mut self,
        limits: &Limits,
        journal: &mut Journal,
    ) -> Result<(), SupervisorError> {
        if self.serving.is_some() {
            return Ok(());
        }
        let port_error = |source: PortError| SupervisorError::Port { source };
        let Listening {
            listeners,
            number,
            instead_of,
        } = port::listen(self.choice).map_err(port_error)?;
        let (lines, bell) = (Arc::clone(&self.lines), self.bell.clone());
        let router = Router::start(RouterInputs {
            listeners,
            backends: Arc::clone(&self.backends),
            log: Arc::new(move |line| {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push((Timestamp::now(), line.to_vec()));
                if lines.len() == 1 {
                    bell.ring();
                }
            }),
            limits: RouterLimits {
                boot: limits.boot + BOOT_SLACK,
                stop: LAST_ANSWERS,
                ..RouterLimits::default()
            },
        });
        let router = router.map_err(|source: RouterError| SupervisorError::Router { source })?;
        if let Some((taken, holder)) = instead_of {
            let text = format!("Port {taken} is taken by {holder}");
            journal.say("router", &text);
        }
        journal.say("router", &format!("Listening at http://localhost:{number}"));
        self.serving = Some((router, number));
        Ok(())
    }

    /// The router's port, once it runs.
    pub(crate) fn port(&self) -> Option<u16> {
        self.serving.as_ref().map(|(_, port)| *port)
    }

    /// Logs what the router has said since the last time.
    pub(crate) fn take_lines(&self, journal: &mut Journal) {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, line) in lines {
            journal.told(at, "router", &line);
        }
    }

    /// A web dyno was started: requests wait for it if there is no other.
    pub(crate) fn add(&self, name: &str, port: u16) -> BackendId {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.backends.add(name, address)
    }

    pub(crate) fn set_ready(&self, id: BackendId) {
        self.backends.set_ready(id);
    }

    pub(crate) fn set_crashed(&self, id: BackendId) {
        self.backends.set_crashed(id);
    }

    /// No new requests; the loop is woken up when there are none left.
    pub(crate) fn begin_drain(&self, id: BackendId) {
        let bell = self.bell.clone();
        self.backends.begin_drain(id, move || bell.ring());
    }

    pub(crate) fn is_idle(&self, id: BackendId) -> bool {
        self.backends.in_flight(id) == 0
    }

    pub(crate) fn remove(&self, id: BackendId) {
        self.backends.remove(id);
    }

    pub(crate) fn set_maintenance(&self, on: bool) {
        self.backends.set_maintenance(on);
    }

    pub(crate) fn maintenance(&self) -> bool {
        self.backends.maintenance()
    }

    /// No new connections.
    pub(crate) fn begin_stop(&self) {
        if let Some((router, _)) = &self.serving {
            router.begin_stop();
        }
    }

    /// Waits a moment for the last answers to arrive.
    pub(crate) fn finish(&mut self) {
        if let Some((router, _)) = self.serving.take() {
            router.stop();
        }
    }
}

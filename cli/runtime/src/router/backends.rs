//! The web dynos behind the router: where they listen, what state they are in, what they are doing.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One web dyno, for as long as its process lives. Its name is not enough: while `web.1` is replaced
/// there are two of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(u64);

/// Whether a dyno takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    /// Started, not yet listening: requests wait for it.
    Booting,
    /// Takes requests.
    Ready,
    /// Its process ended; it will be started again or not.
    Crashed,
    /// Finishes what it has and gets nothing new.
    Draining,
}

impl BackendState {
    const ALL: [Self; 4] = [Self::Booting, Self::Ready, Self::Crashed, Self::Draining];

    fn of(number: u8) -> Self {
        Self::ALL[usize::from(number) % Self::ALL.len()]
    }
}

type WhenIdle = Box<dyn FnOnce() + Send>;

pub(super) struct Backend {
    pub(super) id: BackendId,
    pub(super) name: Box<str>,
    pub(super) address: SocketAddr,
    state: AtomicU8,
    in_flight: AtomicUsize,
    /// Milliseconds after the table's making until which it is not chosen.
    quarantined: AtomicU64,
    when_idle: Mutex<Option<WhenIdle>>,
}

impl Backend {
    fn state(&self) -> BackendState {
        BackendState::of(self.state.load(Ordering::SeqCst))
    }

    fn tell_if_idle(&self) {
        if self.state() == BackendState::Draining && self.in_flight.load(Ordering::SeqCst) == 0 {
            let told = lock(&self.when_idle).take();
            if let Some(told) = told {
                told();
            }
        }
    }
}

/// A request that a dyno is busy with; the dyno counts it until this is dropped.
pub(super) struct Lease(Arc<Backend>);

impl Lease {
    pub(super) fn backend(&self) -> &Backend {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.tell_if_idle();
    }
}

/// The table of web dynos, shared by the supervisor and the router's threads. Every method returns at
/// once and may be called from any thread.
pub struct Backends {
    table: Mutex<Vec<Arc<Backend>>>,
    last_id: AtomicU64,
    version: AtomicU64,
    changes: watch::Sender<u64>,
    maintenance: AtomicBool,
    made: Instant,
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for backend in lock(&self.table).iter() {
            list.entry(&(&backend.name, backend.address, backend.state()));
        }
        list.finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            last_id: AtomicU64::new(0),
            version: AtomicU64::new(1),
            changes: watch::Sender::new(1),
            maintenance: AtomicBool::new(false),
            made: Instant::now(),
        }
    }
}

impl Backends {
    /// No dynos at all: every request is answered with H14.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A web dyno was started; it is [`BackendState::Booting`]. `name` (`web.1`) is for the log.
    pub fn add(&self, name: &str, address: SocketAddr) -> BackendId {
        let id = BackendId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        lock(&self.table).push(Arc::new(Backend {
            id,
            name: name.into(),
            address,
            state: AtomicU8::new(BackendState::Booting as u8),
            in_flight: AtomicUsize::new(0),
            quarantined: AtomicU64::new(0),
            when_idle: Mutex::new(None),
        }));
        self.changed();
        id
    }

    /// The dyno listens: requests that wait go to it.
    pub fn set_ready(&self, id: BackendId) {
        self.set(id, BackendState::Ready);
    }

    /// The dyno's process ended by itself. With nothing but crashed dynos requests are answered with H10.
    pub fn set_crashed(&self, id: BackendId) {
        self.set(id, BackendState::Crashed);
    }

    /// The dyno gets no new request from now on and connections to it that nothing uses are closed.
    /// `when_idle` is called once, on any thread, as soon as its last request has ended (at once when it
    /// has none); tunnels of upgraded connections count as requests.
    pub fn begin_drain(&self, id: BackendId, when_idle: impl FnOnce() + Send + 'static) {
        if let Some(backend) = self.find(id) {
            *lock(&backend.when_idle) = Some(Box::new(when_idle));
            self.set(id, BackendState::Draining);
            backend.tell_if_idle();
        } else {
            when_idle();
        }
    }

    /// The dyno is forgotten. Requests it still has go on for as long as its process does.
    pub fn remove(&self, id: BackendId) {
        lock(&self.table).retain(|backend| backend.id != id);
        self.changed();
    }

    /// How many requests and tunnels the dyno is busy with; 0 for one that is not in the table.
    pub fn in_flight(&self, id: BackendId) -> usize {
        self.find(id)
            .map_or(0, |backend| backend.in_flight.load(Ordering::SeqCst))
    }

    /// The dyno's state; `None` for one that is not in the table.
    pub fn state(&self, id: BackendId) -> Option<BackendState> {
        self.find(id).map(|backend| backend.state())
    }

    /// Whether requests are answered with H80 and the maintenance page instead of reaching a dyno.
    pub fn set_maintenance(&self, on: bool) {
        self.maintenance.store(on, Ordering::Relaxed);
    }

    /// See [`Backends::set_maintenance`].
    pub fn maintenance(&self) -> bool {
        self.maintenance.load(Ordering::Relaxed)
    }

    fn find(&self, id: BackendId) -> Option<Arc<Backend>> {
        lock(&self.table)
            .iter()
            .find(|backend| backend.id == id)
            .cloned()
    }

    fn set(&self, id: BackendId, state: BackendState) {
        if let Some(backend) = self.find(id) {
            backend.state.store(state as u8, Ordering::SeqCst);
            if state == BackendState::Ready {
                backend.quarantined.store(0, Ordering::Relaxed);
            }
        }
        self.changed();
    }

    fn changed(&self) {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        self.changes.send_replace(version);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn quarantine(&self, backend: &Backend, time: Duration) {
        let until = (self.made.elapsed() + time).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        backend.quarantined.store(until, Ordering::Relaxed);
    }

    pub(super) fn is_newer(&self, known: u64) -> bool {
        self.version.load(Ordering::SeqCst) != known
    }

    /// The present table, unless `known` is it already.
    pub(super) fn newer(&self, known: u64) -> Option<Snapshot> {
        let version = self.version.load(Ordering::SeqCst);
        if version == known {
            return None;
        }
        let table = lock(&self.table);
        let has = |state| table.iter().any(|backend| backend.state() == state);
        Some(Snapshot {
            version,
            booting: has(BackendState::Booting),
            crashed: has(BackendState::Crashed),
            ready: table
                .iter()
                .filter(|backend| backend.state() == BackendState::Ready)
                .cloned()
                .collect(),
        })
    }

    fn by_chance(&self, ready: &[Arc<Backend>], tried: &[BackendId]) -> Option<Arc<Backend>> {
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        let free = |backend: &&Arc<Backend>| !tried.contains(&backend.id);
        let well = |backend: &&Arc<Backend>| backend.quarantined.load(Ordering::Relaxed) <= now;
        let among = |candidates: &mut dyn Iterator<Item = &Arc<Backend>>, count: usize| {
            candidates.nth(fastrand::usize(..count)).cloned()
        };
        let ready = ready.iter();
        match ready.clone().filter(free).filter(well).count() {
            0 => match ready.clone().filter(free).count() {
                0 => None,
                count => among(&mut ready.filter(free), count),
            },
            count => among(&mut ready.filter(free).filter(well), count),
        }
    }

    /// A ready dyno by chance that is not among `tried`; quarantined ones only if there is no other.
    pub(super) fn choose(&self, from: &Snapshot, tried: &[BackendId]) -> Option<Lease> {
        let chosen = match (&from.ready[..], tried) {
            ([], _) => None,
            ([only], []) => Some(Arc::clone(only)),
            (several, _) => self.by_chance(several, tried),
        }?;
        // Counted first and looked at afterwards, the other way round than `begin_drain`: one of the two
        // sees the other.
        chosen.in_flight.fetch_add(1, Ordering::SeqCst);
        let lease = Lease(chosen);
        (lease.backend().state() == BackendState::Ready).then_some(lease)
    }
}

/// What a thread of the router knows of the table.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) version: u64,
    pub(super) ready: Vec<Arc<Backend>>,
    pub(super) booting: bool,
    pub(super) crashed: bool,
}

impl Snapshot {
    pub(super) fn has(&self, id: BackendId) -> bool {
        self.ready.iter().any(|backend| backend.id == id)
    }
}

//! A thread of the router: clients' connections, all they need, and nothing shared that could be waited
//! for.

use super::Log;
use super::answer::{Code, Line};
use super::backends::{BackendId, Backends, Lease, Snapshot};
use super::fields::Origin;
use super::guard::{Deadline, Guard, Shared};
use super::limits::RouterLimits;
use super::proxy::serve;
use super::upstream::Pool;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout_at};

/// hyper's parser has room for this many fields on the stack.
const FIELDS_ON_STACK: usize = 100;

/// How long an acceptor waits when the machine has no room for another connection.
const FULL: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    pub(super) backends: Arc<Backends>,
    pub(super) limits: Arc<RouterLimits>,
    pub(super) log: Log,
    pub(super) pool: Pool,
    snapshot: RefCell<Rc<Snapshot>>,
}

/// One client's connection.
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) shared: Arc<Shared>,
    pub(super) origin: Origin,
    pub(super) deadline: RefCell<Deadline>,
}

/// A connection that was accepted.
pub(super) struct Accepted {
    stream: TcpStream,
    peer: IpAddr,
    /// The router's port.
    port: u16,
}

/// Where an acceptor sends connections, and how many are there.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) sender: UnboundedSender<Accepted>,
    pub(super) connections: Arc<AtomicUsize>,
}

/// What a thread is given.
pub(super) struct Duty {
    pub(super) backends: Arc<Backends>,
    pub(super) limits: Arc<RouterLimits>,
    pub(super) log: Log,
    pub(super) accepted: UnboundedReceiver<Accepted>,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) stop: watch::Receiver<bool>,
    /// Only the first thread accepts: what it accepts goes to the thread that has least.
    pub(super) listeners: Vec<TcpListener>,
    pub(super) desks: Vec<Desk>,
}

impl Worker {
    fn snapshot(&self) -> Rc<Snapshot> {
        let known = self.snapshot.borrow().version;
        if let Some(newer) = self.backends.newer(known) {
            self.snapshot.replace(Rc::new(newer));
        }
        Rc::clone(&self.snapshot.borrow())
    }

    /// A ready dyno that is not among `tried`; waits for one that boots. `last` is what the request
    /// fails with when all were tried.
    pub(super) async fn choose(&self, tried: &[BackendId], last: Code) -> Result<Lease, Code> {
        let mut waiting = None;
        loop {
            let snapshot = self.snapshot();
            if let Some(lease) = self.backends.choose(&snapshot, tried) {
                return Ok(lease);
            }
            if !snapshot.ready.is_empty() {
                if snapshot
                    .ready
                    .iter()
                    .all(|backend| tried.contains(&backend.id))
                {
                    return Err(last);
                }
                // One was taken away just now.
                tokio::task::yield_now().await;
            } else if snapshot.booting {
                let (changes, until) = waiting.get_or_insert_with(|| {
                    (self.backends.changes(), Instant::now() + self.limits.boot)
                });
                // What changed before the subscription is in the next look at the table.
                if self.backends.is_newer(snapshot.version) {
                    continue;
                }
                match timeout_at(*until, changes.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Code::H99),
                    Err(_) => return Err(Code::H20),
                }
            } else if snapshot.crashed {
                return Err(Code::H10);
            } else {
                return Err(Code::H14);
            }
        }
    }

    /// Closes connections to dynos that are not used any more or must not be.
    async fn tidy(self: Rc<Self>) {
        let mut changes = self.backends.changes();
        loop {
            let unused = self.limits.upstream_idle;
            let empty = self.pool.is_empty();
            tokio::select! {
                outcome = changes.changed() => {
                    if outcome.is_err() {
                        return;
                    }
                    self.pool.keep_only(&self.snapshot());
                }
                () = sleep(unused), if !empty => self.pool.expire(unused),
                () = self.pool.filled.notified(), if empty => {}
            }
        }
    }
}

/// Runs a thread until it is told to stop and its requests are served or given up.
pub(super) async fn run(duty: Duty) {
    let Duty {
        backends,
        limits,
        log,
        mut accepted,
        connections,
        stop,
        listeners,
        desks,
    } = duty;
    let worker = Rc::new(Worker {
        pool: Pool::new(limits.upstream_spare),
        snapshot: RefCell::default(),
        backends,
        limits,
        log,
    });
    let tidy = spawn_local(Rc::clone(&worker).tidy());
    for listener in listeners {
        spawn_local(accept(listener, desks.clone(), stop.clone()));
    }
    drop(desks);
    let mut stopping = stop.clone();
    loop {
        tokio::select! {
            one = accepted.recv() => {
                let Some(one) = one else { break };
                let (worker, stop) = (Rc::clone(&worker), stop.clone());
                let connections = Arc::clone(&connections);
                spawn_local(async move {
                    talk(worker, one, stop).await;
                    connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
            _ = stopping.wait_for(|stop| *stop) => break,
        }
    }
    accepted.close();
    let until = Instant::now() + worker.limits.stop;
    // This and the tidying task hold the worker; whoever else does has work to finish.
    while Rc::strong_count(&worker) > 2 && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    tidy.abort();
}

async fn accept(listener: TcpListener, desks: Vec<Desk>, mut stop: watch::Receiver<bool>) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    // Its socket is non-blocking already, which is all that can be missing here.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let mut next = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // It may be served by another thread, on whose reactor it belongs.
                let Ok(stream) = stream.into_std() else {
                    continue;
                };
                next += 1;
                let count = desks.len();
                let order = (0..count).map(|offset| &desks[(next + offset) % count]);
                let Some(desk) = order.min_by_key(|desk| desk.connections.load(Ordering::Relaxed))
                else {
                    return;
                };
                desk.connections.fetch_add(1, Ordering::Relaxed);
                let peer = peer.ip();
                // A desk is closed only when all are.
                drop(desk.sender.send(Accepted { stream, peer, port }));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => sleep(FULL).await,
        }
    }
}

/// Serves one client's connection until it is closed.
async fn talk(worker: Rc<Worker>, accepted: Accepted, mut stop: watch::Receiver<bool>) {
    let Accepted { stream, peer, port } = accepted;
    // Only a socket that is gone already fails here.
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    drop(stream.set_nodelay(true));
    let limits = Arc::clone(&worker.limits);
    let shared = Arc::<Shared>::default();
    let client = Rc::new(Client {
        worker,
        shared: Arc::clone(&shared),
        origin: Origin::new(peer, port),
        deadline: RefCell::new(Deadline::new(limits.first_byte.min(limits.idle))),
    });
    let mut builder = http1::Builder::new();
    builder
        .title_case_headers(true)
        .half_close(false)
        .header_read_timeout(None);
    if limits.fields > FIELDS_ON_STACK {
        builder.max_headers(limits.fields);
    }
    let guard = Guard::new(stream, limits, shared);
    let own = Rc::clone(&client);
    let service = service_fn(move |request| serve(Rc::clone(&own), request));
    let mut connection = pin!(
        builder
            .serve_connection(TokioIo::new(guard), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        _ = stop.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if ended.is_err_and(|error| error.is_parse()) {
        // hyper's parser is stricter in places than the guard; it has answered by itself.
        let code = Code::H26("bad request", hyper::StatusCode::BAD_REQUEST);
        (client.worker.log)(
            &Line {
                code: Some(code),
                fwd: client.origin.address().as_bytes(),
                status: code.status().as_u16(),
                ..Line::default()
            }
            .text(),
        );
    }
}

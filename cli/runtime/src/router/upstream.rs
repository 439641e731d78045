//! Connections to dynos. None is a task of its own: whoever uses one drives it, so that a request and
//! its answer pass without a thread or a task waking another.

use super::answer::Code;
use super::backends::{Backend, BackendId, Snapshot};
use super::body::{RequestBody, Upload};
use super::limits::RouterLimits;
use super::worker::Client;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How long a connection may lie unused before it carries a request that cannot be sent twice.
const SURELY_OPEN: Duration = Duration::from_secs(1);

pub(super) const BAD_CHUNK: Code = Code::H26("bad chunk", StatusCode::BAD_REQUEST);

pub(super) struct Upstream {
    sender: SendRequest<RequestBody>,
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>>>>,
    closed: bool,
    backend: BackendId,
    unused_since: Instant,
    reused: bool,
}

/// What became of a request that was given to a connection.
pub(super) enum Sent {
    Answer(hyper::Response<Incoming>),
    /// Not one byte of it was sent.
    Back(Request<RequestBody>),
    /// `answerless`: the dyno closed without a byte of an answer.
    Failed {
        code: Code,
        answerless: bool,
    },
}

impl Upstream {
    /// A new connection (H19, H21; H99 where it is this machine that has no room for it).
    pub(super) async fn connect(backend: &Backend, limits: &RouterLimits) -> Result<Self, Code> {
        let stream = match timeout(limits.connect, TcpStream::connect(backend.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(match error.kind() {
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Code::H21,
                    ErrorKind::TimedOut => Code::H19,
                    _ => Code::H99,
                });
            }
            Err(_) => return Err(Code::H19),
        };
        // Only a delay is lost without it.
        drop(stream.set_nodelay(true));
        let (sender, connection) = Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Code::H99)?;
        Ok(Self {
            sender,
            connection: Box::pin(connection.with_upgrades()),
            closed: false,
            backend: backend.id,
            unused_since: Instant::now(),
            reused: false,
        })
    }

    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Moves bytes. Whether the connection is over.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.closed && self.connection.as_mut().poll(cx).is_ready() {
            self.closed = true;
        }
        self.closed
    }

    /// Sends a request, `begun` now, and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        upload: Option<&Upload>,
        client: &Client,
        begun: Instant,
    ) -> Sent {
        let limits = &client.worker.limits;
        let mut answer = pin!(self.sender.try_send_request(request));
        let closed = &mut self.closed;
        let connection = &mut self.connection;
        poll_fn(|cx| {
            if !*closed && connection.as_mut().poll(cx).is_ready() {
                *closed = true;
            }
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(match answer {
                    Ok(answer) => Sent::Answer(answer),
                    Err(mut failed) => match failed.take_message() {
                        Some(request) => Sent::Back(request),
                        None => failure(failed.error(), upload, client),
                    },
                });
            }
            if upload.is_some() && client.shared.is_bad_body() {
                return Poll::Ready(Sent::Failed {
                    code: BAD_CHUNK,
                    answerless: false,
                });
            }
            let (due, code) = match upload {
                Some(upload) if upload.is_waiting() => (upload.last() + limits.idle, Code::H28),
                Some(upload) => (upload.last() + limits.first_byte, Code::H12),
                None => (begun + limits.first_byte, Code::H12),
            };
            let late = client.deadline.borrow_mut().poll(cx, due);
            late.map(|()| Sent::Failed {
                code,
                answerless: false,
            })
        })
        .await
    }
}

fn failure(error: &hyper::Error, upload: Option<&Upload>, client: &Client) -> Sent {
    let mut answerless = false;
    let code = if upload.is_some_and(Upload::has_failed) {
        if client.shared.is_bad_body() {
            BAD_CHUNK
        } else {
            Code::H27
        }
    } else if error.is_parse_too_large() {
        Code::H25("oversized header")
    } else if error.is_parse() || error.is_parse_status() {
        Code::H17
    } else {
        answerless = true;
        Code::H13
    };
    Sent::Failed { code, answerless }
}

/// One thread's unused connections.
pub(super) struct Pool {
    unused: RefCell<BTreeMap<BackendId, Vec<Upstream>>>,
    most: usize,
    /// The pool is not empty any more.
    pub(super) filled: Notify,
}

impl Pool {
    pub(super) fn new(most: usize) -> Self {
        Self {
            unused: RefCell::default(),
            most,
            filled: Notify::new(),
        }
    }

    /// The connection that was used last, if the dyno has not closed it meanwhile.
    pub(super) async fn take(&self, backend: BackendId, replayable: bool) -> Option<Upstream> {
        poll_fn(|cx| {
            loop {
                let found = self
                    .unused
                    .borrow_mut()
                    .get_mut(&backend)
                    .and_then(Vec::pop);
                let Some(mut upstream) = found else {
                    return Poll::Ready(None);
                };
                let open = !upstream.drive(cx) && upstream.sender.is_ready();
                if open && (replayable || upstream.unused_since.elapsed() < SURELY_OPEN) {
                    upstream.reused = true;
                    return Poll::Ready(Some(upstream));
                }
            }
        })
        .await
    }

    /// Keeps a connection for another request if it can serve one.
    pub(super) fn put(&self, cx: &mut Context<'_>, mut upstream: Upstream) {
        if upstream.drive(cx) || !upstream.sender.is_ready() {
            return;
        }
        upstream.unused_since = Instant::now();
        let mut unused = self.unused.borrow_mut();
        if unused.is_empty() {
            self.filled.notify_one();
        }
        let same = unused.entry(upstream.backend).or_default();
        if same.len() < self.most {
            same.push(upstream);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unused.borrow().is_empty()
    }

    /// Closes the connections of dynos that take no requests any more.
    pub(super) fn keep_only(&self, snapshot: &Snapshot) {
        self.unused
            .borrow_mut()
            .retain(|backend, _| snapshot.has(*backend));
    }

    /// Closes connections that were not used for `time`.
    pub(super) fn expire(&self, time: Duration) {
        self.unused.borrow_mut().retain(|_, same| {
            same.retain(|upstream| upstream.unused_since.elapsed() < time);
            !same.is_empty()
        });
    }
}

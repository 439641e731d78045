//! The control API: HTTP/1.1 over the Unix socket `supervisor.sock` in the app's folder.
//!
//! ```text
//! GET  /status                       what runs
//! PUT  /formation   {"web": 2, …}    bring the formation to these quantities
//! POST /restart     "All" | {"Type": "web"} | {"Dyno": "web.1"}
//! POST /stop        likewise; stopped until restarted
//! POST /quit                         stop everything and end
//! POST /reload      {"overlap": true}  the app has a new release
//! POST /resize                       the sizes of dynos may have changed
//! POST /maintenance                  the app's maintenance mode may have changed
//! ```
//! Every answer is a [`Status`](super::messages::Status), or `{"error": "…"}` with 4xx or 5xx.

use crate::supervisor::deployed::Loader;
use crate::supervisor::lock::SOCKET;
use crate::supervisor::messages::{Refusal, Reload};
use crate::supervisor::orders::{Denied, Order, Outbox};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags, open};
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

/// No order is longer. In bytes.
const LONGEST_ORDER: usize = 64 * 1024;

/// Listens in the app's folder. The caller holds the supervisor's lock, so a socket that is
/// already there is a dead one's.
pub(crate) fn listen(folder: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(folder.join(SOCKET)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = in_short(folder, |path| UnixListener::bind(path))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Calls `attempt` with a path of the folder's socket that fits into a socket address, which holds
/// 107 bytes (unix(7)).
pub(crate) fn in_short<T>(
    folder: &Path,
    attempt: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(folder, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    attempt(Path::new(&path))
}

/// Serves commands on a thread of its own, which ends with the process.
pub(crate) fn serve(listener: UnixListener, outbox: Outbox, loader: Loader) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::UnixListener::from_std(listener)?
    };
    let accept = async move {
        let site = Arc::new(Site { outbox, loader });
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Too many open files, for a moment.
                tokio::task::yield_now().await;
                continue;
            };
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                let service = service_fn(|request| answer(Arc::clone(&site), request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that goes away in the middle is its own business.
                drop(connection.await);
            });
        }
    };
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || runtime.block_on(accept))?;
    Ok(())
}

struct Site {
    outbox: Outbox,
    loader: Loader,
}

/// An answer that is not the status.
struct Failed {
    code: StatusCode,
    error: String,
}

async fn answer(
    site: Arc<Site>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (code, json) = match order(&site, request).await {
        Ok(order) => match site.outbox.send(order).await {
            Ok(status) => (StatusCode::OK, serde_json::to_vec(&status)),
            Err(denied) => {
                let code = match denied {
                    Denied::NotFound(_) => StatusCode::NOT_FOUND,
                    Denied::Ending => StatusCode::SERVICE_UNAVAILABLE,
                };
                let error = denied.to_string();
                (code, serde_json::to_vec(&Refusal { error }))
            }
        },
        Err(Failed { code, error }) => (code, serde_json::to_vec(&Refusal { error })),
    };
    let mut response = Response::new(Full::new(Bytes::from(json.unwrap_or_default())));
    *response.status_mut() = code;
    Ok(response)
}

async fn order(site: &Site, request: Request<Incoming>) -> Result<Order, Failed> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_ORDER)
        .collect()
        .await
        .map_err(|error| Failed {
            code: StatusCode::BAD_REQUEST,
            error: error.to_string(),
        })?
        .to_bytes();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/status") => Ok(Order::Status),
        (&Method::PUT, "/formation") => parse(&body).map(Order::Scale),
        (&Method::POST, "/restart") => parse(&body).map(Order::Restart),
        (&Method::POST, "/stop") => parse(&body).map(Order::Stop),
        (&Method::POST, "/quit") => Ok(Order::Quit),
        (&Method::POST, "/resize") => Ok(Order::Resize),
        (&Method::POST, "/maintenance") => Ok(Order::Maintenance),
        (&Method::POST, "/reload") => {
            let Reload { overlap } = parse(&body)?;
            let loader = Arc::clone(&site.loader);
            let internal = |error: &dyn Error| Failed {
                code: StatusCode::INTERNAL_SERVER_ERROR,
                error: super::chain(error),
            };
            // Unpacking a new image takes its time.
            let deployed = tokio::task::spawn_blocking(move || loader())
                .await
                .map_err(|error| internal(&error))?
                .map_err(|error| internal(&*error))?;
            Ok(Order::Deploy {
                deployed: Box::new(deployed),
                overlap,
            })
        }
        _ => Err(Failed {
            code: StatusCode::NOT_FOUND,
            error: format!("there is no {} {}", head.method, head.uri.path()),
        }),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(body).map_err(|error| Failed {
        code: StatusCode::BAD_REQUEST,
        error: format!("cannot understand the order: {error}"),
    })
}

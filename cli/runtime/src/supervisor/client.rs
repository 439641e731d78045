//! How commands speak to an app's supervisor.

use crate::supervisor::api::in_short;
use crate::supervisor::lock::{LockError, Presence, look};
use crate::supervisor::messages::{Quantities, Refusal, Reload, Status, Target};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A supervisor listens some milliseconds after it has taken its lock, and later on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// A living supervisor.
#[derive(Debug, Clone)]
pub struct Client {
    folder: PathBuf,
    pid: Option<u32>,
}

/// Whether an app has a supervisor to speak to.
#[derive(Debug, Clone)]
pub enum Supervisor {
    Running(Client),
    /// `killed` is the pid of one that had no time to end in order, told once.
    Absent {
        killed: Option<u32>,
    },
}

/// Why a supervisor did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot reach the supervisor")]
    Connect { source: io::Error },
    #[error("cannot speak with the supervisor")]
    Exchange { source: hyper::Error },
    #[error("cannot understand the supervisor")]
    Answer { source: serde_json::Error },
    /// What was asked for makes no sense; the supervisor's own words.
    #[error("{0}")]
    Refused(String),
    /// The supervisor could not do it, or ends; its own words.
    #[error("{0}")]
    Failed(String),
    #[error("the supervisor, process {}, still runs after {} s", pid.unwrap_or_default(), waited.as_secs())]
    StillThere { pid: Option<u32>, waited: Duration },
}

impl Supervisor {
    /// Finds the supervisor of the app whose folder this is.
    pub fn find(folder: &Path) -> Result<Self, ClientError> {
        Ok(match look(folder)? {
            Presence::Alive { pid } => Self::Running(Client {
                folder: folder.to_owned(),
                pid,
            }),
            Presence::Absent { killed } => Self::Absent { killed },
        })
    }
}

impl Client {
    /// The supervisor's process; unknown while it starts.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub fn status(&self) -> Result<Status, ClientError> {
        self.call(Method::GET, "/status", &())
    }

    /// Brings the formation to exactly these quantities.
    pub fn scale(&self, quantities: &Quantities) -> Result<Status, ClientError> {
        self.call(Method::PUT, "/formation", quantities)
    }

    pub fn restart(&self, target: &Target) -> Result<Status, ClientError> {
        self.call(Method::POST, "/restart", target)
    }

    /// Stops dynos until they are restarted.
    pub fn stop(&self, target: &Target) -> Result<Status, ClientError> {
        self.call(Method::POST, "/stop", target)
    }

    /// Ends the supervisor and everything it runs, and waits for that up to `patience`.
    pub fn quit(&self, patience: Duration) -> Result<(), ClientError> {
        match self.call(Method::POST, "/quit", &()) {
            // It ends already, or has just ended.
            Ok(_)
            | Err(
                ClientError::Refused(_)
                | ClientError::Failed(_)
                | ClientError::Connect { .. }
                | ClientError::Exchange { .. },
            ) => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + patience;
        while matches!(look(&self.folder)?, Presence::Alive { .. }) {
            if Instant::now() >= deadline {
                return Err(ClientError::StillThere {
                    pid: self.pid,
                    waited: patience,
                });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Tells that the app has a new release. With `overlap` the new dynos come up before the old
    /// ones go, so that no request is lost.
    pub fn reload(&self, overlap: bool) -> Result<Status, ClientError> {
        self.call(Method::POST, "/reload", &Reload { overlap })
    }

    /// Tells that the sizes of dynos changed: those of another size are replaced.
    pub fn resize(&self) -> Result<Status, ClientError> {
        self.call(Method::POST, "/resize", &())
    }

    /// Tells that the app's maintenance mode changed.
    pub fn maintenance(&self) -> Result<Status, ClientError> {
        self.call(Method::POST, "/maintenance", &())
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        order: &impl Serialize,
    ) -> Result<Status, ClientError> {
        let order = serde_json::to_vec(order).map_err(|source| ClientError::Answer { source })?;
        let stream = self.connect()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|source| ClientError::Connect { source })?;
        let mut request = Request::new(Full::new(Bytes::from(order)));
        *request.method_mut() = method;
        *request.uri_mut() = hyper::Uri::try_from(path).map_err(|error| ClientError::Connect {
            source: io::Error::other(error),
        })?;
        let (code, body) = runtime.block_on(exchange(stream, request))?;
        let answer = |source| ClientError::Answer { source };
        if code == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(answer);
        }
        let refusal: Refusal = serde_json::from_slice(&body).map_err(answer)?;
        Err(if code.is_server_error() {
            ClientError::Failed(refusal.error)
        } else {
            ClientError::Refused(refusal.error)
        })
    }

    /// Connects; a supervisor that holds its lock and does not listen yet is waited for.
    fn connect(&self) -> Result<UnixStream, ClientError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match in_short(&self.folder, |path| UnixStream::connect(path)) {
                Ok(stream) => return Ok(stream),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused
                    ) && Instant::now() < deadline
                        && matches!(look(&self.folder)?, Presence::Alive { .. }) => {}
                Err(source) => return Err(ClientError::Connect { source }),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

async fn exchange(
    stream: UnixStream,
    mut request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let connect = |source| ClientError::Connect { source };
    stream.set_nonblocking(true).map_err(connect)?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(connect)?;
    let lost = |source| ClientError::Exchange { source };
    request.headers_mut().insert(
        hyper::header::HOST,
        hyper::header::HeaderValue::from_static("supervisor"),
    );
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(lost)?;
    let code = response.status();
    let body = response.into_body().collect().await.map_err(lost)?;
    connection.abort();
    Ok((code, body.to_bytes()))
}

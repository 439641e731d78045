//! Docker's and podman's engines over their API sockets: `POST /images/load` and `GET /images/NAME/get`.
//!
//! Podman answers the same requests as Docker ("compat API"). The address has no version: every engine answers that,
//! with its newest.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use ureq::config::Config;
use ureq::http::{Request, Response, StatusCode, Uri, header};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error, SendBody, Timeout};

use crate::transport::url::encode;

/// Engines unpack what they load before they answer, and put archives together before they begin to send.
const PATIENCE: Duration = Duration::from_mins(30);

/// For each read and write in between.
const IDLE: Duration = Duration::from_mins(5);

/// What the containerd image store calls its driver in `DriverStatus`, for Docker's own clients to tell it by.
const CONTAINERD: [&str; 2] = ["driver-type", "io.containerd.snapshotter.v1"];

/// What of an engine's words is read.
const LONGEST_ANSWER: u64 = 4 << 20;

/// An engine at its socket.
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
    agent: Agent,
}

/// What an engine could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Nobody answers at the socket.
    #[error("no engine answers at {socket}")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The engine does not have the image.
    #[error("the engine at {socket} has no image {name}")]
    NoSuchImage {
        /// The socket.
        socket: PathBuf,
        /// The name.
        name: String,
    },
    /// The engine refused, in its own words.
    #[error("the engine at {socket} could not {operation}: {message}")]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        operation: String,
        /// What it says.
        message: String,
    },
    /// The connection broke, or what was to be sent could not be read, or what was sent not be written.
    #[error("could not {operation} with the engine at {socket}")]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        operation: String,
        #[source]
        source: io::Error,
    },
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    error: Option<String>,
    /// Of an error document.
    #[serde(default)]
    message: Option<String>,
}

impl Engine {
    /// The engine that listens at this Unix socket. Nothing is sent yet.
    pub fn new(socket: &Path) -> Self {
        let path = socket.to_owned();
        Self::with_connect(socket, move || UnixStream::connect(&path))
    }

    /// The same for who may not open the socket: `connect` does, for every request.
    pub fn with_connect(
        socket: &Path,
        connect: impl Fn() -> io::Result<UnixStream> + Send + Sync + 'static,
    ) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .accept_encoding("identity")
            .user_agent(concat!("slugc/", env!("CARGO_PKG_VERSION")))
            .timeout_per_read(Some(IDLE))
            .timeout_per_write(Some(IDLE))
            .timeout_recv_response(Some(PATIENCE))
            .build();
        let connector = SocketConnector {
            connect: Box::new(connect),
        };
        Self {
            socket: socket.to_owned(),
            agent: Agent::with_parts(config, connector, NoResolver),
        }
    }

    /// Sends an archive (`docker load`'s format) of `length` bytes. Returns what the engine says about it.
    pub fn load(&self, mut archive: impl Read, length: u64) -> Result<Vec<String>, EngineError> {
        let operation = "load the image";
        let request = Request::builder()
            .method("POST")
            .uri("http://engine/images/load?quiet=1")
            .header(header::CONTENT_TYPE, "application/x-tar")
            .header(header::CONTENT_LENGTH, length)
            .body(SendBody::from_reader(&mut archive))
            .map_err(|error| self.broken(operation, io::Error::other(error)))?;
        let response = self
            .agent
            .run(request)
            .map_err(|error| self.failed(operation, error))?;
        let (status, lines) = self.answer(operation, response)?;
        let mut said = Vec::new();
        for line in lines {
            if let Some(message) = line.error {
                return Err(self.refused(operation, &message));
            }
            if !status.is_success() {
                return Err(self.refused(operation, &line.message.unwrap_or_default()));
            }
            said.extend(line.stream.map(|text| text.trim().to_owned()));
        }
        if status.is_success() {
            Ok(said)
        } else {
            Err(self.refused(operation, &status.to_string()))
        }
    }

    /// What the engine knows of an image, as the JSON document of `docker image inspect`; `None` when it has none of
    /// that name or ID.
    pub fn inspect(&self, name: &str) -> Result<Option<serde_json::Value>, EngineError> {
        let operation = format!("look at the image {name}");
        let path = encode(name).replace("%2F", "/");
        let uri = format!("http://engine/images/{path}/json");
        let response = self.agent.get(&uri).call();
        let response = response.map_err(|error| self.failed(&operation, error))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.document(&operation, response).map(Some)
    }

    /// Whether the engine keeps layers as the blobs that it is sent, with whatever is in them: one with containerd's
    /// image store. Others unpack layers, and pass over the content of those that they have.
    pub fn keeps_blobs(&self) -> Result<bool, EngineError> {
        let operation = "ask for its storage driver";
        let response = self.agent.get("http://engine/info").call();
        let response = response.map_err(|error| self.failed(operation, error))?;
        let info = self.document(operation, response)?;
        let pairs = info["DriverStatus"].as_array();
        Ok(pairs.is_some_and(|pairs| pairs.contains(&serde_json::json!(CONTAINERD))))
    }

    /// Writes an image's archive to `out`.
    pub fn save(&self, name: &str, out: &mut impl Write) -> Result<(), EngineError> {
        let operation = format!("save the image {name}");
        // Slashes are part of the path here, as Docker's own client sends them.
        let path = encode(name).replace("%2F", "/");
        let uri = format!("http://engine/images/{path}/get");
        let response = self.agent.get(&uri).call();
        let response = response.map_err(|error| self.failed(&operation, error))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(EngineError::NoSuchImage {
                socket: self.socket.clone(),
                name: name.to_owned(),
            });
        }
        let response = self.accepted(&operation, response)?;
        io::copy(&mut response.into_body().into_reader(), out)
            .map(drop)
            .map_err(|source| self.broken(&operation, source))
    }

    /// The answer, unless the engine refused.
    fn accepted(
        &self,
        operation: &str,
        response: Response<ureq::Body>,
    ) -> Result<Response<ureq::Body>, EngineError> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, lines) = self.answer(operation, response)?;
        let message = lines
            .into_iter()
            .find_map(|line| line.message.or(line.error));
        Err(self.refused(operation, &message.unwrap_or_else(|| status.to_string())))
    }

    /// The one JSON document of an answer.
    fn document(
        &self,
        operation: &str,
        response: Response<ureq::Body>,
    ) -> Result<serde_json::Value, EngineError> {
        let body = self
            .accepted(operation, response)?
            .into_body()
            .into_reader();
        serde_json::from_reader(body.take(LONGEST_ANSWER))
            .map_err(|error| self.broken(operation, io::Error::other(error)))
    }

    /// The answer's JSON documents, one after the other. What is none is passed over.
    fn answer(
        &self,
        operation: &str,
        response: Response<ureq::Body>,
    ) -> Result<(StatusCode, Vec<Line>), EngineError> {
        let status = response.status();
        let mut body = Vec::new();
        response
            .into_body()
            .into_reader()
            .take(LONGEST_ANSWER)
            .read_to_end(&mut body)
            .map_err(|source| self.broken(operation, source))?;
        let lines = serde_json::Deserializer::from_slice(&body)
            .into_iter()
            .map_while(Result::ok)
            .collect();
        Ok((status, lines))
    }

    fn refused(&self, operation: &str, message: &str) -> EngineError {
        EngineError::Refused {
            socket: self.socket.clone(),
            operation: operation.to_owned(),
            message: message.trim().to_owned(),
        }
    }

    fn broken(&self, operation: &str, source: io::Error) -> EngineError {
        EngineError::Broken {
            socket: self.socket.clone(),
            operation: operation.to_owned(),
            source,
        }
    }

    fn failed(&self, operation: &str, error: Error) -> EngineError {
        match error {
            Error::Other(error) => match error.downcast::<ConnectError>() {
                Ok(connect) => EngineError::Unreachable {
                    socket: self.socket.clone(),
                    source: connect.0,
                },
                Err(error) => self.broken(operation, io::Error::other(error)),
            },
            Error::Io(source) => self.broken(operation, source),
            other => self.broken(operation, io::Error::other(other)),
        }
    }
}

#[derive(Debug)]
struct ConnectError(io::Error);

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for ConnectError {}

/// A socket's path is its address already.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut none = self.empty();
        none.push(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(none)
    }
}

struct SocketConnector {
    connect: Box<dyn Fn() -> io::Result<UnixStream> + Send + Sync>,
}

impl fmt::Debug for SocketConnector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SocketConnector")
    }
}

impl Connector for SocketConnector {
    type Out = SocketTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<SocketTransport>, Error> {
        let stream =
            (self.connect)().map_err(|error| Error::Other(Box::new(ConnectError(error))))?;
        let sizes = (
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(SocketTransport {
            stream,
            buffers: LazyBuffers::new(sizes.0, sizes.1),
        }))
    }
}

#[derive(Debug)]
struct SocketTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(patience(&timeout))?;
        let output = &self.buffers.output()[..amount];
        self.stream
            .write_all(output)
            .map_err(|error| timed_out(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(patience(&timeout))?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error, timeout.reason)),
                Ok(amount) => break amount,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Each command asks once or twice: connections need not be kept.
        drop(self.stream.shutdown(Shutdown::Both));
        false
    }
}

fn patience(timeout: &NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|time| *time)
}

fn timed_out(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}

#[cfg(test)]
#[path = "engine/tests.rs"]
mod tests;

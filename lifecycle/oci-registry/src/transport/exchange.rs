//! One request and its answer, redirections included: who may be talked to, and what they may be told.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{HeaderName, Method, Request, Response, StatusCode, header};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, SendBody};

use crate::client::{ClientError, Options, Timeouts};
use crate::transport::certificates;
use crate::transport::error::{Reason, messages};
use crate::transport::resolver::RememberingResolver;
use crate::transport::retry;
use crate::transport::url::{Scheme, Url, is_internal, is_loopback, split_authority};

/// The connections, and the rules for whom they may go to.
#[derive(Debug)]
pub(crate) struct Wire {
    agent: Agent,
    timeouts: Timeouts,
    insecure: Vec<String>,
}

/// A request that can be sent again, for example to where a redirection points.
pub(crate) struct Exchange<'a> {
    pub(crate) method: Method,
    pub(crate) headers: &'a [(HeaderName, String)],
    pub(crate) body: Body<'a>,
    /// How many bytes the answer may have, for the time that it may take; 0 for documents.
    pub(crate) receives: u64,
}

/// A body that can be read again from its beginning.
pub(crate) trait Content {
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

/// What is sent.
pub(crate) enum Body<'a> {
    /// Nothing: GET and HEAD.
    None,
    Bytes(&'a [u8]),
    /// This many bytes.
    Stream {
        size: u64,
        content: &'a dyn Content,
    },
}

/// One try that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) reason: Reason,
    /// Whether another try may succeed.
    pub(crate) temporary: bool,
    /// The pause that the server asks for.
    pub(crate) after: Option<Duration>,
}

impl Failed {
    pub(crate) fn lasting(reason: Reason) -> Self {
        Self {
            reason,
            temporary: false,
            after: None,
        }
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::lasting(Reason::Protocol { what: what.into() })
    }

    /// An answer that is no success.
    pub(crate) fn status(
        response: &Response<ureq::Body>,
        body: &[u8],
        credentials: Option<String>,
    ) -> Self {
        Self {
            temporary: retry::is_temporary(response.status()),
            after: retry::retry_after(response.headers()),
            reason: Reason::Status {
                status: response.status().as_u16(),
                messages: messages(body),
                credentials,
            },
        }
    }
}

const MOST_REDIRECTS: usize = 6;

/// Bodies that are worth it wait for the server's consent: a refusal then costs no upload.
const ASK_FIRST: u64 = 1 << 20;

/// Slower than this many bytes a second, a transfer counts as stalled.
const SLOWEST: u64 = 16 << 10;

/// What of an error's body is read.
const SMALL: u64 = 64 << 10;

impl Wire {
    pub(crate) fn new(options: &Options) -> Result<Self, ClientError> {
        let proxy = options
            .proxy
            .as_deref()
            .map(ureq::Proxy::new)
            .transpose()
            .map_err(|_| ClientError::Proxy)?;
        let tls = certificates::tls(options)?;
        let timeouts = options.timeouts;
        let config = Agent::config_builder()
            .proxy(proxy)
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(options.user_agent.clone())
            // A store that unpacks gzip on the way would break every digest.
            .accept_encoding("identity")
            .max_idle_connections_per_host(options.parallel.max(1))
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_per_read(Some(timeouts.idle))
            .timeout_per_write(Some(timeouts.idle))
            .timeout_send_request(Some(timeouts.idle))
            .timeout_recv_response(Some(timeouts.answer))
            .build();
        let connector = DefaultConnector::default();
        let agent = Agent::with_parts(config, connector, RememberingResolver::default());
        Ok(Self {
            agent,
            timeouts,
            insecure: options.insecure.clone(),
        })
    }

    /// Whether this host may be spoken to without encryption.
    pub(crate) fn allows_http(&self, authority: &str) -> bool {
        let (host, _) = split_authority(authority);
        is_loopback(host)
            || self
                .insecure
                .iter()
                .any(|named| named == authority || named == host)
    }

    /// Whether, and in which form, an address that a server gave may be used. `home` is the registry, `from` the
    /// address that the server was asked at.
    pub(crate) fn destination(&self, home: &Url, from: &Url, to: Url) -> Result<Url, Failed> {
        let refused = |to: &Url, why| {
            Err(Failed::lasting(Reason::Redirect {
                to: to.to_string(),
                why,
            }))
        };
        if to.scheme() == Scheme::Http && from.scheme() == Scheme::Https {
            // Behind a proxy that ends TLS, registries often believe that they speak http.
            let upgraded = to.with_scheme(Scheme::Https);
            if upgraded.same_origin(from) {
                return Ok(upgraded);
            }
        }
        if to.scheme() == Scheme::Http && !self.allows_http(to.authority()) {
            return refused(&to, "it is not encrypted");
        }
        if is_internal(to.host()) && !is_internal(home.host()) && !to.same_host(home) {
            return refused(
                &to,
                "it is an address of a private network, which this registry has no reason to name",
            );
        }
        Ok(to)
    }

    /// Sends a request and follows redirections. `authorization` says what each address may be told.
    pub(crate) fn follow(
        &self,
        home: &Url,
        start: &Url,
        exchange: &Exchange<'_>,
        authorization: impl Fn(&Url) -> Option<String>,
    ) -> Result<(Response<ureq::Body>, Url), Failed> {
        let mut url = start.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut response = self.send(&url, exchange, authorization(&url))?;
            let harmless = exchange.method == Method::GET || exchange.method == Method::HEAD;
            let redirected = match response.status().as_u16() {
                301..=303 => harmless,
                307 | 308 => true,
                _ => false,
            };
            let location = response
                .headers()
                .get(header::LOCATION)
                .filter(|_| redirected);
            let Some(location) = location else {
                return Ok((response, url));
            };
            let to = location
                .to_str()
                .ok()
                .and_then(|location| url.join(location))
                .ok_or_else(|| Failed::protocol("it redirects to no usable address"))?;
            let next = self.destination(home, &url, to)?;
            read_small(&mut response);
            url = next;
        }
        Err(Failed::lasting(Reason::Redirect {
            to: url.to_string(),
            why: "that was one redirection too many",
        }))
    }

    fn send(
        &self,
        url: &Url,
        exchange: &Exchange<'_>,
        authorization: Option<String>,
    ) -> Result<Response<ureq::Body>, Failed> {
        let mut builder = Request::builder()
            .method(exchange.method.clone())
            .uri(url.reveal());
        for (name, value) in exchange.headers {
            builder = builder.header(name, value);
        }
        if let Some(value) = authorization {
            builder = builder.header(header::AUTHORIZATION, value);
        }
        let unsendable = |_| Failed::protocol(format!("{url} cannot be asked for"));
        let result = match &exchange.body {
            Body::None => {
                let request = builder.body(SendBody::none()).map_err(unsendable)?;
                self.run(request, 0, exchange.receives)
            }
            Body::Bytes(bytes) => {
                builder = builder.header(header::CONTENT_LENGTH, bytes.len());
                let sends = bytes.len() as u64;
                let mut bytes = *bytes;
                let request = builder
                    .body(SendBody::from_reader(&mut bytes))
                    .map_err(unsendable)?;
                self.run(request, sends, exchange.receives)
            }
            Body::Stream { size, content } => {
                builder = builder.header(header::CONTENT_LENGTH, *size);
                if *size >= ASK_FIRST {
                    builder = builder.header(header::EXPECT, "100-continue");
                }
                let mut reader = content.open().map_err(|error| {
                    Failed::lasting(Reason::Connection {
                        server: "the store".to_owned(),
                        problem: error.to_string(),
                    })
                })?;
                let request = builder
                    .body(SendBody::from_reader(&mut reader))
                    .map_err(unsendable)?;
                self.run(request, *size, exchange.receives)
            }
        };
        result.map_err(|error| failed(url, &error))
    }

    fn run(
        &self,
        request: Request<SendBody<'_>>,
        sends: u64,
        receives: u64,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_send_body(Some(self.longest_transfer(sends)))
            .timeout_recv_body(Some(self.longest_transfer(receives)))
            .build();
        self.agent.run(request)
    }

    /// How long a transfer of this many bytes may take before it counts as stalled.
    pub(crate) fn longest_transfer(&self, size: u64) -> Duration {
        self.timeouts.answer + Duration::from_secs(size / SLOWEST)
    }
}

/// The beginning of a body, for messages. What is small is read to its end, so that the connection can be used again.
pub(crate) fn read_small(response: &mut Response<ureq::Body>) -> Vec<u8> {
    let mut body = Vec::new();
    // The status already tells what happened; a body that breaks off only tells less.
    drop(
        response
            .body_mut()
            .as_reader()
            .take(SMALL)
            .read_to_end(&mut body),
    );
    body
}

/// Reads a whole document of at most `limit` bytes.
pub(crate) fn read_document(
    response: &mut Response<ureq::Body>,
    url: &Url,
    limit: u64,
) -> Result<Vec<u8>, Failed> {
    let declared = response.body().content_length();
    let mut body = Vec::new();
    let too_long = || Failed::protocol(format!("the document is longer than {limit} bytes"));
    if declared.is_some_and(|length| length > limit) {
        return Err(too_long());
    }
    let read = response
        .body_mut()
        .as_reader()
        .take(limit + 1)
        .read_to_end(&mut body);
    read.map_err(|error| broken(url, &error))?;
    if body.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(body)
}

/// A connection that broke while a body was read.
pub(crate) fn broken(url: &Url, error: &io::Error) -> Failed {
    Failed {
        reason: Reason::Connection {
            server: server(url),
            problem: error.to_string(),
        },
        temporary: true,
        after: None,
    }
}

fn server(url: &Url) -> String {
    format!("{}://{}", url.scheme().as_str(), url.authority())
}

fn failed(url: &Url, error: &ureq::Error) -> Failed {
    let server = server(url);
    let connection = |problem: String, temporary| Failed {
        reason: Reason::Connection {
            server: server.clone(),
            problem,
        },
        temporary,
        after: None,
    };
    let tls = |problem: String| {
        Failed::lasting(Reason::Tls {
            server: server.clone(),
            problem,
        })
    };
    match error {
        ureq::Error::HostNotFound => connection("there is no host of this name".to_owned(), false),
        ureq::Error::Timeout(phase) => connection(format!("it took too long ({phase})"), true),
        ureq::Error::Io(error) if is_tls(error) => tls(error.to_string()),
        ureq::Error::Io(error) => connection(error.to_string(), true),
        ureq::Error::ConnectionFailed => connection("the connection failed".to_owned(), true),
        ureq::Error::ConnectProxyFailed(status) => {
            connection(format!("the proxy refused: {status}"), false)
        }
        ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::Pem(_)
        | ureq::Error::TlsRequired => tls(error.to_string()),
        ureq::Error::Protocol(error) => connection(error.to_string(), true),
        // Some of the rest contain the address, whose query may hold a signature.
        _ => Failed::protocol("the request could not be sent or its answer not be read"),
    }
}

/// rustls reports what it dislikes inside an I/O error of this kind.
fn is_tls(error: &io::Error) -> bool {
    let text = error.to_string();
    error.kind() == io::ErrorKind::InvalidData
        || text.contains("certificate")
        || text.contains("TLS")
}

/// Whether the status is a success or one of those that the caller knows what to do with.
pub(crate) fn is_expected(status: StatusCode, expected: &[u16]) -> bool {
    status.is_success() || expected.contains(&status.as_u16())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn where_a_registry_may_send_its_clients() {
        let options = Options {
            insecure: vec!["plain.example:5000".to_owned()],
            ..Options::default()
        };
        let wire = Wire::new(&options).unwrap();
        let destination = |home: &str, to: &str| {
            let home = Url::parse(home).unwrap();
            let to = Url::parse(to).unwrap();
            wire.destination(&home, &home, to)
                .ok()
                .map(|url| url.reveal())
        };
        for (home, to, expected) in [
            (
                "https://r.example/",
                "https://cdn.example/x?y",
                Some("https://cdn.example/x?y"),
            ),
            (
                "https://r.example/",
                "http://r.example/x",
                Some("https://r.example/x"),
            ),
            (
                "https://r.example:5000/",
                "http://r.example:5000/x",
                Some("https://r.example:5000/x"),
            ),
            ("https://r.example/", "http://cdn.example/x", None),
            (
                "https://r.example/",
                "http://plain.example:5000/x",
                Some("http://plain.example:5000/x"),
            ),
            ("https://r.example/", "https://169.254.169.254/x", None),
            ("https://r.example/", "https://10.0.0.1/x", None),
            ("https://r.example/", "http://localhost/x", None),
            (
                "https://10.0.0.1/",
                "https://10.0.0.2/x",
                Some("https://10.0.0.2/x"),
            ),
            (
                "http://localhost:5000/",
                "http://127.0.0.1:5001/x",
                Some("http://127.0.0.1:5001/x"),
            ),
        ] {
            assert_eq!(destination(home, to).as_deref(), expected, "{home} → {to}");
        }
    }
}

//! A connection to one registry: authenticated requests, repeated when that helps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderName, Method, Response, StatusCode};

use crate::keychain::Found;
use crate::transport::bearer::Authentication;
use crate::transport::certificates::Identity;
use crate::transport::error::{Reason, RequestError, messages};
use crate::transport::exchange::{Body, Exchange, Failed, Wire, is_expected, read_small};
use crate::transport::ping::ping;
use crate::transport::retry::RetryPolicy;
use crate::transport::url::{Scheme, Url, split_authority};

/// Docker Hub's registry is not at the host that its references name.
const DOCKER_HUB: (&str, &str) = ("docker.io", "index.docker.io");

/// How soon a pause ends when it has become pointless.
const SLICE: Duration = Duration::from_millis(50);

/// How a registry is talked to. Nothing is read from the environment.
#[derive(Debug, Clone)]
pub struct Options {
    /// Registries (`host` or `host:port`) that may be spoken to over plain http; those of the loopback interface
    /// always may.
    pub insecure: Vec<String>,
    /// An http proxy's address.
    pub proxy: Option<String>,
    /// Bundles of certificate authorities in PEM, together those that are trusted; none: the machine's own.
    pub authorities: Vec<Vec<u8>>,
    /// What to show to registries that ask for a certificate.
    pub identity: Option<Identity>,
    /// What the registry's log shows.
    pub user_agent: String,
    /// How many blobs are transferred at once.
    pub parallel: usize,
    /// How often and when requests are repeated.
    pub retry: RetryPolicy,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            proxy: None,
            authorities: Vec::new(),
            identity: None,
            user_agent: concat!("slugc/", env!("CARGO_PKG_VERSION")).to_owned(),
            parallel: 4,
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// No wait is endless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For resolving the name, and for connecting and the TLS handshake.
    pub connect: Duration,
    /// For each read and write.
    pub idle: Duration,
    /// For the answer after the request was sent: registries on object stores copy a blob before they confirm it.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            idle: Duration::from_mins(1),
            answer: Duration::from_mins(3),
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The proxy's address is malformed. It is not shown, as it may hold a password.
    #[error("the proxy's address is not one: give http://HOST:PORT")]
    Proxy,
    /// A bundle of authorities has no certificate.
    #[error("there is no certificate in the bundle of authorities")]
    Authorities,
    /// The client's certificate or key is missing or no PEM.
    #[error("the client's certificate or its key is not of the form PEM")]
    Identity,
}

/// A registry, to be used by any number of threads at once. Credentials go to it, to its token server and to nobody
/// else.
#[derive(Debug)]
pub struct Client {
    registry: String,
    authority: String,
    wire: Wire,
    retry: RetryPolicy,
    parallel: usize,
    home: OnceLock<Url>,
    first_contact: Mutex<()>,
    authentication: Mutex<Authentication>,
}

/// A request inside a repository.
pub(crate) struct Call<'a> {
    pub(crate) repository: &'a str,
    /// Completes "could not …".
    pub(crate) operation: &'a str,
    pub(crate) method: Method,
    pub(crate) target: Target<'a>,
    pub(crate) headers: &'a [(HeaderName, String)],
    pub(crate) body: Body<'a>,
    /// How many bytes the answer may have; 0 for documents.
    pub(crate) receives: u64,
    /// What the token must allow, the most important first.
    pub(crate) scopes: &'a [String],
    /// Statuses besides 2xx that are no errors.
    pub(crate) expected: &'a [u16],
    /// Set when the answer is not needed any more.
    pub(crate) cancelled: &'a AtomicBool,
}

/// Where a request goes.
pub(crate) enum Target<'a> {
    /// Below `/v2/<repository>/`.
    Inside(&'a str),
    /// An address that the registry gave.
    Given(&'a Url),
}

/// An answer and where it came from.
pub(crate) struct Answer {
    pub(crate) response: Response<ureq::Body>,
    pub(crate) url: Url,
}

impl Client {
    /// A client for a registry as references name it (`docker.io`, `localhost:5000`). Nothing is sent yet.
    pub fn new(
        registry: &str,
        credentials: Option<Found>,
        options: &Options,
    ) -> Result<Self, ClientError> {
        let authority = if registry == DOCKER_HUB.0 {
            DOCKER_HUB.1
        } else {
            registry
        };
        Ok(Self {
            registry: registry.to_owned(),
            authority: authority.to_owned(),
            wire: Wire::new(options)?,
            retry: options.retry,
            parallel: options.parallel.max(1),
            home: OnceLock::new(),
            first_contact: Mutex::new(()),
            authentication: Mutex::new(Authentication::new(credentials)),
        })
    }

    /// The registry as references name it.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    pub(crate) fn parallel(&self) -> usize {
        self.parallel
    }

    /// Sends a request until it succeeds, fails for good, or was tried often enough.
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Answer, RequestError> {
        self.persist(call.repository, call.operation, call.cancelled, || {
            self.attempt(call)
        })
    }

    /// Repeats `attempt` as long as that helps.
    pub(crate) fn persist<T>(
        &self,
        repository: &str,
        operation: &str,
        cancelled: &AtomicBool,
        mut attempt: impl FnMut() -> Result<T, Failed>,
    ) -> Result<T, RequestError> {
        let mut failures = 0;
        loop {
            let failed = match attempt() {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            failures += 1;
            self.pause(failed, failures, cancelled)
                .map_err(|reason| self.error(repository, operation, reason))?;
        }
    }

    /// Waits before the next try, or gives the failure back when there is to be none.
    pub(crate) fn pause(
        &self,
        failed: Failed,
        failures: u32,
        cancelled: &AtomicBool,
    ) -> Result<(), Reason> {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Reason::Cancelled);
        }
        if !failed.temporary || failures >= self.retry.tries {
            return Err(failed.reason);
        }
        let pause = match failed.after {
            Some(pause) if pause > self.retry.patience => {
                return Err(Reason::RateLimited { pause });
            }
            Some(pause) => pause.max(self.retry.pause(failures).min(Duration::from_secs(1))),
            None => self.retry.pause(failures),
        };
        let mut left = pause;
        while !left.is_zero() {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Reason::Cancelled);
            }
            let slice = left.min(SLICE);
            std::thread::sleep(slice);
            left -= slice;
        }
        Ok(())
    }

    pub(crate) fn error(&self, repository: &str, operation: &str, reason: Reason) -> RequestError {
        RequestError {
            registry: self.registry.clone(),
            repository: repository.to_owned(),
            operation: operation.to_owned(),
            reason: Box::new(reason),
        }
    }

    /// Sends a request once; twice when the first answer asks for authentication.
    pub(crate) fn attempt(&self, call: &Call<'_>) -> Result<Answer, Failed> {
        let home = self.home()?;
        let target = match call.target {
            Target::Inside(path) => Url::new(
                home.scheme(),
                home.authority(),
                &format!("/v2/{}/{path}", call.repository),
            ),
            Target::Given(url) => url.clone(),
        };
        let exchange = Exchange {
            method: call.method.clone(),
            headers: call.headers,
            body: match call.body {
                Body::None => Body::None,
                Body::Bytes(bytes) => Body::Bytes(bytes),
                Body::Stream { size, content } => Body::Stream { size, content },
            },
            receives: call.receives,
        };
        let mut asked = false;
        loop {
            let authorization = if target.same_origin(home) {
                self.authentication()
                    .header(&self.wire, home, call.scopes)?
            } else {
                None
            };
            let (mut response, url) = self.wire.follow(home, &target, &exchange, |to| {
                authorization.clone().filter(|_| to.same_origin(home))
            })?;
            let status = response.status();
            if is_expected(status, call.expected) {
                return Ok(Answer { response, url });
            }
            let body = read_small(&mut response);
            let mut authentication = self.authentication();
            if status == StatusCode::UNAUTHORIZED
                && url.same_origin(home)
                && !asked
                && authentication.challenged(
                    response.headers(),
                    call.scopes,
                    authorization.as_deref(),
                )
            {
                asked = true;
                continue;
            }
            let unusable = authorization.is_none() && url.same_origin(home);
            if status == StatusCode::UNAUTHORIZED && unusable && authentication.has_credentials() {
                return Err(Failed::lasting(Reason::OtherLogin {
                    status: status.as_u16(),
                    messages: messages(&body),
                    origin: authentication.origin().unwrap_or_default(),
                    takes_passwords: authentication.takes_passwords(),
                }));
            }
            let credentials = authorization.and_then(|_| authentication.origin());
            return Err(Failed::status(&response, &body, credentials));
        }
    }

    /// The registry's address. The first caller finds out whether it speaks https, where that is not certain, and
    /// which authentication it wants, when there are credentials: some registries hide what an unauthenticated
    /// request may not see instead of asking.
    pub(crate) fn home(&self) -> Result<&Url, Failed> {
        if let Some(home) = self.home.get() {
            return Ok(home);
        }
        let _first = self
            .first_contact
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(home) = self.home.get() {
            return Ok(home);
        }
        let mut authentication = self.authentication();
        let home = if authentication.has_credentials() || self.wire.allows_http(&self.authority) {
            let contact = ping(&self.wire, &self.authority)?;
            if let Some(challenge) = contact.challenge {
                authentication.set_challenge(challenge);
            }
            contact.home
        } else {
            Url::new(Scheme::Https, &self.authority, "/v2/")
        };
        Ok(self.home.get_or_init(|| home))
    }

    fn authentication(&self) -> MutexGuard<'_, Authentication> {
        self.authentication
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that an upload goes on at, from a `Location` header.
    pub(crate) fn location(&self, answer: &Answer) -> Result<Url, Failed> {
        let location = answer
            .response
            .headers()
            .get(ureq::http::header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| answer.url.join(value))
            .ok_or_else(|| Failed::protocol("it opened an upload without saying where"))?;
        self.wire.destination(self.home()?, &answer.url, location)
    }

    /// Whether a repository of another reference is in this registry.
    pub(crate) fn serves(&self, registry: &str) -> bool {
        split_authority(registry) == split_authority(&self.registry)
    }
}

/// The scope of a token for one repository, as distribution's `spec/auth/scope.md` writes it.
pub(crate) fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

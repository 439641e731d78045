//! Files from a mirror: retried, resumed, and worth nothing until their digest is right.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oci_image::{Digest, DigestWriter};
use ureq::http::{Response, StatusCode, header};
use ureq::unversioned::transport::DefaultConnector;

use crate::resolver::RememberingResolver;

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The proxy's address is no address.
    #[error("cannot use the proxy: its address is malformed")]
    Proxy(#[source] Box<ureq::Error>),
    /// The mirror doesn't have it.
    #[error("{url} is not on the mirror (HTTP {status})")]
    Missing {
        /// The address.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The mirror refused.
    #[error("could not download {url}: the mirror answered HTTP {status}")]
    Status {
        /// The address.
        url: String,
        /// The last answer.
        status: u16,
    },
    /// The mirror could not be reached, or the connection broke again and again.
    #[error(
        "could not download {url}; is the network up and the mirror right (--mirror, SLUGC_DEBIAN_MIRROR)?"
    )]
    Transport {
        /// The address.
        url: String,
        /// The last failure.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The connection ended early, again and again.
    #[error("could not download {url}: the connection broke off after {received} of {size} bytes")]
    Truncated {
        /// The address.
        url: String,
        /// Bytes that arrived.
        received: u64,
        /// Bytes there should be.
        size: u64,
    },
    /// It is not what was signed for.
    #[error(
        "refused {url}: its content is {found} instead of {expected}; the mirror is damaged or lying, use another \
         with --mirror"
    )]
    WrongContent {
        /// The address.
        url: String,
        /// The digest it must have.
        expected: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// It is larger than it may be.
    #[error("refused {url}: it is larger than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The disk refused.
    #[error("could not keep the download {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another part of the work failed, so this one stopped.
    #[error("stopped")]
    Cancelled,
}

/// A connection pool to the mirrors.
pub(crate) struct Client<'a> {
    agent: ureq::Agent,
    cancelled: &'a AtomicBool,
    /// How long the first pause between two tries is; each further one is twice as long.
    pub(crate) pause: Duration,
}

const TRIES: u32 = 6;

/// A mirror that answers slower than this is as good as gone.
const SILENCE: Duration = Duration::from_secs(30);

/// The longest pause a mirror may ask for.
const PATIENCE: Duration = Duration::from_mins(1);

/// What went wrong with one try, and whether another may help.
enum Failure {
    Again {
        error: FetchError,
        after: Option<Duration>,
    },
    Final(FetchError),
}

impl<'a> Client<'a> {
    pub(crate) fn new(proxy: Option<&str>, cancelled: &'a AtomicBool) -> Result<Self, FetchError> {
        let proxy = proxy
            .map(ureq::Proxy::new)
            .transpose()
            .map_err(|source| FetchError::Proxy(Box::new(source)))?;
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::PlatformVerifier)
            .build();
        let config = ureq::Agent::config_builder()
            .proxy(proxy)
            .tls_config(tls)
            .http_status_as_error(false)
            .user_agent("slugc")
            .max_idle_connections_per_host(16)
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build();
        let agent = ureq::Agent::with_parts(
            config,
            DefaultConnector::default(),
            RememberingResolver::default(),
        );
        Ok(Self {
            agent,
            cancelled,
            pause: Duration::from_millis(250),
        })
    }

    /// A small file whose digest nobody knows beforehand, because it carries a signature.
    pub(crate) fn signed_text(&self, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        self.persistently(|| {
            let mut response = self.get(url, 0)?;
            let mut bytes = Vec::new();
            response
                .body_mut()
                .as_reader()
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| again(transport(url, error.into())))?;
            if bytes.len() as u64 > limit {
                return Err(Failure::Final(FetchError::TooLarge {
                    url: redacted(url),
                    limit,
                }));
            }
            Ok(bytes)
        })
    }

    /// Downloads into `folder` under the digest's name, and returns the path.
    ///
    /// What arrived stays in `<digest>.part` when a download breaks, and the next one, of this
    /// process or a later, goes on from there. Two processes that want the same file take turns.
    pub(crate) fn file(
        &self,
        url: &str,
        expected: Digest,
        size: u64,
        folder: &Path,
        received: &dyn Fn(u64),
    ) -> Result<PathBuf, FetchError> {
        let path = folder.join(expected.hex());
        let partial = folder.join(format!("{}.part", expected.hex()));
        let write = |source| FetchError::Write {
            path: partial.clone(),
            source,
        };
        if is_complete(&path, expected, size).map_err(write)? {
            received(size);
            return Ok(path);
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&partial)
            .map_err(write)?;
        file.lock().map_err(write)?;
        // Whoever held the lock may have finished the job.
        if is_complete(&path, expected, size).map_err(write)? {
            received(size);
            return Ok(path);
        }
        let mut resume = true;
        self.persistently(|| {
            let result = self.attempt(url, expected, size, &mut file, resume, received, &partial);
            if let Err(Failure::Again {
                error: FetchError::WrongContent { .. },
                ..
            }) = result
            {
                // A part left by an earlier, different download can be the culprit, once.
                if std::mem::replace(&mut resume, false) {
                    return result;
                }
                return result.map_err(|failure| match failure {
                    Failure::Again { error, .. } => Failure::Final(error),
                    failure @ Failure::Final(_) => failure,
                });
            }
            resume = true;
            result
        })?;
        std::fs::rename(&partial, &path).map_err(write)?;
        Ok(path)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one try of `file`, which has one caller"
    )]
    fn attempt(
        &self,
        url: &str,
        expected: Digest,
        size: u64,
        file: &mut File,
        resume: bool,
        received: &dyn Fn(u64),
        partial: &Path,
    ) -> Result<(), Failure> {
        let write = |source| {
            Failure::Final(FetchError::Write {
                path: partial.to_owned(),
                source,
            })
        };
        if !resume {
            file.set_len(0).map_err(write)?;
        }
        let mut hash = DigestWriter::new(io::sink());
        file.seek(SeekFrom::Start(0)).map_err(write)?;
        let mut present = io::copy(file, &mut hash).map_err(write)?;
        if present < size || size == 0 {
            let mut response = self.get(url, present)?;
            if present > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
                present = 0;
                hash = DigestWriter::new(io::sink());
                file.set_len(0).map_err(write)?;
                file.seek(SeekFrom::Start(0)).map_err(write)?;
            }
            let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
            let mut buffer = vec![0; 128 * 1024];
            // To the very end, although the size is known: only then is the connection used again, and
            // new ones cost more than a small package does.
            loop {
                if self.cancelled.load(Ordering::Relaxed) {
                    return Err(Failure::Final(FetchError::Cancelled));
                }
                let count = match body.read(&mut buffer) {
                    Ok(0) if present == size => break,
                    Ok(0) => {
                        return Err(again(FetchError::Truncated {
                            url: redacted(url),
                            received: present,
                            size,
                        }));
                    }
                    Ok(count) => count,
                    Err(error) => return Err(again(transport(url, error.into()))),
                };
                present += count as u64;
                if present > size {
                    break;
                }
                hash.write_all(&buffer[..count]).map_err(write)?;
                file.write_all(&buffer[..count]).map_err(write)?;
                received(count as u64);
            }
        }
        let (_, found, _) = hash.finish();
        if present == size && found == expected {
            return Ok(());
        }
        // An error page of a captive portal is no mirror's lie, but is refused all the same.
        file.set_len(0).map_err(write)?;
        Err(again(FetchError::WrongContent {
            url: redacted(url),
            expected,
            found,
        }))
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<ureq::Body>, Failure> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request
            .call()
            .map_err(|source| again(transport(url, source)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = redacted(url);
        let status_number = status.as_u16();
        Err(match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Failure::Final(FetchError::Missing {
                url,
                status: status_number,
            }),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::RANGE_NOT_SATISFIABLE => Failure::Again {
                error: FetchError::Status {
                    url,
                    status: status_number,
                },
                after: retry_after(&response),
            },
            status if status.is_server_error() => Failure::Again {
                error: FetchError::Status {
                    url,
                    status: status_number,
                },
                after: retry_after(&response),
            },
            _ => Failure::Final(FetchError::Status {
                url,
                status: status_number,
            }),
        })
    }

    /// Sleeps, but not longer than anybody wants the result.
    fn rest(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while !self.cancelled.load(Ordering::Relaxed) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    fn persistently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, FetchError> {
        let mut pause = self.pause;
        let mut tries = 1;
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(FetchError::Cancelled);
            }
            match attempt() {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again { error, .. }) if tries == TRIES => return Err(error),
                Err(Failure::Again { after, .. }) => {
                    self.rest(after.map_or(pause, |after| after.min(PATIENCE)));
                    pause *= 2;
                    tries += 1;
                }
            }
        }
    }
}

fn again(error: FetchError) -> Failure {
    Failure::Again { error, after: None }
}

fn transport(url: &str, source: ureq::Error) -> FetchError {
    FetchError::Transport {
        url: redacted(url),
        source: Box::new(source),
    }
}

fn retry_after(response: &Response<ureq::Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn is_complete(path: &Path, expected: Digest, size: u64) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    let mut hash = DigestWriter::new(io::sink());
    io::copy(&mut file, &mut hash)?;
    let (_, found, _) = hash.finish();
    Ok(found == expected)
}

/// An address without the user name and password it may contain.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}/{path}"),
        None => url.to_owned(),
    }
}

//! One blob from a registry, going on where a broken connection left off.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use oci_image::Descriptor;
use ureq::BodyReader;
use ureq::http::{Method, Response, StatusCode, header};

use crate::client::{Call, Client, Target};
use crate::transport::error::{Reason, RequestError};
use crate::transport::exchange::{Body, Failed, broken};
use crate::transport::url::Url;
use crate::{Progress, Watch};

/// So much progress makes earlier failures forgotten: a long download over a bad line ends, a registry that drops
/// every connection at once does not keep us.
const PROGRESS: u64 = 1 << 20;

/// A blob's content, unverified.
pub(crate) struct Download<'a> {
    client: &'a Client,
    repository: &'a str,
    blob: &'a Descriptor,
    operation: String,
    scopes: &'a [String],
    cancelled: &'a AtomicBool,
    watch: Watch<'a>,
    connection: Option<(BodyReader<'static>, Url)>,
    position: u64,
    failures: u32,
    /// Where the last failure was counted.
    mark: u64,
    error: Option<RequestError>,
}

impl<'a> Download<'a> {
    /// Begins at a position: what is before it is there already.
    pub(crate) fn new(
        client: &'a Client,
        repository: &'a str,
        blob: &'a Descriptor,
        scopes: &'a [String],
        cancelled: &'a AtomicBool,
        watch: Watch<'a>,
        position: u64,
    ) -> Self {
        Self {
            client,
            repository,
            blob,
            operation: format!("download the blob {}", blob.digest),
            scopes,
            cancelled,
            watch,
            connection: None,
            position,
            failures: 0,
            mark: position,
            error: None,
        }
    }

    /// Why reading failed, if the registry was the reason.
    pub(crate) fn into_error(self) -> Option<RequestError> {
        self.error
    }

    /// The error for content that is not what the digest says.
    pub(crate) fn wrong_content(&self, problem: String) -> RequestError {
        let reason = Reason::WrongContent {
            expected: self.blob.digest,
            problem,
        };
        self.client.error(self.repository, &self.operation, reason)
    }

    fn connect(&self) -> Result<(BodyReader<'static>, Url), Failed> {
        let range =
            (self.position > 0).then(|| (header::RANGE, format!("bytes={}-", self.position)));
        let headers: Vec<_> = range.into_iter().collect();
        let answer = self.client.attempt(&Call {
            repository: self.repository,
            operation: &self.operation,
            method: Method::GET,
            target: Target::Inside(&format!("blobs/{}", self.blob.digest)),
            headers: &headers,
            body: Body::None,
            receives: self.blob.size,
            scopes: self.scopes,
            expected: &[],
            cancelled: self.cancelled,
        })?;
        let partial = answer.response.status() == StatusCode::PARTIAL_CONTENT;
        let begins_at = if partial {
            range_start(&answer.response)?
        } else {
            0
        };
        let length = answer.response.body().content_length();
        if begins_at > self.position
            || length.is_some_and(|length| length != self.blob.size - begins_at)
        {
            return Err(Failed::lasting(Reason::WrongContent {
                expected: self.blob.digest,
                problem: format!(
                    "it has {} bytes from byte {begins_at} on, not {}",
                    length.unwrap_or_default(),
                    self.blob.size - begins_at
                ),
            }));
        }
        let url = answer.url;
        let mut body = answer.response.into_body().into_reader();
        // A registry that does not know ranges begins at the beginning.
        let known = self.position - begins_at;
        let skipped = io::copy(&mut (&mut body).take(known), &mut io::sink())
            .map_err(|error| broken(&url, &error))?;
        if skipped < known {
            return Err(broken(&url, &io::ErrorKind::UnexpectedEof.into()));
        }
        Ok((body, url))
    }

    fn failed(&mut self, failed: Failed) -> io::Result<()> {
        self.connection = None;
        if self.position - self.mark >= PROGRESS {
            self.failures = 0;
            self.mark = self.position;
        }
        self.failures += 1;
        self.client
            .pause(failed, self.failures, self.cancelled)
            .map_err(|reason| {
                self.error = Some(self.client.error(self.repository, &self.operation, reason));
                io::Error::other("the download failed")
            })
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                self.error = Some(self.client.error(
                    self.repository,
                    &self.operation,
                    Reason::Cancelled,
                ));
                return Err(io::Error::other("cancelled"));
            }
            let Some((body, url)) = &mut self.connection else {
                match self.connect() {
                    Ok(connection) => self.connection = Some(connection),
                    Err(failed) => self.failed(failed)?,
                }
                continue;
            };
            let at_end = self.position >= self.blob.size;
            let problem = match body.read(buffer) {
                // More than the size is for the verifier to refuse.
                Ok(count) if count > 0 => {
                    self.position += count as u64;
                    (self.watch)(Progress::Passed(count as u64));
                    return Ok(count);
                }
                Ok(_) | Err(_) if at_end => return Ok(0),
                Ok(_) => io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection ended in the middle",
                ),
                Err(error) => error,
            };
            let failed = broken(url, &problem);
            self.failed(failed)?;
        }
    }
}

/// The first byte's position in `Content-Range: bytes 5-9/10` (RFC 9110 §14.4).
fn range_start(response: &Response<ureq::Body>) -> Result<u64, Failed> {
    response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| {
            value
                .to_str()
                .ok()?
                .strip_prefix("bytes ")?
                .split('-')
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| Failed::protocol("it sent a part of the blob without saying which"))
}

//! One blob from the store to a registry (distribution-spec, "Pushing blobs").

mod blob_content;

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::sync::atomic::AtomicBool;

use oci_image::{BlobStore, Descriptor, Digest, Reference};
use ureq::http::{HeaderName, Method, Response, StatusCode, header};

use crate::client::{Answer, Call, Client, Target};
use crate::push::{PushError, check_complete};
use crate::transport::error::Reason;
use crate::transport::exchange::{Body, Content, Failed, read_small};
use crate::transport::url::{Url, encode};
use crate::{Knows, Progress, Watch};
use blob_content::BlobContent;

pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";

const CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";

/// Sizes of chunks, tried in this order after a 413: what every registry that takes chunks takes, then what common
/// proxies let through without being configured.
const CHUNKS: [u64; 3] = [4 << 20, 1 << 20, 256 << 10];

/// The longest chunk that a registry may ask for: each is held in memory, once for every blob under way.
const LONGEST_CHUNK: u64 = 64 << 20;

/// How many repositories are asked for a blob that could be sent as well. Each costs a round trip, and where the
/// registry opens a session instead of mounting, another one to give that up, from the second on.
const MOST_MOUNTS: usize = 3;

/// Where blobs go, and what all uploads of one push share.
pub(crate) struct Uploads<'a> {
    pub(crate) client: &'a Client,
    pub(crate) store: &'a BlobStore,
    pub(crate) repository: &'a str,
    /// Other repositories of the same registry that may have the blob.
    pub(crate) neighbours: &'a [Neighbour<'a>],
    /// See [`crate::PushOptions::knows`].
    pub(crate) knows: Option<Knows<'a>>,
    /// To push here.
    pub(crate) scopes: &'a [String],
    pub(crate) cancelled: &'a AtomicBool,
    pub(crate) watch: Watch<'a>,
}

/// A repository that a blob may be mounted from.
pub(crate) struct Neighbour<'a> {
    pub(crate) repository: &'a str,
    /// Images in it.
    pub(crate) images: Vec<&'a Reference>,
    /// To push here and to mount from there.
    pub(crate) scopes: [String; 2],
}

/// How a blob got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Present,
    Mounted,
    Sent,
}

/// How a blob's bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One PUT of them all.
    Whole,
    /// One PATCH of them all, without a range: old registries know no PUT with content.
    Streamed,
    /// PATCH after PATCH of so many bytes.
    Chunks(u64),
}

enum Stop {
    Request(Failed),
    Image(PushError),
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Request(failed)
    }
}

enum Opened {
    Mounted,
    Session { url: Url, least_chunk: u64 },
}

impl Uploads<'_> {
    /// Brings the blob there, in as many tries as the policy allows. Each try begins with a look whether the last
    /// one arrived after all.
    pub(crate) fn upload(
        &self,
        blob: &Descriptor,
        diff_id: Option<Digest>,
    ) -> Result<Outcome, PushError> {
        let operation = format!("upload the blob {}", blob.digest);
        let mut chunks = CHUNKS.into_iter();
        let mut way = Way::Whole;
        let mut failures = 0;
        loop {
            let transferred = Cell::new(0);
            let failed = match self.try_upload((blob, diff_id), &operation, way, &transferred) {
                Ok(Outcome::Sent) => return Ok(Outcome::Sent),
                Ok(outcome) => {
                    (self.watch)(Progress::Passed(
                        blob.size - transferred.get().min(blob.size),
                    ));
                    return Ok(outcome);
                }
                Err(Stop::Image(error)) => return Err(error),
                Err(Stop::Request(failed)) => failed,
            };
            if transferred.get() > 0 {
                (self.watch)(Progress::Repeated(transferred.get()));
            }
            if let Reason::Status { status, .. } = failed.reason
                && let Some(other) = other_way(status, way, blob.size, &mut chunks)
            {
                way = other;
                continue;
            }
            failures += 1;
            let paused = self.client.pause(failed, failures, self.cancelled);
            paused.map_err(|reason| self.client.error(self.repository, &operation, reason))?;
        }
    }

    fn try_upload(
        &self,
        (blob, diff_id): (&Descriptor, Option<Digest>),
        operation: &str,
        way: Way,
        passed: &Cell<u64>,
    ) -> Result<Outcome, Stop> {
        if self.is_present(blob, operation)? {
            return Ok(Outcome::Present);
        }
        let complete = check_complete(self.store, "layer", blob);
        if complete.is_ok() {
            self.check_diff_id(blob, diff_id)?;
        }
        let (mut url, least_chunk) = match self.open(blob, operation, complete.is_ok())? {
            Opened::Mounted => return Ok(Outcome::Mounted),
            Opened::Session { url, least_chunk } => (url, least_chunk),
        };
        if let Err(incomplete) = complete {
            // That it was opened told that one may push here: a refusal comes before anything is brought for it.
            self.give_up(&url, operation);
            return Err(Stop::Image(incomplete));
        }
        let trouble = RefCell::new(None);
        let content = BlobContent {
            uploads: self,
            blob,
            passed,
            trouble: &trouble,
        };
        let digest = blob.digest.to_string();
        let whole = Body::Stream {
            size: blob.size,
            content: &content,
        };
        let last = |url: &Url| {
            let url = url.with_query("digest", &digest);
            self.put(operation, &url, Body::Bytes(&[]))
        };
        let answer = match way {
            Way::Whole => {
                let url = url.with_query("digest", &digest);
                self.put(operation, &url, whole)
            }
            Way::Streamed => self
                .patch(operation, &mut url, whole, None)
                .and_then(|()| last(&url)),
            Way::Chunks(_) if least_chunk > LONGEST_CHUNK => Err(Failed::protocol(format!(
                "it refuses uploads for their length, and wants parts of {least_chunk} bytes at least"
            ))),
            Way::Chunks(size) => match content.open() {
                Ok(mut reader) => self
                    .send_chunks(operation, &mut url, size.max(least_chunk), &mut reader)
                    .and_then(|()| last(&url)),
                Err(error) => Err(Failed::protocol(error.to_string())),
            },
        };
        // What went wrong with the store shows as a broken request, too.
        if let Some(error) = trouble.into_inner() {
            return Err(Stop::Image(PushError::Store(error)));
        }
        let mut answer = answer?;
        read_small(&mut answer.response);
        check_stored(&answer.response, blob.digest)?;
        Ok(Outcome::Sent)
    }

    /// The store remembers, so that each blob is decoded once at most.
    fn check_diff_id(&self, blob: &Descriptor, expected: Option<Digest>) -> Result<(), Stop> {
        let Some(expected) = expected else {
            return Ok(());
        };
        let layer = blob.digest;
        let actual = self
            .store
            .diff_id(&layer)
            .map_err(|error| Stop::Image(PushError::Store(error)))?;
        if actual == expected {
            return Ok(());
        }
        Err(Stop::Image(PushError::DiffId {
            layer,
            expected,
            actual,
        }))
    }

    fn is_present(&self, blob: &Descriptor, operation: &str) -> Result<bool, Failed> {
        let path = format!("blobs/{}", blob.digest);
        let answer = self.client.attempt(&Call {
            // An answer to HEAD gives no reason. What is refused for one will be refused to the upload, with words.
            expected: &[400, 403, 404, 405, 501],
            ..self.call(Method::HEAD, operation, &path)
        })?;
        if answer.response.status() != StatusCode::OK {
            return Ok(false);
        }
        let length = answer.response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        Ok(length.is_none_or(|length| length == blob.size))
    }

    /// The repositories to ask for a blob, those that are known to have it first. A blob that is not here to be sent is
    /// worth asking for in every one. For another, those that are known to have it are asked, up to a number; if none
    /// is, the first of all, as the answer opens an upload session as well.
    fn candidates(&self, blob: &Digest, is_here: bool) -> Vec<&Neighbour<'_>> {
        let has = |neighbour: &&Neighbour<'_>| {
            let mut images = neighbour.images.iter();
            self.knows
                .is_some_and(|knows| images.any(|image| knows(image, blob)))
        };
        let (mut known, others): (Vec<_>, Vec<_>) = self.neighbours.iter().partition(has);
        match (is_here, known.is_empty()) {
            (false, _) => known.extend(others),
            (true, true) => known.extend(others.first()),
            (true, false) => known.truncate(MOST_MOUNTS),
        }
        known
    }

    /// Opens an upload session, or gets the blob mounted from another repository. A registry that will not mount
    /// opens a session instead, in the same answer: the first of these is the one. One that refuses to be asked is
    /// asked without.
    fn open(&self, blob: &Descriptor, operation: &str, is_here: bool) -> Result<Opened, Failed> {
        let mut session = None;
        for neighbour in self.candidates(&blob.digest, is_here) {
            let path = format!(
                "blobs/uploads/?mount={}&from={}",
                encode(&blob.digest.to_string()),
                encode(neighbour.repository)
            );
            let call = Call {
                scopes: &neighbour.scopes,
                ..self.call(Method::POST, operation, &path)
            };
            match self.client.attempt(&call) {
                Ok(mut answer) => {
                    read_small(&mut answer.response);
                    if answer.response.status() == StatusCode::CREATED {
                        check_stored(&answer.response, blob.digest)?;
                        if let Some((unused, _)) = &session {
                            self.give_up(unused, operation);
                        }
                        return Ok(Opened::Mounted);
                    }
                    let (url, least_chunk) = self.session(&answer)?;
                    if session.is_none() {
                        session = Some((url, least_chunk));
                    } else {
                        self.give_up(&url, operation);
                    }
                }
                Err(failed) if failed.temporary => return Err(failed),
                Err(_) => {}
            }
        }
        let (url, least_chunk) = if let Some(session) = session {
            session
        } else {
            let call = self.call(Method::POST, operation, "blobs/uploads/");
            let mut answer = self.client.attempt(&call)?;
            read_small(&mut answer.response);
            self.session(&answer)?
        };
        Ok(Opened::Session { url, least_chunk })
    }

    /// Ends a session that nothing goes into. One that stays open is the registry's to clear away, and not all of them
    /// take this request.
    fn give_up(&self, session: &Url, operation: &str) {
        drop(self.client.attempt(&Call {
            target: Target::Given(session),
            ..self.call(Method::DELETE, operation, "")
        }));
    }

    /// Where an opened session is, and how long its chunks have to be.
    fn session(&self, answer: &Answer) -> Result<(Url, u64), Failed> {
        let least_chunk = answer.response.headers().get(CHUNK_MIN_LENGTH);
        let least_chunk = least_chunk
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        Ok((self.client.location(answer)?, least_chunk))
    }

    fn put(&self, operation: &str, url: &Url, body: Body<'_>) -> Result<Answer, Failed> {
        let headers = [octets()];
        let call = Call {
            target: Target::Given(url),
            headers: &headers,
            body,
            ..self.call(Method::PUT, operation, "")
        };
        self.client.attempt(&call).map_err(again_if_forgotten)
    }

    /// PATCH after PATCH. What `Range` says in between is not looked at: some registries leave it at the first chunk.
    fn send_chunks(
        &self,
        operation: &str,
        url: &mut Url,
        size: u64,
        reader: &mut dyn Read,
    ) -> Result<(), Failed> {
        let mut start = 0_u64;
        loop {
            let mut chunk = Vec::new();
            reader
                .take(size)
                .read_to_end(&mut chunk)
                .map_err(|error| Failed::protocol(error.to_string()))?;
            if chunk.is_empty() {
                return Ok(());
            }
            let end = start + chunk.len() as u64;
            let range = format!("{start}-{}", end - 1);
            self.patch(operation, url, Body::Bytes(&chunk), Some(range))?;
            start = end;
        }
    }

    /// Sends a part of a blob; `url` becomes where the next one goes.
    fn patch(
        &self,
        operation: &str,
        url: &mut Url,
        body: Body<'_>,
        range: Option<String>,
    ) -> Result<(), Failed> {
        let range = range.map(|range| (header::CONTENT_RANGE, range));
        let headers: Vec<_> = std::iter::once(octets()).chain(range).collect();
        let call = Call {
            target: Target::Given(url),
            headers: &headers,
            body,
            ..self.call(Method::PATCH, operation, "")
        };
        let mut answer = self.client.attempt(&call).map_err(again_if_forgotten)?;
        read_small(&mut answer.response);
        *url = self.client.location(&answer)?;
        Ok(())
    }

    fn call<'a>(&'a self, method: Method, operation: &'a str, path: &'a str) -> Call<'a> {
        let body = if method == Method::POST {
            Body::Bytes(&[])
        } else {
            Body::None
        };
        Call {
            repository: self.repository,
            operation,
            method,
            target: Target::Inside(path),
            headers: &[],
            body,
            receives: 0,
            scopes: self.scopes,
            expected: &[],
            cancelled: self.cancelled,
        }
    }
}

/// What to try after a refusal that says that another way may do: no further way is another failure.
fn other_way(
    status: u16,
    way: Way,
    size: u64,
    chunks: &mut impl Iterator<Item = u64>,
) -> Option<Way> {
    match (status, way) {
        (405 | 501, Way::Whole) => Some(Way::Streamed),
        (413, Way::Whole | Way::Streamed) => chunks.find(|it| *it < size).map(Way::Chunks),
        (413, Way::Chunks(last)) => chunks.find(|it| *it < last).map(Way::Chunks),
        _ => None,
    }
}

fn octets() -> (HeaderName, String) {
    (header::CONTENT_TYPE, "application/octet-stream".to_owned())
}

/// A session that the registry does not know any more (404), or that is not where we are (416), is worth a new one.
fn again_if_forgotten(mut failed: Failed) -> Failed {
    if matches!(
        failed.reason,
        Reason::Status {
            status: 404 | 416,
            ..
        }
    ) {
        failed.temporary = true;
    }
    failed
}

/// Registries say what they stored.
pub(crate) fn check_stored(
    response: &Response<ureq::Body>,
    expected: Digest,
) -> Result<(), Failed> {
    let stored = response
        .headers()
        .get(CONTENT_DIGEST)
        .and_then(|value| value.to_str().ok());
    match stored {
        // Other algorithms cannot be compared.
        Some(stored) if stored.starts_with("sha256:") && stored != expected.to_string() => {
            Err(Failed::lasting(Reason::StoredOther {
                expected,
                stored: stored.to_owned(),
            }))
        }
        _ => Ok(()),
    }
}

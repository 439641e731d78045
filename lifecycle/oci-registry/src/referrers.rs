//! What is attached to an image in its registry: SBOMs, provenance, signatures (distribution-spec, "Listing
//! Referrers").
//!
//! A registry that knows the referrers API keeps the list itself. Where it does not, the list is an index under the
//! tag `sha256-<hex>`, which clients keep ("Unavailable Referrers API").

use std::sync::atomic::AtomicBool;

use oci_image::{
    BlobStore, Descriptor, Digest, Index, Manifest, Reference, StoreError, media_type,
};
use ureq::http::{Method, StatusCode, header};

use crate::client::{Call, Client, Target, scope};
use crate::push::put_manifest;
use crate::transport::error::{Reason, RequestError};
use crate::transport::exchange::{Body, Failed, read_document};
use crate::{PushError, PushOptions, push};

/// The longest list of referrers and the longest manifest, in bytes.
const LONGEST_LIST: u64 = 8 << 20;
/// How many entries of a list are kept.
const MOST_REFERRERS: usize = 20_000;
/// How many pages of a list are read.
const MOST_PAGES: usize = 64;

/// Why something could not be attached to an image, or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferrerError {
    /// The registry refused, lied, or could not be reached.
    #[error(transparent)]
    Registry(#[from] RequestError),
    /// What is attached could not be sent.
    #[error(transparent)]
    Push(#[from] PushError),
    /// What is attached could not be put into the store first.
    #[error("could not put the artifact into the store")]
    Store(#[source] StoreError),
    /// A list or a manifest is not one.
    #[error("the {document} is not valid")]
    Document {
        /// `manifest sha256:…` or `list of referrers …`.
        document: String,
        #[source]
        source: serde_json::Error,
    },
    /// A document could not be written as JSON.
    #[error("could not write the artifact's manifest as JSON")]
    Serialize(#[source] serde_json::Error),
}

/// A document to attach.
#[derive(Debug, Clone)]
pub struct Artifact<'a> {
    /// What it is: the kind of the artifact, and the media type of its one blob.
    pub artifact_type: &'a str,
    /// Its bytes.
    pub content: &'a [u8],
    /// Notes, by key.
    pub annotations: &'a [(&'a str, &'a str)],
}

/// How an artifact was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// The registry lists it.
    ByRegistry(Digest),
    /// It is listed under the tag `sha256-<hex>`.
    ByTag(Digest),
}

impl Attached {
    /// The artifact's manifest.
    pub fn digest(&self) -> Digest {
        match self {
            Self::ByRegistry(digest) | Self::ByTag(digest) => *digest,
        }
    }
}

/// Attaches a document to the image `subject`, which is in the repository already. The same document twice is one
/// artifact.
pub fn attach(
    client: &Client,
    store: &BlobStore,
    repository: &Reference,
    subject: &Descriptor,
    artifact: &Artifact<'_>,
) -> Result<Attached, ReferrerError> {
    let put = |bytes: &[u8]| store.put(bytes).map_err(ReferrerError::Store);
    let (digest, size) = put(b"{}")?;
    let config = Descriptor::new(media_type::OCI_EMPTY, digest, size);
    let (digest, size) = put(artifact.content)?;
    let mut manifest = Manifest::new(
        config,
        vec![Descriptor::new(artifact.artifact_type, digest, size)],
    );
    manifest.artifact_type = Some(artifact.artifact_type.to_owned());
    manifest.subject = Some(Descriptor::new(
        subject.media_type.clone(),
        subject.digest,
        subject.size,
    ));
    for (key, value) in artifact.annotations {
        let value = (*value).to_owned();
        manifest.annotations.insert((*key).to_owned(), value);
    }
    let bytes = serde_json::to_vec(&manifest).map_err(ReferrerError::Serialize)?;
    let (digest, size) = put(&bytes)?;
    let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, size);
    let target = repository.with_digest(digest);
    push(client, store, &entry, &target, &PushOptions::default())?;

    entry.artifact_type = manifest.artifact_type;
    entry.annotations = manifest.annotations;
    let listing = Listing::new(client, repository);
    if let Some(listed) = listing.of_registry(subject.digest)?
        && listed.iter().any(|known| known.digest == digest)
    {
        return Ok(Attached::ByRegistry(digest));
    }
    listing.add_to_tag(subject.digest, entry)?;
    Ok(Attached::ByTag(digest))
}

/// What is attached to an image, of one kind or of all.
pub fn list(
    client: &Client,
    repository: &Reference,
    subject: Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, ReferrerError> {
    let listing = Listing::new(client, repository);
    let mut all = match listing.of_registry(subject)? {
        Some(listed) if !listed.is_empty() => listed,
        // What was attached before the registry knew the API.
        _ => listing.of_tag(subject)?.manifests,
    };
    all.retain(|entry| {
        artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
    });
    Ok(all)
}

/// The manifest under a tag or a digest, verified as far as the registry says what it is; `None` where there is none.
pub fn manifest(
    client: &Client,
    repository: &Reference,
    identifier: &str,
) -> Result<Option<(Digest, Manifest)>, ReferrerError> {
    let listing = Listing::new(client, repository);
    let Some((digest, bytes)) = listing.named(identifier, identifier.parse().ok())? else {
        return Ok(None);
    };
    let manifest = parsed(&bytes, || format!("manifest {identifier}"))?;
    Ok(Some((digest, manifest)))
}

/// The digest, type and size of what a reference names, an index included, without its content; `None` where there is
/// none.
pub fn resolve(
    client: &Client,
    reference: &Reference,
) -> Result<Option<Descriptor>, ReferrerError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
        /// Of an index, which need not say its type.
        manifests: Option<serde::de::IgnoredAny>,
    }
    let listing = Listing::new(client, reference);
    let identifier = reference.identifier();
    let Some((digest, bytes)) = listing.named(&identifier, reference.digest())? else {
        return Ok(None);
    };
    let typed: Typed = parsed(&bytes, || format!("manifest {identifier}"))?;
    let usual = match typed.manifests {
        Some(_) => media_type::OCI_INDEX,
        None => media_type::OCI_MANIFEST,
    };
    let media_type = typed.media_type.as_deref().unwrap_or(usual);
    Ok(Some(Descriptor::new(
        media_type,
        digest,
        bytes.len() as u64,
    )))
}

/// A small blob, verified; one that is said to be longer than `most` bytes is not read.
pub fn blob(
    client: &Client,
    repository: &Reference,
    blob: &Descriptor,
    most: u64,
) -> Result<Vec<u8>, ReferrerError> {
    let listing = Listing::new(client, repository);
    let problem = |problem: String| Err(listing.wrong(blob.digest, problem).into());
    if blob.size > most {
        return problem(format!("it has {} bytes, more than {most}", blob.size));
    }
    let path = format!("blobs/{}", blob.digest);
    let operation = format!("download the blob {}", blob.digest);
    let Some(bytes) = listing.get(&path, &operation, blob.size)? else {
        return problem("it is not there".to_owned());
    };
    if Digest::of(&bytes) != blob.digest || bytes.len() as u64 != blob.size {
        return problem("its digest or its length is another".to_owned());
    }
    Ok(bytes)
}

/// Pushes a manifest of which every blob is in the store, under a tag.
pub fn tag(
    client: &Client,
    store: &BlobStore,
    repository: &Reference,
    tag: &str,
    manifest: &Manifest,
) -> Result<Digest, ReferrerError> {
    let bytes = serde_json::to_vec(manifest).map_err(ReferrerError::Serialize)?;
    let (digest, size) = store.put(&bytes).map_err(ReferrerError::Store)?;
    let descriptor = Descriptor::new(manifest.own_media_type(), digest, size);
    let target = repository.with_digest(digest);
    push(client, store, &descriptor, &target, &PushOptions::default())?;
    put_manifest(
        client,
        repository.repository(),
        tag,
        &descriptor,
        &bytes,
        &[scope(repository.repository(), "pull,push")],
    )?;
    Ok(digest)
}

/// The tag under which things are found that belong to an image: `sha256-<hex>` and, for signatures,
/// `sha256-<hex>.sig`.
pub fn tag_of(subject: Digest, suffix: &str) -> String {
    format!("sha256-{}{suffix}", subject.hex())
}

/// A part of a list.
struct Page {
    bytes: Vec<u8>,
    /// The query of the next one.
    next: Option<String>,
}

/// Lists of one repository.
struct Listing<'a> {
    client: &'a Client,
    repository: &'a str,
    scopes: [String; 1],
    cancelled: AtomicBool,
}

impl<'a> Listing<'a> {
    fn new(client: &'a Client, repository: &'a Reference) -> Self {
        Self {
            client,
            repository: repository.repository(),
            scopes: [scope(repository.repository(), "pull")],
            cancelled: AtomicBool::new(false),
        }
    }

    /// `None`: the registry does not know the referrers API.
    fn of_registry(&self, subject: Digest) -> Result<Option<Vec<Descriptor>>, ReferrerError> {
        let operation = format!("list what is attached to {subject}");
        let mut path = format!("referrers/{subject}");
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(Page { bytes, next }) = self.page(&path, &operation)? else {
                return Ok((!all.is_empty()).then_some(all));
            };
            let index: Index = parsed(&bytes, || format!("list of referrers of {subject}"))?;
            all.extend(index.manifests);
            // Who attaches that many has something in mind; what is there is used.
            if all.len() > MOST_REFERRERS {
                all.truncate(MOST_REFERRERS);
                break;
            }
            match next {
                Some(query) => path = format!("referrers/{subject}?{query}"),
                None => break,
            }
        }
        Ok(Some(all))
    }

    /// One page of a list, if there is such a list.
    fn page(&self, path: &str, operation: &str) -> Result<Option<Page>, ReferrerError> {
        let call = self.call(Method::GET, path, operation);
        let page = self
            .client
            .persist(self.repository, operation, &self.cancelled, || {
                let mut answer = self.client.attempt(&call)?;
                let headers = answer.response.headers();
                // Registries without the API answer 404, some with a page for people under 200.
                let is_list = headers
                    .get(header::CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok())
                    .is_some_and(|value| value.starts_with(media_type::OCI_INDEX));
                if answer.response.status() != StatusCode::OK || !is_list {
                    return Ok(None);
                }
                let next = headers
                    .get(header::LINK)
                    .and_then(|value| value.to_str().ok())
                    .and_then(next_query);
                let bytes = read_document(&mut answer.response, &answer.url, LONGEST_LIST)?;
                Ok::<_, Failed>(Some(Page { bytes, next }))
            })?;
        Ok(page)
    }

    fn of_tag(&self, subject: Digest) -> Result<Index, ReferrerError> {
        let tag = tag_of(subject, "");
        let operation = format!("download the list of referrers {tag}");
        let Some(bytes) = self.document(&format!("manifests/{tag}"), &operation)? else {
            return Ok(Index::new(Vec::new()));
        };
        parsed(&bytes, || format!("list of referrers {tag}"))
    }

    /// Two clients that do this at once may lose one of the entries: the specification has no way around that.
    fn add_to_tag(&self, subject: Digest, entry: Descriptor) -> Result<(), ReferrerError> {
        let mut index = self.of_tag(subject)?;
        if index
            .manifests
            .iter()
            .any(|known| known.digest == entry.digest)
        {
            return Ok(());
        }
        index.manifests.push(entry);
        let bytes = serde_json::to_vec(&index).map_err(ReferrerError::Serialize)?;
        let descriptor = Descriptor::new(
            media_type::OCI_INDEX,
            Digest::of(&bytes),
            bytes.len() as u64,
        );
        put_manifest(
            self.client,
            self.repository,
            &tag_of(subject, ""),
            &descriptor,
            &bytes,
            &[scope(self.repository, "pull,push")],
        )?;
        Ok(())
    }

    /// The manifest of this name and its digest, which is the `expected` one where there is one.
    fn named(
        &self,
        identifier: &str,
        expected: Option<Digest>,
    ) -> Result<Option<(Digest, Vec<u8>)>, ReferrerError> {
        let path = format!("manifests/{identifier}");
        let operation = format!("download the manifest {identifier}");
        let Some(bytes) = self.document(&path, &operation)? else {
            return Ok(None);
        };
        let digest = Digest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            let problem = format!("its digest is {digest}");
            return Err(self.wrong(expected, problem).into());
        }
        Ok(Some((digest, bytes)))
    }

    fn document(&self, path: &str, operation: &str) -> Result<Option<Vec<u8>>, ReferrerError> {
        self.get(path, operation, LONGEST_LIST)
    }

    fn get(
        &self,
        path: &str,
        operation: &str,
        most: u64,
    ) -> Result<Option<Vec<u8>>, ReferrerError> {
        let call = Call {
            receives: most,
            ..self.call(Method::GET, path, operation)
        };
        let found = self
            .client
            .persist(self.repository, operation, &self.cancelled, || {
                let mut answer = self.client.attempt(&call)?;
                if answer.response.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let bytes = read_document(&mut answer.response, &answer.url, most)?;
                Ok::<_, Failed>(Some(bytes))
            })?;
        Ok(found)
    }

    fn call<'b>(&'b self, method: Method, path: &'b str, operation: &'b str) -> Call<'b> {
        // Nothing but manifests is negotiated; for other paths the header says nothing.
        Call {
            repository: self.repository,
            operation,
            method,
            target: Target::Inside(path),
            headers: accepted(),
            body: Body::None,
            receives: 0,
            scopes: &self.scopes,
            expected: &[404],
            cancelled: &self.cancelled,
        }
    }

    fn wrong(&self, expected: Digest, problem: String) -> RequestError {
        let operation = format!("download {expected}");
        let reason = Reason::WrongContent { expected, problem };
        self.client.error(self.repository, &operation, reason)
    }
}

/// A document's content; `document` is its name in the error.
fn parsed<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    document: impl FnOnce() -> String,
) -> Result<T, ReferrerError> {
    serde_json::from_slice(bytes).map_err(|source| ReferrerError::Document {
        document: document(),
        source,
    })
}

fn accepted() -> &'static [(header::HeaderName, String)] {
    static ACCEPTED: std::sync::LazyLock<[(header::HeaderName, String); 1]> =
        std::sync::LazyLock::new(|| [(header::ACCEPT, media_type::ACCEPTED_MANIFESTS.join(", "))]);
    &*ACCEPTED
}

/// The query of `<…?QUERY>; rel="next"` (RFC 8288). Only the query is taken: the next page is on the same path.
fn next_query(link: &str) -> Option<String> {
    let (address, rest) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = rest.replace(' ', "").contains("rel=\"next\"");
    let (_, query) = address.split_once('?')?;
    let plain = query.bytes().all(|byte| byte.is_ascii_graphic());
    (is_next && plain).then(|| query.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page() {
        for (link, query) in [
            (
                "</v2/a/referrers/x?n=2&last=y>; rel=\"next\"",
                Some("n=2&last=y"),
            ),
            ("<https://elsewhere/x?a=1>;rel=\"next\"", Some("a=1")),
            ("</v2/a?n=2>; rel=\"prev\"", None),
            ("</v2/a>; rel=\"next\"", None),
            ("</v2/a?b c>; rel=\"next\"", None),
            ("nonsense", None),
        ] {
            assert_eq!(next_query(link).as_deref(), query, "{link}");
        }
    }

    #[test]
    fn tags_of_subjects() {
        let tag = tag_of(Digest::of(b""), ".sig");
        assert_eq!(
            tag,
            "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.sig"
        );
    }
}

//! An image from a registry into the store.

mod blobs;
mod indexes;

pub use indexes::pull_all_documents;

use std::io;
use std::sync::atomic::AtomicBool;

use oci_image::{
    BlobStore, Descriptor, Digest, Image, ImageError, Index, Manifest, Reference, StoreError,
    media_type,
};
use serde::Deserialize;
use ureq::http::{Method, header};

use crate::Watch;
use crate::client::{Answer, Call, Client, Target, scope};
use crate::transport::error::{Reason, RequestError};
use crate::transport::exchange::{Body, Failed, read_document};
use crate::upload::CONTENT_DIGEST;

/// Twice what registries must take (distribution-spec, "Pushing Manifests").
const LONGEST_MANIFEST: u64 = 8 << 20;

/// The platform that an image is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// GOOS.
    pub os: String,
    /// GOARCH.
    pub architecture: String,
    /// The processor's variant, when it matters.
    pub variant: Option<String>,
}

/// How to pull.
pub struct PullOptions<'a> {
    /// Which image of an index.
    pub platform: Wanted,
    /// Receives what is going on.
    pub watch: Option<Watch<'a>>,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image's manifest, in the store.
    pub manifest: Descriptor,
    /// The index that it was chosen from, in the store as well.
    pub index: Option<Descriptor>,
    /// Blobs that were downloaded.
    pub received: usize,
    /// Their bytes.
    pub received_bytes: u64,
    /// Blobs that the store had.
    pub present: usize,
}

/// Why an image could not be pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The registry refused, lied, or could not be reached.
    #[error(transparent)]
    Registry(#[from] RequestError),
    /// The store cannot be written or read.
    #[error("could not put the image {reference} into the store")]
    Store {
        /// The image.
        reference: String,
        #[source]
        source: StoreError,
    },
    /// The store cannot be looked at.
    #[error("could not look for the blob {digest} in the store")]
    Look {
        /// The blob.
        digest: Digest,
        #[source]
        source: io::Error,
    },
    /// A manifest is not one.
    #[error("the manifest {digest} of {reference} is not valid")]
    Document {
        /// The image.
        reference: String,
        /// The manifest.
        digest: Digest,
        #[source]
        source: serde_json::Error,
    },
    /// A document that is no image.
    #[error("{reference} is not an image: its manifest {digest} {problem}")]
    NoImage {
        /// The image.
        reference: String,
        /// The manifest.
        digest: Digest,
        /// What it is.
        problem: String,
    },
    /// Manifest and configuration do not belong together.
    #[error("the image {reference} is not valid")]
    Image {
        /// The image.
        reference: String,
        #[source]
        source: ImageError,
    },
    /// There is no image for the wanted platform.
    #[error("{reference} has no image for {wanted}, only for {offered}")]
    Platform {
        /// The image.
        reference: String,
        /// The platform.
        wanted: String,
        /// Those that there are.
        offered: String,
    },
}

/// What every kind of manifest has, to find out which it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<serde_json::Value>,
    #[serde(default)]
    layers: Option<serde_json::Value>,
    #[serde(default)]
    manifests: Option<serde_json::Value>,
}

/// Pulls the image, of an index the one for the wanted platform. The manifest goes into the store last, when
/// everything that it names is there; each blob's digest is checked before it is in the store.
pub fn pull(
    client: &Client,
    store: &BlobStore,
    source: &Reference,
    options: &PullOptions<'_>,
) -> Result<Pulled, PullError> {
    let pulling = Pulling::new(client, store, source, options.watch);
    let found = pulling.resolve(source, &options.platform)?;
    pulling.bring(found, &options.platform, |manifest| {
        std::iter::once(&manifest.config)
            .chain(&manifest.layers)
            .collect()
    })
}

/// Pulls an image's manifest and configuration and none of its layers; `None` when the registry has no such image.
pub fn pull_documents(
    client: &Client,
    store: &BlobStore,
    source: &Reference,
    platform: &Wanted,
) -> Result<Option<Pulled>, PullError> {
    let pulling = Pulling::new(client, store, source, None);
    let found = match pulling.resolve(source, platform) {
        Err(PullError::Registry(error)) if error.status() == Some(404) => return Ok(None),
        found => found?,
    };
    pulling
        .bring(found, platform, |manifest| vec![&manifest.config])
        .map(Some)
}

/// Pulls blobs of a repository that the store does not have.
pub fn pull_blobs(
    client: &Client,
    store: &BlobStore,
    source: &Reference,
    blobs: &[Descriptor],
) -> Result<(), PullError> {
    let pulling = Pulling::new(client, store, source, None);
    pulling.blobs(
        blobs,
        &mut Pulled::new(Descriptor::new("", Digest::of(b""), 0)),
    )
}

/// A manifest, its document, and the index that it is from with its own.
struct Resolved {
    index: Option<(Descriptor, Vec<u8>)>,
    manifest: Descriptor,
    bytes: Vec<u8>,
}

impl Pulled {
    fn new(manifest: Descriptor) -> Self {
        Self {
            manifest,
            index: None,
            received: 0,
            received_bytes: 0,
            present: 0,
        }
    }
}

struct Pulling<'a> {
    client: &'a Client,
    store: &'a BlobStore,
    reference: String,
    repository: &'a str,
    scopes: [String; 1],
    cancelled: AtomicBool,
    watch: Watch<'a>,
}

impl<'a> Pulling<'a> {
    fn new(
        client: &'a Client,
        store: &'a BlobStore,
        source: &'a Reference,
        watch: Option<Watch<'a>>,
    ) -> Self {
        Self {
            client,
            store,
            reference: source.to_string(),
            repository: source.repository(),
            scopes: [scope(source.repository(), "pull")],
            cancelled: AtomicBool::new(false),
            watch: watch.unwrap_or(&|_| {}),
        }
    }

    /// The manifest for a platform.
    fn resolve(&self, source: &Reference, platform: &Wanted) -> Result<Resolved, PullError> {
        let (top, bytes) = self.manifest(&source.identifier(), source.digest(), None)?;
        if !media_type::is_index(&top.media_type) {
            return Ok(Resolved {
                index: None,
                manifest: top,
                bytes,
            });
        }
        let entry = self.choose(&top, &bytes, platform)?;
        let (manifest, chosen) = self.manifest(
            &entry.digest.to_string(),
            Some(entry.digest),
            Some(entry.size),
        )?;
        if media_type::is_index(&manifest.media_type) {
            return Err(self.no_image(manifest.digest, "is an index inside an index"));
        }
        Ok(Resolved {
            index: Some((top, bytes)),
            manifest,
            bytes: chosen,
        })
    }

    /// Brings the blobs that `wanted` chooses, then the documents.
    fn bring(
        &self,
        found: Resolved,
        platform: &Wanted,
        wanted: impl FnOnce(&Manifest) -> Vec<&Descriptor>,
    ) -> Result<Pulled, PullError> {
        let Resolved {
            index,
            manifest,
            bytes,
        } = found;
        let parsed = self.parse(&manifest, &bytes)?;
        let mut pulled = Pulled {
            index: index.as_ref().map(|(descriptor, _)| descriptor.clone()),
            ..Pulled::new(manifest)
        };
        self.blobs(wanted(&parsed), &mut pulled)?;
        for bytes in index.iter().map(|(_, bytes)| bytes).chain([&bytes]) {
            self.store
                .put(bytes)
                .map_err(|source| self.store_error(source))?;
        }
        self.check(&pulled.manifest, platform)?;
        Ok(pulled)
    }

    /// A manifest whose configuration is one that can be held in memory.
    fn parse(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<Manifest, PullError> {
        let parsed: Manifest = serde_json::from_slice(bytes)
            .map_err(|source| self.invalid(manifest.digest, source))?;
        let size = parsed.config.size;
        if size > LONGEST_MANIFEST {
            let problem = format!("has a configuration of {size} bytes, which is too long");
            return Err(self.no_image(manifest.digest, problem));
        }
        Ok(parsed)
    }

    fn store_error(&self, source: StoreError) -> PullError {
        PullError::Store {
            reference: self.reference.clone(),
            source,
        }
    }

    fn invalid(&self, digest: Digest, source: serde_json::Error) -> PullError {
        PullError::Document {
            reference: self.reference.clone(),
            digest,
            source,
        }
    }

    fn no_image(&self, digest: Digest, problem: impl Into<String>) -> PullError {
        PullError::NoImage {
            reference: self.reference.clone(),
            digest,
            problem: problem.into(),
        }
    }

    /// A manifest or index with its verified descriptor.
    fn manifest(
        &self,
        identifier: &str,
        expected: Option<Digest>,
        size: Option<u64>,
    ) -> Result<(Descriptor, Vec<u8>), PullError> {
        let operation = format!("download the manifest {identifier}");
        let headers = [(header::ACCEPT, media_type::ACCEPTED_MANIFESTS.join(", "))];
        let call = Call {
            repository: self.repository,
            operation: &operation,
            method: Method::GET,
            target: Target::Inside(&format!("manifests/{identifier}")),
            headers: &headers,
            body: Body::None,
            receives: 0,
            scopes: &self.scopes,
            expected: &[],
            cancelled: &self.cancelled,
        };
        let (bytes, declared_type) =
            self.client
                .persist(self.repository, &operation, &self.cancelled, || {
                    let Answer { mut response, url } = self.client.attempt(&call)?;
                    let text = |name: &str| {
                        response
                            .headers()
                            .get(name)
                            .and_then(|value| value.to_str().ok())
                            .map(str::to_owned)
                    };
                    let (declared_type, declared) = (text("content-type"), text(CONTENT_DIGEST));
                    let bytes = read_document(&mut response, &url, LONGEST_MANIFEST)?;
                    let actual = Digest::of(&bytes);
                    let wanted = expected.or_else(|| {
                        declared
                            .as_deref()
                            .and_then(|declared| declared.parse().ok())
                    });
                    if let Some(expected) = wanted.filter(|wanted| *wanted != actual) {
                        return Err(Failed::lasting(Reason::WrongContent {
                            expected,
                            problem: format!("its digest is {actual}"),
                        }));
                    }
                    if let Some(size) = size.filter(|size| *size != bytes.len() as u64) {
                        let problem = format!("it has {} bytes, not {size}", bytes.len());
                        return Err(Failed::lasting(Reason::WrongContent {
                            expected: actual,
                            problem,
                        }));
                    }
                    Ok((bytes, declared_type))
                })?;
        let digest = Digest::of(&bytes);
        let media_type = self.kind(&bytes, digest, declared_type.as_deref())?;
        Ok((
            Descriptor::new(media_type, digest, bytes.len() as u64),
            bytes,
        ))
    }

    /// The type of a manifest. A document that could be read as two is refused: which image it is must not depend on
    /// who reads it.
    fn kind(
        &self,
        bytes: &[u8],
        digest: Digest,
        declared: Option<&str>,
    ) -> Result<String, PullError> {
        let kind: Kind =
            serde_json::from_slice(bytes).map_err(|source| self.invalid(digest, source))?;
        if kind.schema_version != 2 {
            return Err(self.no_image(
                digest,
                format!("has the schema version {}, which is too old: push the image again with a newer tool", kind.schema_version),
            ));
        }
        let is_index = kind.manifests.is_some();
        if is_index && (kind.layers.is_some() || kind.config.is_some()) {
            return Err(self.no_image(digest, "is at once that of an image and an index"));
        }
        let declared =
            declared.map(|declared| declared.split(';').next().unwrap_or_default().trim());
        let known = |name: &&str| media_type::is_index(name) || media_type::is_manifest(name);
        let stated = kind.media_type.as_deref().or(declared.filter(known));
        let media_type = match stated {
            Some(stated) => stated,
            None if is_index => media_type::OCI_INDEX,
            None => media_type::OCI_MANIFEST,
        };
        if !known(&media_type) {
            return Err(self.no_image(digest, format!("has the type {media_type:?}")));
        }
        if media_type::is_index(media_type) != is_index
            || declared
                .filter(known)
                .is_some_and(|declared| declared != media_type)
        {
            return Err(self.no_image(digest, format!("says it is {media_type:?} and is not")));
        }
        Ok(media_type.to_owned())
    }

    fn choose(
        &self,
        top: &Descriptor,
        bytes: &[u8],
        wanted: &Wanted,
    ) -> Result<Descriptor, PullError> {
        let index: Index =
            serde_json::from_slice(bytes).map_err(|source| self.invalid(top.digest, source))?;
        let chosen =
            index.for_platform(&wanted.os, &wanted.architecture, wanted.variant.as_deref());
        if let Some(entry) = chosen {
            return Ok(entry.clone());
        }
        let offered: Vec<String> = index
            .manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            .filter(|platform| platform.os != "unknown")
            .map(|platform| {
                shown(
                    &platform.os,
                    &platform.architecture,
                    platform.variant.as_deref(),
                )
            })
            .collect();
        Err(self.wrong_platform(wanted, offered.join(", ")))
    }

    fn wrong_platform(&self, wanted: &Wanted, offered: String) -> PullError {
        PullError::Platform {
            reference: self.reference.clone(),
            wanted: shown(&wanted.os, &wanted.architecture, wanted.variant.as_deref()),
            offered: if offered.is_empty() {
                "none".to_owned()
            } else {
                offered
            },
        }
    }

    /// Manifest and configuration fit each other and the platform.
    fn check(&self, manifest: &Descriptor, wanted: &Wanted) -> Result<(), PullError> {
        let image =
            Image::load(self.store, &manifest.digest).map_err(|source| PullError::Image {
                reference: self.reference.clone(),
                source,
            })?;
        let config = &image.config;
        // Images that nothing runs, such as caches, need not say what for.
        let fits = [wanted.architecture.as_str(), ""].contains(&config.architecture.as_str());
        if config.os == wanted.os && fits {
            return Ok(());
        }
        Err(self.wrong_platform(wanted, shown(&config.os, &config.architecture, None)))
    }
}

fn shown(os: &str, architecture: &str, variant: Option<&str>) -> String {
    match variant {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    }
}

//! An image, or an index of images, from the store to a registry.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use oci_image::{
    BlobStore, Descriptor, Digest, ImageConfig, Index, Manifest, Reference, StoreError, media_type,
};
use ureq::http::{Method, StatusCode, header};

use crate::client::{Call, Client, Target, scope};
use crate::transport::error::RequestError;
use crate::transport::exchange::{Body, read_small};
use crate::upload::{CONTENT_DIGEST, Neighbour, Outcome, Uploads, check_stored};
use crate::{Knows, Progress, Watch};

/// How to push.
#[derive(Default)]
pub struct PushOptions<'a> {
    /// Images in the same registry that may share layers with this one; those in other registries are passed over.
    pub mount_from: &'a [Reference],
    /// Tells whether one of `mount_from` is known to have a blob: those are asked for it before the others.
    pub knows: Option<Knows<'a>>,
    /// Whether layers may be missing in the store: they are the registry's already, or mounted. One that is neither
    /// ends the push with [`PushError::Incomplete`].
    pub remote_layers: bool,
    /// Whether blobs are asked for although the tag names the image already: a registry may have lost some.
    pub thorough: bool,
    /// Receives what is going on.
    pub watch: Option<Watch<'a>>,
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The digest under which the image is in the registry.
    pub digest: Digest,
    /// Whether the tag already named this image, so that nothing was sent.
    pub unchanged: bool,
    /// Blobs that were sent.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that the registry took from another repository.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
}

/// Why an image could not be pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The registry refused, or could not be reached.
    #[error(transparent)]
    Registry(#[from] RequestError),
    /// A blob cannot be read.
    #[error("could not read the image from the store")]
    Store(#[source] StoreError),
    /// A blob of the image is not in the store, or not whole.
    #[error(
        "the image's {document} {digest} is not complete in the store: {have} of {size} bytes are there"
    )]
    Incomplete {
        /// `manifest`, `configuration` or `layer`.
        document: &'static str,
        /// The blob.
        digest: Digest,
        /// Its length.
        size: u64,
        /// The length of what is there.
        have: u64,
    },
    /// The store itself cannot be looked at.
    #[error("could not look for the blob {digest} in the store")]
    Look {
        /// The blob.
        digest: Digest,
        #[source]
        source: io::Error,
    },
    /// A manifest is not one.
    #[error("the manifest {digest} is not valid")]
    Document {
        /// The manifest.
        digest: Digest,
        #[source]
        source: serde_json::Error,
    },
    /// The manifest and the configuration count different layers.
    #[error("the image {digest} has {layers} layers but {diff_ids} diffIDs")]
    LayerCount {
        /// The manifest.
        digest: Digest,
        /// Layers in the manifest.
        layers: usize,
        /// DiffIDs in the configuration.
        diff_ids: usize,
    },
    /// A layer does not unpack to what the configuration says. Engines would refuse the image.
    #[error("the layer {layer} has the diffID {actual}, and the image says {expected}")]
    DiffId {
        /// The layer's blob.
        layer: Digest,
        /// What the image's configuration says.
        expected: Digest,
        /// What the blob unpacks to.
        actual: Digest,
    },
    /// A manifest's type is none that registries know.
    #[error(
        "the manifest {digest} has the type {media_type:?}, which is not that of an image or index"
    )]
    MediaType {
        /// The manifest.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// The target names another digest.
    #[error("the target {target} names a digest, and the image has another: {digest}")]
    OtherDigest {
        /// The target.
        target: String,
        /// The image.
        digest: Digest,
    },
}

/// What has to be in the registry, and in which order.
#[derive(Default)]
struct Contents {
    /// By digest, each once; layers with the diffID that the configuration gives them.
    blobs: BTreeMap<Digest, (Descriptor, Option<Digest>)>,
    /// Manifests before the indexes that name them.
    manifests: Vec<(Descriptor, Vec<u8>)>,
    /// See [`PushOptions::remote_layers`].
    remote_layers: bool,
}

/// Pushes the manifest (or index), all it names, and the tag last: until then nobody sees a half-pushed image.
///
/// Before anything is sent, every blob's presence and length in the store is checked; before a layer is sent, that it
/// unpacks to its diffID, unless the store knows. Layers that registries need not hold are passed over.
pub fn push(
    client: &Client,
    store: &BlobStore,
    manifest: &Descriptor,
    target: &Reference,
    options: &PushOptions<'_>,
) -> Result<Pushed, PushError> {
    if target
        .digest()
        .is_some_and(|digest| digest != manifest.digest)
    {
        return Err(PushError::OtherDigest {
            target: target.to_string(),
            digest: manifest.digest,
        });
    }
    let mut contents = Contents {
        remote_layers: options.remote_layers,
        ..Contents::default()
    };
    contents.collect(store, manifest)?;

    let repository = target.repository();
    let identifier = target
        .tag()
        .map_or_else(|| target.identifier(), str::to_owned);
    let scopes = [scope(repository, "pull,push")];
    let mut pushed = Pushed {
        digest: manifest.digest,
        unchanged: false,
        sent: 0,
        sent_bytes: 0,
        mounted: 0,
        present: 0,
    };
    let names_it = names_already(client, repository, &identifier, manifest.digest, &scopes)?;
    if names_it && !options.thorough {
        pushed.unchanged = true;
        pushed.present = contents.blobs.len();
        return Ok(pushed);
    }

    let neighbours = neighbours(client, repository, options.mount_from, &scopes[0]);
    let uploads = Uploads {
        client,
        store,
        repository,
        neighbours: &neighbours,
        knows: options.knows,
        scopes: &scopes,
        cancelled: &AtomicBool::new(false),
        watch: options.watch.unwrap_or(&|_| {}),
    };
    upload_all(
        &uploads,
        contents.blobs.into_values().collect(),
        &mut pushed,
    )?;
    for (descriptor, bytes) in &contents.manifests {
        let put = |name: &str| put_manifest(client, repository, name, descriptor, bytes, &scopes);
        if descriptor.digest != manifest.digest {
            put(&descriptor.digest.to_string())?;
        } else if target.digest().is_some() && target.tag().is_none() {
            put(&identifier)?;
        } else {
            put(&identifier).map_err(RequestError::of_a_tag)?;
        }
    }
    Ok(pushed)
}

/// The other repositories of this registry, each once, in the order of the images.
fn neighbours<'a>(
    client: &Client,
    repository: &str,
    images: &'a [Reference],
    push_here: &str,
) -> Vec<Neighbour<'a>> {
    let mut neighbours: Vec<Neighbour<'_>> = Vec::new();
    let others = images
        .iter()
        .filter(|from| client.serves(from.registry()) && from.repository() != repository);
    for image in others {
        let there = image.repository();
        let known = neighbours.iter_mut().find(|it| it.repository == there);
        if let Some(known) = known {
            known.images.push(image);
        } else {
            neighbours.push(Neighbour {
                repository: there,
                images: vec![image],
                scopes: [push_here.to_owned(), scope(there, "pull")],
            });
        }
    }
    neighbours
}

fn upload_all(
    uploads: &Uploads<'_>,
    mut blobs: Vec<(Descriptor, Option<Digest>)>,
    pushed: &mut Pushed,
) -> Result<(), PushError> {
    // The longest first, so that none is left alone at the end.
    blobs.sort_by_key(|(blob, _)| std::cmp::Reverse(blob.size));
    (uploads.watch)(Progress::Total(
        blobs.iter().map(|(blob, _)| blob.size).sum(),
    ));
    let threads = uploads.client.parallel().min(blobs.len());
    let waiting = Mutex::new(blobs.into_iter());
    let results = Mutex::new((Vec::new(), None));
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !uploads.cancelled.load(Ordering::Relaxed)
                    && let Some((blob, diff_id)) = next()
                {
                    let result = uploads.upload(&blob, diff_id);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(outcome) => results.0.push((outcome, blob.size)),
                        Err(error) => {
                            // What others fail with from here on is only that they were cancelled.
                            uploads.cancelled.store(true, Ordering::Relaxed);
                            results.1.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    let (outcomes, error) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = error {
        return Err(error);
    }
    for (outcome, size) in outcomes {
        match outcome {
            Outcome::Present => pushed.present += 1,
            Outcome::Mounted => pushed.mounted += 1,
            Outcome::Sent => {
                pushed.sent += 1;
                pushed.sent_bytes += size;
            }
        }
    }
    Ok(())
}

impl Contents {
    fn collect(&mut self, store: &BlobStore, descriptor: &Descriptor) -> Result<(), PushError> {
        let digest = descriptor.digest;
        if self
            .manifests
            .iter()
            .any(|(known, _)| known.digest == digest)
        {
            return Ok(());
        }
        check_complete(store, "manifest", descriptor)?;
        let bytes = store.read(&digest).map_err(PushError::Store)?;
        let invalid = |source| PushError::Document { digest, source };
        if media_type::is_index(&descriptor.media_type) {
            let index: Index = serde_json::from_slice(&bytes).map_err(invalid)?;
            for entry in &index.manifests {
                self.collect(store, entry)?;
            }
        } else if media_type::is_manifest(&descriptor.media_type) {
            let manifest: Manifest = serde_json::from_slice(&bytes).map_err(invalid)?;
            check_complete(store, "configuration", &manifest.config)?;
            let diff_ids = diff_ids(store, digest, &manifest)?;
            self.blobs
                .insert(manifest.config.digest, (manifest.config, None));
            for (position, layer) in manifest.layers.into_iter().enumerate() {
                if !media_type::is_foreign_layer(&layer.media_type) {
                    if !self.remote_layers {
                        check_complete(store, "layer", &layer)?;
                    }
                    let diff_id = diff_ids.get(position).copied();
                    self.blobs.insert(layer.digest, (layer, diff_id));
                }
            }
        } else {
            return Err(PushError::MediaType {
                digest,
                media_type: descriptor.media_type.clone(),
            });
        }
        self.manifests.push((descriptor.clone(), bytes));
        Ok(())
    }
}

/// The layers' diffIDs, as many as there are layers; none for what is no image but an artifact.
fn diff_ids(
    store: &BlobStore,
    digest: Digest,
    manifest: &Manifest,
) -> Result<Vec<Digest>, PushError> {
    let kinds = [media_type::OCI_CONFIG, media_type::DOCKER_CONFIG];
    if !kinds.contains(&manifest.config.media_type.as_str()) {
        return Ok(Vec::new());
    }
    let bytes = store
        .read(&manifest.config.digest)
        .map_err(PushError::Store)?;
    let config: ImageConfig =
        serde_json::from_slice(&bytes).map_err(|source| PushError::Document {
            digest: manifest.config.digest,
            source,
        })?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() == manifest.layers.len() {
        Ok(diff_ids)
    } else {
        Err(PushError::LayerCount {
            digest,
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        })
    }
}

pub(crate) fn check_complete(
    store: &BlobStore,
    document: &'static str,
    blob: &Descriptor,
) -> Result<(), PushError> {
    let Descriptor { digest, size, .. } = *blob;
    let have = store
        .size(&digest)
        .map_err(|source| PushError::Look { digest, source })?
        .unwrap_or(0);
    if have == size {
        Ok(())
    } else {
        Err(PushError::Incomplete {
            document,
            digest,
            size,
            have,
        })
    }
}

/// Whether the tag names this very image. A registry that will not tell is not asked twice.
fn names_already(
    client: &Client,
    repository: &str,
    identifier: &str,
    digest: Digest,
    scopes: &[String],
) -> Result<bool, RequestError> {
    let answer = client.send(&Call {
        repository,
        operation: &format!("look for the image {identifier}"),
        method: Method::HEAD,
        target: Target::Inside(&format!("manifests/{identifier}")),
        headers: &[(header::ACCEPT, media_type::ACCEPTED_MANIFESTS.join(", "))],
        body: Body::None,
        receives: 0,
        scopes,
        expected: &[400, 403, 404, 405],
        cancelled: &AtomicBool::new(false),
    })?;
    let stored = answer
        .response
        .headers()
        .get(CONTENT_DIGEST)
        .and_then(|value| value.to_str().ok());
    Ok(answer.response.status() == StatusCode::OK && stored == Some(&digest.to_string()))
}

/// Whether one may push to a repository, found out by opening an upload and giving it up.
pub fn check_push(client: &Client, target: &Reference) -> Result<(), RequestError> {
    let repository = target.repository();
    let scopes = [scope(repository, "pull,push")];
    let cancelled = AtomicBool::new(false);
    let call = Call {
        repository,
        operation: "open an upload",
        method: Method::POST,
        target: Target::Inside("blobs/uploads/"),
        headers: &[],
        body: Body::Bytes(&[]),
        receives: 0,
        scopes: &scopes,
        expected: &[],
        cancelled: &cancelled,
    };
    let mut answer = client.send(&call)?;
    read_small(&mut answer.response);
    if let Ok(upload) = client.location(&answer) {
        // One that stays open is the registry's to clear away, and not all of them take this request.
        drop(client.attempt(&Call {
            method: Method::DELETE,
            target: Target::Given(&upload),
            body: Body::None,
            ..call
        }));
    }
    Ok(())
}

pub(crate) fn put_manifest(
    client: &Client,
    repository: &str,
    name: &str,
    descriptor: &Descriptor,
    bytes: &[u8],
    scopes: &[String],
) -> Result<(), RequestError> {
    let operation = format!("upload the manifest {name}");
    let cancelled = AtomicBool::new(false);
    let call = Call {
        repository,
        operation: &operation,
        method: Method::PUT,
        target: Target::Inside(&format!("manifests/{name}")),
        headers: &[(header::CONTENT_TYPE, descriptor.media_type.clone())],
        body: Body::Bytes(bytes),
        receives: 0,
        scopes,
        expected: &[],
        cancelled: &cancelled,
    };
    client.persist(repository, &operation, &cancelled, || {
        let mut answer = client.attempt(&call)?;
        read_small(&mut answer.response);
        check_stored(&answer.response, descriptor.digest)
    })
}

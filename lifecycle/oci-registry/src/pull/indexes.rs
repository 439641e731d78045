//! All images of an index at once, by their documents.

use oci_image::{BlobStore, Descriptor, Image, Index, Reference, media_type};

use super::{PullError, Pulled, Pulling};
use crate::client::Client;

/// More than any project builds for; an index of a million entries would be a million requests.
const MOST_IMAGES: usize = 256;

/// Pulls the manifest and configuration of an image or, of an index, of all its images, and none of their layers.
/// Entries that are no images (attestations) are left out. `None` when the registry has no such image.
pub fn pull_all_documents(
    client: &Client,
    store: &BlobStore,
    source: &Reference,
) -> Result<Option<Vec<Descriptor>>, PullError> {
    let pulling = Pulling::new(client, store, source, None);
    let (top, bytes) = match pulling.manifest(&source.identifier(), source.digest(), None) {
        Err(PullError::Registry(error)) if error.status() == Some(404) => return Ok(None),
        found => found?,
    };
    if !media_type::is_index(&top.media_type) {
        pulling.documents(&top, &bytes)?;
        return Ok(Some(vec![top]));
    }
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|source| pulling.invalid(top.digest, source))?;
    if index.manifests.len() > MOST_IMAGES {
        return Err(pulling.no_image(
            top.digest,
            format!("lists {} images, which is too many", index.manifests.len()),
        ));
    }
    let mut images = Vec::new();
    for entry in index.manifests {
        let is_image = entry.artifact_type.is_none()
            && entry.platform.as_ref().is_none_or(|it| it.os != "unknown");
        if !is_image {
            continue;
        }
        let identifier = entry.digest.to_string();
        let (manifest, bytes) =
            pulling.manifest(&identifier, Some(entry.digest), Some(entry.size))?;
        if media_type::is_index(&manifest.media_type) {
            return Err(pulling.no_image(manifest.digest, "is an index inside an index"));
        }
        pulling.documents(&manifest, &bytes)?;
        images.push(Descriptor {
            platform: entry.platform,
            ..manifest
        });
    }
    Ok(Some(images))
}

impl Pulling<'_> {
    /// Brings the configuration, then stores the manifest, and checks that they fit each other.
    fn documents(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), PullError> {
        let parsed = self.parse(manifest, bytes)?;
        self.blobs([&parsed.config], &mut Pulled::new(manifest.clone()))?;
        self.store
            .put(bytes)
            .map_err(|source| self.store_error(source))?;
        Image::load(self.store, &manifest.digest).map_err(|source| PullError::Image {
            reference: self.reference.clone(),
            source,
        })?;
        Ok(())
    }
}

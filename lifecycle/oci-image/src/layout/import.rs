//! An image of a layout into the store, from a directory or from an archive of one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{LayoutError, blob_path, name_of};
use crate::blob_store::BlobStore;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Index, Manifest};
use crate::media_type;

/// Where the blobs of a layout can be had.
pub(crate) trait Blobs {
    /// The layout, for messages.
    fn place(&self) -> &Path;

    /// The blob's content, not verified; `None` when the layout does not have it.
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + '_>>>;
}

/// A layout that is a directory.
pub(crate) struct Directory<'a>(pub(crate) &'a Path);

impl Blobs for Directory<'_> {
    fn place(&self) -> &Path {
        self.0
    }

    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + '_>>> {
        match File::open(blob_path(self.0, digest)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The entry of this name (or digest); without a name the only one.
pub(crate) fn choose(
    index: &Index,
    place: &Path,
    ref_name: Option<&str>,
) -> Result<Descriptor, LayoutError> {
    let present = || {
        let names: Vec<String> = index
            .manifests
            .iter()
            .map(|entry| name_of(entry).map_or_else(|| entry.digest.to_string(), str::to_owned))
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let no_such_image = |name: &str| LayoutError::NoSuchImage {
        directory: place.to_owned(),
        name: name.to_owned(),
        present: present(),
    };
    let entry = match (ref_name, index.manifests.as_slice()) {
        (Some(name), entries) => entries
            .iter()
            .find(|entry| name_of(entry) == Some(name) || entry.digest.to_string() == name)
            .ok_or_else(|| no_such_image(name))?,
        (None, [only]) => only,
        (None, []) => return Err(no_such_image("at all")),
        (None, _) => {
            return Err(LayoutError::Ambiguous {
                directory: place.to_owned(),
                present: present(),
            });
        }
    };
    Ok(entry.clone())
}

/// Copies what the descriptor names, and all that that names, each blob verified.
pub(crate) fn tree(
    layout: &dyn Blobs,
    store: &BlobStore,
    descriptor: &Descriptor,
) -> Result<(), LayoutError> {
    needed_blob(layout, store, descriptor)?;
    let store_error = |source| LayoutError::Store {
        directory: layout.place().to_owned(),
        source,
    };
    let json = store.read(&descriptor.digest).map_err(store_error)?;
    let invalid = |source| LayoutError::Document {
        path: blob_path(layout.place(), &descriptor.digest),
        source,
    };
    if media_type::is_index(&descriptor.media_type) {
        let index: Index = serde_json::from_slice(&json).map_err(invalid)?;
        for entry in &index.manifests {
            // An index may list platforms that were never copied into the layout.
            if present(layout, &entry.digest)? {
                tree(layout, store, entry)?;
            }
        }
    } else {
        let manifest: Manifest = serde_json::from_slice(&json).map_err(invalid)?;
        needed_blob(layout, store, &manifest.config)?;
        for layer in &manifest.layers {
            blob(layout, store, layer)?;
        }
    }
    Ok(())
}

fn present(layout: &dyn Blobs, digest: &Digest) -> Result<bool, LayoutError> {
    layout
        .open(digest)
        .map(|blob| blob.is_some())
        .map_err(|source| unreadable(layout, digest, source))
}

fn needed_blob(
    layout: &dyn Blobs,
    store: &BlobStore,
    descriptor: &Descriptor,
) -> Result<(), LayoutError> {
    if blob(layout, store, descriptor)? {
        return Ok(());
    }
    let missing = io::ErrorKind::NotFound.into();
    Err(unreadable(layout, &descriptor.digest, missing))
}

/// Whether the layout has the blob; it is then in the store, too.
fn blob(
    layout: &dyn Blobs,
    store: &BlobStore,
    descriptor: &Descriptor,
) -> Result<bool, LayoutError> {
    let opened = layout
        .open(&descriptor.digest)
        .map_err(|source| unreadable(layout, &descriptor.digest, source))?;
    let Some(content) = opened else {
        return Ok(false);
    };
    store
        .import(content, descriptor.digest, Some(descriptor.size))
        .map_err(|source| LayoutError::Store {
            directory: layout.place().to_owned(),
            source,
        })?;
    Ok(true)
}

fn unreadable(layout: &dyn Blobs, digest: &Digest, source: io::Error) -> LayoutError {
    LayoutError::Read {
        path: blob_path(layout.place(), digest),
        source,
    }
}

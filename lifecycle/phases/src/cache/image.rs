//! A layer cache that is an image in a registry: its layers are the cached ones, its label
//! `io.buildpacks.lifecycle.cache.metadata` says what they are, as the reference lifecycle has it.
//!
//! A registry keeps what it has: a layer that did not change is named in the next image and not sent again, and one
//! that an export compressed for the app's image is sent as it is.

use super::folder::CacheError;
use super::{Entries, LayerCache, NextState, Origin};
use cnb_spec::json;
use cnb_spec::labels::{CACHE_METADATA, CacheMetadata};
use cnb_spec::target::oci_architecture;
use oci_image::{
    BlobStore, Compression, Descriptor, Digest, History, Image, LayerBlob, LayerError, write_layer,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

/// When every cache image says that it was made: the reference lifecycle's instant for what has to be reproducible.
const CREATED: &str = "1980-01-01T00:00:01Z";

/// Where the image is. Its errors name the image.
pub trait Repository: Sync {
    /// Brings a layer of the image of the last build and opens it.
    fn open_layer(&self, layer: &Descriptor) -> Result<File, Box<dyn Error + Send + Sync>>;

    /// Replaces the image. Layers that the store lacks are those of the last build's image. With `thorough` the
    /// repository may have lost some, also of an image that it has.
    fn publish(
        &self,
        manifest: &Descriptor,
        thorough: bool,
    ) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// See the module.
pub struct CacheImage<'a> {
    repository: &'a dyn Repository,
    /// For blobs of new layers, and with those that an export made.
    store: &'a BlobStore,
    compression: Compression,
    /// The new image, still without layers.
    empty: Image,
    metadata: CacheMetadata,
    /// The layers of the last build's image by diffID, but for those that are no good.
    layers: Mutex<BTreeMap<Digest, Descriptor>>,
}

impl<'a> CacheImage<'a> {
    /// `image` is the last build's, if there is one. One whose label is missing or broken is an empty cache.
    pub fn new(
        repository: &'a dyn Repository,
        store: &'a BlobStore,
        image: Option<&Image>,
    ) -> Self {
        let mut empty = Image::empty("linux", oci_architecture(std::env::consts::ARCH));
        empty.config.created = Some(CREATED.to_owned());
        let label = image.and_then(|image| image.config.config.labels.get(CACHE_METADATA));
        let metadata = label.and_then(|text| serde_json::from_str(text).ok());
        let layers = image.map(|image| {
            let diff_ids = image.config.rootfs.diff_ids.iter().copied();
            let manifest = image.manifest.clone().into_oci();
            diff_ids.zip(manifest.layers).collect()
        });
        Self {
            repository,
            store,
            compression: Compression::default(),
            empty,
            metadata: metadata.unwrap_or_default(),
            layers: Mutex::new(layers.unwrap_or_default()),
        }
    }

    fn layer(&self, sha: &str) -> Option<(Digest, Descriptor)> {
        let diff_id = sha.parse().ok()?;
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.get(&diff_id).map(|layer| (diff_id, layer.clone()))
    }
}

impl LayerCache for CacheImage<'_> {
    fn metadata(&self) -> Result<CacheMetadata, CacheError> {
        Ok(self.metadata.clone())
    }

    fn open_layer(&self, sha: &str) -> io::Result<Box<dyn Read + Send>> {
        let (_, layer) = self.layer(sha).ok_or(io::ErrorKind::NotFound)?;
        let opened = self.repository.open_layer(&layer);
        opened
            .map(|file| Box::new(file) as _)
            .map_err(io::Error::other)
    }

    fn discard(&self, sha: &str) -> io::Result<()> {
        if let Ok(diff_id) = sha.parse() {
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.remove(&diff_id);
        }
        Ok(())
    }

    fn begin(&self) -> Result<Box<dyn NextState + '_>, CacheError> {
        Ok(Box::new(NextImage {
            cache: self,
            layers: Vec::new(),
            made_again: false,
        }))
    }
}

/// The image that the next build finds.
struct NextImage<'a> {
    cache: &'a CacheImage<'a>,
    layers: Vec<(Digest, Descriptor)>,
    /// A layer that the last image names was made again.
    made_again: bool,
}

impl NextImage<'_> {
    /// Layers that are the same are one layer.
    fn push(&mut self, diff_id: Digest, layer: Descriptor) {
        if self.layers.iter().all(|(known, _)| *known != diff_id) {
            self.layers.push((diff_id, layer));
        }
    }
}

impl NextState for NextImage<'_> {
    /// A layer that was made again is not taken over, although the image has one with its diffID: that one may be the
    /// reason why. The registry says whether it still has its blob, and gets it if not.
    fn reuse(&mut self, sha: &str, origin: Origin) -> Result<bool, CacheError> {
        match self.cache.layer(sha) {
            Some((diff_id, layer)) if origin == Origin::Restored => {
                self.push(diff_id, layer);
                Ok(true)
            }
            found => {
                self.made_again |= found.is_some();
                Ok(false)
            }
        }
    }

    fn add(
        &mut self,
        layer: &str,
        made: Option<&LayerBlob>,
        entries: &Entries<'_>,
    ) -> Result<String, CacheError> {
        let store = self.cache.store;
        let made = made.filter(|blob| store.contains(&blob.digest).unwrap_or(false));
        let blob = match made {
            Some(blob) => blob.clone(),
            None => write_layer(store, self.cache.compression, entries).map_err(
                |source: LayerError| CacheError::Layer {
                    layer: layer.to_owned(),
                    source,
                },
            )?,
        };
        self.push(blob.diff_id, blob.descriptor());
        Ok(blob.diff_id.to_string())
    }

    fn commit(mut self: Box<Self>, metadata: &CacheMetadata) -> Result<(), CacheError> {
        let failed = |operation| {
            move |source: Box<dyn Error + Send + Sync>| CacheError::Image { operation, source }
        };
        if self.layers.is_empty() {
            // There are registries that take no image without a layer.
            self.add("without content", None, &|_| Ok(()))?;
        }
        let mut image = self.cache.empty.clone();
        let created = image.config.created.clone();
        for (diff_id, layer) in &self.layers {
            image.config.rootfs.diff_ids.push(*diff_id);
            image.manifest.layers.push(layer.clone());
            image.config.history.push(History {
                created: created.clone(),
                ..History::default()
            });
        }
        let text = json::label_text(metadata).map_err(|it| failed("describe")(it.into()))?;
        let labels = &mut image.config.config.labels;
        labels.insert(CACHE_METADATA.to_owned(), text);
        let manifest = image
            .save(self.cache.store)
            .map_err(|error| failed("make")(error.into()))?;
        self.cache
            .repository
            .publish(&manifest, self.made_again)
            .map_err(failed("save"))
    }
}

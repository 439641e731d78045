//! An image as its two documents, loaded from and saved to the store.

use crate::blob_store::{BlobStore, StoreError};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Manifest};
use crate::media_type;

/// A manifest with its configuration. The layers stay where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest. Its `config` descriptor is set by [`Image::save`].
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageConfig,
}

/// Why an image could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A document is missing, damaged or could not be written.
    #[error("could not {operation} the image's {document}")]
    Store {
        /// `load` or `save`.
        operation: &'static str,
        /// `manifest` or `configuration`.
        document: &'static str,
        #[source]
        source: StoreError,
    },
    /// A document is no JSON, or not of the form that the specification gives.
    #[error("the image's {document} {digest} is not valid")]
    Document {
        /// `manifest` or `configuration`.
        document: &'static str,
        /// Its blob.
        digest: Digest,
        #[source]
        source: serde_json::Error,
    },
    /// A document could not be written as JSON.
    #[error("could not write the image's {document} as JSON")]
    Serialize {
        /// `manifest` or `configuration`.
        document: &'static str,
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
}

impl Image {
    /// An image without layers.
    pub fn empty(os: &str, architecture: &str) -> Self {
        let config = ImageConfig {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            ..ImageConfig::default()
        };
        // `save` describes the configuration; until then there is nothing to describe.
        let unsaved = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b""), 0);
        Self {
            manifest: Manifest::new(unsaved, Vec::new()),
            config,
        }
    }

    /// Loads the image whose manifest has this digest. The layers' blobs need not be there.
    pub fn load(store: &BlobStore, manifest: &Digest) -> Result<Self, ImageError> {
        let digest = manifest;
        let manifest: Manifest = load(store, "manifest", digest)?;
        let config: ImageConfig = load(store, "configuration", &manifest.config.digest)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(ImageError::LayerCount {
                digest: *digest,
                layers,
                diff_ids,
            });
        }
        Ok(Self { manifest, config })
    }

    /// Saves configuration and manifest, and returns the manifest's descriptor.
    ///
    /// The same image always gives the same bytes: fields in a fixed order, maps sorted, unknown fields in the order
    /// they were read.
    pub fn save(&self, store: &BlobStore) -> Result<Descriptor, ImageError> {
        let (config, size) = save(store, "configuration", &self.config)?;
        let mut manifest = self.manifest.clone();
        manifest.config.digest = config;
        manifest.config.size = size;
        let (digest, size) = save(store, "manifest", &manifest)?;
        Ok(Descriptor::new(manifest.own_media_type(), digest, size))
    }
}

fn load<T: serde::de::DeserializeOwned>(
    store: &BlobStore,
    document: &'static str,
    digest: &Digest,
) -> Result<T, ImageError> {
    let bytes = store.read(digest).map_err(|source| ImageError::Store {
        operation: "load",
        document,
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| ImageError::Document {
        document,
        digest: *digest,
        source,
    })
}

fn save<T: serde::Serialize>(
    store: &BlobStore,
    document: &'static str,
    value: &T,
) -> Result<(Digest, u64), ImageError> {
    let bytes =
        serde_json::to_vec(value).map_err(|source| ImageError::Serialize { document, source })?;
    store.put(&bytes).map_err(|source| ImageError::Store {
        operation: "save",
        document,
        source,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn saving_and_loading_gives_the_same_image() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let mut image = Image::empty("linux", "amd64");
        image
            .config
            .config
            .labels
            .insert("b".to_owned(), "2".to_owned());
        image
            .config
            .config
            .labels
            .insert("a".to_owned(), "1".to_owned());
        let saved = image.save(&store).unwrap();
        let loaded = Image::load(&store, &saved.digest).unwrap();
        assert_eq!(loaded.config, image.config);
        assert_eq!(loaded.save(&store).unwrap(), saved);

        image.config.rootfs.diff_ids.push(Digest::of(b"layer"));
        let broken = image.save(&store).unwrap();
        assert!(matches!(
            Image::load(&store, &broken.digest),
            Err(ImageError::LayerCount { .. })
        ));
        assert!(matches!(
            Image::load(&store, &Digest::of(b"?")),
            Err(ImageError::Store { .. })
        ));
    }
}

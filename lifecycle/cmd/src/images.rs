//! Where the images are that phases read and write.

use crate::Failure;
use crate::daemon::Daemon;
use crate::inputs::Inputs;
use crate::registries::{Registries, RemoteImage};
use cnb_spec::exit_code;
use oci_image::{BlobStore, Descriptor, Digest, Image, LayerBlob};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;

/// A place for images.
pub(crate) enum Images {
    /// Registries.
    Registry(Registries),
    /// A Docker engine.
    Daemon(Daemon),
}

/// How a published image can be told from others.
#[derive(Debug)]
pub(crate) enum Published {
    /// By its manifest's digest.
    Manifest(Digest),
    /// By the ID that the engine gave it.
    Id(String),
}

/// An image that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What later phases find it by.
    pub(crate) identifier: String,
    /// Its documents.
    pub(crate) image: Image,
    remote: Option<RemoteImage>,
}

impl Found {
    /// Its layers by diffID.
    pub(crate) fn layers(&self) -> BTreeMap<Digest, LayerBlob> {
        let manifest = self.image.manifest.clone().into_oci();
        let diff_ids = self.image.config.rootfs.diff_ids.iter().copied();
        diff_ids
            .zip(manifest.layers)
            .map(|(diff_id, layer)| {
                let blob = LayerBlob {
                    diff_id,
                    digest: layer.digest,
                    size: layer.size,
                    // Not known, and nobody asks it of layers that are not read.
                    uncompressed_size: 0,
                    media_type: layer.media_type,
                };
                (diff_id, blob)
            })
            .collect()
    }

    fn layer(&self, diff_id: &str) -> Option<&Descriptor> {
        let diff_id: Digest = diff_id.parse().ok()?;
        let position = self
            .image
            .config
            .rootfs
            .diff_ids
            .iter()
            .position(|it| *it == diff_id)?;
        self.image.manifest.layers.get(position)
    }
}

impl From<RemoteImage> for Found {
    fn from(remote: RemoteImage) -> Self {
        Self {
            identifier: remote.reference.to_string(),
            image: remote.image.clone(),
            remote: Some(remote),
        }
    }
}

impl Images {
    /// The place that flags ask for. Takes what needs rights before they are given up: `names` are the images that
    /// the phase is going to need.
    pub(crate) fn open<'a>(
        inputs: &Inputs,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Failure> {
        if inputs.layout {
            return Err(Failure::new(
                exit_code::INVALID_ARGS,
                "failed to parse arguments: -layout is not supported; export to a registry or a daemon",
            ));
        }
        if inputs.daemon {
            let daemon = Daemon::open(inputs.launch_cache.as_deref())?;
            return Ok(Self::Daemon(daemon));
        }
        Registries::new(inputs, names).map(Self::Registry)
    }

    /// An image's documents; `None` when there is no such image. `code` is the phase's exit code.
    pub(crate) fn find(
        &self,
        store: &BlobStore,
        name: &str,
        code: u8,
    ) -> Result<Option<Found>, Failure> {
        match self {
            Self::Registry(registries) => {
                let found = registries.find(store, name, code, |_| false)?;
                Ok(found.map(Found::from))
            }
            Self::Daemon(daemon) => {
                let found = daemon.find(name, code)?;
                Ok(found.map(|(identifier, image)| Found {
                    identifier,
                    image,
                    remote: None,
                }))
            }
        }
    }

    /// The image of the last build, which can be done without: one for other machines is passed over with `warn`.
    pub(crate) fn find_previous(
        &self,
        store: &BlobStore,
        name: &str,
        code: u8,
        warn: impl Fn(&str),
    ) -> Result<Option<Found>, Failure> {
        let Self::Registry(registries) = self else {
            return self.find(store, name, code);
        };
        let found = registries.find(store, name, code, |error| {
            warn(&format!("Not using the previous image: {error}"));
            true
        })?;
        Ok(found.map(Found::from))
    }

    /// Fails unless the image can be written.
    pub(crate) fn check_write(&self, name: &str, code: u8) -> Result<(), Failure> {
        match self {
            Self::Registry(registries) => registries.check_push(name, code),
            // Who may open the socket may do everything.
            Self::Daemon(_) => Ok(()),
        }
    }

    /// A layer of an image, compressed as it may be; `None` when the image has none with this diffID.
    pub(crate) fn open_layer(
        &self,
        store: &BlobStore,
        found: &Found,
        diff_id: &str,
    ) -> Result<Option<File>, Box<dyn Error>> {
        let Some(layer) = found.layer(diff_id) else {
            return Ok(None);
        };
        match (self, &found.remote) {
            (Self::Registry(registries), Some(remote)) => {
                registries.blob(store, remote, layer).map(Some)
            }
            (Self::Daemon(daemon), _) => daemon.open_layer(store, &found.identifier, diff_id),
            (Self::Registry(_), None) => Ok(None),
        }
    }

    /// Writes an image under all `names`. Its layers are in the store or are those of `sources`, the run image first.
    /// `warn` gets what does the image no harm.
    pub(crate) fn publish(
        &self,
        store: &BlobStore,
        manifest: &Descriptor,
        names: &[String],
        sources: &[&Found],
        code: u8,
        warn: &dyn Fn(&str),
    ) -> Result<Published, Failure> {
        let registries = match self {
            Self::Registry(registries) => registries,
            Self::Daemon(daemon) => {
                let bases: Vec<(&str, &Image)> = sources
                    .iter()
                    .map(|found| (found.identifier.as_str(), &found.image))
                    .collect();
                let id = daemon.publish(store, manifest, names, &bases, code, warn)?;
                return Ok(Published::Id(id));
            }
        };
        let mut sources: Vec<RemoteImage> = sources
            .iter()
            .filter_map(|found| found.remote.clone())
            .collect();
        for name in names {
            registries.push(store, manifest, name, &sources, code)?;
            // What one repository has, the next can have without another upload.
            if let Some(first) = sources.first().cloned() {
                let reference = crate::registries::parse(name)?.with_digest(manifest.digest);
                sources.push(RemoteImage { reference, ..first });
            }
        }
        Ok(Published::Manifest(manifest.digest))
    }
}

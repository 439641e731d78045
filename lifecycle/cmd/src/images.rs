//! Where the images are that phases read and write.

use crate::Failure;
use crate::daemon::Daemon;
use crate::inputs::Inputs;
use crate::layouts::Layouts;
use crate::output::Output;
use crate::registries::{Registries, RemoteImage};
use oci_image::{BlobStore, Descriptor, Digest, Image, LayerBlob, layout};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A place for images, and registries for what is never elsewhere: cache images.
pub(crate) struct Images {
    place: Place,
    registries: Registries,
}

enum Place {
    Registry,
    /// A Docker engine.
    Daemon(Daemon),
    Layout(Layouts),
}

/// How a published image can be told from others.
#[derive(Debug)]
pub(crate) enum Published {
    /// By its manifest's digest.
    Manifest(Digest),
    /// By the ID that the engine gave it.
    Id(String),
    /// By the folder of its first name and its manifest's digest; with the folders of all names.
    Folders(String, Vec<String>),
}

/// An image that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What later phases find it by.
    pub(crate) identifier: String,
    /// Its documents.
    pub(crate) image: Image,
    place: FoundAt,
}

/// Where an image was found.
#[derive(Debug, Clone)]
enum FoundAt {
    Registry(Box<RemoteImage>),
    Daemon,
    /// In a folder of this layout.
    Layout(PathBuf),
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
            place: FoundAt::Registry(Box::new(remote)),
        }
    }
}

impl Images {
    /// The place that flags ask for. Takes what needs rights before they are given up: `names` are the images that
    /// the phase is going to need.
    pub(crate) fn open<'a>(
        inputs: &Inputs,
        output: &Output,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Failure> {
        let elsewhere = if let Some(dir) = &inputs.layout {
            Some(Place::Layout(Layouts::new(dir)))
        } else if inputs.daemon {
            let daemon = Daemon::open(inputs.launch_cache.as_deref())?;
            Some(Place::Daemon(daemon))
        } else {
            None
        };
        let registries = match elsewhere {
            Some(_) => Registries::new(inputs, output, inputs.cache_image.as_deref())?,
            None => Registries::new(inputs, output, names)?,
        };
        Ok(Self {
            place: elsewhere.unwrap_or(Place::Registry),
            registries,
        })
    }

    /// Where cache images are, wherever others are.
    pub(crate) fn registries(&self) -> &Registries {
        &self.registries
    }

    /// An image's documents; `None` when there is no such image. `code` is the phase's exit code.
    pub(crate) fn find(
        &self,
        store: &BlobStore,
        name: &str,
        code: u8,
    ) -> Result<Option<Found>, Failure> {
        match &self.place {
            Place::Registry => {
                let found = self.registries.find(store, name, code, |_| false)?;
                Ok(found.map(Found::from))
            }
            Place::Daemon(daemon) => {
                let found = daemon.find(name, code)?;
                Ok(found.map(|(identifier, image)| Found {
                    identifier,
                    image,
                    place: FoundAt::Daemon,
                }))
            }
            Place::Layout(layouts) => {
                let found = layouts.find(store, name, code)?;
                Ok(found.map(|(folder, identifier, image)| Found {
                    identifier,
                    image,
                    place: FoundAt::Layout(folder),
                }))
            }
        }
    }

    /// The run image, which has to be there. `phase` completes "failed to …".
    pub(crate) fn find_run_image(
        &self,
        store: &BlobStore,
        name: &str,
        code: u8,
        phase: &str,
    ) -> Result<Found, Failure> {
        self.find(store, name, code)?.ok_or_else(|| {
            Failure::new(
                code,
                format!("failed to {phase}: there is no run image {name}"),
            )
        })
    }

    /// The image of the last build, which can be done without: one for other machines is passed over with `warn`.
    pub(crate) fn find_previous(
        &self,
        store: &BlobStore,
        name: &str,
        code: u8,
        warn: impl Fn(&str),
    ) -> Result<Option<Found>, Failure> {
        let Place::Registry = self.place else {
            return self.find(store, name, code);
        };
        let found = self.registries.find(store, name, code, |error| {
            warn(&format!("Not using the previous image: {error}"));
            true
        })?;
        Ok(found.map(Found::from))
    }

    /// Fails unless the image can be written.
    pub(crate) fn check_write(&self, name: &str, code: u8) -> Result<(), Failure> {
        match self.place {
            Place::Registry => self.registries.check_push(name, code),
            // Who may open the socket may do everything, and a folder says so when it is written.
            Place::Daemon(_) | Place::Layout(_) => Ok(()),
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
        match (&self.place, &found.place) {
            (Place::Daemon(daemon), _) => daemon.open_layer(store, &found.identifier, diff_id),
            (_, FoundAt::Registry(remote)) => self.registries.blob(store, remote, layer).map(Some),
            (_, FoundAt::Layout(folder)) => {
                let blob = match File::open(layout::blob_path(folder, &layer.digest)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    blob => blob?,
                };
                store.import(blob, layer.digest, Some(layer.size))?;
                Ok(Some(store.open_blob(&layer.digest)?))
            }
            (_, FoundAt::Daemon) => Ok(None),
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
        if let Place::Daemon(daemon) = &self.place {
            let bases: Vec<(&str, &Image)> = sources
                .iter()
                .map(|found| (found.identifier.as_str(), &found.image))
                .collect();
            let id = daemon.publish(store, manifest, names, &bases, code, warn)?;
            return Ok(Published::Id(id));
        }
        if let Place::Layout(layouts) = &self.place {
            let bases: Vec<&Path> = sources
                .iter()
                .filter_map(|found| match &found.place {
                    FoundAt::Layout(folder) => Some(folder.as_path()),
                    FoundAt::Registry(_) | FoundAt::Daemon => None,
                })
                .collect();
            let folders = layouts.publish(store, manifest, names, &bases, code)?;
            let shown: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
            let identifier = format!("{}@{}", shown[0], manifest.digest);
            return Ok(Published::Folders(identifier, shown));
        }
        let mut sources: Vec<RemoteImage> = sources
            .iter()
            .filter_map(|found| match &found.place {
                FoundAt::Registry(remote) => Some(RemoteImage::clone(remote)),
                FoundAt::Daemon | FoundAt::Layout(_) => None,
            })
            .collect();
        for name in names {
            self.registries
                .push(store, manifest, name, &sources, false, code)?;
            // What one repository has, the next can have without another upload.
            if let Some(first) = sources.first().cloned() {
                let reference = crate::registries::parse(name)?.with_digest(manifest.digest);
                sources.push(RemoteImage { reference, ..first });
            }
        }
        Ok(Published::Manifest(manifest.digest))
    }
}

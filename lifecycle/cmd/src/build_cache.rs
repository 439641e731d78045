//! The layer cache that flags name: a folder, or an image in a registry.

use crate::Failure;
use crate::images::Images;
use crate::inputs::Inputs;
use crate::output::Output;
use crate::registries::{Registries, RemoteImage};
use crate::scratch::Scratch;
use cnb_phases::cache::LayerCache;
use cnb_phases::cache::folder::CacheFolder;
use cnb_phases::cache::image::{CacheImage, Repository};
use cnb_phases::log::Level;
use cnb_spec::exit_code;
use oci_image::{BlobStore, Descriptor};
use std::error::Error;
use std::fs::File;

/// Where a cache image is.
pub(crate) struct CacheRepository<'a> {
    registries: &'a Registries,
    store: &'a BlobStore,
    name: &'a str,
    /// The last build's.
    image: Option<RemoteImage>,
}

impl<'a> CacheRepository<'a> {
    /// Looks for the image that `-cache-image` names. One that cannot be read is as good as none: a build goes on
    /// without a cache.
    pub(crate) fn find(
        inputs: &'a Inputs,
        output: &Output,
        images: &'a Images,
        scratch: &'a Scratch,
    ) -> Option<Self> {
        let name = inputs.cache_image.as_deref()?;
        let registries = images.registries();
        let found = registries.find(&scratch.blobs, name, exit_code::FAILED, |_| false);
        let image = match found {
            Ok(Some(image)) => Some(image),
            Ok(None) => {
                output.log(Level::Info, "Layer cache not found");
                None
            }
            Err(failure) => {
                let message = format!("Not using the cache image {name}: {}", failure.message);
                output.log(Level::Warn, &message);
                None
            }
        };
        Some(Self {
            registries,
            store: &scratch.blobs,
            name,
            image,
        })
    }
}

impl Repository for CacheRepository<'_> {
    fn open_layer(&self, layer: &Descriptor) -> Result<File, Box<dyn Error + Send + Sync>> {
        let image = self.image.as_ref().ok_or("there is no cache image")?;
        let opened = self.registries.blob(self.store, image, layer);
        opened.map_err(|error| {
            // The client's errors do not cross threads.
            let failure = Failure::from_error(exit_code::FAILED, "bring it", &*error);
            failure.message.into()
        })
    }

    fn publish(
        &self,
        manifest: &Descriptor,
        thorough: bool,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let sources: Vec<RemoteImage> = self.image.iter().cloned().collect();
        let code = exit_code::EXPORT_ERROR;
        self.registries
            .push(self.store, manifest, self.name, &sources, thorough, code)
            .map_err(|failure| failure.message.into())
    }
}

/// Opens the cache; of an image and a folder it is the image, as in the reference lifecycle.
pub(crate) fn open<'a>(
    inputs: &Inputs,
    repository: Option<&'a CacheRepository<'a>>,
    code: u8,
) -> Result<Option<Box<dyn LayerCache + 'a>>, Failure> {
    if let Some(repository) = repository {
        let image = repository.image.as_ref().map(|found| &found.image);
        let cache = CacheImage::new(repository, repository.store, image);
        return Ok(Some(Box::new(cache)));
    }
    let Some(folder) = &inputs.cache_dir else {
        return Ok(None);
    };
    CacheFolder::open(folder)
        .map(|folder| Some(Box::new(folder) as _))
        .map_err(|error| Failure::from_error(code, "create cache", &error))
}

/// Says what comes of it that no cache was named.
pub(crate) fn warn_of_none(inputs: &Inputs, output: &Output) {
    if inputs.cache_image.is_some() || inputs.cache_dir.is_some() {
        return;
    }
    output.log(
        Level::Warn,
        "No cached data will be used, no cache specified.",
    );
}

//! A build cache that machines share: an image in a registry, in the format of the lifecycle's `-cache-image`.

use crate::args::RegistryArgs;
use crate::failure::{Exit, Failure};
use crate::place;
use crate::store::Store;
use crate::transfer::registry;
use crate::ui::error::chain;
use crate::ui::printer::Printer;
use cnb_phases::cache::image::{CacheImage, Repository};
use cnb_spec::target::oci_architecture;
use oci_image::{BlobStore, Descriptor, Image, Reference};
use oci_registry::{Client, PullError, PushOptions, Wanted, pull_blobs, pull_documents, push};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::sync::OnceLock;

/// The image's place, and what the last build of anybody left there.
pub(crate) struct CacheRepository<'a> {
    name: Reference,
    client: Client,
    blobs: &'a BlobStore,
    printer: &'a Printer,
    /// With the reference by digest, so that nobody's push gets in between. Looked for when it is needed: a build that
    /// changes nothing asks no registry.
    image: OnceLock<Option<(Reference, Image)>>,
}

impl<'a> CacheRepository<'a> {
    /// Names the image, and finds the credentials that a push has.
    pub(crate) fn open(
        store: &'a Store,
        printer: &'a Printer,
        name: &str,
        args: &RegistryArgs,
    ) -> Result<Self, Failure> {
        let name = place::new_name(name)?.or_latest();
        let client = registry::connect(&name, args)?;
        Ok(Self {
            name,
            client,
            blobs: store.blobs(),
            printer,
            image: OnceLock::new(),
        })
    }

    /// The cache's layers.
    pub(super) fn layers(&self) -> CacheImage<'_> {
        CacheImage::new(self, self.blobs, self.image().map(|(_, image)| image))
    }

    /// What is there. One that cannot be read is as good as none.
    fn image(&self) -> Option<&(Reference, Image)> {
        let found = self.image.get_or_init(|| {
            find(&self.client, self.blobs, &self.name).unwrap_or_else(|error| {
                let failure = Failure::new(Exit::Network, format!("cannot read the cache {self}"));
                let failure = failure.because(error);
                self.printer.warning(&format!(
                    "{}; the build goes on without it",
                    chain(&failure)
                ));
                None
            })
        });
        found.as_ref()
    }
}

impl fmt::Display for CacheRepository<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

impl Repository for CacheRepository<'_> {
    fn open_layer(&self, layer: &Descriptor) -> Result<File, Box<dyn Error + Send + Sync>> {
        let (reference, _) = self.image().ok_or("there is no cache image")?;
        pull_blobs(
            &self.client,
            self.blobs,
            reference,
            std::slice::from_ref(layer),
        )?;
        Ok(self.blobs.open_blob(&layer.digest)?)
    }

    fn publish(
        &self,
        manifest: &Descriptor,
        thorough: bool,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let options = PushOptions {
            remote_layers: true,
            thorough,
            ..PushOptions::default()
        };
        push(&self.client, self.blobs, manifest, &self.name, &options)?;
        Ok(())
    }
}

fn find(
    client: &Client,
    blobs: &BlobStore,
    name: &Reference,
) -> Result<Option<(Reference, Image)>, PullError> {
    let wanted = Wanted {
        os: "linux".to_owned(),
        architecture: architecture().to_owned(),
        variant: None,
    };
    let Some(pulled) = pull_documents(client, blobs, name, &wanted)? else {
        return Ok(None);
    };
    let digest = pulled.manifest.digest;
    let image = Image::load(blobs, &digest).map_err(|source| PullError::Image {
        reference: name.to_string(),
        source,
    })?;
    Ok(Some((name.with_digest(digest), image)))
}

fn architecture() -> &'static str {
    oci_architecture(std::env::consts::ARCH)
}

//! Images of which only the documents are needed: manifest and configuration, while the layers stay where they are.

use super::{Fetched, Transfer, registry};
use crate::failure::{Exit, Failure, OrFail};
use crate::place::{Place, Source};
use oci_image::{Descriptor, Digest, Image, Index, Reference, media_type};

/// An image whose documents are in the store. Its layers are there too, unless `remote` says where they are.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub(crate) manifest: Descriptor,
    pub(crate) image: Image,
    /// What it is called where it comes from.
    pub(crate) name: Option<Reference>,
    /// The registry's image that it is, by its digest.
    pub(crate) remote: Option<Reference>,
    /// Whether the name is that of an index, of which this is the image for one platform.
    pub(crate) of_index: bool,
}

impl Documents {
    /// The layers with their diffIDs.
    pub(crate) fn has_layer(&self, blob: Digest) -> bool {
        let layers = &self.image.manifest.layers;
        layers.iter().any(|layer| layer.digest == blob)
    }

    /// How an image's metadata names it as a base: by name and digest in a registry, else by digest.
    pub(crate) fn reference(&self) -> String {
        match &self.remote {
            Some(remote) => remote.to_string(),
            None => self.manifest.digest.to_string(),
        }
    }
}

impl Transfer<'_> {
    /// An image's documents: of a registry's image nothing else is brought, of one elsewhere everything.
    pub(crate) fn documents(&self, source: &Source) -> Result<Documents, Failure> {
        if let Source::Elsewhere(Place::Registry(name)) = source {
            return registry::documents(self, name)?.ok_or_else(|| registry::no_such_image(name));
        }
        let Fetched { manifest, name, .. } = self.fetch(source)?;
        self.stored(manifest, name)
    }

    /// Those of an image that is in the store.
    pub(crate) fn stored(
        &self,
        manifest: Descriptor,
        name: Option<Reference>,
    ) -> Result<Documents, Failure> {
        let image = Image::load(self.store.blobs(), &manifest.digest)
            .or_fail(Exit::Store, || {
                format!("cannot read the image {}", manifest.digest)
            })
            .map_err(|failure| failure.hint("build or pull the image again"))?;
        Ok(Documents {
            manifest,
            image,
            name,
            remote: None,
            of_index: false,
        })
    }

    /// Brings those layers of an image, or of an index's images, that the store lacks, from the sources that have them.
    pub(crate) fn complete(
        &self,
        manifest: &Descriptor,
        sources: &[&Documents],
    ) -> Result<(), Failure> {
        let layers = registry::layers_of(self.store.blobs(), manifest);
        for source in sources {
            let Some(remote) = &source.remote else {
                continue;
            };
            let of_source: Vec<Descriptor> = layers
                .iter()
                .filter(|layer| source.has_layer(layer.digest))
                .cloned()
                .collect();
            registry::bring(self, remote, &of_source)?;
        }
        Ok(())
    }

    /// Every image that a source has, one for each platform. Of registries' images, only documents are brought.
    pub(crate) fn all_documents(&self, source: &Source) -> Result<Vec<Documents>, Failure> {
        let Source::Elsewhere(place) = source else {
            return Ok(vec![self.documents(source)?]);
        };
        if let Place::Registry(name) = place {
            return registry::all_documents(self, name)?
                .ok_or_else(|| registry::no_such_image(name));
        }
        let imported = self.import_place(place)?;
        self.images_of(&imported.manifest)?
            .into_iter()
            .map(|manifest| self.stored(manifest, place.name()))
            .collect()
    }

    /// The images of an index that is in the store, or the one that this is; those that are whole.
    pub(crate) fn images_of(&self, manifest: &Descriptor) -> Result<Vec<Descriptor>, Failure> {
        if !media_type::is_index(&manifest.media_type) {
            return Ok(vec![manifest.clone()]);
        }
        let reading = || format!("cannot read the index {}", manifest.digest);
        let blobs = self.store.blobs();
        let bytes = blobs.read(&manifest.digest).or_fail(Exit::Store, reading)?;
        let index: Index = serde_json::from_slice(&bytes).or_fail(Exit::Input, reading)?;
        let is_image = |entry: &Descriptor| {
            media_type::is_manifest(&entry.media_type)
                && entry.platform.as_ref().is_none_or(|it| it.os != "unknown")
                && blobs.contains(&entry.digest).unwrap_or(false)
        };
        Ok(index.manifests.into_iter().filter(is_image).collect())
    }

    /// Writes an image of which some layers may only be in registries: `sources` have them. Inside one registry,
    /// layers are not downloaded.
    pub(crate) fn deliver_from(
        &self,
        image: &Fetched,
        sources: &[&Documents],
        place: &Place,
    ) -> Result<String, Failure> {
        if let Place::Registry(target) = place {
            return registry::push_from(self, image, sources, target);
        }
        self.complete(&image.manifest, sources)?;
        self.deliver(image, place)
    }
}

//! Images from where they are into the store, and from the store to where they are wanted.

mod compressed;
mod containerd;
mod documents;
mod engines;
pub(crate) mod registry;

pub(crate) use documents::Documents;

use crate::args::RegistryArgs;
use crate::failure::{Exit, Failure, OrFail};
use crate::place::{Place, Source};
use crate::platform::settings::Settings;
use crate::store::Store;
use crate::ui::printer::Printer;
use oci_image::archive::{self, Archive, Imported};
use oci_image::{Descriptor, Format, Index, LayoutError, Reference, StoreError, media_type};
use oci_registry::Wanted;
use std::path::Path;

/// What commands on images share.
pub(crate) struct Transfer<'a> {
    pub(crate) store: &'a Store,
    pub(crate) printer: &'a Printer,
    pub(crate) registry: &'a RegistryArgs,
    pub(crate) platform: Wanted,
    /// The user's settings, where they count: for what builds ask for.
    pub(crate) settings: Option<&'a Settings>,
}

/// An image that is in the store now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fetched {
    pub(crate) manifest: Descriptor,
    /// What it is called where it comes from.
    pub(crate) name: Option<Reference>,
    /// The registry's repository that it came from, whose layers other repositories there can share.
    pub(crate) origin: Option<Reference>,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(
        store: &'a Store,
        printer: &'a Printer,
        registry: &'a RegistryArgs,
        platform: Option<&str>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            store,
            printer,
            registry,
            platform: wanted(platform)?,
            settings: None,
        })
    }

    /// Brings the image into the store; of an index, the one for the wanted platform.
    pub(crate) fn fetch(&self, source: &Source) -> Result<Fetched, Failure> {
        let place = match source {
            Source::Stored { manifest, name, .. } => {
                return Ok(Fetched {
                    manifest: (**manifest).clone(),
                    name: Some(name.clone()),
                    origin: None,
                });
            }
            Source::Elsewhere(place) => place,
        };
        if let Place::Registry(name) = place {
            return registry::pull(self, name);
        }
        let fetched = self.import_place(place)?;
        let manifest = self.choose(place, &fetched.manifest)?;
        let named = fetched.names.iter().find_map(|name| name.parse().ok());
        Ok(Fetched {
            manifest,
            name: place.name().or(named.filter(|_| is_docker(place))),
            origin: None,
        })
    }

    /// What a place has, in the store: of a layout or an archive, an index with all its images.
    fn import_place(&self, place: &Place) -> Result<Imported, Failure> {
        Ok(match place {
            Place::Registry(name) => {
                let pulled = registry::pull(self, name)?;
                Imported {
                    manifest: pulled.manifest,
                    names: Vec::new(),
                }
            }
            Place::Layout { folder, tag } => {
                let imported =
                    oci_image::layout::import(folder, self.store.blobs(), tag.as_deref());
                Imported {
                    manifest: imported.map_err(|error| unreadable_layout(place, error))?,
                    names: tag.iter().cloned().collect(),
                }
            }
            Place::OciArchive { file, tag } => self.import(place, file, tag.as_deref())?,
            Place::DockerArchive { file, name } => {
                let name = name.as_ref().map(ToString::to_string);
                self.import(place, file, name.as_deref())?
            }
            Place::Containerd { name } => {
                self.printer.heading(&format!("Reading {place}"));
                let saved = containerd::save(self.store, name)?;
                self.import(place, &saved.path(), None)?
            }
            Place::Engine { kind, name } => {
                self.printer.heading(&format!("Reading {place}"));
                let saved = engines::save(self.store, *kind, name)?;
                self.import(place, &saved.path(), None)?
            }
        })
    }

    /// Writes an image of the store somewhere. `name` is what it is called where the place does not say. Returns what
    /// to print as result.
    pub(crate) fn deliver(&self, image: &Fetched, place: &Place) -> Result<String, Failure> {
        let manifest = &image.manifest;
        let names = |given: &Option<Reference>| {
            let name = given.as_ref().or(image.name.as_ref());
            // By its digest only, an image has no name that an engine could keep.
            name.filter(|name| name.digest().is_none())
                .map(|name| name.clone().or_latest())
                .into_iter()
                .collect::<Vec<_>>()
        };
        match place {
            Place::Registry(target) => return registry::push(self, image, target),
            Place::Layout { folder, tag } => {
                oci_image::layout::write(folder, self.store.blobs(), manifest, tag.as_deref())
                    .or_fail(Exit::Store, || {
                        format!("cannot write the OCI layout {}", folder.display())
                    })?;
                self.printer
                    .line(&format!("Written to {}", folder.display()));
            }
            Place::OciArchive { file, tag } => {
                let ref_name = tag.clone();
                self.write_archive(manifest, &Format::Oci { ref_name }, file)?;
            }
            Place::DockerArchive { file, name } => {
                let names = names(name);
                self.write_archive(manifest, &Format::Docker { names }, file)?;
            }
            Place::Containerd { name } => {
                let name = crate::place::new_name(name)?;
                let ref_name = name.tag().map(str::to_owned);
                let format = Format::Oci { ref_name };
                let archive = self.archive(manifest, &format, &place.to_string())?;
                self.printer.heading("Loading into containerd");
                for said in containerd::load(&name, archive)? {
                    self.printer.line(&said);
                }
            }
            Place::Engine { kind, name } => {
                let name = crate::place::new_name(name)?;
                let format = Format::Docker {
                    names: vec![name.clone()],
                };
                let archive = self.archive(manifest, &format, &place.to_string())?;
                self.printer
                    .heading(&format!("Loading into {}", kind.title()));
                for said in engines::load(*kind, archive)? {
                    self.printer.line(&said);
                }
            }
        }
        Ok(manifest.digest.to_string())
    }

    fn write_archive(
        &self,
        manifest: &Descriptor,
        format: &Format,
        file: &Path,
    ) -> Result<(), Failure> {
        self.archive(manifest, format, &file.display().to_string())?
            .write(file)
            .or_fail(Exit::Store, || {
                format!("cannot write the image to {}", file.display())
            })?;
        self.printer.line(&format!("Written to {}", file.display()));
        Ok(())
    }

    fn archive(
        &self,
        manifest: &Descriptor,
        format: &Format,
        to: &str,
    ) -> Result<Archive, Failure> {
        Archive::new(self.store.blobs(), manifest, format)
            .or_fail(Exit::Store, || {
                format!("cannot copy the image {} to {to}", manifest.digest)
            })
            .map_err(|failure| failure.hint("build or pull the image again"))
    }

    fn import(&self, place: &Place, file: &Path, name: Option<&str>) -> Result<Imported, Failure> {
        archive::import(file, self.store.blobs(), name)
            .or_fail(Exit::Input, || format!("cannot read the image {place}"))
    }

    /// An index of a layout has one image for each platform.
    fn choose(&self, place: &Place, manifest: &Descriptor) -> Result<Descriptor, Failure> {
        if !media_type::is_index(&manifest.media_type) {
            return Ok(manifest.clone());
        }
        let reading = || format!("cannot read the index {} of {place}", manifest.digest);
        let bytes = self.store.blobs().read(&manifest.digest);
        let index: Index = serde_json::from_slice(&bytes.or_fail(Exit::Store, reading)?)
            .or_fail(Exit::Input, reading)?;
        let Wanted {
            os,
            architecture,
            variant,
        } = &self.platform;
        index
            .for_platform(os, architecture, variant.as_deref())
            .cloned()
            .ok_or_else(|| {
                Failure::new(
                    Exit::Input,
                    format!("{place} has no image for {os}/{architecture}"),
                )
                .hint("choose another with --platform OS/ARCHITECTURE")
            })
    }
}

fn is_docker(place: &Place) -> bool {
    matches!(place, Place::DockerArchive { .. } | Place::Engine { .. })
}

fn unreadable_layout(place: &Place, error: LayoutError) -> Failure {
    let exit = match &error {
        LayoutError::Store {
            source: StoreError::Write { .. },
            ..
        } => Exit::Store,
        _ => Exit::Input,
    };
    Failure::new(exit, format!("cannot read the image {place}")).because(error)
}

/// `linux/arm64/v8`; without one, this machine's.
fn wanted(platform: Option<&str>) -> Result<Wanted, Failure> {
    let architecture = cnb_spec::target::oci_architecture(std::env::consts::ARCH);
    let Some(text) = platform else {
        return Ok(Wanted {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        });
    };
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [os, architecture, variant @ ..]
            if variant.len() < 2 && parts.iter().all(|part| !part.is_empty()) =>
        {
            Ok(Wanted {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: variant.first().map(|variant| (*variant).to_owned()),
            })
        }
        _ => Err(
            Failure::new(Exit::Usage, format!("{text:?} is no platform"))
                .hint("write OS/ARCHITECTURE[/VARIANT], for example linux/arm64"),
        ),
    }
}

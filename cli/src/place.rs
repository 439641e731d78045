//! Where images are, in one spelling for every command: skopeo's.
//!
//! ```text
//! REGISTRY/REPOSITORY[:TAG][@DIGEST]   a registry; as a source also an app or a name in the store
//! oci:DIR[:TAG]                        an OCI layout
//! oci-archive:FILE[:TAG]               the same in one file
//! docker-archive:FILE[:NAME]           what `docker load` reads
//! docker-daemon:NAME, podman:NAME      an engine on this machine
//! containerd:NAME                      containerd's own store, through ctr
//! ```

use crate::app::{App, AppName};
use crate::failure::{Exit, Failure};
use crate::images::Images;
use crate::store::Store;
use oci_image::{Descriptor, Reference, ReferenceParseError};
use std::fmt;
use std::path::PathBuf;

/// Every spelling, for hints.
pub(crate) const SPELLINGS: &str = "REGISTRY/REPOSITORY[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG], \
     docker-archive:FILE[:NAME], docker-daemon:NAME, podman:NAME or containerd:NAME";

/// An engine that has images of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Docker,
    Podman,
}

/// A place outside of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Registry(Reference),
    Layout {
        folder: PathBuf,
        tag: Option<String>,
    },
    OciArchive {
        file: PathBuf,
        tag: Option<String>,
    },
    DockerArchive {
        file: PathBuf,
        name: Option<Reference>,
    },
    /// The name as it was typed: as a source it may also be an image's ID.
    Engine {
        kind: EngineKind,
        name: String,
    },
    Containerd {
        name: String,
    },
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// In the store already.
    Stored {
        manifest: Box<Descriptor>,
        /// What it is called there, for other tools.
        name: Reference,
        /// `the app shop`, `shop:1.4`
        shown: String,
        /// Whose last image it is, where an app was named.
        app: Option<String>,
    },
    Elsewhere(Place),
}

impl Place {
    /// A place as typed. What has no prefix names a registry's image.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(place) = Self::prefixed(text)? {
            return Ok(place);
        }
        let text = text.strip_prefix("docker://").unwrap_or(text);
        reference(text).map(Self::Registry)
    }

    /// A place to write to, as typed. A short name such as `shop:1` is refused: docker would push it to its makers'
    /// registry, and `tar:FILE` would be one too.
    pub(crate) fn target(text: &str) -> Result<Self, Failure> {
        let place = Self::parse(text)?;
        if matches!(place, Self::Registry(_)) && !text.contains('/') {
            return Err(Failure::new(
                Exit::Usage,
                format!("{text:?} names neither a registry nor another place"),
            )
            .hint(format!("write {SPELLINGS}")));
        }
        Ok(place)
    }

    fn prefixed(text: &str) -> Result<Option<Self>, Failure> {
        let Some((prefix, rest)) = text.split_once(':') else {
            return Ok(None);
        };
        let refused = || {
            Failure::new(Exit::Usage, format!("{text:?} names no image's place"))
                .hint(format!("write {SPELLINGS}"))
        };
        let tagged = || {
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                _ => (rest, None),
            };
            if path.is_empty() || tag.as_deref() == Some("") {
                return Err(refused());
            }
            Ok((PathBuf::from(path), tag))
        };
        let engine = |kind| {
            if rest.is_empty() || rest.starts_with("//") {
                return Err(refused());
            }
            let name = rest.to_owned();
            Ok(Self::Engine { kind, name })
        };
        Ok(Some(match prefix {
            "oci" => {
                let (folder, tag) = tagged()?;
                Self::Layout { folder, tag }
            }
            "oci-archive" => {
                let (file, tag) = tagged()?;
                Self::OciArchive { file, tag }
            }
            // A name may have colons of its own, so that the first one is what counts.
            "docker-archive" => {
                let (file, name) = match rest.split_once(':') {
                    Some((file, name)) => (file, Some(reference(name)?)),
                    None => (rest, None),
                };
                if file.is_empty() {
                    return Err(refused());
                }
                Self::DockerArchive {
                    file: PathBuf::from(file),
                    name,
                }
            }
            "docker-daemon" => engine(EngineKind::Docker)?,
            "podman" => engine(EngineKind::Podman)?,
            "containerd" if !rest.is_empty() && !rest.starts_with("//") => Self::Containerd {
                name: rest.to_owned(),
            },
            "containerd" => return Err(refused()),
            _ => return Ok(None),
        }))
    }

    /// The tag of a layout or an archive of one that was given without.
    pub(crate) fn default_tag(&mut self, name: Option<&str>) {
        if let Self::Layout { tag, .. } | Self::OciArchive { tag, .. } = self {
            *tag = tag.take().or(name.map(str::to_owned));
        }
    }

    /// What the image is called there, where that is an image's name.
    pub(crate) fn name(&self) -> Option<Reference> {
        match self {
            Self::Registry(name) => Some(name.clone()),
            Self::DockerArchive { name, .. } => name.clone(),
            Self::Engine { name, .. } | Self::Containerd { name } => name.parse().ok(),
            Self::Layout { .. } | Self::OciArchive { .. } => None,
        }
    }
}

impl Source {
    /// An app, a name in the store, or a place.
    pub(crate) fn find(store: &Store, text: &str) -> Result<Self, Failure> {
        if let Some(place) = Place::prefixed(text)? {
            return Ok(Self::Elsewhere(place));
        }
        if let Ok(name) = AppName::parse(text)
            && let Some(image) = App::of(store, name.clone()).image()?
        {
            return Self::app(&name, image.manifest);
        }
        if let Some(stored) = Self::named(store, text)? {
            return Ok(stored);
        }
        Place::parse(text).map(Self::Elsewhere)
    }

    /// An image of the store by its name.
    pub(crate) fn named(store: &Store, text: &str) -> Result<Option<Self>, Failure> {
        let Ok(name) = text.parse::<Reference>() else {
            return Ok(None);
        };
        let name = name.or_latest();
        let found = Images::of(store).get(&name)?;
        Ok(found.map(|image| Self::Stored {
            manifest: Box::new(image.manifest),
            shown: name.familiar(),
            name,
            app: None,
        }))
    }

    /// Whether it is [`Source::app`] of that app.
    pub(crate) fn is_of_app(&self, app: &str) -> bool {
        matches!(self, Self::Stored { app: Some(own), .. } if own == app)
    }

    /// An app's last image.
    pub(crate) fn app(app: &AppName, manifest: Descriptor) -> Result<Self, Failure> {
        Ok(Self::Stored {
            manifest: Box::new(manifest),
            name: reference(app.as_str())?,
            shown: format!("the app {}", app.as_str()),
            app: Some(app.as_str().to_owned()),
        })
    }
}

/// An image's name as typed.
pub(crate) fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|error: ReferenceParseError| {
        Failure::new(Exit::Input, format!("{text} is no place for an image"))
            .because(error)
            .hint(format!("write {SPELLINGS}"))
    })
}

/// A name to give to an image: digests are not given, they are.
pub(crate) fn new_name(text: &str) -> Result<Reference, Failure> {
    let name = reference(text)?;
    if name.digest().is_some() {
        return Err(Failure::new(
            Exit::Input,
            format!("{text} has a digest, so it cannot be an image's new name"),
        )
        .hint("leave out what follows the @"));
    }
    Ok(name.or_latest())
}

impl EngineKind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut with = |prefix: &str, path: &PathBuf, tag: Option<&str>| {
            write!(f, "{prefix}:{}", path.display())?;
            match tag {
                Some(tag) => write!(f, ":{tag}"),
                None => Ok(()),
            }
        };
        match self {
            Self::Registry(name) => name.fmt(f),
            Self::Layout { folder, tag } => with("oci", folder, tag.as_deref()),
            Self::OciArchive { file, tag } => with("oci-archive", file, tag.as_deref()),
            Self::DockerArchive { file, name } => {
                let name = name.as_ref().map(Reference::familiar);
                with("docker-archive", file, name.as_deref())
            }
            Self::Containerd { name } => write!(f, "containerd:{name}"),
            Self::Engine { kind, name } => match kind {
                EngineKind::Docker => write!(f, "docker-daemon:{name}"),
                EngineKind::Podman => write!(f, "podman:{name}"),
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { shown, .. } => f.write_str(shown),
            Self::Elsewhere(place) => place.fmt(f),
        }
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;

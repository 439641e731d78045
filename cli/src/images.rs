//! Names of images in the store: given with `-t` and `slugc tag`, or by `slugc pull`.
//!
//! ```text
//! images/<sha256 of the name>.json
//! images/pushed/…                 the same for what was pushed: one image for each repository
//! ```

use crate::app::{self, AppName};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use oci_image::{Descriptor, Digest, Reference};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

/// One name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NamedImage {
    /// In full: registry, repository, tag.
    pub(crate) name: Reference,
    pub(crate) manifest: Descriptor,
}

/// A name and when it was given.
pub(crate) type Listed = Result<(NamedImage, SystemTime), Failure>;

/// All names of a store.
#[derive(Debug)]
pub(crate) struct Images {
    folder: PathBuf,
}

impl Images {
    pub(crate) fn of(store: &Store) -> Self {
        Self {
            folder: store.images(),
        }
    }

    /// What is known to be in registries. Unlike names, this keeps nothing in the store.
    pub(crate) fn pushed(store: &Store) -> Self {
        Self {
            folder: store.images().join("pushed"),
        }
    }

    pub(crate) fn get(&self, name: &Reference) -> Result<Option<NamedImage>, Failure> {
        app::read_json(&self.file(name)).map_err(|failure| {
            failure.hint(format!("slugc rmi {} removes the name", name.familiar()))
        })
    }

    /// Gives a name to an image; another image loses it.
    pub(crate) fn set(&self, name: &Reference, manifest: &Descriptor) -> Result<(), Failure> {
        let image = NamedImage {
            name: name.clone(),
            manifest: manifest.clone(),
        };
        // Written only if it changes: the file's time is that of the naming.
        if matches!(self.get(name), Ok(Some(known)) if known == image) {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).or_fail(Exit::Store, || {
            format!("cannot make {}", self.folder.display())
        })?;
        app::write_json(&self.file(name), &image)
    }

    /// Takes a name away; the blobs stay until `cache prune`. Returns whether it was there.
    pub(crate) fn remove(&self, name: &Reference) -> Result<bool, Failure> {
        match fs::remove_file(self.file(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(
                Failure::new(Exit::Store, format!("cannot remove the name {name}")).because(error),
            ),
        }
    }

    /// Every name with the time when it was given, sorted by name; records that cannot be read as failures.
    pub(crate) fn all(&self) -> Result<Vec<Listed>, Failure> {
        let listing = || format!("cannot list {}", self.folder.display());
        let mut images = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(images),
            Err(error) => return Err(Failure::new(Exit::Store, listing()).because(error)),
        };
        for entry in entries {
            let path = entry.or_fail(Exit::Store, listing)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match app::read_json::<NamedImage>(&path) {
                Ok(Some(image)) => {
                    let at = fs::metadata(&path).and_then(|meta| meta.modified());
                    images.push(Ok((image, at.unwrap_or(SystemTime::UNIX_EPOCH))));
                }
                // Removed by another command meanwhile.
                Ok(None) => {}
                Err(failure) => images.push(Err(failure)),
            }
        }
        images.sort_by_key(|image| image.as_ref().ok().map(|(image, _)| image.name.clone()));
        Ok(images)
    }

    fn file(&self, name: &Reference) -> PathBuf {
        let digest = Digest::of(name.to_string().as_bytes());
        self.folder.join(format!("{}.json", digest.hex()))
    }
}

/// The failure for a name that is not there.
pub(crate) fn no_such_name(store: &Store, text: &str) -> Failure {
    let failure = Failure::new(
        Exit::Input,
        format!("there is no image named {text} in the store"),
    );
    match AppName::parse(text) {
        Ok(name) if store.app(name.as_str()).is_dir() => failure.hint(format!(
            "{text} is an app; slugc cache prune -a {text} forgets its image"
        )),
        _ => failure.hint("slugc images lists the names"),
    }
}

//! OCI image layouts (image-spec `image-layout.md`): a directory with an index and its blobs.

pub(crate) mod import;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::blob_store::{BlobStore, StoreError};
use crate::digest::Digest;
use crate::manifest::{Descriptor, Index, Manifest, REF_NAME_ANNOTATION};
use crate::media_type;

pub(crate) const VERSION_FILE: &str = "oci-layout";
pub(crate) const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub(crate) const INDEX_FILE: &str = "index.json";

/// Why a layout could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of the layout could not be written.
    #[error("could not write {path} of the image layout")]
    Write {
        /// The file or directory.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file of the layout could not be read.
    #[error("could not read {path} of the image layout")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A document of the layout, or of the store, is not valid.
    #[error("{path} is not a valid document of an image layout")]
    Document {
        /// The file.
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// The index could not be written as JSON.
    #[error("could not write the layout's index as JSON")]
    Serialize {
        #[source]
        source: serde_json::Error,
    },
    /// A blob could not be had from the store, or put into it.
    #[error("could not copy between the image layout {directory} and the store")]
    Store {
        /// The layout.
        directory: PathBuf,
        #[source]
        source: StoreError,
    },
    /// The layout has no image of that name, or none at all.
    #[error("the image layout {directory} has no image {name}; it has: {present}")]
    NoSuchImage {
        /// The layout.
        directory: PathBuf,
        /// What was asked for.
        name: String,
        /// What is there.
        present: String,
    },
    /// The layout has several images and no name was given.
    #[error("the image layout {directory} has several images; name one of: {present}")]
    Ambiguous {
        /// The layout.
        directory: PathBuf,
        /// What is there.
        present: String,
    },
}

/// Writes an image (or an index with all its images) from the store into the layout in `directory`, which is made
/// if it is not there. Blobs are hard links where the file system allows it, else copies.
///
/// The image replaces one of the same `ref_name` (or, without a name, one of the same digest); others stay.
/// `index.json` is replaced in one step, under a lock, after the blobs are in place. Layers that registries need not
/// hold are left out if the store has none; any other missing blob is an error.
pub fn write(
    directory: &Path,
    store: &BlobStore,
    manifest: &Descriptor,
    ref_name: Option<&str>,
) -> Result<(), LayoutError> {
    let is_other = |other: &Descriptor| match (name_of(other), ref_name) {
        (Some(other), Some(name)) => other != name,
        (None, None) => other.digest != manifest.digest,
        _ => true,
    };
    write_with(directory, store, manifest, ref_name, None, is_other)
}

/// As [`write()`], but the layout has this image and no other then, and layers that the store lacks are those of the
/// layouts `bases`. What none of them has is left out: their base may itself be in a registry only.
pub fn write_only(
    directory: &Path,
    store: &BlobStore,
    manifest: &Descriptor,
    ref_name: &str,
    bases: &[&Path],
) -> Result<(), LayoutError> {
    let (name, bases) = (Some(ref_name), Some(bases));
    write_with(directory, store, manifest, name, bases, |_| false)
}

fn write_with(
    directory: &Path,
    store: &BlobStore,
    manifest: &Descriptor,
    ref_name: Option<&str>,
    bases: Option<&[&Path]>,
    stays: impl Fn(&Descriptor) -> bool,
) -> Result<(), LayoutError> {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|source| LayoutError::Write {
        path: blobs.clone(),
        source,
    })?;
    let version = directory.join(VERSION_FILE);
    let lock = File::options()
        .create(true)
        .append(true)
        .open(&version)
        .and_then(|mut file| {
            file.lock()?;
            if file.metadata()?.len() == 0 {
                file.write_all(VERSION)?;
            }
            Ok(file)
        });
    let lock = lock.map_err(|source| LayoutError::Write {
        path: version,
        source,
    })?;

    let mut digests = BTreeSet::new();
    let store_error = |source| LayoutError::Store {
        directory: directory.to_owned(),
        source,
    };
    closure(store, manifest, &mut digests).map_err(|error| error.at(directory))?;
    for digest in &digests {
        let place = blobs.join(digest.hex());
        let write_error = |source| LayoutError::Write {
            path: place.clone(),
            source,
        };
        if let Some(bases) = bases
            && !store.contains(digest).map_err(write_error)?
        {
            take_over(bases, digest, &place).map_err(write_error)?;
            continue;
        }
        link(store, digest, &place).map_err(|error| match error {
            LinkError::Store(source) => store_error(source),
            LinkError::Write(source) => write_error(source),
        })?;
    }

    let mut index = match read(directory) {
        Ok(index) => index,
        Err(LayoutError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Index::new(Vec::new())
        }
        Err(error) => return Err(error),
    };
    let mut entry = manifest.clone();
    match ref_name {
        Some(name) => entry
            .annotations
            .insert(REF_NAME_ANNOTATION.to_owned(), name.to_owned()),
        None => entry.annotations.remove(REF_NAME_ANNOTATION),
    };
    index.manifests.retain(stays);
    index.manifests.push(entry);
    let json = serde_json::to_vec(&index).map_err(|source| LayoutError::Serialize { source })?;
    replace(directory, &json).map_err(|source| LayoutError::Write {
        path: directory.join(INDEX_FILE),
        source,
    })?;
    drop(lock);
    Ok(())
}

/// The layout's index.
pub fn read(directory: &Path) -> Result<Index, LayoutError> {
    document(&directory.join(INDEX_FILE))
}

/// Where a layout has a blob.
pub fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.hex())
}

/// Copies an image of the layout into the store, every blob verified, and returns its descriptor.
///
/// Without a name the layout must have exactly one image. Layers that the layout lacks (a sparse layout, as tools
/// make whose base stays in a registry) are passed over.
pub fn import(
    directory: &Path,
    store: &BlobStore,
    ref_name: Option<&str>,
) -> Result<Descriptor, LayoutError> {
    let entry = import::choose(&read(directory)?, directory, ref_name)?;
    import::tree(&import::Directory(directory), store, &entry)?;
    Ok(entry)
}

fn document<T: DeserializeOwned>(path: &Path) -> Result<T, LayoutError> {
    let json = fs::read(path).map_err(|source| LayoutError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&json).map_err(|source| LayoutError::Document {
        path: path.to_owned(),
        source,
    })
}

pub(crate) enum ClosureError {
    Store(StoreError),
    Document(PathBuf, serde_json::Error),
}

impl ClosureError {
    pub(crate) fn at(self, directory: &Path) -> LayoutError {
        match self {
            Self::Store(source) => LayoutError::Store {
                directory: directory.to_owned(),
                source,
            },
            Self::Document(path, source) => LayoutError::Document { path, source },
        }
    }
}

/// Every blob that an image or index consists of.
pub(crate) fn closure(
    store: &BlobStore,
    descriptor: &Descriptor,
    digests: &mut BTreeSet<Digest>,
) -> Result<(), ClosureError> {
    let json = store
        .read(&descriptor.digest)
        .map_err(ClosureError::Store)?;
    let invalid = |source| ClosureError::Document(store.path(&descriptor.digest), source);
    if media_type::is_index(&descriptor.media_type) {
        let index: Index = serde_json::from_slice(&json).map_err(invalid)?;
        for entry in &index.manifests {
            closure(store, entry, digests)?;
        }
    } else {
        let manifest: Manifest = serde_json::from_slice(&json).map_err(invalid)?;
        digests.insert(manifest.config.digest);
        for layer in &manifest.layers {
            let is_optional = media_type::is_foreign_layer(&layer.media_type);
            if !is_optional || store.contains(&layer.digest).unwrap_or(false) {
                digests.insert(layer.digest);
            }
        }
    }
    digests.insert(descriptor.digest);
    Ok(())
}

enum LinkError {
    Store(StoreError),
    Write(io::Error),
}

fn link(store: &BlobStore, digest: &Digest, place: &Path) -> Result<(), LinkError> {
    match fs::hard_link(store.path(digest), place) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Reported with the store's name, not as an unwritable layout.
            store.open_blob(digest).map_err(LinkError::Store)?;
        }
        // Another file system, one without links, or a link count at its limit.
        Err(_) => {}
    }
    let blob = store.open_blob(digest).map_err(LinkError::Store)?;
    copy(blob, place).map_err(LinkError::Write)
}

fn copy(mut blob: File, place: &Path) -> io::Result<()> {
    let directory = place.parent().unwrap_or(Path::new("."));
    let mut copy = tempfile::NamedTempFile::new_in(directory)?;
    io::copy(&mut blob, &mut copy)?;
    set_readable(copy.as_file())?;
    copy.persist(place).map_err(|error| error.error)?;
    Ok(())
}

/// Puts the blob of one of the layouts into its place, if one has it.
fn take_over(layouts: &[&Path], digest: &Digest, place: &Path) -> io::Result<()> {
    if place.exists() {
        return Ok(());
    }
    for layout in layouts {
        let path = blob_path(layout, digest);
        if fs::hard_link(&path, place).is_ok() {
            return Ok(());
        }
        match File::open(&path) {
            Ok(blob) => return copy(blob, place),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn replace(directory: &Path, json: &[u8]) -> io::Result<()> {
    let mut staged = tempfile::NamedTempFile::new_in(directory)?;
    staged.write_all(json)?;
    set_readable(staged.as_file())?;
    staged.as_file().sync_data()?;
    staged
        .persist(directory.join(INDEX_FILE))
        .map_err(|error| error.error)?;
    Ok(())
}

/// Temporary files are private; a layout is for others to read.
pub(crate) fn set_readable(file: &File) -> io::Result<()> {
    rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(0o644)).map_err(io::Error::from)
}

pub(crate) fn name_of(entry: &Descriptor) -> Option<&str> {
    entry
        .annotations
        .get(REF_NAME_ANNOTATION)
        .map(String::as_str)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::{Compression, Image, LayerError, Owner, write_layer};

    fn image(store: &BlobStore, content: &str) -> Descriptor {
        let layer = write_layer::<LayerError>(store, Compression::default(), |tar| {
            tar.file(
                "/file",
                0o644,
                Owner::ROOT,
                content.len() as u64,
                content.as_bytes(),
            )
        })
        .unwrap();
        let mut image = Image::empty("linux", "amd64");
        image.manifest.layers.push(layer.descriptor());
        image.config.rootfs.diff_ids.push(layer.diff_id);
        image.save(store).unwrap()
    }

    fn names(directory: &Path) -> Vec<Option<String>> {
        read(directory)
            .unwrap()
            .manifests
            .iter()
            .map(|entry| name_of(entry).map(str::to_owned))
            .collect()
    }

    #[test]
    fn an_image_goes_out_and_comes_back() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path().join("store")).unwrap();
        let layout = scratch.path().join("layout");
        let descriptor = image(&store, "one");
        write(&layout, &store, &descriptor, Some("app:1")).unwrap();
        assert_eq!(fs::read(layout.join("oci-layout")).unwrap(), VERSION);
        let linked = fs::metadata(blob_path(&layout, &descriptor.digest)).unwrap();
        assert_eq!(linked.nlink(), 2);

        let other = BlobStore::open(scratch.path().join("other")).unwrap();
        let imported = import(&layout, &other, None).unwrap();
        assert_eq!(imported.digest, descriptor.digest);
        let loaded = Image::load(&other, &imported.digest).unwrap();
        assert!(other.contains(&loaded.manifest.layers[0].digest).unwrap());
    }

    #[test]
    fn names_are_replaced_and_others_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path().join("store")).unwrap();
        let layout = scratch.path().join("layout");
        let (one, two) = (image(&store, "one"), image(&store, "two"));
        write(&layout, &store, &one, Some("a")).unwrap();
        write(&layout, &store, &one, Some("b")).unwrap();
        write(&layout, &store, &two, Some("a")).unwrap();
        write(&layout, &store, &one, None).unwrap();
        write(&layout, &store, &one, None).unwrap();
        assert_eq!(
            names(&layout),
            [Some("b".to_owned()), Some("a".to_owned()), None]
        );
        assert!(matches!(
            import(&layout, &store, None),
            Err(LayoutError::Ambiguous { .. })
        ));
        assert_eq!(
            import(&layout, &store, Some("a")).unwrap().digest,
            two.digest
        );
        assert!(matches!(
            import(&layout, &store, Some("c")),
            Err(LayoutError::NoSuchImage { .. })
        ));
    }

    #[test]
    fn an_image_goes_out_on_top_of_a_base_in_another_layout() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path().join("store")).unwrap();
        let (base, layout) = (scratch.path().join("base"), scratch.path().join("layout"));
        let (old, one) = (image(&store, "old"), image(&store, "one"));
        write(&base, &store, &one, None).unwrap();
        write(&layout, &store, &old, None).unwrap();
        let layer = Image::load(&store, &one.digest).unwrap().manifest.layers[0].digest;
        store.remove(&layer).unwrap();
        write_only(&layout, &store, &one, "1", &[&base]).unwrap();
        assert_eq!(names(&layout), [Some("1".to_owned())]);
        assert!(blob_path(&layout, &layer).exists());
        let sparse = scratch.path().join("sparse");
        write_only(&sparse, &store, &one, "1", &[]).unwrap();
        assert!(!blob_path(&sparse, &layer).exists());
        assert!(blob_path(&sparse, &one.digest).exists());
    }

    #[test]
    fn a_missing_or_damaged_blob_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path().join("store")).unwrap();
        let layout = scratch.path().join("layout");
        let descriptor = image(&store, "one");
        let layer = Image::load(&store, &descriptor.digest)
            .unwrap()
            .manifest
            .layers[0]
            .digest;
        write(&layout, &store, &descriptor, None).unwrap();
        store.remove(&layer).unwrap();
        let missing = write(&scratch.path().join("second"), &store, &descriptor, None);
        assert!(matches!(
            missing,
            Err(LayoutError::Store {
                source: StoreError::Missing { .. },
                ..
            })
        ));

        let path = blob_path(&layout, &layer);
        let mut content = fs::read(&path).unwrap();
        content[20] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
        let damaged = import(&layout, &store, None);
        assert!(matches!(
            damaged,
            Err(LayoutError::Store {
                source: StoreError::Import { .. },
                ..
            })
        ));
    }
}

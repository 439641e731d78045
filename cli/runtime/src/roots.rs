//! The store's `roots/` folder: layers unpacked once, shared by every dyno and build.
//!
//! ```text
//! roots/<diffID hex>/       an unpacked layer, complete: it appears by one rename
//! roots/.staging/<hex>/     one that is being unpacked; its owner holds a lock on it
//! roots/.used/<hex>         empty; its time of modification is when the layer was last used
//! ```

use crate::scratch::{abandoned, is_same, lock, private_folder, remove_tree};
use oci_image::{
    BlobStore, Digest, Image, Ownership, StoreError, UnpackError, UnpackRules, unpack_layer,
};
use rustix::fs::FlockOperation;
use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

/// The folder of unpacked layers.
#[derive(Debug, Clone)]
pub struct Roots {
    folder: PathBuf,
}

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedLayer {
    pub diff_id: Digest,
    pub path: PathBuf,
    /// When a command last used it, as far as is known.
    pub last_used: Option<SystemTime>,
}

/// Why a layer could not be provided.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    #[error("cannot {attempt} {}", path.display())]
    Folder {
        attempt: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot read the layer {diff_id}: build or pull the image again")]
    Blob { diff_id: Digest, source: StoreError },
    #[error("cannot unpack the layer {diff_id}")]
    Unpack {
        diff_id: Digest,
        source: UnpackError,
    },
    #[error(
        "the blob {blob} holds the layer {actual}, not {diff_id} as its image says: the image is damaged or forged"
    )]
    WrongLayer {
        blob: Digest,
        diff_id: Digest,
        actual: Digest,
    },
}

impl RootsError {
    /// Whether what the image holds is the reason, and not this machine.
    pub fn is_of_the_image(&self) -> bool {
        match self {
            Self::WrongLayer { .. } => true,
            Self::Unpack { source, .. } => match source {
                // Entries that stand in each other's way.
                UnpackError::Write { source, .. } => matches!(
                    source.kind(),
                    ErrorKind::NotFound
                        | ErrorKind::NotADirectory
                        | ErrorKind::IsADirectory
                        | ErrorKind::AlreadyExists
                        | ErrorKind::InvalidFilename
                ),
                // What decoders say of a stream; a disk that fails says something else.
                UnpackError::Read { source } => matches!(
                    source.kind(),
                    ErrorKind::InvalidData
                        | ErrorKind::InvalidInput
                        | ErrorKind::UnexpectedEof
                        | ErrorKind::FileTooLarge
                        | ErrorKind::Unsupported
                ),
                UnpackError::Into { .. } => false,
                _ => true,
            },
            Self::Folder { .. } | Self::Blob { .. } => false,
        }
    }
}

impl Roots {
    /// Opens the folder, making it where it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, RootsError> {
        let folder = folder.into();
        for path in [folder.join(".staging"), folder.join(".used")] {
            private_folder(&path).map_err(failed("make", &path))?;
        }
        Ok(Self { folder })
    }

    /// Where a layer is, or would be.
    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(diff_id.hex())
    }

    /// The layer's folder, unpacked from its blob unless it is there. Any number of processes may
    /// ask for the same layer: one unpacks, the others wait for it.
    pub fn ensure(
        &self,
        diff_id: &Digest,
        blob: &Digest,
        store: &BlobStore,
    ) -> Result<PathBuf, RootsError> {
        let path = self.path(diff_id);
        if !path.is_dir() {
            self.unpack(diff_id, blob, store, &path)?;
        }
        self.mark_used(diff_id)?;
        Ok(path)
    }

    /// The image's layers, topmost first, as an overlay wants them; the missing ones are unpacked
    /// in parallel. A layer that occurs twice counts where it is topmost: the occurrence below can
    /// show nothing that the other doesn't, and overlayfs takes no folder twice.
    pub fn lowers(&self, image: &Image, store: &BlobStore) -> Result<Vec<PathBuf>, RootsError> {
        let layers = layers_of(image);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let missing: Vec<_> = layers
            .iter()
            .filter(|(diff_id, _)| !self.path(diff_id).is_dir())
            .collect();
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let work = || {
            while let Some((diff_id, blob)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.ensure(diff_id, blob, store) {
                    // Nothing further is begun, and the first failure is the one to tell.
                    next.store(missing.len(), Ordering::Relaxed);
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(error);
                    }
                }
            }
        };
        if missing.len() > 1 {
            std::thread::scope(|scope| {
                for _ in 1..threads.min(missing.len()) {
                    scope.spawn(work);
                }
                work();
            });
        } else {
            work();
        }
        if let Ok(Some(error)) = failure.into_inner() {
            return Err(error);
        }
        layers
            .iter()
            .map(|(diff_id, blob)| self.ensure(diff_id, blob, store))
            .collect()
    }

    /// How many of the image's layers are not unpacked yet.
    pub fn missing(&self, image: &Image) -> usize {
        let layers = layers_of(image);
        let layers = layers.iter();
        layers
            .filter(|(diff_id, _)| !self.path(diff_id).is_dir())
            .count()
    }

    /// Every unpacked layer, for showing and pruning.
    pub fn all(&self) -> Result<Vec<UnpackedLayer>, RootsError> {
        let read = failed("list", &self.folder);
        let mut layers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(&read)? {
            let entry = entry.map_err(&read)?;
            let name = entry.file_name();
            let Some(diff_id) = name.to_str().and_then(|name| Digest::from_hex(name).ok()) else {
                continue;
            };
            layers.push(UnpackedLayer {
                diff_id,
                path: entry.path(),
                last_used: self.last_used(&diff_id)?,
            });
        }
        Ok(layers)
    }

    /// Removes a layer. The caller sees to it that nothing uses it.
    pub fn remove(&self, diff_id: &Digest) -> Result<(), RootsError> {
        let path = self.path(diff_id);
        let doomed = self
            .folder
            .join(".staging")
            .join(format!("removed-{}", diff_id.hex()));
        remove_tree(&doomed).map_err(failed("remove", &doomed))?;
        // First out of the way, so that a removal cut short leaves no half layer.
        match fs::rename(&path, &doomed) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done.map_err(failed("remove", &path))?,
        }
        remove_tree(&doomed).map_err(failed("remove", &doomed))?;
        let used = self.used(diff_id);
        match fs::remove_file(&used) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map_err(failed("remove", &used)),
        }
    }

    /// Removes what killed processes left half unpacked or half removed.
    pub fn sweep(&self) -> Result<(), RootsError> {
        let staging = self.folder.join(".staging");
        for (path, _lock) in abandoned(&staging).map_err(failed("list", &staging))? {
            remove_tree(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    fn unpack(
        &self,
        diff_id: &Digest,
        blob: &Digest,
        store: &BlobStore,
        path: &Path,
    ) -> Result<(), RootsError> {
        let staged = self.staged(diff_id);
        let _lock = claim(&staged)?;
        if path.is_dir() {
            // Another process has done it while this one waited.
            return remove_tree(&staged).map_err(failed("remove", &staged));
        }
        empty(&staged).map_err(failed("empty", &staged))?;
        let result = unpack_into(&staged, diff_id, blob, store)
            .and_then(|()| fs::rename(&staged, path).map_err(failed("move a layer to", path)));
        if result.is_err() {
            // A full disk should not stay full; what cannot be removed is swept later.
            drop(remove_tree(&staged));
        }
        result
    }

    fn staged(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(".staging").join(diff_id.hex())
    }

    fn used(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(".used").join(diff_id.hex())
    }

    fn mark_used(&self, diff_id: &Digest) -> Result<(), RootsError> {
        let path = self.used(diff_id);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(failed("note the use of a layer in", &path))
    }

    fn last_used(&self, diff_id: &Digest) -> Result<Option<SystemTime>, RootsError> {
        let path = self.used(diff_id);
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(time) => Ok(Some(time)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }
}

/// Pairs of diffID and blob, topmost first, each diffID once.
fn layers_of(image: &Image) -> Vec<(Digest, Digest)> {
    let mut seen = HashSet::new();
    let blobs = image.manifest.layers.iter().map(|layer| layer.digest);
    let diff_ids = image.config.rootfs.diff_ids.iter().copied();
    let mut layers: Vec<_> = diff_ids.zip(blobs).collect();
    layers.reverse();
    layers.retain(|(diff_id, _)| seen.insert(*diff_id));
    layers
}

fn unpack_into(
    folder: &Path,
    diff_id: &Digest,
    blob: &Digest,
    store: &BlobStore,
) -> Result<(), RootsError> {
    let file = store.open_blob(blob).map_err(|source| RootsError::Blob {
        diff_id: *diff_id,
        source,
    })?;
    let unpack = |source| RootsError::Unpack {
        diff_id: *diff_id,
        source,
    };
    let rules = UnpackRules {
        // Where inside ids are host ids, the image's users own their files as the image says.
        ownership: match sandbox::tier() {
            tier if tier.keeps_ids() => Ownership::Keep,
            _ => Ownership::Ignore,
        },
        ..UnpackRules::default()
    };
    let report = unpack_layer(file, folder, &rules).map_err(unpack)?;
    if report.diff_id != *diff_id {
        return Err(RootsError::WrongLayer {
            blob: *blob,
            diff_id: *diff_id,
            actual: report.diff_id,
        });
    }
    Ok(())
}

/// Makes the folder and locks it, waiting for whoever holds it. Its owner may have moved or
/// removed the folder by then: then there is another one to make and lock.
fn claim(staged: &Path) -> Result<OwnedFd, RootsError> {
    let attempt = || loop {
        match private_folder(staged).and_then(|()| lock(staged, FlockOperation::LockExclusive)) {
            Ok(lock) if is_same(staged, &lock)? => return Ok(lock),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // It was there when it should be made and gone when std looked whether it is a folder.
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists
                    && fs::symlink_metadata(staged).map_or(true, |found| found.is_dir()) => {}
            Err(error) => return Err(error),
        }
    };
    attempt().map_err(failed("lock", staged))
}

/// Empties a folder that a killed process may have left, and opens it to the dyno's user.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

fn failed(attempt: &'static str, path: &Path) -> impl Fn(io::Error) -> RootsError {
    let path = path.to_owned();
    move |source| RootsError::Folder {
        attempt,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
#[path = "roots_tests.rs"]
mod tests;

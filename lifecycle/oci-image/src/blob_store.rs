//! The content-addressed store: one file per blob, named by its digest.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::{Digest, DigestWriter, VerifyingReader};

/// A directory of blobs: `sha256/<hex>` for the blobs, `staging/` for those being written, `partial/` for those whose
/// download broke off, `diff-ids/` for what is known of them.
///
/// Blobs are written beside their place, synced and renamed, and are read-only from then on. What a killed process
/// left in `staging/` is removed by the next [`BlobStore::open`]. Any number of processes may use one store.
#[derive(Debug, Clone)]
pub struct BlobStore {
    root: PathBuf,
    /// See [`BlobStore::open_scratch`].
    is_scratch: bool,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A directory of the store could not be made or listed.
    #[error("could not prepare the blob store's directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The blob is not there.
    #[error("the blob {digest} is not in the store {root}")]
    Missing {
        /// The blob.
        digest: Digest,
        /// The store.
        root: PathBuf,
    },
    /// A blob could not be read.
    #[error("could not read the blob {path}")]
    Read {
        /// The blob's file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A blob's content does not have its digest.
    #[error("the blob {path} is damaged; remove the file, and build or pull again")]
    Damaged {
        /// The blob's file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A blob could not be written.
    #[error("could not write the blob {path}")]
    Write {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The content of a blob to import could not be had, or is not what was expected.
    #[error("could not import the blob {digest}")]
    Import {
        /// The blob that was expected.
        digest: Digest,
        #[source]
        source: io::Error,
    },
    /// A blob could not be removed.
    #[error("could not remove the blob {path}")]
    Remove {
        /// The blob's file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl BlobStore {
    /// Opens the store in `directory`, making it if it is not there, and removes what killed writers left behind.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::prepare(directory.into(), false)
    }

    /// The same for a store that nobody needs after this process: nothing waits for the disk.
    pub fn open_scratch(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::prepare(directory.into(), true)
    }

    fn prepare(root: PathBuf, is_scratch: bool) -> Result<Self, StoreError> {
        let store = Self { root, is_scratch };
        for directory in [store.blobs(), store.staging()] {
            fs::create_dir_all(&directory).map_err(|source| StoreError::Directory {
                path: directory,
                source,
            })?;
        }
        store.sweep_staging()?;
        Ok(store)
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Whether the blob is there. Its content is not looked at.
    pub fn contains(&self, digest: &Digest) -> io::Result<bool> {
        self.path(digest).try_exists()
    }

    /// The blob's length in bytes, if it is there.
    pub fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(digest)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a blob for reading. Its content is not verified; wrap it in a [`VerifyingReader`] where that matters.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing {
                digest: *digest,
                root: self.root.clone(),
            },
            _ => StoreError::Read { path, source },
        })
    }

    /// The content of a blob, verified. For documents, not layers.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut content = Vec::new();
        VerifyingReader::new(self.open_blob(digest)?, *digest, None)
            .read_to_end(&mut content)
            .map_err(|source| {
                let path = self.path(digest);
                match source.kind() {
                    io::ErrorKind::InvalidData => StoreError::Damaged { path, source },
                    _ => StoreError::Read { path, source },
                }
            })?;
        Ok(content)
    }

    /// Stores these bytes. Returns their digest and length.
    pub fn put(&self, content: &[u8]) -> Result<(Digest, u64), StoreError> {
        let digest = Digest::of(content);
        let length = content.len() as u64;
        if self.present(&digest)? != Some(length) {
            let mut staged = self.stage()?;
            staged
                .write_all(content)
                .map_err(|source| staged.write_error(source))?;
            staged.commit(&digest)?;
        }
        Ok((digest, length))
    }

    /// Stores what `reader` yields, which must have this digest (and size). Returns the length.
    /// Reads nothing if the blob is there.
    pub fn import(
        &self,
        reader: impl Read,
        expected: Digest,
        size: Option<u64>,
    ) -> Result<u64, StoreError> {
        if let Some(length) = self.present(&expected)?
            && size.is_none_or(|size| size == length)
        {
            return Ok(length);
        }
        let mut staged = self.stage()?;
        let mut reader = VerifyingReader::new(reader, expected, size);
        let length = io::copy(&mut reader, &mut staged).map_err(|source| StoreError::Import {
            digest: expected,
            source,
        })?;
        staged.commit(&expected)?;
        Ok(length)
    }

    /// Stores what `reader` yields, whatever it is. Returns its digest and length.
    pub fn import_any(&self, mut reader: impl Read) -> Result<(Digest, u64), StoreError> {
        let mut writer = DigestWriter::new(self.stage()?);
        if let Err(source) = io::copy(&mut reader, &mut writer) {
            return Err(writer.finish().0.write_error(source));
        }
        let (staged, digest, length) = writer.finish();
        staged.commit(&digest)?;
        Ok((digest, length))
    }

    /// Removes a blob. Returns whether it was there.
    pub fn remove(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        // What a note says of a blob that comes back is still true; it only takes room.
        drop(fs::remove_file(self.note(digest)));
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::Remove { path, source }),
        }
    }

    /// Every blob with its length, in no particular order. Files that are no blobs are passed over.
    #[expect(
        clippy::iter_not_returning_iterator,
        reason = "opening the directory can fail before there is anything to iterate"
    )]
    pub fn iter(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Digest, u64), StoreError>> + use<>, StoreError> {
        let directory = self.blobs();
        let error = move |source| StoreError::Directory {
            path: directory.clone(),
            source,
        };
        let entries = fs::read_dir(self.blobs()).map_err(&error)?;
        Ok(entries.filter_map(move |entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(source) => return Some(Err(error(source))),
            };
            let digest = Digest::from_hex(entry.file_name().to_str()?).ok()?;
            match entry.metadata() {
                Ok(metadata) => Some(Ok((digest, metadata.len()))),
                Err(source) if source.kind() == io::ErrorKind::NotFound => None,
                Err(source) => Some(Err(StoreError::Read {
                    path: entry.path(),
                    source,
                })),
            }
        }))
    }

    /// A file to write a blob into whose digest is only known at its end.
    pub(crate) fn stage(&self) -> Result<Staged, StoreError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = self
                .staging()
                .join(format!("{}-{number}", std::process::id()));
            let opened = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o444)
                .open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(StoreError::Write { path, source }),
            };
            let locked = file.lock().and_then(|()| file.metadata());
            match locked {
                // A sweep came between the making and the locking of the file.
                Ok(metadata) if metadata.nlink() == 0 => {}
                Ok(_) => {
                    return Ok(Staged {
                        file,
                        path,
                        store: self.clone(),
                        committed: false,
                    });
                }
                Err(source) => return Err(StoreError::Write { path, source }),
            }
        }
    }

    /// A staged file that nobody holds a lock on belongs to a process that is gone.
    fn sweep_staging(&self) -> Result<(), StoreError> {
        let staging = self.staging();
        let error = |source| StoreError::Directory {
            path: self.staging(),
            source,
        };
        for entry in fs::read_dir(&staging).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let removed = match File::open(&path) {
                Ok(file) => match file.try_lock() {
                    Ok(()) => fs::remove_file(&path),
                    Err(TryLockError::WouldBlock) => Ok(()),
                    Err(TryLockError::Error(source)) => Err(source),
                },
                Err(source) => Err(source),
            };
            match removed {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::Remove { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn present(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.size(digest).map_err(|source| StoreError::Read {
            path: self.path(digest),
            source,
        })
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("sha256")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }
}

/// A blob being written; removed when dropped before [`Staged::commit`].
pub(crate) struct Staged {
    file: File,
    path: PathBuf,
    store: BlobStore,
    committed: bool,
}

impl Staged {
    /// Makes what was written the blob with this digest. One that is there already, of the same length, stays:
    /// waiting for the disk is what takes longest in writing a small blob.
    pub(crate) fn commit(mut self, digest: &Digest) -> Result<(), StoreError> {
        let place = self.store.path(digest);
        if let Some(present) = self.store.present(digest)?
            && self
                .file
                .metadata()
                .is_ok_and(|staged| staged.len() == present)
        {
            return Ok(());
        }
        let synced = if self.store.is_scratch {
            Ok(())
        } else {
            self.file.sync_data()
        };
        let renamed = synced.and_then(|()| fs::rename(&self.path, &place));
        renamed.map_err(|source| StoreError::Write {
            path: place,
            source,
        })?;
        self.committed = true;
        Ok(())
    }

    /// Makes what was written the file at `place` of the store. Not synced: for what can be made again.
    pub(crate) fn publish(mut self, place: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, place).map_err(|source| StoreError::Write {
            path: place.to_owned(),
            source,
        })?;
        self.committed = true;
        Ok(())
    }

    pub(crate) fn write_error(&self, source: io::Error) -> StoreError {
        StoreError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed here is swept by the next open.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn staged_files(store: &BlobStore) -> usize {
        fs::read_dir(store.staging()).unwrap().count()
    }

    #[test]
    fn stores_and_verifies() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path().join("blobs")).unwrap();
        let (digest, length) = store.put(b"hello").unwrap();
        assert_eq!((digest, length), (Digest::of(b"hello"), 5));
        assert_eq!(store.put(b"hello").unwrap(), (digest, 5));
        assert_eq!(store.read(&digest).unwrap(), b"hello");
        assert!(store.contains(&digest).unwrap());
        assert_eq!(
            store
                .iter()
                .unwrap()
                .map(Result::unwrap)
                .collect::<Vec<_>>(),
            [(digest, 5)]
        );

        fs::remove_file(store.path(&digest)).unwrap();
        fs::write(store.path(&digest), b"hellO").unwrap();
        assert!(matches!(
            store.read(&digest),
            Err(StoreError::Damaged { .. })
        ));
        assert!(store.remove(&digest).unwrap());
        assert!(!store.remove(&digest).unwrap());
        assert!(matches!(
            store.read(&digest),
            Err(StoreError::Missing { .. })
        ));
    }

    #[test]
    fn imports_only_what_was_expected() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let digest = Digest::of(b"abc");
        assert!(matches!(
            store.import(&b"abd"[..], digest, None),
            Err(StoreError::Import { .. })
        ));
        assert!(matches!(
            store.import(&b"abc"[..], digest, Some(2)),
            Err(StoreError::Import { .. })
        ));
        assert!(!store.contains(&digest).unwrap());
        assert_eq!(staged_files(&store), 0);
        assert_eq!(store.import(&b"abc"[..], digest, Some(3)).unwrap(), 3);
        assert_eq!(store.import(io::empty(), digest, Some(3)).unwrap(), 3);
        assert_eq!(
            store.import_any(&b"xyz"[..]).unwrap(),
            (Digest::of(b"xyz"), 3)
        );
    }

    #[test]
    fn a_truncated_blob_is_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let digest = Digest::of(b"abc");
        fs::write(store.path(&digest), b"a").unwrap();
        store.put(b"abc").unwrap();
        assert_eq!(store.read(&digest).unwrap(), b"abc");
    }

    #[test]
    fn a_blob_that_is_there_is_not_written_again() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let write = || store.import_any(b"content".as_slice()).unwrap();
        let inode = |digest: &Digest| fs::metadata(store.path(digest)).unwrap().ino();
        let (digest, _) = write();
        let first = inode(&digest);
        assert_eq!(write(), (digest, 7));
        assert_eq!(inode(&digest), first);
        assert_eq!(fs::read_dir(store.staging()).unwrap().count(), 0);
        // A cut-off one is no longer the blob.
        fs::remove_file(store.path(&digest)).unwrap();
        fs::write(store.path(&digest), "cont").unwrap();
        assert_eq!(write(), (digest, 7));
        assert_eq!(store.read(&digest).unwrap(), b"content");
    }

    #[test]
    fn opening_sweeps_what_is_dead_and_spares_what_is_live() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        fs::write(store.staging().join("1-0"), b"left over").unwrap();
        let mut live = store.stage().unwrap();
        live.write_all(b"live").unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        assert_eq!(staged_files(&store), 1);
        live.commit(&Digest::of(b"live")).unwrap();
        assert_eq!(store.read(&Digest::of(b"live")).unwrap(), b"live");
        assert_eq!(staged_files(&store), 0);
    }
}

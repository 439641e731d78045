//! Blobs whose download broke off: what arrived is kept, so that the next pull asks for the rest only.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::blob_store::{BlobStore, StoreError};
use crate::digest::{Digest, Hasher};

const READ_BUFFER: usize = 128 << 10;

/// The beginning of a blob, to be written on. Dropped before [`Partial::finish`], it stays for the next time.
///
/// One process at a time has it: a lock on the file, which ends with the process.
pub struct Partial {
    file: File,
    path: PathBuf,
    store: BlobStore,
    digest: Digest,
    size: u64,
    hasher: Hasher,
}

impl BlobStore {
    /// What is there of a blob of this digest and size; nothing, at first. `None` when another process is downloading
    /// it right now.
    pub fn partial(&self, digest: &Digest, size: u64) -> Result<Option<Partial>, StoreError> {
        let folder = self.root().join("partial");
        let path = folder.join(digest.hex());
        let error = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&folder).map_err(error)?;
        let file = loop {
            let file = File::options()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&path)
                .map_err(error)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(error(source)),
            }
            // Whoever held the lock before may have made a blob of the file.
            let ours = file.metadata().map_err(error)?.ino();
            if fs::metadata(&path).is_ok_and(|there| there.ino() == ours) {
                break file;
            }
        };
        let mut partial = Partial {
            file,
            path: path.clone(),
            store: self.clone(),
            digest: *digest,
            size,
            hasher: Hasher::default(),
        };
        partial.take_up().map_err(error)?;
        Ok(Some(partial))
    }

    /// Removes what broken-off downloads left, except those that are going on.
    pub fn remove_partials(&self) -> Result<(), StoreError> {
        let folder = self.root().join("partial");
        let error = |source| StoreError::Remove {
            path: folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(error(source)),
        };
        for entry in entries {
            let path = entry.map_err(error)?.path();
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                fs::remove_file(&path).map_err(error)?;
            }
        }
        Ok(())
    }
}

impl Partial {
    /// Hashes what is there; what is too long was something else.
    fn take_up(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.size {
            return self.file.set_len(0);
        }
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                count => self.hasher.update(&buffer[..count]),
            }
        }
    }

    /// Bytes that are there.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Forgets what is there.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(|source| StoreError::Write {
            path: self.path.clone(),
            source,
        })?;
        self.hasher = Hasher::default();
        Ok(())
    }

    /// Makes it the blob, if it has the digest and the size; else it is [`StoreError::Import`] with
    /// [`io::ErrorKind::InvalidData`].
    pub fn finish(&mut self) -> Result<(), StoreError> {
        let (actual, length) = (self.hasher.clone().finish(), self.hasher.length());
        if actual != self.digest || length != self.size {
            return Err(StoreError::Import {
                digest: self.digest,
                source: io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "expected {} bytes with the digest {}, got {length} with {actual}",
                        self.size, self.digest
                    ),
                ),
            });
        }
        let place = self.store.path(&self.digest);
        rustix::fs::fchmod(&self.file, rustix::fs::Mode::from_raw_mode(0o444))
            .map_err(io::Error::from)
            .and_then(|()| self.file.sync_data())
            .and_then(|()| fs::rename(&self.path, &place))
            .map_err(|source| StoreError::Write {
                path: place,
                source,
            })
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length() + bytes.len() as u64 > self.size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("expected {} bytes, got more", self.size),
            ));
        }
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.length() == 0 {
            // Nothing to go on from; what cannot be removed is only an empty file.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn partial(store: &BlobStore, content: &[u8]) -> Option<Partial> {
        store
            .partial(&Digest::of(content), content.len() as u64)
            .unwrap()
    }

    #[test]
    fn a_download_goes_on_where_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let mut first = partial(&store, b"hello").unwrap();
        first.write_all(b"hel").unwrap();
        assert!(partial(&store, b"hello").is_none(), "one at a time");
        assert!(matches!(first.finish(), Err(StoreError::Import { .. })));
        drop(first);

        let store = BlobStore::open(scratch.path()).unwrap();
        let mut second = partial(&store, b"hello").unwrap();
        assert_eq!(second.length(), 3);
        second.write_all(b"lo").unwrap();
        assert!(second.write_all(b"!").is_err());
        second.finish().unwrap();
        drop(second);
        assert_eq!(store.read(&Digest::of(b"hello")).unwrap(), b"hello");
        assert!(
            !scratch
                .path()
                .join("partial")
                .join(Digest::of(b"hello").hex())
                .exists()
        );
    }

    #[test]
    fn wrong_beginnings_are_forgotten() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let mut wrong = partial(&store, b"hello").unwrap();
        wrong.write_all(b"jello").unwrap();
        assert!(wrong.finish().is_err());
        wrong.restart().unwrap();
        assert_eq!(wrong.length(), 0);
        wrong.write_all(b"hello").unwrap();
        wrong.finish().unwrap();

        drop(partial(&store, b"empty"));
        let mut kept = partial(&store, b"kept").unwrap();
        kept.write_all(b"ke").unwrap();
        let entries = || {
            fs::read_dir(scratch.path().join("partial"))
                .unwrap()
                .count()
        };
        store.remove_partials().unwrap();
        assert_eq!(entries(), 1, "it is going on");
        drop(kept);
        store.remove_partials().unwrap();
        assert_eq!(entries(), 0);
    }
}

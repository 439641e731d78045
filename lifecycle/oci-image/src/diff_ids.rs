//! Which diffID a layer's blob has: found out once, then remembered beside the blob.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::blob_store::{BlobStore, StoreError};
use crate::digest::Digest;
use crate::unpack::UnpackRules;
use crate::unpack::decode::Decoded;

impl BlobStore {
    /// The diffID of a layer's blob: SHA-256 of what it unpacks to. The blob is read, and its own digest checked, only
    /// if nobody asked before; a note in the store says it from then on. Layers that this crate wrote have one.
    ///
    /// What unpacks to more than the default [`UnpackRules`] allow is an error.
    pub fn diff_id(&self, blob: &Digest) -> Result<Digest, StoreError> {
        if let Some(known) = self.noted_diff_id(blob) {
            return Ok(known);
        }
        let path = self.path(blob);
        let file = self.open_blob(blob)?;
        let mut verified = crate::digest::VerifyingReader::new(file, *blob, None);
        let decoded = Decoded::new(&mut verified, &UnpackRules::default())
            .and_then(Decoded::drain)
            // What a decoder leaves unread still belongs to the blob.
            .and_then(|decoded| io::copy(&mut verified, &mut io::sink()).map(|_| decoded));
        let (diff_id, _) = decoded.map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => StoreError::Damaged {
                path: path.clone(),
                source,
            },
            _ => StoreError::Read {
                path: path.clone(),
                source,
            },
        })?;
        self.note_diff_id(blob, &diff_id)?;
        Ok(diff_id)
    }

    /// Remembers what is known for certain: the blob was decoded, or made of this tar, by this process.
    pub(crate) fn note_diff_id(&self, blob: &Digest, diff_id: &Digest) -> Result<(), StoreError> {
        let path = self.note(blob);
        let error = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        let folder = self.notes();
        fs::create_dir_all(&folder).map_err(error)?;
        let mut staged = self.stage()?;
        staged.write_all(diff_id.hex().as_bytes()).map_err(error)?;
        staged.publish(&path)
    }

    /// A note that cannot be read is made again.
    fn noted_diff_id(&self, blob: &Digest) -> Option<Digest> {
        let mut text = String::new();
        fs::File::open(self.note(blob))
            .ok()?
            .take(65)
            .read_to_string(&mut text)
            .ok()?;
        Digest::from_hex(&text).ok()
    }

    fn notes(&self) -> PathBuf {
        self.root().join("diff-ids")
    }

    /// Where the note for a blob is.
    pub(crate) fn note(&self, blob: &Digest) -> PathBuf {
        self.notes().join(blob.hex())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Compression, LayerError, Owner, write_layer};

    #[test]
    fn a_blob_is_read_once() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let layer = write_layer::<LayerError>(&store, Compression::default(), |tar| {
            tar.file("/file", 0o644, Owner::ROOT, 5, &b"hello"[..])
        })
        .unwrap();
        // Known from the making: the blob is not opened.
        let content = fs::read(store.path(&layer.digest)).unwrap();
        fs::remove_file(store.path(&layer.digest)).unwrap();
        assert_eq!(store.diff_id(&layer.digest).unwrap(), layer.diff_id);

        // Found out, and noted, for a blob of somebody else's.
        let other = BlobStore::open(scratch.path().join("other")).unwrap();
        let (digest, _) = other.put(&content).unwrap();
        assert!(other.noted_diff_id(&digest).is_none());
        assert_eq!(other.diff_id(&digest).unwrap(), layer.diff_id);
        assert_eq!(other.noted_diff_id(&digest), Some(layer.diff_id));
        fs::write(other.note(&digest), "torn").unwrap();
        assert_eq!(other.diff_id(&digest).unwrap(), layer.diff_id);
        other.remove(&digest).unwrap();
        assert!(other.noted_diff_id(&digest).is_none());
    }

    #[test]
    fn a_damaged_blob_has_no_diff_id() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let (digest, _) = store.put(b"a plain tar, for all we know").unwrap();
        fs::remove_file(store.path(&digest)).unwrap();
        fs::write(store.path(&digest), b"something else").unwrap();
        assert!(matches!(
            store.diff_id(&digest),
            Err(StoreError::Damaged { .. })
        ));
        assert!(store.noted_diff_id(&digest).is_none());
    }
}

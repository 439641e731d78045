//! Layers as zstd: what they unpack to stays the same, so that only a manifest has to change.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::blob_store::{BlobStore, StoreError};
use crate::digest::{Digest, DigestWriter};
use crate::manifest::Descriptor;
use crate::media_type;
use crate::unpack::UnpackRules;
use crate::unpack::decode::Decoded;

/// The levels of zstd that decoders with ordinary memory read (RFC 8878, "Window Descriptor").
pub const ZSTD_LEVELS: std::ops::RangeInclusive<i32> = 1..=19;

const CHUNK: usize = 128 << 10;

impl BlobStore {
    /// The layer, which unpacks to `diff_id`, compressed with zstd; as it is if that is what it is already. The same
    /// layer always gives the same blob, and is compressed only once: a note in the store leads to the blob.
    ///
    /// A blob that unpacks to something else, or to more than the default [`UnpackRules`] allow, is an error.
    pub fn to_zstd(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        level: i32,
    ) -> Result<Descriptor, StoreError> {
        if layer.media_type == media_type::OCI_LAYER_ZSTD {
            return Ok(layer.clone());
        }
        let descriptor = |digest, size| Descriptor {
            annotations: layer.annotations.clone(),
            ..Descriptor::new(media_type::OCI_LAYER_ZSTD, digest, size)
        };
        let note = self.zstd_note(diff_id, level);
        let noted = fs::read_to_string(&note).ok();
        if let Some(known) = noted.and_then(|text| Digest::from_hex(&text).ok())
            && let Ok(Some(size)) = self.size(&known)
        {
            return Ok(descriptor(known, size));
        }
        let path = self.path(&layer.digest);
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidData => StoreError::Damaged {
                path: path.clone(),
                source,
            },
            _ => StoreError::Read {
                path: path.clone(),
                source,
            },
        };
        let blob = self.open_blob(&layer.digest)?;
        let mut tar = Decoded::new(blob, &UnpackRules::default()).map_err(unreadable)?;
        let unwritable = |source| StoreError::Write {
            path: note.clone(),
            source,
        };
        let mut encoder =
            zstd::Encoder::new(DigestWriter::new(self.stage()?), level).map_err(unwritable)?;
        encoder.include_checksum(true).map_err(unwritable)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = tar.read(&mut chunk).map_err(unreadable)?;
            if count == 0 {
                break;
            }
            encoder.write_all(&chunk[..count]).map_err(unwritable)?;
        }
        let (actual, _) = tar.drain().map_err(unreadable)?;
        if actual != *diff_id {
            return Err(unreadable(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it unpacks to {actual}, not to {diff_id}"),
            )));
        }
        let (staged, digest, size) = encoder.finish().map_err(unwritable)?.finish();
        staged.commit(&digest)?;
        self.note_diff_id(&digest, diff_id)?;
        self.note_zstd(&note, &digest)?;
        Ok(descriptor(digest, size))
    }

    fn note_zstd(&self, note: &std::path::Path, blob: &Digest) -> Result<(), StoreError> {
        let error = |source| StoreError::Write {
            path: note.to_owned(),
            source,
        };
        fs::create_dir_all(self.root().join("zstd")).map_err(error)?;
        let mut staged = self.stage()?;
        staged.write_all(blob.hex().as_bytes()).map_err(error)?;
        staged.publish(note)
    }

    fn zstd_note(&self, diff_id: &Digest, level: i32) -> PathBuf {
        let name = format!("{}-{level}", diff_id.hex());
        self.root().join("zstd").join(name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Compression, LayerError, Owner, write_layer};

    #[test]
    fn the_content_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let content = vec![b'x'; 300_000];
        let layer = write_layer::<LayerError>(&store, Compression::default(), |tar| {
            let length = content.len() as u64;
            tar.file("/file", 0o644, Owner::ROOT, length, &content[..])
        })
        .unwrap();
        let gzip = layer.descriptor();
        let zstd = store.to_zstd(&gzip, &layer.diff_id, 3).unwrap();
        assert_eq!(zstd.media_type, media_type::OCI_LAYER_ZSTD);
        assert_eq!(store.size(&zstd.digest).unwrap(), Some(zstd.size));
        let decoded = zstd::decode_all(&store.read(&zstd.digest).unwrap()[..]).unwrap();
        assert_eq!(Digest::of(&decoded), layer.diff_id);
        // Only once: the gzip blob is not needed any more.
        store.remove(&gzip.digest).unwrap();
        assert_eq!(store.to_zstd(&gzip, &layer.diff_id, 3).unwrap(), zstd);
        assert_eq!(store.to_zstd(&zstd, &layer.diff_id, 3).unwrap(), zstd);
        store.remove(&zstd.digest).unwrap();
        assert!(store.to_zstd(&gzip, &layer.diff_id, 3).is_err());
    }

    #[test]
    fn what_is_not_the_layer_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let (digest, size) = store.put(b"a tar, for all we know").unwrap();
        let layer = Descriptor::new(media_type::OCI_LAYER, digest, size);
        assert!(matches!(
            store.to_zstd(&layer, &Digest::of(b"another"), 1),
            Err(StoreError::Damaged { .. })
        ));
        assert_eq!(store.iter().unwrap().count(), 1);
    }
}

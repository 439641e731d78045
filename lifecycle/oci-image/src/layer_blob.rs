//! A layer from its entries to a compressed blob in the store, in one pass.

use std::io::{self, Read};
use std::thread;

use libdeflater::CompressionLvl;
use serde::{Deserialize, Serialize};

use crate::blob_store::{BlobStore, Staged};
use crate::digest::Digest;
use crate::gzip_members::{Finished, GzipMembers};
use crate::layer_tar::{LayerError, LayerTar};
use crate::manifest::Descriptor;
use crate::media_type;

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// SHA-256 of the uncompressed tar, for the image's configuration.
    pub diff_id: Digest,
    /// SHA-256 of the blob, for the manifest.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes of the uncompressed tar.
    pub uncompressed_size: u64,
    /// How the blob is compressed.
    pub media_type: String,
}

impl LayerBlob {
    /// The layer in a manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// libdeflate's level, 0 (store) to 12. 1 is for builds that iterate, 6 for releases.
    pub level: i32,
}

impl Default for Compression {
    fn default() -> Self {
        Self { level: 1 }
    }
}

/// Writes a layer: `add` adds its entries, which are hashed, compressed on all processors, hashed again and stored
/// in one pass. The same entries always give the same blob, on any machine.
///
/// When `add` fails, nothing is stored. Memory stays below 40 MiB.
pub fn write_layer<E: From<LayerError>>(
    store: &BlobStore,
    compression: Compression,
    add: impl FnOnce(&mut LayerTar<'_>) -> Result<(), E>,
) -> Result<LayerBlob, E> {
    let level = CompressionLvl::new(compression.level).map_err(|_| LayerError::Level {
        level: compression.level,
    })?;
    let staged = store.stage().map_err(LayerError::Store)?;
    let finished = thread::scope(|scope| {
        let mut gzip = GzipMembers::new(scope, level, staged);
        let mut tar = LayerTar::new(&mut gzip);
        add(&mut tar)?;
        tar.finish()?;
        gzip.finish()
            .map_err(|source| E::from(LayerError::Write { source }))
    })?;
    Ok(commit(store, finished)?)
}

/// Compresses a tar that somebody else made into a blob like those of [`write_layer`]. Its content is not looked at.
pub(crate) fn compress_tar(
    store: &BlobStore,
    compression: Compression,
    mut tar: impl Read,
) -> Result<LayerBlob, LayerError> {
    let level = CompressionLvl::new(compression.level).map_err(|_| LayerError::Level {
        level: compression.level,
    })?;
    let staged = store.stage().map_err(LayerError::Store)?;
    let finished = thread::scope(|scope| {
        let mut gzip = GzipMembers::new(scope, level, staged);
        io::copy(&mut tar, &mut gzip)?;
        gzip.finish()
    })
    .map_err(|source| LayerError::Write { source })?;
    commit(store, finished)
}

fn commit(store: &BlobStore, finished: Finished<Staged>) -> Result<LayerBlob, LayerError> {
    finished
        .out
        .commit(&finished.digest)
        .and_then(|()| store.note_diff_id(&finished.digest, &finished.raw_digest))
        .map_err(LayerError::Store)?;
    Ok(LayerBlob {
        diff_id: finished.raw_digest,
        digest: finished.digest,
        size: finished.size,
        uncompressed_size: finished.raw_size,
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::layer_tar::Owner;

    #[test]
    fn the_blob_is_what_it_says() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let content = vec![b'x'; 3 << 20];
        let layer = write_layer::<LayerError>(&store, Compression::default(), |tar| {
            tar.parents("/a/b", 0o755, Owner::ROOT)?;
            tar.file(
                "/a/b",
                0o644,
                Owner::ROOT,
                content.len() as u64,
                content.as_slice(),
            )
        })
        .unwrap();
        let blob = store.read(&layer.digest).unwrap();
        assert_eq!(blob.len() as u64, layer.size);
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(blob.as_slice())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(
            (Digest::of(&tar), tar.len() as u64),
            (layer.diff_id, layer.uncompressed_size)
        );
        let names: Vec<_> = tar::Archive::new(tar.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path_bytes().into_owned())
            .collect();
        assert_eq!(names, [b"/a".to_vec(), b"/a/b".to_vec()]);
    }

    #[test]
    fn nothing_is_stored_when_an_entry_fails() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let failed = write_layer::<LayerError>(&store, Compression::default(), |tar| {
            tar.file(
                "/a",
                0o644,
                Owner::ROOT,
                5 << 20,
                std::io::repeat(0).take(4 << 20),
            )
        });
        assert!(matches!(failed, Err(LayerError::Size { .. })));
        assert_eq!(store.iter().unwrap().count(), 0);
        assert!(matches!(
            write_layer::<LayerError>(&store, Compression { level: 13 }, |_| Ok(())),
            Err(LayerError::Level { level: 13 })
        ));
    }
}

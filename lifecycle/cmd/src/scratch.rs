//! A folder for what a phase needs until it ends.

use crate::Failure;
use oci_image::BlobStore;

/// The folder, with a store for blobs in it; removed on drop.
pub(crate) struct Scratch {
    _folder: tempfile::TempDir,
    pub(crate) blobs: BlobStore,
}

impl Scratch {
    /// Makes it in the system's folder for temporary files. `code` is the phase's exit code.
    pub(crate) fn new(code: u8) -> Result<Self, Failure> {
        let attempted = "make a folder for temporary files";
        let folder = tempfile::Builder::new()
            .prefix("lifecycle-")
            .tempdir()
            .map_err(|error| Failure::from_error(code, attempted, &error))?;
        let blobs = BlobStore::open_scratch(folder.path().join("blobs"))
            .map_err(|error| Failure::from_error(code, attempted, &error))?;
        Ok(Self {
            _folder: folder,
            blobs,
        })
    }
}

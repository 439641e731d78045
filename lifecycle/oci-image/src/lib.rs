//! OCI images on disk: digests, references, manifests, layers, layouts, one content-addressed store.
//!
//! Nothing here touches the network, the environment or the clock.

#![forbid(unsafe_code)]

pub mod archive;
pub mod contents;
pub mod fingerprint;
pub mod layout;
pub mod media_type;

mod blob_store;
mod config;
mod diff_ids;
mod digest;
mod gzip_members;
mod image;
mod layer_blob;
mod layer_tar;
mod manifest;
mod partial;
mod reference;
mod unpack;
mod zstd_blobs;

pub use archive::{Archive, ArchiveError, Format};
pub use blob_store::{BlobStore, StoreError};
pub use config::{History, ImageConfig, RootFs, RunConfig};
pub use digest::{Digest, DigestParseError, DigestWriter, VerifyingReader};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use image::{Image, ImageError};
pub use layer_blob::{Compression, LayerBlob, write_layer};
pub use layer_tar::{
    HardLinks, LayerError, LayerTar, NORMALIZED_MTIME, Order, Overlay, Owner, Owners, Times,
    TreeRules,
};
pub use layout::LayoutError;
pub use manifest::{Descriptor, Index, Manifest, Platform, REF_NAME_ANNOTATION};
pub use partial::Partial;
pub use reference::{Reference, ReferenceParseError};
pub use unpack::{
    Existing, Ownership, UnpackError, UnpackReport, UnpackRules, Whiteouts, decompress,
    unpack_layer,
};
pub use zstd_blobs::ZSTD_LEVELS;

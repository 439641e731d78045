//! Images as one file: archives of OCI layouts, and what `docker save` writes and `docker load` reads.
//!
//! A Docker archive written here is an OCI layout with a `manifest.json` beside it, as Docker itself writes it since
//! version 25: old engines read the one, new ones the other and keep the image's digest. Layers stay as they are in
//! the store, compressed; engines of every version unpack them.

mod import;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::blob_store::{BlobStore, StoreError};
use crate::digest::{Digest, VerifyingReader};
use crate::layer_tar::LayerError;
use crate::layer_tar::header::{self, BLOCK, Header, Kind};
use crate::layout::{self, LayoutError};
use crate::manifest::{Descriptor, Index, Manifest, REF_NAME_ANNOTATION};
use crate::media_type;
use crate::reference::Reference;

pub use import::{Imported, import};

/// The name under which containerd, and so Docker, keeps an image of a layout.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

const MANIFEST_FILE: &str = "manifest.json";

/// What kind of archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// An OCI layout; its name for the image, if it is to have one.
    Oci {
        /// `org.opencontainers.image.ref.name`.
        ref_name: Option<String>,
    },
    /// For `docker load` and `podman load`; the names that the image gets there.
    Docker {
        /// Full names; a tag is `latest` where they have none.
        names: Vec<Reference>,
    },
}

/// Why an archive could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file could not be written.
    #[error("could not write the archive {path}")]
    Write {
        /// The archive.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file could not be read.
    #[error("could not read the archive {path}")]
    Read {
        /// The archive.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is no tar, or one that readers take in different ways.
    #[error("{path} is not an archive of an image: {reason}")]
    Malformed {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A document in the archive, or the image in the store, is not valid.
    #[error("{document} of {path} is not valid")]
    Document {
        /// The archive or the store.
        path: PathBuf,
        /// Which.
        document: String,
        #[source]
        source: serde_json::Error,
    },
    /// A layout's rules are broken, or it has no such image.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The store could not give or take a blob.
    #[error("could not copy between the archive and the store")]
    Store(#[source] StoreError),
    /// A layer of a Docker archive could not be stored.
    #[error("could not store the layer {layer} of {path}")]
    Layer {
        /// The archive.
        path: PathBuf,
        /// Its name in there.
        layer: String,
        #[source]
        source: LayerError,
    },
    /// The archive has several images, or none of that name.
    #[error("{path} {problem}; it has: {present}")]
    Choice {
        /// The archive.
        path: PathBuf,
        /// What is wrong with the question.
        problem: String,
        /// What is there.
        present: String,
    },
    /// Docker's format holds images, not indexes.
    #[error(
        "{digest} is an index of several images, which a Docker archive cannot hold: choose one"
    )]
    Index {
        /// The index.
        digest: Digest,
    },
}

/// One entry of `manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

enum Piece {
    Bytes(Cursor<Vec<u8>>),
    Blob { digest: Digest, size: u64 },
}

/// An image of the store as one stream of bytes, the same for the same image at any time. Each blob is verified while
/// it is read; a damaged one ends the stream with an error.
pub struct Archive {
    store: BlobStore,
    pieces: VecDeque<Piece>,
    open: Option<VerifyingReader<File>>,
    length: u64,
}

impl Archive {
    /// Puts the archive together. Nothing is read yet but the documents.
    pub fn new(
        store: &BlobStore,
        manifest: &Descriptor,
        format: &Format,
    ) -> Result<Self, ArchiveError> {
        let mut archive = Self {
            store: store.clone(),
            pieces: VecDeque::new(),
            open: None,
            length: 0,
        };
        archive.document(layout::VERSION_FILE, layout::VERSION.to_vec());
        let index = Index::new(entries(manifest, format));
        let json = serde_json::to_vec(&index).map_err(|source| ArchiveError::Document {
            path: store.root().to_owned(),
            document: "the archive's index".to_owned(),
            source,
        })?;
        archive.document(layout::INDEX_FILE, json);
        if let Format::Docker { names } = format {
            archive.document(MANIFEST_FILE, docker_manifest(store, manifest, names)?);
        }
        for folder in ["blobs/", "blobs/sha256/"] {
            archive.header(folder, Kind::Directory, 0);
        }
        let mut digests = BTreeSet::new();
        layout::closure(store, manifest, &mut digests).map_err(|error| error.at(store.root()))?;
        for digest in digests {
            let size = store
                .present(&digest)
                .and_then(|size| {
                    size.ok_or_else(|| StoreError::Missing {
                        digest,
                        root: store.root().to_owned(),
                    })
                })
                .map_err(ArchiveError::Store)?;
            archive.header(&blob_name(&digest), Kind::File, size);
            archive.pieces.push_back(Piece::Blob { digest, size });
            archive.length += size;
            archive.raw(header::padding(size).to_vec());
        }
        archive.raw(vec![0; 2 * BLOCK]);
        Ok(archive)
    }

    /// Bytes from beginning to end.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes it to a file, which appears whole or not at all.
    pub fn write(mut self, path: &Path) -> Result<(), ArchiveError> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut attempt = || -> io::Result<()> {
            let mut staged = tempfile::Builder::new()
                .prefix(".slugc-")
                .tempfile_in(folder)?;
            io::copy(&mut self, &mut staged)?;
            staged.flush()?;
            // Temporary files are private; an archive is for others to read.
            layout::set_readable(staged.as_file())?;
            staged.as_file().sync_data()?;
            staged.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        attempt().map_err(|source| ArchiveError::Write {
            path: path.to_owned(),
            source,
        })
    }

    fn document(&mut self, name: &str, bytes: Vec<u8>) {
        let size = bytes.len() as u64;
        self.header(name, Kind::File, size);
        self.raw(bytes);
        self.raw(header::padding(size).to_vec());
    }

    fn header(&mut self, name: &str, kind: Kind, size: u64) {
        let header = Header {
            kind,
            name: name.as_bytes(),
            link: b"",
            mode: if kind == Kind::Directory {
                0o755
            } else {
                0o644
            },
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            device: (0, 0),
        };
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        drop(header::write(&mut bytes, &header));
        self.raw(bytes);
    }

    fn raw(&mut self, bytes: Vec<u8>) {
        self.length += bytes.len() as u64;
        self.pieces.push_back(Piece::Bytes(Cursor::new(bytes)));
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = match self.pieces.front_mut() {
                None => return Ok(0),
                Some(Piece::Bytes(bytes)) => bytes.read(buffer)?,
                Some(Piece::Blob { digest, size }) => {
                    let blob = match &mut self.open {
                        Some(blob) => blob,
                        closed @ None => {
                            let file = self.store.open_blob(digest).map_err(io::Error::other)?;
                            closed.insert(VerifyingReader::new(file, *digest, Some(*size)))
                        }
                    };
                    blob.read(buffer)?
                }
            };
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.pieces.pop_front();
            self.open = None;
        }
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// One entry of the index for each name.
fn entries(manifest: &Descriptor, format: &Format) -> Vec<Descriptor> {
    let mut plain = manifest.clone();
    plain.annotations.remove(REF_NAME_ANNOTATION);
    plain.annotations.remove(CONTAINERD_NAME);
    let named = |annotations: &[(&str, &str)]| {
        let mut entry = plain.clone();
        for (name, value) in annotations {
            entry
                .annotations
                .insert((*name).to_owned(), (*value).to_owned());
        }
        entry
    };
    match format {
        Format::Oci { ref_name: None } => vec![plain],
        Format::Oci {
            ref_name: Some(name),
        } => vec![named(&[(REF_NAME_ANNOTATION, name)])],
        Format::Docker { names } if names.is_empty() => vec![plain],
        Format::Docker { names } => names
            .iter()
            .map(|name| {
                let full = name.clone().or_latest();
                named(&[
                    (CONTAINERD_NAME, &full.to_string()),
                    (REF_NAME_ANNOTATION, &full.identifier()),
                ])
            })
            .collect(),
    }
}

fn docker_manifest(
    store: &BlobStore,
    descriptor: &Descriptor,
    names: &[Reference],
) -> Result<Vec<u8>, ArchiveError> {
    if media_type::is_index(&descriptor.media_type) {
        return Err(ArchiveError::Index {
            digest: descriptor.digest,
        });
    }
    let invalid = |source| ArchiveError::Document {
        path: store.root().to_owned(),
        document: format!("the manifest {}", descriptor.digest),
        source,
    };
    let json = store
        .read(&descriptor.digest)
        .map_err(ArchiveError::Store)?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(invalid)?;
    let tags: Vec<String> = names
        .iter()
        .map(|name| name.clone().or_latest().familiar())
        .collect();
    let image = DockerImage {
        config: blob_name(&manifest.config.digest),
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: manifest
            .layers
            .iter()
            .map(|layer| blob_name(&layer.digest))
            .collect(),
    };
    serde_json::to_vec(&[image]).map_err(invalid)
}

#[cfg(test)]
#[path = "archive/tests.rs"]
mod tests;

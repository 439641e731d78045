//! An image of an archive into the store. What kind of archive it is, its content tells.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::{ArchiveError, CONTAINERD_NAME, DockerImage, MANIFEST_FILE, blob_name};
use crate::blob_store::BlobStore;
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::layer_blob::{Compression, compress_tar};
use crate::layout;
use crate::layout::import::{Blobs, choose, tree};
use crate::manifest::{Descriptor, Index, Manifest, REF_NAME_ANNOTATION};
use crate::media_type;
use crate::reference::Reference;
use crate::unpack::decode::{self, Decoded};
use crate::unpack::entry::{EntryKind, TarBytes, TarReader};
use crate::unpack::{UnpackError, UnpackRules};

/// Images have hundreds of layers at most, and old archives three files for each.
const MOST_ENTRIES: usize = 100_000;

/// Of one document.
const LONGEST_DOCUMENT: u64 = 8 << 20;

/// Links to links are followed so far.
const MOST_LINKS: usize = 8;

/// What came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The image in the store.
    pub manifest: Descriptor,
    /// The names that the archive has for it.
    pub names: Vec<String>,
}

/// Brings an image of an OCI archive or a Docker archive into the store, every blob verified, every layer of a Docker
/// archive against its diffID. Archives that are compressed as a whole are read, too.
///
/// Without a name the archive must have exactly one image. Layers that a Docker archive has uncompressed are
/// compressed; the configuration, and so Docker's image ID, stays the same.
pub fn import(
    path: &Path,
    store: &BlobStore,
    name: Option<&str>,
) -> Result<Imported, ArchiveError> {
    let archive = Contents::open(path, store)?;
    let layout = archive.has(layout::INDEX_FILE) && archive.has(layout::VERSION_FILE);
    if layout {
        let index: Index = archive.json(layout::INDEX_FILE)?;
        let entry = archive.choose_entry(&index, name)?;
        // What old engines add for others to read has plain layers; those are compressed below.
        if !archive.has(MANIFEST_FILE) || archive.is_compressed(&entry)? {
            tree(&archive, store, &entry)?;
            let names = index
                .manifests
                .iter()
                .filter(|other| other.digest == entry.digest)
                .filter_map(|other| {
                    let annotation = |key: &str| other.annotations.get(key).cloned();
                    annotation(CONTAINERD_NAME).or_else(|| annotation(REF_NAME_ANNOTATION))
                })
                .collect();
            return Ok(Imported {
                manifest: entry,
                names,
            });
        }
    }
    if !archive.has(MANIFEST_FILE) {
        return Err(archive
            .malformed("it has neither an index.json with an oci-layout, nor a manifest.json"));
    }
    let image = archive.choose_docker(archive.json(MANIFEST_FILE)?, name)?;
    archive.import_docker(store, image)
}

enum Place {
    File { offset: u64, size: u64 },
    Link(String),
}

/// An archive, by the names of its files.
struct Contents<'a> {
    path: &'a Path,
    file: File,
    places: BTreeMap<String, Place>,
}

impl<'a> Contents<'a> {
    fn open(path: &'a Path, store: &BlobStore) -> Result<Self, ArchiveError> {
        let read = |source| ArchiveError::Read {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(read)?;
        if file.metadata().map_err(read)?.is_dir() {
            return Err(read(io::ErrorKind::IsADirectory.into()));
        }
        if is_compressed(&mut file).map_err(read)? {
            file = decompress(file, store).map_err(read)?;
        }
        let mut archive = Self {
            path,
            file,
            places: BTreeMap::new(),
        };
        archive.list()?;
        Ok(archive)
    }

    fn list(&mut self) -> Result<(), ArchiveError> {
        let source = self.file.try_clone().map_err(|source| self.read(source))?;
        let mut tar = TarReader::new(Seekable::new(source).map_err(|source| self.read(source))?);
        let mut places = BTreeMap::new();
        while let Some(entry) = tar.next().map_err(|error| self.tar(error))? {
            let name = clean(&entry.path);
            let place = match entry.kind {
                EntryKind::File => Place::File {
                    offset: tar.content_offset(),
                    size: entry.size,
                },
                // A symbolic link is relative to its folder, a hard link to the archive.
                EntryKind::Symlink => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let link = String::from_utf8_lossy(&entry.link);
                    Place::Link(clean(format!("{folder}/{link}").as_bytes()))
                }
                EntryKind::HardLink => Place::Link(clean(&entry.link)),
                _ => continue,
            };
            if places.len() >= MOST_ENTRIES {
                return Err(self.malformed(format!("it has more than {MOST_ENTRIES} files")));
            }
            if places.insert(name.clone(), place).is_some() {
                return Err(self.malformed(format!("it has the file {name:?} twice")));
            }
        }
        self.places = places;
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name;
        for _ in 0..MOST_LINKS {
            match self.places.get(name)? {
                Place::File { offset, size } => return Some((*offset, *size)),
                Place::Link(to) => name = to,
            }
        }
        None
    }

    fn content(&self, name: &str) -> Result<Content<'_>, ArchiveError> {
        let (offset, size) = self
            .find(name)
            .ok_or_else(|| self.malformed(format!("it has no file {name:?}, which it names")))?;
        Ok(Content {
            file: &self.file,
            offset,
            left: size,
        })
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let content = self.content(name)?;
        if content.left > LONGEST_DOCUMENT {
            return Err(self.malformed(format!(
                "its {name} is longer than {LONGEST_DOCUMENT} bytes"
            )));
        }
        let mut bytes = Vec::new();
        BufReader::new(content)
            .read_to_end(&mut bytes)
            .map_err(|source| self.read(source))?;
        Ok(bytes)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, ArchiveError> {
        serde_json::from_slice(&self.document(name)?).map_err(|source| ArchiveError::Document {
            path: self.path.to_owned(),
            document: name.to_owned(),
            source,
        })
    }

    /// By containerd's name, by the layout's own or by digest. Entries of one image under several names are one.
    fn choose_entry(&self, index: &Index, name: Option<&str>) -> Result<Descriptor, ArchiveError> {
        if let Some(name) = name {
            let full = full_name(name);
            let named = index.manifests.iter().find(|entry| {
                let kept = entry.annotations.get(CONTAINERD_NAME);
                full.is_some() && kept.and_then(|kept| full_name(kept)) == full
            });
            if let Some(entry) = named {
                return Ok(entry.clone());
            }
        }
        let mut distinct = index.clone();
        if name.is_none() {
            distinct.manifests.dedup_by_key(|entry| entry.digest);
        }
        Ok(choose(&distinct, self.path, name)?)
    }

    /// Whether an image of the layout has no layer that is a plain tar.
    fn is_compressed(&self, entry: &Descriptor) -> Result<bool, ArchiveError> {
        if !media_type::is_manifest(&entry.media_type) {
            return Ok(true);
        }
        let manifest: Manifest = self.json(&blob_name(&entry.digest))?;
        let plain = [media_type::OCI_LAYER, media_type::DOCKER_LAYER];
        Ok(!manifest
            .layers
            .iter()
            .any(|layer| plain.contains(&layer.media_type.as_str())))
    }

    fn choose_docker(
        &self,
        images: Vec<DockerImage>,
        name: Option<&str>,
    ) -> Result<DockerImage, ArchiveError> {
        let wanted = name.map(|name| full_name(name).ok_or(name));
        let present: Vec<String> = images
            .iter()
            .map(|image| match image.repo_tags.as_deref() {
                Some(tags) if !tags.is_empty() => tags.join(", "),
                _ => image.config.clone(),
            })
            .collect();
        let mut fitting = images.into_iter().filter(|image| match &wanted {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(name)) => image
                .repo_tags
                .iter()
                .flatten()
                .any(|tag| full_name(tag).as_ref() == Some(name)),
        });
        let problem = match (fitting.next(), fitting.next(), name) {
            (Some(image), None, _) | (Some(image), Some(_), Some(_)) => return Ok(image),
            (Some(_), Some(_), None) => "has several images; name one".to_owned(),
            (None, _, Some(name)) => format!("has no image {name}"),
            (None, _, None) => "has no image at all".to_owned(),
        };
        Err(ArchiveError::Choice {
            path: self.path.to_owned(),
            problem,
            present: present.join(", "),
        })
    }

    fn import_docker(
        &self,
        store: &BlobStore,
        image: DockerImage,
    ) -> Result<Imported, ArchiveError> {
        let config_bytes = self.document(&clean(image.config.as_bytes()))?;
        let config: ImageConfig =
            serde_json::from_slice(&config_bytes).map_err(|source| ArchiveError::Document {
                path: self.path.to_owned(),
                document: image.config.clone(),
                source,
            })?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(self.malformed(format!(
                "it has {} layers but {} diffIDs",
                image.layers.len(),
                diff_ids.len()
            )));
        }
        let mut layers = Vec::new();
        for (layer, diff_id) in image.layers.iter().zip(diff_ids) {
            layers.push(self.import_layer(store, layer, diff_id)?);
        }
        let (digest, size) = store.put(&config_bytes).map_err(ArchiveError::Store)?;
        let manifest = Manifest::new(
            Descriptor::new(media_type::OCI_CONFIG, digest, size),
            layers,
        );
        let json = serde_json::to_vec(&manifest).map_err(|source| ArchiveError::Document {
            path: self.path.to_owned(),
            document: "the image's manifest".to_owned(),
            source,
        })?;
        let (digest, size) = store.put(&json).map_err(ArchiveError::Store)?;
        Ok(Imported {
            manifest: Descriptor::new(media_type::OCI_MANIFEST, digest, size),
            names: image.repo_tags.unwrap_or_default(),
        })
    }

    fn import_layer(
        &self,
        store: &BlobStore,
        layer: &str,
        diff_id: &Digest,
    ) -> Result<Descriptor, ArchiveError> {
        let name = clean(layer.as_bytes());
        let compression =
            decode::compression(&mut self.content(&name)?).map_err(|source| self.read(source))?;
        let content = self.content(&name)?;
        let (descriptor, actual) = if let Some(kind) = compression {
            let (digest, size) = store.import_any(content).map_err(ArchiveError::Store)?;
            let actual = store.diff_id(&digest).map_err(ArchiveError::Store)?;
            (Descriptor::new(kind, digest, size), actual)
        } else {
            let compressed = compress_tar(store, Compression::default(), content);
            let blob = compressed.map_err(|source| ArchiveError::Layer {
                path: self.path.to_owned(),
                layer: layer.to_owned(),
                source,
            })?;
            (blob.descriptor(), blob.diff_id)
        };
        if actual == *diff_id {
            Ok(descriptor)
        } else {
            Err(self.malformed(format!(
                "its layer {layer} has the diffID {actual}, not {diff_id}"
            )))
        }
    }

    fn read(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Read {
            path: self.path.to_owned(),
            source,
        }
    }

    fn tar(&self, error: UnpackError) -> ArchiveError {
        match error {
            UnpackError::Read { source } => self.read(source),
            UnpackError::Malformed { offset, reason } => {
                self.malformed(format!("at byte {offset}, {reason}"))
            }
            other => self.malformed(other.to_string()),
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::Malformed {
            path: self.path.to_owned(),
            reason: reason.into(),
        }
    }
}

impl Blobs for Contents<'_> {
    fn place(&self) -> &Path {
        self.path
    }

    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + '_>>> {
        let found = self.find(&blob_name(digest));
        Ok(found.map(|(offset, left)| {
            let content = Content {
                file: &self.file,
                offset,
                left,
            };
            Box::new(content) as Box<dyn Read>
        }))
    }
}

/// One file of an archive.
struct Content<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if count == 0 && wanted > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends inside a file",
            ));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A plain tar whose contents are passed over without being read.
struct Seekable {
    reader: BufReader<File>,
    position: u64,
    length: u64,
}

impl Seekable {
    fn new(mut file: File) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self {
            reader: BufReader::new(file),
            position: 0,
            length,
        })
    }
}

impl Read for Seekable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl TarBytes for Seekable {
    fn offset(&self) -> u64 {
        self.position
    }

    fn pass_over(&mut self, count: u64) -> io::Result<u64> {
        let count = count.min(self.length.saturating_sub(self.position));
        self.reader
            .seek_relative(i64::try_from(count).map_err(io::Error::other)?)?;
        self.position += count;
        Ok(count)
    }
}

fn is_compressed(file: &mut File) -> io::Result<bool> {
    let compressed = decode::compression(file)?.is_some();
    file.seek(SeekFrom::Start(0))?;
    Ok(compressed)
}

/// Into a file without a name, which ends with the process.
fn decompress(file: File, store: &BlobStore) -> io::Result<File> {
    let mut plain = tempfile::tempfile_in(store.root())?;
    io::copy(
        &mut Decoded::new(file, &UnpackRules::default())?,
        &mut plain,
    )?;
    Ok(plain)
}

/// `./a//b/../c` as `a/c`. Names are only compared, never used on disk.
fn clean(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A name as it compares: normalised, with its tag.
fn full_name(name: &str) -> Option<Reference> {
    name.parse::<Reference>().ok().map(Reference::or_latest)
}

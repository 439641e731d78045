//! A layer cache in a folder: `committed/<diffID>.tar` and `committed/io.buildpacks.lifecycle.cache.metadata`, as the
//! reference lifecycle has it.

use super::{Entries, LayerCache, NextState, Origin};
use cnb_spec::json;
use cnb_spec::labels::{CACHE_METADATA, CacheMetadata};
use oci_image::{Digest, DigestWriter, LayerBlob, LayerError, LayerTar, UnpackRules, decompress};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};

/// A cache folder. What is saved is staged beside it and takes its place at once.
#[derive(Debug, Clone)]
pub struct CacheFolder {
    committed: PathBuf,
    staging: PathBuf,
    backup: PathBuf,
}

/// A cache could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file or folder in it.
    #[error("could not {operation} {}", path.display())]
    Io {
        /// Completes "could not …".
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is said of its layers is not in its format.
    #[error("could not understand {}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A layer could not be read or written.
    #[error("could not cache layer {layer}")]
    Layer {
        /// `<buildpack id>:<layer>`.
        layer: String,
        /// What went wrong.
        #[source]
        source: LayerError,
    },
    /// The image that is the cache.
    #[error("could not {operation} the cache image")]
    Image {
        /// Completes "could not … the cache image".
        operation: &'static str,
        /// What went wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io {
        operation,
        path,
        source,
    }
}

impl CacheFolder {
    /// Opens a cache, an empty one too; the folder has to be there. What a killed process left is put in order.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let cache = Self {
            committed: folder.join("committed"),
            staging: folder.join("staging"),
            backup: folder.join("committed-backup"),
        };
        fs::metadata(folder).map_err(failed("find the cache folder", folder))?;
        remove(&cache.staging)?;
        if cache.backup.exists() && !cache.committed.exists() {
            // It was killed between the two renames of a commit.
            fs::rename(&cache.backup, &cache.committed)
                .map_err(failed("put back", &cache.backup))?;
        }
        remove(&cache.backup)?;
        fs::create_dir_all(&cache.committed).map_err(failed("make", &cache.committed))?;
        Ok(cache)
    }

    /// Opens the tar of a layer. Whether it is what its name says has to be checked by who reads it.
    pub fn open_layer(&self, sha: &str) -> io::Result<File> {
        File::open(layer_path(&self.committed, sha))
    }

    /// Begins the next state of the cache.
    pub fn begin(&self) -> Result<Staging<'_>, CacheError> {
        remove(&self.staging)?;
        // Where others may write, theirs is not taken for ours.
        fs::create_dir(&self.staging).map_err(failed("make", &self.staging))?;
        Ok(Staging { cache: self })
    }
}

impl LayerCache for CacheFolder {
    fn metadata(&self) -> Result<CacheMetadata, CacheError> {
        let path = self.committed.join(CACHE_METADATA);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| CacheError::Metadata { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(CacheMetadata::default()),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    fn open_layer(&self, sha: &str) -> io::Result<Box<dyn Read + Send>> {
        Self::open_layer(self, sha).map(|file| Box::new(file) as _)
    }

    /// Removes the layer: [`Staging::reuse`] would take it over by its name.
    fn discard(&self, sha: &str) -> io::Result<()> {
        match fs::remove_file(layer_path(&self.committed, sha)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn begin(&self) -> Result<Box<dyn NextState + '_>, CacheError> {
        Self::begin(self).map(|staging| Box::new(staging) as _)
    }
}

/// The next state of a cache folder.
#[derive(Debug)]
pub struct Staging<'a> {
    cache: &'a CacheFolder,
}

impl Staging<'_> {
    /// Takes a layer over from the last state. Returns whether that has it.
    pub fn reuse(&self, sha: &str) -> Result<bool, CacheError> {
        let to = layer_path(&self.cache.staging, sha);
        match fs::hard_link(layer_path(&self.cache.committed, sha), &to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(failed("take over", &to)(source)),
        }
    }

    /// Writes a layer that somebody made, compressed or not. Returns its diffID.
    pub fn add_layer(&self, blob: impl Read) -> Result<String, CacheError> {
        let path = self.cache.staging.join("layer.tar");
        let file = File::create(&path).map_err(failed("make", &path))?;
        let mut hashing = DigestWriter::new(BufWriter::with_capacity(1 << 20, file));
        decompress(blob, &UnpackRules::default())
            .and_then(|mut tar| io::copy(&mut tar, &mut hashing))
            .map_err(failed("fill", &path))?;
        self.name(&path, hashing)
    }

    /// Gives a written tar its name.
    fn name(
        &self,
        path: &Path,
        hashing: DigestWriter<BufWriter<File>>,
    ) -> Result<String, CacheError> {
        let (file, digest, _) = hashing.finish();
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .map_err(failed("write", path))?;
        let sha = digest.to_string();
        fs::rename(path, layer_path(&self.cache.staging, &sha)).map_err(failed("name", path))?;
        Ok(sha)
    }

    /// Makes this the state of a cache that holds layers and nothing else: a launch cache.
    pub fn commit_layers(self) -> Result<(), CacheError> {
        let CacheFolder {
            committed,
            staging,
            backup,
        } = self.cache;
        fs::rename(committed, backup).map_err(failed("set aside", committed))?;
        if let Err(source) = fs::rename(staging, committed) {
            // The last state is better than none, and the first failure matters more than a second.
            drop(fs::rename(backup, committed));
            return Err(failed("commit", staging)(source));
        }
        remove(backup)
    }
}

impl NextState for Staging<'_> {
    /// A tar that was found to be damaged is gone by now.
    fn reuse(&mut self, sha: &str, _origin: Origin) -> Result<bool, CacheError> {
        Self::reuse(self, sha)
    }

    /// The folder's tars are not compressed, so what was made for an image is of no use.
    fn add(
        &mut self,
        layer: &str,
        _made: Option<&LayerBlob>,
        entries: &Entries<'_>,
    ) -> Result<String, CacheError> {
        let path = self.cache.staging.join("layer.tar");
        let file = File::create(&path).map_err(failed("make", &path))?;
        let mut hashing = DigestWriter::new(BufWriter::with_capacity(1 << 20, file));
        let mut tar = LayerTar::new(&mut hashing);
        entries(&mut tar)
            .and_then(|()| tar.finish())
            .map_err(|source| CacheError::Layer {
                layer: layer.to_owned(),
                source,
            })?;
        self.name(&path, hashing)
    }

    fn commit(self: Box<Self>, metadata: &CacheMetadata) -> Result<(), CacheError> {
        let path = self.cache.staging.join(CACHE_METADATA);
        let text = json::label_text(metadata)
            .map_err(io::Error::other)
            .map_err(failed("write", &path))?;
        fs::write(&path, format!("{text}\n")).map_err(failed("write", &path))?;
        self.commit_layers()
    }
}

fn layer_path(folder: &Path, sha: &str) -> PathBuf {
    // Names come from metadata that others wrote: only digests name files.
    let name = sha
        .parse()
        .map_or_else(|_| "none".to_owned(), |digest: Digest| digest.to_string());
    folder.join(format!("{name}.tar"))
}

fn remove(folder: &Path) -> Result<(), CacheError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

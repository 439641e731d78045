//! Layers as tar streams, byte for byte what upstream's lifecycle makes with Go's `archive/tar`
//! (buildpacks/lifecycle `archive` and `layers`), so that equal content has equal diffIDs under either tool.

pub(crate) mod header;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use header::{Header, Kind};

pub use tree::{HardLinks, Order, Overlay, TreeRules};

/// 1980-01-01T00:00:01Z, the modification time of every entry in a buildpacks image.
pub const NORMALIZED_MTIME: i64 = 315_532_801;

const READ_BUFFER: usize = 128 * 1024;

/// Numeric owner of an entry.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// 0:0
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Who owns which path of a layer. What the disk says is never asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners {
    /// The owner of what `paths` does not name.
    pub default: Owner,
    /// Owners by path inside the image (`/var/mail`), leading slash included; not inherited by what is below.
    pub paths: BTreeMap<PathBuf, Owner>,
}

impl Owners {
    /// One owner for everything.
    pub fn all(owner: Owner) -> Self {
        Self {
            default: owner,
            paths: BTreeMap::new(),
        }
    }

    fn of(&self, name: &[u8]) -> Owner {
        if self.paths.is_empty() {
            return self.default;
        }
        let found = if name.starts_with(b"/") {
            self.paths.get(Path::new(OsStr::from_bytes(name)))
        } else {
            self.paths
                .get(&Path::new("/").join(OsStr::from_bytes(name)))
        };
        found.copied().unwrap_or(self.default)
    }
}

/// The modification times in a layer, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// This one for every entry.
    Fixed(i64),
    /// Those on disk, rounded to seconds, but none later than `clamp`.
    Keep {
        /// The latest time allowed (`SOURCE_DATE_EPOCH`).
        clamp: i64,
    },
}

impl Default for Times {
    fn default() -> Self {
        Self::Fixed(NORMALIZED_MTIME)
    }
}

impl Times {
    fn of(self, seconds: i64, nanoseconds: i64) -> i64 {
        match self {
            Self::Fixed(time) => time,
            Self::Keep { clamp } => (seconds + i64::from(nanoseconds >= 500_000_000)).min(clamp),
        }
    }
}

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Something on disk could not be looked at: not permitted, or it vanished.
    #[error("could not read {path} for a layer")]
    Read {
        /// The file, link or directory.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file was written to, replaced or truncated while it was read.
    #[error(
        "{path} changed while it was read for a layer ({change}); stop what writes to it and try again"
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// What was seen.
        change: String,
    },
    /// The content given for an entry does not have the size given.
    #[error("the content of the layer entry {path} is not the {size} bytes announced")]
    Size {
        /// The entry.
        path: PathBuf,
        /// The announced size.
        size: u64,
    },
    /// A name that an archive cannot hold: empty, with a NUL, or of a file and ending with a slash.
    #[error("{path:?} cannot be the name of a layer entry")]
    Name {
        /// The name.
        path: PathBuf,
    },
    /// The upper directory of an overlay holds what a layer cannot express.
    #[error(
        "{path} has the overlay attribute {attribute}, which no layer can express; mount without redirect_dir and metacopy"
    )]
    Overlay {
        /// The file or directory.
        path: PathBuf,
        /// The extended attribute.
        attribute: &'static str,
    },
    /// A directory tree that is no directory was given to be walked, or the like.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// The tar stream could not be written.
    #[error("could not write the layer")]
    Write {
        #[source]
        source: io::Error,
    },
    /// The layer's blob could not be stored.
    #[error("could not store the layer")]
    Store(#[from] crate::StoreError),
    /// The level is not one that the compressor has.
    #[error("there is no compression level {level}; levels go from 0 to 12")]
    Level {
        /// The level asked for.
        level: i32,
    },
}

/// A tar stream being written.
///
/// Names go into the archive as they are given; upstream's are absolute, with the leading slash and without a
/// trailing one. [`LayerTar::finish`] must be called ([`crate::write_layer`] does).
pub struct LayerTar<'a> {
    out: &'a mut dyn Write,
    mtime: i64,
    buffer: Vec<u8>,
}

impl<'a> LayerTar<'a> {
    /// A tar stream into `out`, which should be buffered: headers are written one at a time.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            mtime: NORMALIZED_MTIME,
            buffer: Vec::new(),
        }
    }

    /// The modification time of the entries that follow and are not read from disk, in seconds since 1970.
    pub fn set_mtime(&mut self, seconds: i64) {
        self.mtime = seconds;
    }

    /// Adds a directory.
    pub fn directory(
        &mut self,
        path: impl AsRef<Path>,
        mode: u32,
        owner: Owner,
    ) -> Result<(), LayerError> {
        self.bare(Kind::Directory, path.as_ref(), Path::new(""), mode, owner)
    }

    /// Adds every directory above `path` except `/`, the topmost first, as upstream does before a layer's tree.
    pub fn parents(
        &mut self,
        path: impl AsRef<Path>,
        mode: u32,
        owner: Owner,
    ) -> Result<(), LayerError> {
        let mut parents: Vec<&Path> = path
            .as_ref()
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty() && *parent != Path::new("/"))
            .collect();
        parents.reverse();
        for parent in parents {
            self.directory(parent, mode, owner)?;
        }
        Ok(())
    }

    /// Adds a file with the content of the file `source`, under a mode and an owner that are not the disk's.
    pub fn file_from(
        &mut self,
        path: impl AsRef<Path>,
        mode: u32,
        owner: Owner,
        source: &Path,
    ) -> Result<(), LayerError> {
        let read = |error| LayerError::Read {
            path: source.to_owned(),
            source: error,
        };
        let file = std::fs::File::open(source).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        self.file(path, mode, owner, size, file)
    }

    /// Adds a file with the content of `reader`, which must yield exactly `size` bytes.
    pub fn file(
        &mut self,
        path: impl AsRef<Path>,
        mode: u32,
        owner: Owner,
        size: u64,
        mut reader: impl Read,
    ) -> Result<(), LayerError> {
        let path = path.as_ref();
        self.header(&Header {
            kind: Kind::File,
            name: path.as_os_str().as_bytes(),
            link: b"",
            mode,
            uid: owner.uid,
            gid: owner.gid,
            size,
            mtime: self.mtime,
            device: (0, 0),
        })?;
        match self.content(size, &mut reader)? {
            Content::Complete => Ok(()),
            Content::Shorter(_) | Content::Longer => Err(LayerError::Size {
                path: path.to_owned(),
                size,
            }),
            Content::Failed(source) => Err(LayerError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Adds a symbolic link with the permissions that Linux gives it, 0777. Nothing is resolved.
    pub fn symlink(
        &mut self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
        owner: Owner,
    ) -> Result<(), LayerError> {
        self.symlink_with_mode(path, target, 0o777, owner)
    }

    /// Adds a symbolic link. Upstream's links of process types have the mode 0755.
    pub fn symlink_with_mode(
        &mut self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
        mode: u32,
        owner: Owner,
    ) -> Result<(), LayerError> {
        self.bare(Kind::Symlink, path.as_ref(), target.as_ref(), mode, owner)
    }

    /// Writes the end of the archive.
    pub fn finish(self) -> Result<(), LayerError> {
        header::write_end(self.out).map_err(|source| LayerError::Write { source })
    }

    fn bare(
        &mut self,
        kind: Kind,
        path: &Path,
        target: &Path,
        mode: u32,
        owner: Owner,
    ) -> Result<(), LayerError> {
        self.header(&Header {
            kind,
            name: path.as_os_str().as_bytes(),
            link: target.as_os_str().as_bytes(),
            mode,
            uid: owner.uid,
            gid: owner.gid,
            size: 0,
            mtime: self.mtime,
            device: (0, 0),
        })
    }

    fn header(&mut self, header: &Header<'_>) -> Result<(), LayerError> {
        let ends_wrong = matches!(
            header.kind,
            Kind::File | Kind::Fifo | Kind::CharDevice | Kind::BlockDevice
        ) && header.name.ends_with(b"/");
        if header.name.is_empty()
            || header.name.contains(&0)
            || header.link.contains(&0)
            || ends_wrong
        {
            return Err(LayerError::Name {
                path: PathBuf::from(OsStr::from_bytes(header.name)),
            });
        }
        header::write(self.out, header).map_err(|source| LayerError::Write { source })
    }

    /// Copies `size` bytes and the padding behind them, and makes sure that there is nothing after.
    fn content(&mut self, size: u64, reader: &mut impl Read) -> Result<Content, LayerError> {
        if self.buffer.is_empty() {
            self.buffer.resize(READ_BUFFER, 0);
        }
        let mut left = size;
        loop {
            // At the end, one byte more is asked for: a file that grew must not go unnoticed.
            let wanted = usize::try_from(left)
                .unwrap_or(READ_BUFFER)
                .clamp(1, READ_BUFFER);
            let count = match reader.read(&mut self.buffer[..wanted]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Content::Failed(error)),
            };
            match (count, left) {
                (0, 0) => break,
                (0, _) => return Ok(Content::Shorter(size - left)),
                (_, 0) => return Ok(Content::Longer),
                _ => {}
            }
            left -= count as u64;
            self.out
                .write_all(&self.buffer[..count])
                .map_err(|source| LayerError::Write { source })?;
        }
        self.out
            .write_all(header::padding(size))
            .map_err(|source| LayerError::Write { source })?;
        Ok(Content::Complete)
    }
}

enum Content {
    Complete,
    /// It ended after this many bytes.
    Shorter(u64),
    Longer,
    Failed(io::Error),
}

#[cfg(test)]
mod tests;

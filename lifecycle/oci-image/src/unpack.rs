//! Unpacking layers that nobody vouches for, ready to be a lower directory of overlayfs.

pub(crate) mod decode;
pub(crate) mod entry;
mod place;
mod read_ahead;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::layer_tar::Owner;
use decode::Decoded;
use entry::{EntryKind, TarReader};
use place::Place;
use read_ahead::{Chunks, ReadAhead};

/// What may be unpacked, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackRules {
    /// What becomes of `.wh.` entries.
    pub whiteouts: Whiteouts,
    /// What becomes of the owners in the tar.
    pub ownership: Ownership,
    /// What becomes of what is already there.
    pub existing: Existing,
    /// The longest tar, in bytes, uncompressed.
    pub max_bytes: u64,
    /// The most entries.
    pub max_entries: u64,
    /// The most that a compressed byte may unpack to, once 64 MiB are out.
    pub max_ratio: u64,
}

impl Default for UnpackRules {
    /// For layers of images: 64 GiB, two million entries, 400 bytes for one.
    fn default() -> Self {
        Self {
            whiteouts: Whiteouts::default(),
            ownership: Ownership::default(),
            existing: Existing::default(),
            max_bytes: 64 << 30,
            max_entries: 2_000_000,
            max_ratio: 400,
        }
    }
}

/// What becomes of entries that say that something in a lower layer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// Overlayfs's own marks: a character device 0:0 (which Linux lets anybody make, from 5.8) or, where that is
    /// refused, an empty file with `user.overlay.whiteout`; `user.overlay.opaque` on directories. They are for
    /// overlays mounted with `userxattr`, by root too.
    #[default]
    Overlay,
    /// An error: a package has no layers below it.
    Refuse,
}

/// What becomes of the owners in the tar. [`UnpackReport::owners`] has them either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// Everything belongs to whoever unpacks.
    #[default]
    Ignore,
    /// As in the tar; needs root.
    Keep,
}

/// What becomes of files that are already where an entry goes. Directories are always shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// An error. Into an empty directory, this refuses archives that have a name twice.
    #[default]
    Refuse,
    /// The entry replaces them. A directory entry leaves a link to a directory alone, as dpkg does.
    Replace,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackReport {
    /// SHA-256 of the uncompressed tar, to its very end. Compare it before using what was unpacked.
    pub diff_id: Digest,
    /// Bytes of the uncompressed tar.
    pub bytes: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// Who owns what in the tar, except what belongs to 0:0. Absolute paths.
    pub owners: BTreeMap<PathBuf, Owner>,
    /// Devices that the tar has and that were not made. Absolute paths.
    pub skipped_devices: Vec<PathBuf>,
}

/// Why a layer was not unpacked. What was unpacked before stays; remove it.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The directory to unpack into could not be opened.
    #[error("could not open {path} to unpack a layer into it")]
    Into {
        /// The directory.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The layer could not be read or decompressed, or passes a limit.
    #[error("could not read the layer")]
    Read {
        #[source]
        source: io::Error,
    },
    /// The tar is broken, or says things that readers take in different ways.
    #[error("the layer is not a valid tar, at byte {offset}: {reason}")]
    Malformed {
        /// Where in the uncompressed tar.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// An entry that no layer may have.
    #[error("the layer's entry {path:?} is refused: {reason}")]
    Refused {
        /// The entry's name.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// More entries than the rules allow.
    #[error("the layer has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// Something is already where an entry goes.
    #[error(
        "the layer's entry {path:?} is already there; the layer has it twice, or the directory was not empty"
    )]
    AlreadyThere {
        /// The entry's name.
        path: PathBuf,
    },
    /// An entry could not be made on disk.
    #[error("could not unpack the layer's entry {path:?}")]
    Write {
        /// The entry's name.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Unpacks a tar, uncompressed or compressed with gzip or zstd, into the directory `into`.
///
/// Nothing outside of `into` is touched, whatever the tar says: parents are resolved inside it by the kernel
/// (`openat2`, Linux 5.6), and last components are never followed. Modes are kept with setuid, setgid and sticky;
/// modification times too. Devices are not made. Nothing is synced: what is unpacked can be unpacked again.
pub fn unpack_layer(
    reader: impl Read + Send,
    into: &Path,
    rules: &UnpackRules,
) -> Result<UnpackReport, UnpackError> {
    let place = Place::open(into, rules)?;
    // To decompress and hash costs as much as to make files: one thread does the one, another the other.
    std::thread::scope(|scope| {
        let (ahead, chunks) = ReadAhead::start(scope, reader, rules);
        let contents = unpack(chunks, place, rules)?;
        let (diff_id, bytes) = ahead.finish();
        Ok(UnpackReport {
            diff_id,
            bytes,
            entries: contents.entries,
            owners: contents.owners,
            skipped_devices: contents.skipped_devices,
        })
    })
}

/// What the entries of a tar were.
#[derive(Default)]
struct Contents {
    entries: u64,
    owners: BTreeMap<PathBuf, Owner>,
    skipped_devices: Vec<PathBuf>,
}

/// Unpacks all entries and reads to the end.
fn unpack(
    chunks: Chunks,
    mut place: Place<'_>,
    rules: &UnpackRules,
) -> Result<Contents, UnpackError> {
    let mut tar = TarReader::new(chunks);
    let mut contents = Contents::default();
    while let Some(entry) = tar.next()? {
        contents.entries += 1;
        if contents.entries > rules.max_entries {
            return Err(UnpackError::TooManyEntries {
                limit: rules.max_entries,
            });
        }
        let components = components(&entry.path)?;
        let absolute = || {
            let mut path = PathBuf::from("/");
            path.extend(
                components
                    .iter()
                    .map(|component| OsStr::from_bytes(component)),
            );
            path
        };
        let whiteout = components
            .last()
            .and_then(|name| name.strip_prefix(b".wh."));
        if let Some(hidden) = whiteout {
            if rules.whiteouts == Whiteouts::Refuse {
                return Err(refused(
                    &entry.path,
                    "it is a whiteout, and there is nothing below to hide",
                ));
            }
            place.whiteout(&entry, &components, hidden)?;
            continue;
        }
        if entry.kind == EntryKind::Device {
            contents.skipped_devices.push(absolute());
            continue;
        }
        match entry.kind {
            EntryKind::File => place.file(&entry, &components, &mut tar)?,
            EntryKind::Directory => place.directory(&entry, &components)?,
            _ => place.special(&entry, &components)?,
        }
        if entry.owner != Owner::ROOT {
            contents.owners.insert(absolute(), entry.owner);
        }
    }
    place.finish()?;
    io::copy(&mut tar.into_inner(), &mut io::sink())
        .map_err(|source| UnpackError::Read { source })?;
    Ok(contents)
}

/// The tar of a layer, decompressed while it is read, within the limits of `rules`.
pub fn decompress<R: Read>(reader: R, rules: &UnpackRules) -> io::Result<impl Read + use<R>> {
    Decoded::new(reader, rules)
}

/// The components of an entry's name: none for the root itself.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>, UnpackError> {
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(refused(path, "its name climbs with ..")),
            _ => components.push(component),
        }
    }
    Ok(components)
}

fn refused(path: &[u8], reason: &'static str) -> UnpackError {
    UnpackError::Refused {
        path: shown(path),
        reason,
    }
}

fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests;

//! Which of the host's directories stand in a tree: written before they are moved there, so that
//! whoever comes after a SIGKILL finds them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory of the host that stands in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it belongs.
    pub(crate) source: PathBuf,
    /// Where it is, on the host.
    pub(crate) target: PathBuf,
    pub(crate) way: Way,
}

/// How it got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was renamed; its inode tells whether that had happened yet.
    Moved { inode: u64 },
    /// A copy stands there, the original stays until the copy has returned.
    Copied,
}

/// Replaces the journal. Not fsynced: after a power cut what is lost is a build that was going on
/// and what it had cached.
pub(crate) fn write(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for entry in entries {
        let way = match entry.way {
            Way::Moved { inode } => inode.to_string(),
            Way::Copied => String::from("copied"),
        };
        for field in [
            way.as_bytes(),
            entry.source.as_os_str().as_bytes(),
            entry.target.as_os_str().as_bytes(),
        ] {
            bytes.extend_from_slice(field);
            bytes.push(0);
        }
    }
    let staged = path.with_extension("staged");
    fs::write(&staged, bytes)?;
    fs::rename(staged, path)
}

/// The journal; none where there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<Entry>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut fields = bytes.split(|byte| *byte == 0);
    let mut entries = Vec::new();
    while let Some(way) = fields.next().filter(|way| !way.is_empty()) {
        let way = match way {
            b"copied" => Way::Copied,
            inode => Way::Moved {
                inode: std::str::from_utf8(inode)
                    .ok()
                    .and_then(|inode| inode.parse().ok())
                    .ok_or_else(malformed)?,
            },
        };
        let mut path = || fields.next().map(OsStr::from_bytes).ok_or_else(malformed);
        let (source, target) = (path()?.into(), path()?.into());
        entries.push(Entry {
            source,
            target,
            way,
        });
    }
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert_eq!(read(&path).unwrap(), None);
        let entries = [
            Entry {
                source: "/a b\n".into(),
                target: "/c".into(),
                way: Way::Moved { inode: 7 },
            },
            Entry {
                source: "/d".into(),
                target: "/e".into(),
                way: Way::Copied,
            },
        ];
        write(&path, &entries).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), entries);
        write(&path, &[]).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), []);
    }
}

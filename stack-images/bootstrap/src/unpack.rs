//! A package's files on disk, the way dpkg leaves them in the state "unpacked".

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::deb::{Control, Deb, DebError};
use crate::recipe::PathFilters;

/// Why a package could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The package itself is bad.
    #[error("cannot unpack the package {package}")]
    Package {
        /// Its name.
        package: String,
        /// What is wrong with it.
        #[source]
        source: DebError,
    },
    /// It contains what no package may.
    #[error("refused the package {package}: its entry {entry} {why}")]
    Entry {
        /// Its name.
        package: String,
        /// The path in the package.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another package has the same file.
    #[error("the package {package} contains /{path}, which another package contains too")]
    Clash {
        /// The package that came second.
        package: String,
        /// The path in the root.
        path: PathBuf,
    },
    /// A file could not be made.
    #[error("cannot write {path} of the package {package}")]
    Write {
        /// Its name.
        package: String,
        /// The path in the root.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// An unpacked package.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) control: Control,
    /// dpkg's list of its files: `/.`, `/usr` …, in the package's order and spelling.
    pub(crate) list: String,
    pub(crate) entries: Vec<Entry>,
}

impl Unpacked {
    /// Forgets the maintainer scripts if the package is one of these: dpkg then has none to run.
    pub(crate) fn drop_scripts(&mut self, packages: &[String]) {
        let paragraph = self.control.paragraph();
        let name = paragraph.get("Package").unwrap_or_default();
        if packages.iter().any(|package| package == name) {
            for script in ["config", "preinst", "postinst", "prerm", "postrm"] {
                self.control.files.remove(script);
            }
        }
    }
}

/// What a package says of a path.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it really is: relative to the root, directory links (`bin` → `usr/bin`) resolved.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) user: Named,
    pub(crate) group: Named,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink,
}

/// A user or group as a tar header has it; dpkg goes by the name where the root knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) id: u32,
}

/// A directory that packages are unpacked into, by any number of threads.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    filters: PathFilters,
    /// Top-level links of a merged `/usr`, made or implied before anything is unpacked.
    links: HashMap<&'static OsStr, PathBuf>,
}

/// The links that make `/usr` merged. Packages of Debian 13 ship nothing outside of `/usr` any more, but
/// their lists of files, conffiles and third parties' packages may still name the old paths.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

impl Root {
    /// Opens a directory as a root. `fresh`: the links of a merged `/usr` are made, as they must be
    /// before the first package; otherwise they are somewhere below, in another overlay layer.
    pub(crate) fn open(path: &Path, filters: &PathFilters, fresh: bool) -> io::Result<Self> {
        let fd = rustix::fs::openat(
            CWD,
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut links = HashMap::new();
        for name in MERGED {
            let target = Path::new("usr").join(name);
            if fresh {
                make_directories(fd.as_fd(), &target)?;
                rustix::fs::symlinkat(&target, &fd, name)?;
            }
            links.insert(OsStr::new(name), target);
        }
        Ok(Self {
            fd,
            filters: filters.clone(),
            links,
        })
    }

    /// Unpacks a package; nothing it contains can reach outside of the root.
    pub(crate) fn unpack(&self, path: &Path, package: &str) -> Result<Unpacked, UnpackError> {
        let bad = |source| UnpackError::Package {
            package: package.to_owned(),
            source,
        };
        let mut deb = Deb::open(path).map_err(bad)?;
        let conffiles: BTreeSet<PathBuf> = deb
            .control
            .lines("conffiles")
            .filter_map(|line| line.split_whitespace().next_back())
            .map(|path| self.place(path.as_bytes()).unwrap_or_default())
            .collect();
        let mut list = String::from("/.\n");
        let mut entries = Vec::new();
        let mut parents = Parents::default();
        let data = deb.data().map_err(bad)?;
        let mut archive = tar::Archive::new(data);
        for entry in archive
            .entries()
            .map_err(|error| bad(DebError::Read(error)))?
        {
            let mut entry = entry.map_err(|error| bad(DebError::Read(error)))?;
            let raw = entry.path_bytes().into_owned();
            let refuse = |why| UnpackError::Entry {
                package: package.to_owned(),
                entry: String::from_utf8_lossy(&raw).into_owned(),
                why,
            };
            let place = self
                .place(&raw)
                .ok_or_else(|| refuse("points outside of the root"))?;
            if place.as_os_str().is_empty() {
                continue;
            }
            let Ok(text) = std::str::from_utf8(&raw) else {
                return Err(refuse("has a name that is not UTF-8"));
            };
            let listed = format!("/{}", text.trim_start_matches("./").trim_end_matches('/'));
            list.push_str(&listed);
            list.push('\n');
            let kind = entry.header().entry_type();
            if self.filters.skips(&listed, kind.is_symlink()) {
                continue;
            }
            let header = header(entry.header()).map_err(|error| bad(DebError::Read(error)))?;
            // Until dpkg configures the package, a configuration file stands beside its place.
            let written = if conffiles.contains(&place) {
                with_suffix(&place, ".dpkg-new")
            } else {
                place.clone()
            };
            let write = |source: io::Error| {
                let (package, path) = (package.to_owned(), written.clone());
                match source.kind() {
                    io::ErrorKind::AlreadyExists => UnpackError::Clash { package, path },
                    _ => UnpackError::Write {
                        package,
                        path,
                        source,
                    },
                }
            };
            let parent = parents.of(&self.fd, &written).map_err(write)?;
            let base = written.file_name().unwrap_or_default();
            let kind = if kind.is_dir() {
                directory(parent, base, header.mode).map_err(write)?;
                Kind::Directory
            } else if kind.is_file() {
                file(parent, base, &header, &mut entry).map_err(write)?;
                Kind::File
            } else if kind.is_symlink() {
                let target = entry
                    .link_name_bytes()
                    .ok_or_else(|| refuse("is a link to nowhere"))?;
                symlink(parent, base, &target, header.mtime).map_err(write)?;
                Kind::Symlink
            } else if kind.is_hard_link() {
                let target = entry
                    .link_name_bytes()
                    .and_then(|target| self.place(&target))
                    .ok_or_else(|| refuse("is a link to outside of the root"))?;
                hard_link(&self.fd, &target, parent, base).map_err(write)?;
                Kind::File
            } else {
                return Err(refuse("is neither file, link nor directory"));
            };
            entries.push(Entry {
                path: place,
                kind,
                mode: header.mode,
                user: header.user,
                group: header.group,
            });
        }
        drop(archive);
        Ok(Unpacked {
            control: deb.control,
            list,
            entries,
        })
    }

    /// Where a package's path really is, relative to the root; `None` if it leads out of it.
    fn place(&self, raw: &[u8]) -> Option<PathBuf> {
        let mut place = PathBuf::new();
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return None,
                name => place.push(OsStr::from_bytes(name)),
            }
        }
        let mut components = place.components();
        let Some(first) = components.next() else {
            return Some(place);
        };
        let below = components.as_path();
        match self.links.get(first.as_os_str()) {
            Some(target) if !below.as_os_str().is_empty() => Some(target.join(below)),
            _ => Some(place),
        }
    }
}

struct Header {
    mode: u32,
    mtime: i64,
    user: Named,
    group: Named,
}

fn header(header: &tar::Header) -> io::Result<Header> {
    let name =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let id =
        |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner's id is out of range"));
    Ok(Header {
        mode: header.mode()? & 0o7777,
        mtime: i64::try_from(header.mtime()?).unwrap_or(0),
        user: Named {
            name: name(header.username_bytes()),
            id: id(header.uid()?)?,
        },
        group: Named {
            name: name(header.groupname_bytes()),
            id: id(header.gid()?)?,
        },
    })
}

/// The directory of the entry before: packages list a directory's content together.
#[derive(Default)]
struct Parents {
    path: PathBuf,
    fd: Option<OwnedFd>,
}

impl Parents {
    fn of(&mut self, root: &OwnedFd, path: &Path) -> io::Result<&OwnedFd> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.fd.is_none() || self.path != parent {
            self.fd = Some(open_beneath(root, parent)?);
            parent.clone_into(&mut self.path);
        }
        self.fd
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Opens a directory; a symbolic link on the way is followed as if the root were `/`.
fn open_beneath(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let open = || {
        rustix::fs::openat2(
            root,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    };
    loop {
        match open() {
            Ok(fd) => return Ok(fd),
            // A rename elsewhere during the walk makes the kernel give up rather than be fooled.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A package doesn't have to list the directories of its files.
            Err(Errno::NOENT) => {
                make_directories(root.as_fd(), path)?;
                return Ok(open()?);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn make_directories(root: std::os::fd::BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let mut at = rustix::io::dup(root)?;
    for component in path.components() {
        let name = component.as_os_str();
        if let Err(error) = make_directory(at.as_fd(), name, 0o755)
            && error != Errno::EXIST
        {
            return Err(error.into());
        }
        at = rustix::fs::openat2(
            &at,
            name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        )?;
    }
    Ok(())
}

/// mkdir with exactly this mode, whatever the umask.
fn make_directory(
    parent: std::os::fd::BorrowedFd<'_>,
    name: &OsStr,
    mode: u32,
) -> rustix::io::Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
    rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
}

fn directory(parent: &OwnedFd, name: &OsStr, mode: u32) -> io::Result<()> {
    match make_directory(parent.as_fd(), name, mode) {
        // Which package made it first depends on timing; its mode is settled when all are there.
        // A link to a directory stands for it, as for dpkg.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn file(
    parent: &OwnedFd,
    name: &OsStr,
    header: &Header,
    content: &mut impl Read,
) -> io::Result<()> {
    let fd = rustix::fs::openat(
        parent,
        name,
        OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )?;
    let mut file = File::from(fd);
    let mut buffer = [0; 16 * 1024];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => file.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(header.mode))?;
    rustix::fs::futimens(&file, &times(header.mtime))?;
    Ok(())
}

fn symlink(parent: &OwnedFd, name: &OsStr, target: &[u8], mtime: i64) -> io::Result<()> {
    match rustix::fs::symlinkat(OsStr::from_bytes(target), parent, name) {
        Ok(()) => {}
        // The links of a merged /usr are made before the package that lists them.
        Err(Errno::EXIST)
            if rustix::fs::readlinkat(parent, name, Vec::new())?.as_bytes() == target => {}
        Err(error) => return Err(error.into()),
    }
    rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn hard_link(root: &OwnedFd, target: &Path, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let folder = open_beneath(root, target.parent().unwrap_or(Path::new("")))?;
    let last = target.file_name().unwrap_or_default();
    Ok(rustix::fs::linkat(
        &folder,
        last,
        parent,
        name,
        AtFlags::empty(),
    )?)
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    PathBuf::from(text)
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;

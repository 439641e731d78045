//! The store: everything slugc keeps on disk, under `$XDG_DATA_HOME/slugc`.
//!
//! ```text
//! blobs/sha256/…   compressed, content-addressed
//! roots/<diffid>/  unpacked layers
//! stacks/<name>/   lock and manifest of a stack
//! apps/<name>/     layers between builds, records, locks
//! images/          names of images
//! parts/<id>/      the programs and buildpacks that travel inside slugc
//! tools/<sha256>/  programs that builds fetched, for all apps
//! wheels/<key>/    packages of Python apps, unpacked and compiled, for all apps
//! buildpacks/      what was unpacked of buildpacks' archives and images
//! settings.toml    what slugc settings keeps
//! ```

use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::Printer;
use oci_image::{BlobStore, Image};
use rustix::fs::{FlockOperation, OFlags, flock};
use slug_runtime::roots::Roots;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An opened store.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    blobs: BlobStore,
}

/// Held while it lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Store {
    /// Opens the user's store, making it where it is missing.
    pub(crate) fn open() -> Result<Self, Failure> {
        let root = location()?;
        private_folder(&root)?;
        for folder in ["roots", "stacks", "apps", "parts", "tools", "wheels"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).or_fail(Exit::Store, || {
                format!("cannot make the store's folder {}", path.display())
            })?;
        }
        let blobs = BlobStore::open(root.join("blobs")).or_fail(Exit::Store, || {
            format!("cannot open the store {}", root.display())
        })?;
        Ok(Self { root, blobs })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.blobs
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.root.join("roots")
    }

    pub(crate) fn stack(&self, name: &str) -> PathBuf {
        self.root.join("stacks").join(name)
    }

    pub(crate) fn stacks(&self) -> PathBuf {
        self.root.join("stacks")
    }

    pub(crate) fn app(&self, name: &str) -> PathBuf {
        self.root.join("apps").join(name)
    }

    pub(crate) fn apps(&self) -> PathBuf {
        self.root.join("apps")
    }

    /// Names of images; made when the first one is given.
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Made with the first add-on.
    pub(crate) fn addons(&self) -> PathBuf {
        self.root.join("addons")
    }

    pub(crate) fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    /// Made with the first buildpack that is not slugc's own.
    pub(crate) fn buildpacks(&self) -> PathBuf {
        self.root.join("buildpacks")
    }

    /// Caches that `slugc build --cache` gives a name; made with the first.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn wheels(&self) -> PathBuf {
        self.root.join("wheels")
    }

    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// The folders of an image's unpacked layers, the topmost first; `what` is what messages call the image.
    pub(crate) fn unpacked(&self, image: &Image, what: &str) -> Result<Vec<PathBuf>, Failure> {
        let lowers = Roots::open(self.roots()).and_then(|roots| roots.lowers(image, self.blobs()));
        lowers.map_err(|error| {
            let failed = |exit| Failure::new(exit, format!("cannot unpack {what}"));
            if error.is_of_the_image() {
                failed(Exit::Input).because(error).hint(
                    "the image is damaged or made to do harm: use another, or have it made again",
                )
            } else {
                failed(Exit::Store).because(error)
            }
        })
    }

    /// Every command that uses blobs or roots holds this shared; `cache prune` holds it alone.
    pub(crate) fn use_lock(&self) -> Result<Lock, Failure> {
        lock(&self.root.join("use.lock"), FlockOperation::LockShared)
    }

    /// The store for this command alone; `None` while another one uses it.
    pub(crate) fn try_exclusive_lock(&self) -> Result<Option<Lock>, Failure> {
        try_lock(&self.root.join("use.lock"))
    }

    /// Waits until no other command uses the store, and says for which ones.
    pub(crate) fn exclusive_lock(&self, printer: &Printer) -> Result<Lock, Failure> {
        let path = self.root.join("use.lock");
        if let Some(lock) = self.try_exclusive_lock()? {
            return Ok(lock);
        }
        let commands = holders(&path)
            .into_iter()
            .map(|pid| format!("{} (process {pid})", verb(pid)))
            .collect::<Vec<_>>();
        let colon = if commands.is_empty() { "" } else { ": " };
        printer.warning(&format!(
            "waiting for other commands of slugc to end{colon}{}",
            commands.join(", ")
        ));
        lock(&path, FlockOperation::LockExclusive)
    }
}

/// `$XDG_DATA_HOME/slugc`, else `$HOME/.local/share/slugc` (XDG Base Directory Specification: a
/// relative `XDG_DATA_HOME` is to be ignored).
fn location() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(data) = absolute("XDG_DATA_HOME") {
        return Ok(data.join("slugc"));
    }
    if let Some(home) = absolute("HOME") {
        return Ok(home.join(".local/share/slugc"));
    }
    Err(Failure::new(
        Exit::Store,
        "cannot tell where the store is: neither XDG_DATA_HOME nor HOME is an absolute path",
    )
    .hint("set HOME or XDG_DATA_HOME"))
}

/// Config vars and cached sources are the user's own: nobody else may look into the store.
fn private_folder(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .or_fail(Exit::Store, || {
            format!("cannot make the store {}", path.display())
        })
}

/// Which processes have a lock, as far as the kernel tells (proc(5), `/proc/locks`).
fn holders(path: &Path) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt;
    let Ok(file) = fs::metadata(path) else {
        return Vec::new();
    };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = file.ino().to_string();
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Who waits has an arrow in the second field.
        let [_, "FLOCK", _, _, pid, place, ..] = fields[..] else {
            return None;
        };
        (place.rsplit(':').next()? == inode).then_some(pid.parse().ok()?)
    };
    locks.lines().filter_map(holder).collect()
}

/// What a process of slugc does, without what may be secret.
fn verb(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let word = line.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    let is_verb = |word: &&str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b':')
    };
    let verb = std::str::from_utf8(word).ok().filter(is_verb);
    verb.unwrap_or("a command").to_owned()
}

/// Takes a file lock, waiting for it.
pub(crate) fn lock(path: &Path, operation: FlockOperation) -> Result<Lock, Failure> {
    let file = open_lock(path)?;
    flock(&file, operation).or_fail(Exit::Store, || format!("cannot lock {}", path.display()))?;
    Ok(Lock { _file: file })
}

/// Takes a file lock alone, or `None` when another process holds it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<Lock>, Failure> {
    let file = open_lock(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => {
            Err(Failure::new(Exit::Store, format!("cannot lock {}", path.display())).because(error))
        }
    }
}

fn open_lock(path: &Path) -> Result<File, Failure> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        // In folders that others may write to, what has this name may be a link or a pipe.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .or_fail(Exit::Store, || {
            format!("cannot open the lock {}", path.display())
        })
}

/// Replaces a file by one rename, its bytes on disk first: a reader sees the old one or the new.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, File::sync_all)
}

/// As [`write_file`], but not waited for until it is on disk: for what may be lost in a power cut.
pub(crate) fn write_file_unsynced(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, |_| Ok(()))
}

fn replace(
    path: &Path,
    bytes: &[u8],
    settle: impl Fn(&File) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let attempt = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut staged = tempfile::Builder::new()
            .prefix(".tmp-")
            .tempfile_in(folder)?;
        staged.write_all(bytes)?;
        settle(staged.as_file())?;
        staged.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().or_fail(Exit::Store, || format!("cannot write {}", path.display()))
}

/// Names of the folders in one of the store's, sorted; not its own for staging and marks of use.
pub(crate) fn folders(folder: &Path) -> Result<Vec<String>, Failure> {
    let listing = || format!("cannot list {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).or_fail(Exit::Store, listing)? {
        let entry = entry.or_fail(Exit::Store, listing)?;
        let is_folder = entry.file_type().or_fail(Exit::Store, listing)?.is_dir();
        if is_folder
            && let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes a tree that may not be there. Buildpacks may have left folders that nobody may write
/// to; those are opened first.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            open_folders(path);
            fs::remove_dir_all(path)
                .or_fail(Exit::Store, || format!("cannot remove {}", path.display()))
        }
    }
}

fn open_folders(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let is_folder = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if !is_folder {
        return;
    }
    // The removal that follows reports what still cannot be removed.
    drop(fs::set_permissions(path, fs::Permissions::from_mode(0o700)));
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten() {
            open_folders(&entry.path());
        }
    }
}

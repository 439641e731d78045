//! The last touches: what differs from run to run goes, what the recipe adds comes, times and owners
//! are settled.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use oci_image::{Owner, Owners};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::glob;
use crate::recipe::{Recipe, User};
use crate::settle::Table;
use crate::unpack::Named;

/// Why a configured root could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Something in the root could not be read, written or removed.
    #[error("cannot tidy up {path} in the new root")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The recipe names somebody unknown.
    #[error(
        "the stack recipe gives {path} to {name}, who is not in the new root's /etc/passwd or /etc/group"
    )]
    UnknownOwner {
        /// The pattern.
        path: String,
        /// The user or group.
        name: String,
    },
}

/// Logs, caches, locks and backups: they tell when and where the root was made, and nothing else.
const TRANSIENT: [&str; 23] = [
    "/dev/*",
    "/proc/*",
    "/sys/*",
    "/tmp/*",
    "/var/tmp/*",
    "/etc/*-",
    "/etc/resolv.conf",
    "/etc/hostname",
    "/root/.*",
    "/var/backups/*",
    "/var/cache/apt/*.bin",
    "/var/cache/apt/archives/*.deb",
    "/var/cache/debconf/*-old",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/apt/lists/*_*",
    "/var/lib/dpkg/*-old",
    "/var/lib/dpkg/lock*",
    "/var/lib/dpkg/tmp.ci",
    "/var/lib/dpkg/triggers/Lock",
    "/var/lib/dpkg/updates/*",
    "/var/log/*.log",
    "/var/log/apt/*",
    "/var/lib/systemd/random-seed",
];

/// Removes what is transient, in the root itself or in an upper directory over `below`. Files that
/// are the same below are removed from the upper directory too: overlayfs copies whatever is touched.
pub(crate) fn tidy(root: &Path, below: Option<&Path>, recipe: &Recipe) -> Result<(), FinishError> {
    let skeleton = ["/root/.bashrc", "/root/.profile"];
    let mut found = Vec::new();
    walk(root, &mut |path, metadata| {
        // Directories of /run are part of packages' layouts (/run/lock), files there never are.
        let runtime = path.starts_with("/run/") && !metadata.is_dir();
        let transient = TRANSIENT.iter().any(|pattern| glob::matches(pattern, path));
        let unwanted = recipe
            .remove
            .iter()
            .any(|pattern| glob::matches(pattern, path));
        if runtime || unwanted || (transient && !skeleton.contains(&path)) {
            found.push((path.to_owned(), metadata.is_dir()));
            return Ok(Descend::No);
        }
        Ok(Descend::Yes)
    })?;
    for (path, is_directory) in found {
        let path = root.join(path.trim_start_matches('/'));
        let removed = if is_directory {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(io_error(&path))?;
    }
    match below {
        Some(below) => drop_copies(root, below, Path::new("")).map(|_| ()),
        None => Ok(()),
    }
}

/// Adds the recipe's users and files.
pub(crate) fn add_extras(root: &Path, recipe: &Recipe, epoch: i64) -> Result<(), FinishError> {
    for user in &recipe.users {
        add_user(root, user)?;
    }
    for file in &recipe.files {
        let path = root.join(file.path.trim_start_matches('/'));
        put(&path, file.content.as_bytes(), file.mode)?;
    }
    let filters = recipe.paths.as_dpkg_configuration();
    if !filters.is_empty() {
        // A later `apt install` in the root leaves the same files out.
        put(
            &root.join("etc/dpkg/dpkg.cfg.d/stack"),
            filters.as_bytes(),
            0o644,
        )?;
    }
    let shadow = root.join("etc/shadow");
    if let Some(text) = read(&shadow)? {
        let mode = fs::metadata(&shadow).map_err(io_error(&shadow))?.mode();
        put(
            &shadow,
            with_last_change(&text, epoch / 86_400).as_bytes(),
            mode & 0o7777,
        )?;
    }
    Ok(())
}

/// Sets the modes that the recipe's owner rules give.
pub(crate) fn settle_modes(root: &Path, recipe: &Recipe) -> Result<(), FinishError> {
    walk(root, &mut |path, _| {
        for rule in &recipe.owners {
            if let Some(mode) = rule.mode
                && glob::matches(&rule.path, path)
            {
                let path = root.join(path.trim_start_matches('/'));
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                    .map_err(io_error(&path))?;
            }
        }
        Ok(Descend::Yes)
    })
}

/// Makes nothing younger than `epoch`: what scripts wrote gets exactly this time.
pub(crate) fn settle_times(root: &Path, epoch: i64) -> Result<(), FinishError> {
    let time = Timespec {
        tv_sec: epoch,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let settle = |path: &Path, metadata: &fs::Metadata| {
        if metadata.mtime() < epoch || (metadata.mtime() == epoch && metadata.mtime_nsec() == 0) {
            return Ok(());
        }
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| {
            FinishError::Io {
                path: path.to_owned(),
                source: error.into(),
            }
        })
    };
    walk(root, &mut |path, metadata| {
        settle(&root.join(path.trim_start_matches('/')), metadata)?;
        Ok(Descend::Yes)
    })?;
    let metadata = fs::symlink_metadata(root).map_err(io_error(root))?;
    settle(root, &metadata)
}

/// The owners of a layer: the recipe's rules first, then the packages, then root.
///
/// `etc` are the folders to look names up in, the first that has the file counts.
pub(crate) fn owners(
    root: &Path,
    etc: &[&Path],
    table: &Table,
    recipe: &Recipe,
) -> Result<Owners, FinishError> {
    let users = names(etc, "etc/passwd")?;
    let groups = names(etc, "etc/group")?;
    let id = |names: &BTreeMap<String, u32>, named: &Named| {
        names.get(&named.name).copied().unwrap_or(named.id)
    };
    let mut paths = BTreeMap::new();
    for (path, settled) in table {
        let owner = Owner {
            uid: id(&users, &settled.user),
            gid: id(&groups, &settled.group),
        };
        if owner != Owner::ROOT {
            paths.insert(Path::new("/").join(path), owner);
        }
    }
    let mut rules = Vec::new();
    for rule in &recipe.owners {
        let find = |names: &BTreeMap<String, u32>, name: &String| {
            names
                .get(name)
                .copied()
                .ok_or_else(|| FinishError::UnknownOwner {
                    path: rule.path.clone(),
                    name: name.clone(),
                })
        };
        rules.push((
            &rule.path,
            Owner {
                uid: find(&users, &rule.user)?,
                gid: find(&groups, &rule.group)?,
            },
        ));
    }
    let homes: Vec<_> = recipe
        .users
        .iter()
        .map(|user| {
            (
                user.home.trim_end_matches('/'),
                Owner {
                    uid: user.uid,
                    gid: user.gid,
                },
            )
        })
        .collect();
    walk(root, &mut |path, _| {
        for (home, owner) in &homes {
            if path
                .strip_prefix(home)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            {
                paths.insert(PathBuf::from(path), *owner);
            }
        }
        for (pattern, owner) in &rules {
            if glob::matches(pattern, path) {
                paths.insert(PathBuf::from(path), *owner);
            }
        }
        Ok(Descend::Yes)
    })?;
    Ok(Owners {
        default: Owner::ROOT,
        paths,
    })
}

fn add_user(root: &Path, user: &User) -> Result<(), FinishError> {
    let User {
        name,
        uid,
        gid,
        home,
        shell,
    } = user;
    // No password, none to be asked for: `!` locks it. Ageing starts with the root itself.
    for (file, line) in [
        (
            "etc/passwd",
            format!("{name}:x:{uid}:{gid}::{home}:{shell}\n"),
        ),
        ("etc/group", format!("{name}:x:{gid}:\n")),
        ("etc/shadow", format!("{name}:!:0:0:99999:7:::\n")),
        ("etc/gshadow", format!("{name}:!::\n")),
    ] {
        let path = root.join(file);
        let Some(mut text) = read(&path)? else {
            continue;
        };
        if text
            .lines()
            .any(|line| line.split(':').next() == Some(name))
        {
            continue;
        }
        let mode = fs::metadata(&path).map_err(io_error(&path))?.mode() & 0o7777;
        text.push_str(&line);
        put(&path, text.as_bytes(), mode)?;
    }
    let home = root.join(home.trim_start_matches('/'));
    fs::create_dir_all(&home).map_err(io_error(&home))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).map_err(io_error(&home))
}

fn with_last_change(shadow: &str, day: i64) -> String {
    shadow
        .lines()
        .map(|line| {
            let mut fields: Vec<_> = line.split(':').collect();
            let day = day.to_string();
            if let Some(field) = fields.get_mut(2)
                && !field.is_empty()
            {
                *field = &day;
            }
            fields.join(":") + "\n"
        })
        .collect()
}

fn names(etc: &[&Path], file: &str) -> Result<BTreeMap<String, u32>, FinishError> {
    for folder in etc {
        let Some(text) = read(&folder.join(file))? else {
            continue;
        };
        let entry = |line: &str| {
            let mut fields = line.split(':');
            Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
        };
        return Ok(text.lines().filter_map(entry).collect());
    }
    Ok(BTreeMap::new())
}

/// Removes from `root/path` what is the same in `below/path`; says whether nothing is left of it.
fn drop_copies(root: &Path, below: &Path, path: &Path) -> Result<bool, FinishError> {
    let (here, there) = (root.join(path), below.join(path));
    let Ok(old) = fs::symlink_metadata(&there) else {
        return Ok(false);
    };
    let new = fs::symlink_metadata(&here).map_err(io_error(&here))?;
    if new.mode() != old.mode() {
        return Ok(false);
    }
    if new.is_dir() {
        let mut empty = true;
        for entry in fs::read_dir(&here).map_err(io_error(&here))? {
            let entry = entry.map_err(io_error(&here))?;
            empty &= drop_copies(root, below, &path.join(entry.file_name()))?;
        }
        if empty && !path.as_os_str().is_empty() && !is_opaque(&here) {
            fs::remove_dir(&here).map_err(io_error(&here))?;
            return Ok(true);
        }
        return Ok(false);
    }
    let same = if new.is_file() {
        new.len() == old.len()
            && fs::read(&here).map_err(io_error(&here))?
                == fs::read(&there).map_err(io_error(&there))?
    } else if new.is_symlink() {
        fs::read_link(&here).map_err(io_error(&here))?
            == fs::read_link(&there).map_err(io_error(&there))?
    } else {
        false
    };
    if same {
        fs::remove_file(&here).map_err(io_error(&here))?;
    }
    Ok(same)
}

/// An opaque directory hides what is below it: empty, it still says something.
fn is_opaque(path: &Path) -> bool {
    ["user.overlay.opaque", "trusted.overlay.opaque"]
        .iter()
        .any(|name| {
            let mut value = [0; 8];
            rustix::fs::lgetxattr(path, *name, &mut value).is_ok()
        })
}

enum Descend {
    Yes,
    No,
}

/// Visits everything below a root, parents first; paths begin with a slash.
fn walk(
    root: &Path,
    visit: &mut dyn FnMut(&str, &fs::Metadata) -> Result<Descend, FinishError>,
) -> Result<(), FinishError> {
    fn below(
        folder: &Path,
        at: &str,
        visit: &mut dyn FnMut(&str, &fs::Metadata) -> Result<Descend, FinishError>,
    ) -> Result<(), FinishError> {
        for entry in fs::read_dir(folder).map_err(io_error(folder))? {
            let entry = entry.map_err(io_error(folder))?;
            let metadata = entry.metadata().map_err(io_error(folder))?;
            let path = format!("{at}/{}", entry.file_name().to_string_lossy());
            if matches!(visit(&path, &metadata)?, Descend::Yes) && metadata.is_dir() {
                below(&entry.path(), &path, visit)?;
            }
        }
        Ok(())
    }
    below(root, "", visit)
}

fn read(path: &Path) -> Result<Option<String>, FinishError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FinishError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), FinishError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
    }
    // Not through a link that a package may have put there: it could point out of the root.
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(FinishError::Io {
                path: path.to_owned(),
                source,
            });
        }
    }
    fs::write(path, content).map_err(io_error(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io_error(path))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> FinishError {
    let path = path.to_owned();
    move |source| FinishError::Io {
        path: path.clone(),
        source,
    }
}

//! Who a dyno's processes are, by the image's own files.

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files of users and groups are small; what is bigger is not one.
const LARGEST: u64 = 1 << 20;

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
}

/// Why the image's user is nobody.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("the image wants to run as {name:?}, who is not in its {file}")]
    Unknown { name: String, file: &'static str },
    #[error("cannot read {file} in the image's layer {}", layer.display())]
    Read {
        file: &'static str,
        layer: PathBuf,
        source: io::Error,
    },
}

/// Resolves the `User` of an image's configuration (image-spec, config.md): a name or number, and
/// a group's name or number after a colon. Without one it is root. A number without an entry in
/// /etc/passwd gets group 0 and the home `/`, as under Docker.
pub(crate) fn resolve(spec: &str, lowers: &[PathBuf]) -> Result<User, UserError> {
    let (name, group) = match spec.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number: Option<u32> = name.parse().ok();
    let passwd = read(lowers, "etc/passwd")?;
    let entry = passwd.lines().find_map(|line| {
        let entry = PasswdEntry::parse(line)?;
        (entry.name == name || Some(entry.uid) == number).then_some(entry)
    });
    let uid = match (number, &entry) {
        (Some(number), _) => number,
        (None, Some(entry)) => entry.uid,
        (None, None) => {
            return Err(UserError::Unknown {
                name: name.to_owned(),
                file: "/etc/passwd",
            });
        }
    };
    let gid = match group {
        None => entry.as_ref().map_or(0, |entry| entry.gid),
        Some(group) => match group.parse() {
            Ok(number) => number,
            Err(_) => group_id(&read(lowers, "etc/group")?, group)?,
        },
    };
    let home = entry.map_or("/", |entry| entry.home).into();
    Ok(User { uid, gid, home })
}

#[derive(Debug)]
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    /// passwd(5): name:password:uid:gid:comment:home:shell.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1)?;
        home.starts_with('/').then_some(Self {
            name,
            uid,
            gid,
            home,
        })
    }
}

/// group(5): name:password:gid:members.
fn group_id(groups: &str, wanted: &str) -> Result<u32, UserError> {
    groups
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == wanted).then(|| fields.nth(1)?.parse().ok())?
        })
        .ok_or_else(|| UserError::Unknown {
            name: wanted.to_owned(),
            file: "/etc/group",
        })
}

/// The topmost layer's version of a file. Layers are strangers' data: a symlink in them must not
/// lead to the host's file of that name, so none is followed.
fn read(lowers: &[PathBuf], file: &'static str) -> Result<String, UserError> {
    for layer in lowers {
        let attempt = read_beneath(layer, file).map_err(|source| UserError::Read {
            file,
            layer: layer.clone(),
            source,
        })?;
        if let Some(text) = attempt {
            return Ok(text);
        }
    }
    Ok(String::new())
}

fn read_beneath(layer: &Path, file: &str) -> io::Result<Option<String>> {
    let Some(file) = open_beneath(layer, file, OFlags::NONBLOCK)? else {
        return Ok(None);
    };
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Opens what a layer itself has at a path, without following symlinks.
pub(crate) fn open_beneath(
    layer: &Path,
    path: &str,
    flags: OFlags,
) -> io::Result<Option<std::os::fd::OwnedFd>> {
    let layer = rustix::fs::open(layer, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let opened = openat2(
        &layer,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | flags,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    match opened {
        Ok(file) => Ok(Some(file)),
        // ENXIO: a whiteout, which is a device of which no driver exists.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    fn layer(passwd: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["upper/etc", "lower/etc"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("lower/etc/passwd"), passwd).unwrap();
        fs::write(
            folder.path().join("lower/etc/group"),
            "root:x:0:\nstaff:x:50:a,b\n",
        )
        .unwrap();
        let lowers = ["upper", "lower"].map(|name| folder.path().join(name));
        (folder, lowers.to_vec())
    }

    #[test]
    fn names_and_numbers() {
        let (_folder, lowers) =
            layer("root:x:0:0:root:/root:/bin/sh\ncnb:x:1000:1001:,,,:/home/cnb:/bin/bash\n");
        for (spec, uid, gid, home) in [
            ("", 0, 0, "/root"),
            ("cnb", 1000, 1001, "/home/cnb"),
            ("1000", 1000, 1001, "/home/cnb"),
            ("1000:1000", 1000, 1000, "/home/cnb"),
            ("cnb:staff", 1000, 50, "/home/cnb"),
            ("4711", 4711, 0, "/"),
            ("cnb:", 1000, 1001, "/home/cnb"),
        ] {
            let home = PathBuf::from(home);
            assert_eq!(
                resolve(spec, &lowers).unwrap(),
                User { uid, gid, home },
                "{spec}"
            );
        }
        for unknown in ["nobody", "cnb:nobody", "-1"] {
            let error = resolve(unknown, &lowers).unwrap_err();
            assert!(
                matches!(error, UserError::Unknown { .. }),
                "{unknown}: {error}"
            );
        }
    }

    #[test]
    fn links_to_the_host_are_not_followed() {
        let (folder, lowers) = layer("");
        let link = folder.path().join("upper/etc/passwd");
        std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
        assert_eq!(resolve("0", &lowers).unwrap().home, PathBuf::from("/"));
    }
}

//! Whom a test runs `slugc` as.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Root, or somebody without any privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// User 0; only where the tests themselves run as root.
    Root,
    /// The user `SLUGC_TEST_USER`, else the first of /etc/passwd with subordinate ids, else the
    /// first of all; the tests' own user where that is not root.
    Plain,
    /// User and group ids that no file of the machine knows: no name, no subordinate ids.
    Nameless(u32),
}

/// The ids behind a [`Who`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Who {
    /// `None` where this machine, or the tests' own rights, cannot give that user.
    pub(crate) fn ids(self) -> Option<Ids> {
        let own = Ids {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        match self {
            Self::Root => (own.uid == 0).then_some(own),
            Self::Plain if own.uid != 0 => Some(own),
            Self::Plain => plain_user(),
            Self::Nameless(id) => (own.uid == 0).then_some(Ids { uid: id, gid: id }),
        }
    }

    /// The name of this user's folder among the shared stores.
    pub(crate) fn folder(self) -> String {
        match self {
            Self::Root => "root".to_owned(),
            Self::Plain => "plain".to_owned(),
            Self::Nameless(id) => format!("nameless-{id}"),
        }
    }
}

impl Ids {
    /// A command that runs `program` as this user: setpriv replaces itself by it, so that the
    /// child's pid is the program's.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        if rustix::process::geteuid().as_raw() == self.uid {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &self.uid.to_string()])
            .args(["--regid", &self.gid.to_string()])
            .args(["--clear-groups", "--inh-caps=-all"])
            .arg("--")
            .arg(program);
        command
    }

    /// Gives a whole tree to this user; links themselves are given, never what they point to.
    pub(crate) fn own(self, path: &Path) {
        let done = || -> std::io::Result<()> {
            std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))?;
            if fs::symlink_metadata(path)?.is_dir() {
                for entry in fs::read_dir(path)? {
                    self.own(&entry?.path());
                }
            }
            Ok(())
        };
        if let Err(error) = done() {
            panic!(
                "cannot give {} to user {}: {error}",
                path.display(),
                self.uid
            );
        }
    }

    /// Whether this user can walk to `path` and read it.
    pub(crate) fn reaches(self, path: &Path) -> bool {
        self.uid == 0
            || path.ancestors().all(|part| {
                fs::metadata(part).is_ok_and(|meta| {
                    let bits = if meta.uid() == self.uid { 0o500 } else { 0o005 };
                    meta.mode() & bits == bits
                })
            })
    }
}

fn plain_user() -> Option<Ids> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let wanted = std::env::var("SLUGC_TEST_USER").ok();
    let subordinate = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let users: Vec<(&str, Ids)> = passwd
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let ids = Ids {
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
            };
            Some((*fields.first()?, ids))
        })
        .collect();
    if let Some(wanted) = wanted {
        return users
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, ids)| *ids);
    }
    let ordinary = || {
        users
            .iter()
            .filter(|(_, ids)| (1000..60000).contains(&ids.uid))
    };
    ordinary()
        .find(|(name, _)| {
            subordinate
                .lines()
                .any(|line| line.split(':').next() == Some(*name))
        })
        .or_else(|| ordinary().next())
        .map(|(_, ids)| *ids)
}

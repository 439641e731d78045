//! Service bindings: folders with a file `type` and one file for each secret (Service Binding Specification for
//! Kubernetes, "Workload Projection"; CNB extension "bindings").

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Names the folder that bindings are in, to builds and to dynos.
pub const VARIABLE: &str = "SERVICE_BINDING_ROOT";
/// That folder: below the platform folder of builds, and the same in dynos.
pub const INSIDE: &str = "/platform/bindings";

/// Secrets are small; a folder with more, in bytes, is no binding.
const LARGEST: u64 = 4 << 20;

/// A service binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// What its folder is called inside.
    pub name: String,
    /// Where it is on this machine, without symbolic links in the path.
    pub folder: PathBuf,
}

/// Why a binding cannot be given to a build or a dyno. Values are never part of it.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// A file of it could not be read.
    #[error("cannot read {} of the binding {name}", path.display())]
    Read {
        /// The binding.
        name: String,
        /// Its folder, or the file in it.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A link leads to a file elsewhere.
    #[error(
        "{key} of the binding {name} leads out of its folder; replace it by a copy of what it points to"
    )]
    LeadsOut {
        /// The binding.
        name: String,
        /// The file.
        key: String,
    },
    /// It has more than any secret.
    #[error("the binding {name} has more than {} MiB", LARGEST >> 20)]
    TooLarge {
        /// The binding.
        name: String,
    },
    /// The copy could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Binding {
    /// Copies it below `into`, readable by `owner` (user and group) alone. Links, which Kubernetes makes of all keys,
    /// are followed as long as they stay inside; names that begin with a dot are left out, as the specification says.
    pub fn copy(&self, into: &Path, owner: (u32, u32)) -> Result<(), BindingError> {
        let reading = |path: &Path| {
            let (name, path) = (self.name.clone(), path.to_owned());
            move |source| BindingError::Read { name, path, source }
        };
        let target = into.join(&self.name);
        make_folder(&target, owner).map_err(|source| BindingError::Write {
            path: target.clone(),
            source,
        })?;
        let mut left = LARGEST;
        for entry in fs::read_dir(&self.folder).map_err(reading(&self.folder))? {
            let name = entry.map_err(reading(&self.folder))?.file_name();
            let key = name.to_string_lossy().into_owned();
            if key.starts_with('.') {
                continue;
            }
            let named = self.folder.join(&name);
            let path = named.canonicalize().map_err(reading(&named))?;
            if !fs::metadata(&path).map_err(reading(&named))?.is_file() {
                continue;
            }
            if !path.starts_with(&self.folder) {
                return Err(BindingError::LeadsOut {
                    name: self.name.clone(),
                    key,
                });
            }
            let mut content = Vec::new();
            File::open(&path)
                .and_then(|file| file.take(left + 1).read_to_end(&mut content))
                .map_err(reading(&named))?;
            left =
                left.checked_sub(content.len() as u64)
                    .ok_or_else(|| BindingError::TooLarge {
                        name: self.name.clone(),
                    })?;
            let to = target.join(&name);
            write(&to, &content, owner)
                .map_err(|source| BindingError::Write { path: to, source })?;
        }
        Ok(())
    }
}

/// Makes the folder that bindings are copied into.
pub fn make_folder(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    give(path, owner)
}

fn write(path: &Path, content: &[u8], owner: (u32, u32)) -> io::Result<()> {
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    give(path, owner)
}

fn give(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(uid), Some(gid))?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let source = root.join("db");
        fs::create_dir_all(source.join("..data")).unwrap();
        fs::write(source.join("..data/type"), "postgresql").unwrap();
        std::os::unix::fs::symlink("..data/type", source.join("type")).unwrap();
        fs::write(source.join("password"), "s3cret").unwrap();
        let binding = Binding {
            name: "db".to_owned(),
            folder: source.clone(),
        };
        let into = root.join("into");
        fs::create_dir(&into).unwrap();
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        binding.copy(&into, own).unwrap();
        let read = |name: &str| fs::read_to_string(into.join("db").join(name)).unwrap();
        assert_eq!(read("type"), "postgresql");
        assert_eq!(read("password"), "s3cret");
        assert!(!into.join("db/..data").exists());
        let mode = fs::metadata(into.join("db/password"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        std::os::unix::fs::symlink("/etc/hostname", source.join("host")).unwrap();
        let refused = binding.copy(&into, own).unwrap_err();
        assert!(matches!(refused, BindingError::LeadsOut { key, .. } if key == "host"));
        fs::remove_file(source.join("host")).unwrap();
        fs::write(source.join("large"), vec![0; (5 << 20) + 1]).unwrap();
        assert!(matches!(
            binding.copy(&into, own),
            Err(BindingError::TooLarge { .. })
        ));
    }
}

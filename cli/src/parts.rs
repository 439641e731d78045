//! The static programs and buildpacks that travel inside slugc, laid out in the store on first use.

use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

struct Part {
    place: &'static str,
    mode: u32,
    content: &'static [u8],
}

const PARTS: &[Part] = include!(concat!(env!("OUT_DIR"), "/parts.rs"));

/// Changes whenever one of the parts does.
pub(crate) const ID: &str = env!("SLUGC_PARTS_ID");

/// Our buildpacks in the order that `slugc build` tries them.
pub(crate) const BUILDPACKS: [&str; 3] = ["aptfile", "python", "procfile"];

/// The names that platforms start the lifecycle's program by.
pub(crate) const PHASES: [&str; 7] = [
    "analyzer", "builder", "creator", "detector", "exporter", "rebaser", "restorer",
];

/// Where the parts are.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Lays the parts out, once for each build of slugc.
    pub(crate) fn in_store(store: &Store) -> Result<Self, Failure> {
        let folder = store.parts().join(ID);
        if !folder.is_dir() {
            lay_out(&store.parts(), &folder).or_fail(Exit::Store, || {
                format!(
                    "cannot lay out slugc's own programs in {}",
                    folder.display()
                )
            })?;
        }
        Ok(Self { folder })
    }

    /// The folder with `lifecycle`, `launcher` and the phases' names.
    pub(crate) fn lifecycle(&self) -> PathBuf {
        self.folder.join("lifecycle")
    }

    pub(crate) fn launcher(&self) -> PathBuf {
        self.folder.join("lifecycle/launcher")
    }

    /// The folder of one of [`BUILDPACKS`].
    pub(crate) fn buildpack(&self, name: &str) -> PathBuf {
        self.folder.join("buildpacks").join(name)
    }
}

fn lay_out(parent: &Path, folder: &Path) -> std::io::Result<()> {
    let staged = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempdir_in(parent)?;
    // The sandbox's user reads these through a bind mount.
    fs::set_permissions(
        staged.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    for part in PARTS {
        let path = staged.path().join(part.place);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::options()
            .create_new(true)
            .write(true)
            .mode(part.mode)
            .open(&path)?;
        file.write_all(part.content)?;
        file.sync_all()?;
    }
    for phase in PHASES {
        symlink("lifecycle", staged.path().join("lifecycle").join(phase))?;
    }
    for buildpack in BUILDPACKS {
        symlink(
            "build",
            staged
                .path()
                .join("buildpacks")
                .join(buildpack)
                .join("bin/detect"),
        )?;
    }
    match fs::rename(staged.path(), folder) {
        Ok(()) => {
            // The folder has its final name: nothing is left to remove.
            drop(staged.keep());
            Ok(())
        }
        // Another slugc was faster; its parts have the same identity.
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

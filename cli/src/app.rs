//! An app in the store: its name, its folder, what the last build left.

use crate::args::AppArgs;
use crate::failure::{Exit, Failure, OrFail};
use crate::project;
use crate::store::{self, Lock, Store};
use crate::ui::printer::Printer;
use oci_image::Descriptor;
use serde::{Deserialize, Serialize};
use slug_runtime::nearest::nearest;
use slug_runtime::state::{AppState, Release, ReleaseImage};
use std::fs;
use std::path::{Path, PathBuf};

/// An app's name: lower-case letters, digits and hyphens, at most 63 characters (a DNS label, so
/// that it can name a host, a service or a repository).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppName(String);

impl AppName {
    /// A name as a user typed it.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let valid = !text.is_empty()
            && text.len() <= 63
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                Failure::new(Exit::Usage, format!("{text:?} cannot be an app's name")).hint(
                    "use lower-case letters, digits and inner hyphens, at most 63 characters",
                ),
            )
        }
    }

    /// The nearest valid name, as for a folder called `My Shop_2`.
    fn near(text: &str) -> Option<Self> {
        let mut name: String = text
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(63)
            .collect();
        while name.contains("--") {
            name = name.replace("--", "-");
        }
        Self::parse(name.trim_matches('-')).ok()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// `-a`, else the `id` of the folder's project.toml, else the folder's name.
    pub(crate) fn choose(args: &AppArgs, folder: &Path) -> Result<Self, Failure> {
        if let Some(name) = &args.app {
            return Self::parse(name);
        }
        let folder = folder
            .canonicalize()
            .or_fail(Exit::Input, || {
                format!("cannot find the folder {}", folder.display())
            })
            .map_err(|failure| failure.hint("give the path of the app's folder"))?;
        let id = if folder.is_dir() {
            project::read(&folder)?.id
        } else {
            None
        };
        let name = id.or_else(|| Some(folder.file_name()?.to_string_lossy().into_owned()));
        name.as_deref().and_then(Self::near).ok_or_else(|| {
            Failure::new(
                Exit::Input,
                format!("cannot make an app's name of {}", folder.display()),
            )
            .hint("name the app with -a NAME, or with id in project.toml")
        })
    }
}

/// The image that an app's last successful build made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AppImage {
    pub(crate) manifest: Descriptor,
    /// The stack that it stands on.
    pub(crate) stack: String,
    /// The folder that it was built from.
    pub(crate) source: PathBuf,
}

impl From<AppImage> for ReleaseImage {
    fn from(image: AppImage) -> Self {
        Self {
            manifest: image.manifest,
            stack: image.stack,
        }
    }
}

/// An app's folder in the store.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: AppName,
    folder: PathBuf,
}

impl App {
    pub(crate) fn of(store: &Store, name: AppName) -> Self {
        Self {
            folder: store.app(name.as_str()),
            name,
        }
    }

    /// All apps of a store, by name.
    pub(crate) fn all(store: &Store) -> Result<Vec<Self>, Failure> {
        let names = store::folders(&store.apps())?;
        let apps = names
            .iter()
            .filter_map(|name| Some(Self::of(store, AppName::parse(name).ok()?)));
        Ok(apps.collect())
    }

    /// The app that is meant, which has to be in the store.
    pub(crate) fn known(store: &Store, args: &AppArgs) -> Result<Self, Failure> {
        let app = Self::of(store, AppName::choose(args, Path::new("."))?);
        if app.folder.is_dir() {
            return Ok(app);
        }
        let name = app.name.as_str();
        let failure = Failure::new(Exit::Input, format!("there is no app {name}"));
        Err(match app.nearest(store) {
            Some(meant) => failure.hint(format!("did you mean {meant}? Name it with -a {meant}")),
            None => {
                failure.hint("build it first: slugc build PATH, or name another app with -a NAME")
            }
        })
    }

    /// The app that is meant, which comes into being with what is kept for it.
    pub(crate) fn known_or_new(
        store: &Store,
        args: &AppArgs,
        printer: &Printer,
    ) -> Result<Self, Failure> {
        let app = Self::of(store, AppName::choose(args, Path::new("."))?);
        // A folder's own name is not misspelt.
        if args.app.is_some()
            && !app.folder.is_dir()
            && let Some(meant) = app.nearest(store)
        {
            printer.warning(&format!(
                "the app {} is new; did you mean {meant}?",
                app.name.as_str()
            ));
        }
        Ok(app)
    }

    /// An app of the store with nearly this name.
    fn nearest(&self, store: &Store) -> Option<String> {
        let entries = fs::read_dir(store.apps()).ok()?;
        let names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        nearest(self.name.as_str(), names.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Releases, config vars and quantities of dynos.
    pub(crate) fn state(&self) -> AppState {
        AppState::new(self.folder.clone())
    }

    /// The release in effect.
    pub(crate) fn current(&self) -> Result<Option<Release>, Failure> {
        self.state().current().or_fail(Exit::Store, || {
            format!("cannot read the releases of {}", self.name.as_str())
        })
    }

    /// The newest release, whatever became of it.
    pub(crate) fn newest_release(&self) -> Result<Option<Release>, Failure> {
        let newest = self.state().newest(1).or_fail(Exit::Store, || {
            format!("cannot read the releases of {}", self.name.as_str())
        });
        Ok(newest?.pop())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `<layers>` of the CNB specification, in place from one build to the next.
    pub(crate) fn layers(&self) -> PathBuf {
        self.folder.join("layers")
    }

    /// Roots of sandboxes as real trees, where the machine allows no overlays.
    pub(crate) fn trees(&self) -> PathBuf {
        self.folder.join("trees")
    }

    /// What a build needs while it runs, and the copy of a large source for the next one.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Scratch folders of its dynos, and the records of its one-offs.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Its log: written by dynos, the router and the platform.
    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Held shared while config vars are in somebody's editor.
    pub(crate) fn edit_lock_file(&self) -> PathBuf {
        self.folder.join("edit.lock")
    }

    pub(crate) fn record_file(&self) -> PathBuf {
        self.folder.join("build.json")
    }

    /// Which caches a build left whose buildpack failed.
    pub(crate) fn caches_file(&self) -> PathBuf {
        self.folder.join("caches.json")
    }

    /// There while a build runs: found at the next start, it tells that the last one was cut off.
    pub(crate) fn unfinished_mark(&self) -> PathBuf {
        self.folder.join("unfinished")
    }

    pub(crate) fn create(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.folder).or_fail(Exit::Store, || {
            format!("cannot make {}", self.folder.display())
        })
    }

    /// One build of an app at a time; `waiting` is called once if another one runs.
    pub(crate) fn build_lock(&self, waiting: impl FnOnce()) -> Result<Lock, Failure> {
        let path = self.folder.join("build.lock");
        if let Some(lock) = store::try_lock(&path)? {
            return Ok(lock);
        }
        waiting();
        store::lock(&path, rustix::fs::FlockOperation::LockExclusive)
    }

    /// The last image, or `None` when there was no build.
    pub(crate) fn image(&self) -> Result<Option<AppImage>, Failure> {
        read_json(&self.folder.join("image.json"))
    }

    pub(crate) fn set_image(&self, image: &AppImage) -> Result<(), Failure> {
        write_json(&self.folder.join("image.json"), image)
    }

    /// The last image, for commands that need one.
    pub(crate) fn built_image(&self) -> Result<AppImage, Failure> {
        self.image()?.ok_or_else(|| {
            Failure::new(
                Exit::Input,
                format!("the app {} has no image", self.name.as_str()),
            )
            .hint("build it first: slugc build PATH, or name another app with -a NAME")
        })
    }
}

/// Reads a JSON document of ours; a missing one is `None`.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(
                Failure::new(Exit::Store, format!("cannot read {}", path.display())).because(error),
            );
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .or_fail(Exit::Store, || {
            format!("cannot understand {}", path.display())
        })
        .map_err(|failure| failure.hint(format!("remove {} and build again", path.display())))
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let bytes = serde_json::to_vec_pretty(value)
        .or_fail(Exit::Store, || format!("cannot write {}", path.display()))?;
    store::write_file(path, &bytes)
}

/// As [`write_json`], short and not waited for until it is on disk: for what may be lost in a power cut.
pub(crate) fn write_json_unsynced<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(value)
        .or_fail(Exit::Store, || format!("cannot write {}", path.display()))?;
    store::write_file_unsynced(path, &bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["shop", "shop-2", "a", "0"] {
            assert_eq!(AppName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "Shop", "a_b", "a/b", "..", &"a".repeat(64)] {
            assert!(AppName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name() {
        for (folder, name) in [
            ("My Shop_2", Some("my-shop-2")),
            ("io.acme.shop", Some("io-acme-shop")),
            ("--x--", Some("x")),
            ("…", None),
        ] {
            assert_eq!(AppName::near(folder).map(|name| name.0).as_deref(), name);
        }
    }
}

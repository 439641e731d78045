//! The state of one app, in its folder.

use crate::size::Size;
use crate::state::{NewRelease, Release, StateError, StateLock, Status, files};
use cnb_spec::names::ProcessType;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How many dynos of each process type run. A type that is not there was never scaled.
pub type Formation = BTreeMap<ProcessType, u32>;
/// The sizes of dynos by process type.
pub type Sizes = BTreeMap<ProcessType, Size>;

/// The state of one app.
#[derive(Debug, Clone)]
pub struct AppState {
    folder: PathBuf,
}

impl AppState {
    /// `app_folder` is the app's folder in the store; it is made when something is written.
    pub fn new(app_folder: PathBuf) -> Self {
        Self { folder: app_folder }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for the lock, and gives up releases whose makers were killed: they count as failed.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        loop {
            if let Some(lock) = self.take_lock(true)? {
                return Ok(lock);
            }
        }
    }

    /// As [`Self::lock`], or `None` when another process makes a release.
    pub fn try_lock(&self) -> Result<Option<StateLock>, StateError> {
        self.take_lock(false)
    }

    /// The lock without a look at the releases, for whoever removes the app; `None` when another process makes a release.
    pub fn try_claim(&self) -> Result<Option<StateLock>, StateError> {
        self.claim(false)
    }

    fn claim(&self, wait: bool) -> Result<Option<StateLock>, StateError> {
        StateLock::take(&self.folder.join("state.lock"), wait)
    }

    fn take_lock(&self, wait: bool) -> Result<Option<StateLock>, StateError> {
        let lock = self.claim(wait)?;
        if let Some(lock) = &lock {
            self.settle(lock)?;
        }
        Ok(lock)
    }

    /// Nobody makes a release while we hold the lock, so what still looks so was cut off.
    fn settle(&self, lock: &StateLock) -> Result<(), StateError> {
        files::sweep(&self.releases_folder())?;
        // Releases are made one after the other: only the newest can be unfinished.
        if let Some(version) = self.versions()?.pop()
            && let Some(release) = self.release(version)?
            && release.status == Status::Pending
        {
            self.finish(lock, version, Status::Failed)?;
        }
        Ok(())
    }

    /// All releases, the oldest first.
    pub fn releases(&self) -> Result<Vec<Release>, StateError> {
        let mut releases = Vec::new();
        for version in self.versions()? {
            releases.extend(self.release(version)?);
        }
        Ok(releases)
    }

    /// The newest `count` releases, the newest first.
    pub fn newest(&self, count: usize) -> Result<Vec<Release>, StateError> {
        let mut releases = Vec::new();
        for version in self.versions()?.into_iter().rev().take(count) {
            releases.extend(self.release(version)?);
        }
        Ok(releases)
    }

    /// The release that is in effect: the newest one that succeeded.
    pub fn current(&self) -> Result<Option<Release>, StateError> {
        for version in self.versions()?.into_iter().rev() {
            if let Some(release) = self.release(version)?
                && release.status == Status::Succeeded
            {
                return Ok(Some(release));
            }
        }
        Ok(None)
    }

    /// One release, `None` when there is none of that version.
    pub fn release(&self, version: u64) -> Result<Option<Release>, StateError> {
        files::read(&self.release_file(version))
    }

    /// Begins a release: it is on disk, takes no effect yet, and [`Self::finish`] has to follow.
    pub fn begin(&self, _lock: &StateLock, new: NewRelease) -> Result<Release, StateError> {
        files::private_folder(&self.releases_folder())?;
        let last = self.versions()?.pop().unwrap_or(0);
        let release = Release {
            version: last + 1,
            created_at: Timestamp::now(),
            description: new.description,
            image: new.image,
            status: Status::Pending,
            config: new.config,
            addon_vars: new.addon_vars,
        };
        files::replace(&self.release_file(release.version), &release)?;
        Ok(release)
    }

    /// Ends a release that was begun. One that [`Status::Succeeded`] is the current one from here.
    pub fn finish(
        &self,
        _lock: &StateLock,
        version: u64,
        status: Status,
    ) -> Result<Release, StateError> {
        let mut release = self
            .release(version)?
            .ok_or(StateError::NoRelease { version })?;
        if release.status != Status::Pending {
            return Err(StateError::Ended { version });
        }
        release.status = status;
        files::replace(&self.release_file(version), &release)?;
        Ok(release)
    }

    /// The stored quantities; empty when the app was never scaled.
    pub fn formation(&self) -> Result<Formation, StateError> {
        Ok(files::read(&self.formation_file())?.unwrap_or_default())
    }

    pub fn set_formation(&self, formation: &Formation) -> Result<(), StateError> {
        files::private_folder(&self.folder)?;
        files::replace(&self.formation_file(), formation)
    }

    /// The sizes of dynos; types without one take as much memory as they like.
    pub fn sizes(&self) -> Result<Sizes, StateError> {
        Ok(files::read(&self.sizes_file())?.unwrap_or_default())
    }

    pub fn set_sizes(&self, sizes: &Sizes) -> Result<(), StateError> {
        files::private_folder(&self.folder)?;
        files::replace(&self.sizes_file(), sizes)
    }

    /// Whether maintenance mode is on.
    pub fn maintenance(&self) -> bool {
        self.maintenance_file().exists()
    }

    pub fn set_maintenance(&self, on: bool) -> Result<(), StateError> {
        self.mark(self.maintenance_file(), on)
    }

    /// Whether new dynos come up before those that they replace go (Heroku's preboot), which is so
    /// unless somebody said otherwise.
    pub fn preboot(&self) -> bool {
        !self.no_preboot_file().exists()
    }

    pub fn set_preboot(&self, on: bool) -> Result<(), StateError> {
        self.mark(self.no_preboot_file(), !on)
    }

    /// Makes or removes an empty file that stands for a yes.
    fn mark(&self, path: PathBuf, yes: bool) -> Result<(), StateError> {
        files::private_folder(&self.folder)?;
        let done = if yes {
            fs::File::create(&path).map(drop)
        } else {
            files::remove(&path)
        };
        done.map_err(|source| StateError::Write { path, source })
    }

    /// The versions of all releases, ascending. Other files, as those of killed writers, are none.
    fn versions(&self) -> Result<Vec<u64>, StateError> {
        let folder = self.releases_folder();
        let failed = |source| StateError::Read {
            path: folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut versions = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            versions.extend(name.to_str().and_then(version_of));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    fn releases_folder(&self) -> PathBuf {
        self.folder.join("releases")
    }

    fn release_file(&self, version: u64) -> PathBuf {
        self.releases_folder().join(format!("v{version}.json"))
    }

    fn formation_file(&self) -> PathBuf {
        self.folder.join("formation.json")
    }

    fn sizes_file(&self) -> PathBuf {
        self.folder.join("sizes.json")
    }

    fn maintenance_file(&self) -> PathBuf {
        self.folder.join("maintenance")
    }

    fn no_preboot_file(&self) -> PathBuf {
        self.folder.join("no-preboot")
    }
}

/// `v12.json` → 12.
fn version_of(file_name: &str) -> Option<u64> {
    file_name
        .strip_prefix('v')?
        .strip_suffix(".json")?
        .parse()
        .ok()
}

#[cfg(test)]
#[path = "app_state_tests.rs"]
mod tests;

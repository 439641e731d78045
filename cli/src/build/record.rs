//! What a build leaves for the next one.

use crate::app::{self, App};
use crate::build::description::Description;
use crate::failure::{Exit, Failure, OrFail};
use crate::store;
use cnb_phases::record::CacheRecord;
use cnb_phases::restore::LastBuild;
use oci_image::{BlobStore, Descriptor, Digest, Image};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// `build.json` of an app.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Digest of everything that the image was made from.
    pub(crate) inputs: String,
    pub(crate) manifest: Descriptor,
    /// When unpinned requirements were last looked up, in seconds since 1970.
    pub(crate) resolved_at: u64,
    pub(crate) cache: CacheRecord,
    /// What the image says of itself; no layer depends on it.
    #[serde(default)]
    pub(crate) description: Description,
}

/// How long "nothing changed" holds for requirements that name no exact version.
const FRESH: Duration = Duration::from_hours(24);

impl Record {
    pub(crate) fn read(app: &App) -> Result<Option<Self>, Failure> {
        app::read_json(&app.record_file())
    }

    pub(crate) fn write(&self, app: &App) -> Result<(), Failure> {
        app::write_json(&app.record_file(), self)
    }

    /// Whether unpinned requirements need no new look. A clock that ran backwards makes it stale.
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(self.resolved_at))
            .is_ok_and(|age| age < FRESH)
    }
}

/// Keeps what a failed build has fetched for the next one. It is a matter of speed alone: what cannot be kept is
/// fetched again.
pub(crate) fn keep_caches(app: &App, caches: &CacheRecord) -> Result<(), Failure> {
    app::write_json(&app.caches_file(), caches)
}

/// The next build begins anew.
pub(crate) fn forget(app: &App) -> Result<(), Failure> {
    remove_file(&app.record_file())
}

pub(crate) fn forget_caches(app: &App) -> Result<(), Failure> {
    remove_file(&app.caches_file())
}

/// What the last committed build left, and what failed ones have fetched since.
pub(crate) fn cache(app: &App, record: Option<&Record>) -> Option<CacheRecord> {
    let committed = record.map(|record| record.cache.clone());
    let caches: Option<CacheRecord> = app::read_json(&app.caches_file()).unwrap_or_default();
    match (committed, caches) {
        (Some(mut cache), Some(caches)) => {
            cache.complete(caches);
            Some(cache)
        }
        (committed, caches) => committed.or(caches),
    }
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).or_fail(Exit::Store, || format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whether an image is still whole in the store; its layers' bytes are not read.
pub(crate) fn is_complete(blobs: &BlobStore, manifest: &Digest) -> bool {
    let there = |digest: &Digest| blobs.contains(digest).unwrap_or(false);
    Image::load(blobs, manifest).is_ok_and(|image| {
        image
            .manifest
            .layers
            .iter()
            .all(|layer| there(&layer.digest))
    })
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Says, on disk, that the layers are being changed: a build that is killed cannot take it back.
pub(crate) fn mark_unfinished(app: &App, last: LastBuild) -> Result<(), Failure> {
    let text = match last {
        LastBuild::BuildpackFailed => "buildpack failed\n",
        LastBuild::Committed | LastBuild::Interrupted => "running\n",
    };
    store::write_file(&app.unfinished_mark(), text.as_bytes())
}

pub(crate) fn clear_mark(app: &App) -> Result<(), Failure> {
    remove_file(&app.unfinished_mark())
}

/// How the last build ended.
pub(crate) fn last_build(app: &App) -> LastBuild {
    match fs::read_to_string(app.unfinished_mark()) {
        Ok(text) if text.starts_with("buildpack failed") => LastBuild::BuildpackFailed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => LastBuild::Committed,
        // Anything else on disk is the trace of a build that did not end well.
        Ok(_) | Err(_) => LastBuild::Interrupted,
    }
}

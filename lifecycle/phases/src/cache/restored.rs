//! What the layers that came out of a cache look like.

use oci_image::Fingerprint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The layers, by buildpack ID and name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Restored(BTreeMap<String, BTreeMap<String, RestoredLayer>>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RestoredLayer {
    /// The diffID.
    sha: String,
    fingerprint: Fingerprint,
}

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
pub struct RestoredError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Restored {
    /// Where the file is. Build code may change it, but gains nothing: it could as well change the layers.
    fn path(layers_dir: &Path) -> PathBuf {
        layers_dir.join("restored.json")
    }

    /// Reads the file in a layers folder. Without it, or when it is broken, layers are read instead.
    pub fn read(layers_dir: &Path) -> Self {
        std::fs::read(Self::path(layers_dir))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Writes the file.
    pub fn write(&self, layers_dir: &Path) -> Result<(), RestoredError> {
        let path = Self::path(layers_dir);
        serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|text| std::fs::write(&path, text))
            .map_err(|source| RestoredError { path, source })
    }

    pub(crate) fn insert(
        &mut self,
        buildpack: &str,
        layer: &str,
        sha: &str,
        fingerprint: Fingerprint,
    ) {
        let layers = self.0.entry(buildpack.to_owned()).or_default();
        let sha = sha.to_owned();
        layers.insert(layer.to_owned(), RestoredLayer { sha, fingerprint });
    }

    /// What a layer looked like when it was restored, if it was this one.
    pub(crate) fn fingerprint(
        &self,
        buildpack: &str,
        layer: &str,
        sha: &str,
    ) -> Option<&Fingerprint> {
        let layer = self.0.get(buildpack)?.get(layer)?;
        (layer.sha == sha).then_some(&layer.fingerprint)
    }

    /// The diffID of a layer that is still what was restored.
    pub(crate) fn unchanged(
        &self,
        buildpack: &str,
        layer: &str,
        now: Option<&Fingerprint>,
    ) -> Option<&str> {
        let layer = self.0.get(buildpack)?.get(layer)?;
        (now == Some(&layer.fingerprint)).then_some(layer.sha.as_str())
    }
}

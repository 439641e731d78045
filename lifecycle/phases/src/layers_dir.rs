//! What a buildpack's folder in the layers folder holds.

use cnb_spec::layer::LayerContentMetadata;
use cnb_spec::toml_file::FileError;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Files that are the buildpack's own and not a layer's, although they end with `.toml`.
const NOT_LAYERS: [&str; 3] = ["launch", "build", "store"];

/// The end of the name of a folder that was a layer of no type.
pub(crate) const IGNORED: &str = ".ignore";

/// A buildpack's folder could not be read.
#[derive(Debug, thiserror::Error)]
#[error("listing {}", dir.display())]
pub struct ListError {
    dir: PathBuf,
    #[source]
    source: io::Error,
}

/// A layer: a folder, a `<name>.toml`, or both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    pub(crate) name: String,
    /// Where the folder is, or would be.
    pub(crate) dir: PathBuf,
    /// Where `<name>.toml` is, or would be.
    pub(crate) toml: PathBuf,
}

impl Layer {
    pub(crate) fn new(buildpack_dir: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            dir: buildpack_dir.join(name),
            toml: buildpack_dir.join(format!("{name}.toml")),
        }
    }

    pub(crate) fn metadata(&self) -> Result<LayerContentMetadata, FileError> {
        LayerContentMetadata::read(&self.toml)
    }

    /// Whether the folder is there. A symlink to a folder is none: it would lead out of the layer.
    pub(crate) fn has_contents(&self) -> bool {
        self.dir
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir())
    }
}

/// The entries of a folder by name and sorted, each with whether it is a folder itself; empty when `dir` is absent.
pub(crate) fn entries(dir: &Path) -> Result<Vec<(String, bool)>, ListError> {
    let list = || -> io::Result<Vec<(String, bool)>> {
        let entries = match std::fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut list = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Names that are not UTF-8 are no layer's: TOML and labels could not name them.
            if let Ok(name) = entry.file_name().into_string() {
                list.push((name, entry.file_type()?.is_dir()));
            }
        }
        list.sort();
        Ok(list)
    };
    list().map_err(|source| ListError {
        dir: dir.to_owned(),
        source,
    })
}

/// The layers that have a `<name>.toml`, sorted by name.
pub(crate) fn described_layers(buildpack_dir: &Path) -> Result<Vec<Layer>, ListError> {
    let names: BTreeSet<String> = entries(buildpack_dir)?
        .into_iter()
        .filter(|(_, is_dir)| !is_dir)
        .filter_map(|(name, _)| name.strip_suffix(".toml").map(str::to_owned))
        .filter(|name| !NOT_LAYERS.contains(&name.as_str()) && !name.is_empty())
        .collect();
    Ok(names
        .iter()
        .map(|name| Layer::new(buildpack_dir, name))
        .collect())
}

/// Removes a file, a symlink or a folder with all that is in it, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = path.symlink_metadata().and_then(|metadata| {
        if metadata.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        }
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

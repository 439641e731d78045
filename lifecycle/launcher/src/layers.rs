//! Where the launch layers lie: `<layers>/<buildpack>/<layer>`.

use cnb_spec::launch::LaunchBuildpack;
use cnb_spec::names::escape_id;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

/// A directory of layers, `exec.d` or `profile.d` could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("failed to list files in dir '{}'", dir.display())]
pub(crate) struct LayersError {
    dir: PathBuf,
    source: io::Error,
}

/// The layers of each buildpack in the group's order, the layers ascending by name. A buildpack without
/// launch layers has no directory in an image.
pub(crate) fn of_group(
    layers_dir: &Path,
    buildpacks: &[LaunchBuildpack],
) -> Result<Vec<Vec<PathBuf>>, LayersError> {
    buildpacks
        .iter()
        .map(|buildpack| list(&layers_dir.join(escape_id(&buildpack.id)), FileType::is_dir))
        .collect()
}

/// The files of a folder (`exec.d`, `profile.d`) of every layer: in each layer, those for all processes,
/// then those for the one that starts.
pub(crate) fn files(
    group: &[Vec<PathBuf>],
    folder: &str,
    process_type: Option<&str>,
) -> Result<Vec<PathBuf>, LayersError> {
    let mut found = Vec::new();
    for layer in group.iter().flatten() {
        let dir = layer.join(folder);
        found.extend(list(&dir, |file_type| !file_type.is_dir())?);
        if let Some(process_type) = process_type {
            found.extend(list(&dir.join(process_type), |file_type| {
                !file_type.is_dir()
            })?);
        }
    }
    Ok(found)
}

/// The directory's entries of a kind, ascending by name; none if the directory is absent.
fn list(dir: &Path, kind: fn(&FileType) -> bool) -> Result<Vec<PathBuf>, LayersError> {
    let failed = |source| LayersError {
        dir: dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if kind(&entry.file_type().map_err(failed)?) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

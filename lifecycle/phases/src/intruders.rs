//! Links, pipes and devices that build code left where a phase outside the sandbox reads or deletes.
//!
//! Build code may write to the layers folder and the phases' own exchange folder. A link there would make
//! restoration delete, or export read, whatever it leads to on the host; a pipe would make either wait for ever.
//! Nothing of the sandbox runs any more when these folders are looked at, so what was checked stays as it is.

use std::io;
use std::path::{Path, PathBuf};

/// Folders of the layers folder that export reads to any depth.
const READ_WHOLE: [&str; 2] = ["sbom", "config"];

/// A folder could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("looking for links in {}", dir.display())]
pub struct IntruderError {
    dir: PathBuf,
    #[source]
    source: io::Error,
}

/// What is neither a folder nor a plain file in the layers folder, its buildpacks' folders and all of `sbom` and
/// `config`. Layers themselves may hold links: their walks do not follow them.
pub fn in_layers(layers_dir: &Path) -> Result<Vec<PathBuf>, IntruderError> {
    let mut found = Vec::new();
    for dir in look(layers_dir, &mut found)? {
        let is_read_whole = dir
            .file_name()
            .is_some_and(|name| READ_WHOLE.iter().any(|whole| name == *whole));
        if is_read_whole {
            found.extend(in_tree(&dir)?);
        } else {
            look(&dir, &mut found)?;
        }
    }
    Ok(found)
}

/// What is neither a folder nor a plain file, to any depth.
pub fn in_tree(dir: &Path) -> Result<Vec<PathBuf>, IntruderError> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(dir) = folders.pop() {
        folders.extend(look(&dir, &mut found)?);
    }
    Ok(found)
}

/// The folders in `dir`; what is neither folder nor file goes to `found`. An absent folder has nothing in it.
fn look(dir: &Path, found: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, IntruderError> {
    let mut list = || -> io::Result<Vec<PathBuf>> {
        let is_folder = match dir.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            metadata => metadata?.is_dir(),
        };
        if !is_folder {
            found.push(dir.to_owned());
            return Ok(Vec::new());
        }
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if !kind.is_file() {
                found.push(entry.path());
            }
        }
        Ok(folders)
    };
    list().map_err(|source| IntruderError {
        dir: dir.to_owned(),
        source,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_found_where_phases_look_and_only_there() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        for folder in ["a_b/layer/bin", "sbom/launch/a", "config"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("a_b/layer.toml"), "").unwrap();
        symlink("/etc", at("a_b/layer/bin/fine")).unwrap();
        assert_eq!(in_layers(scratch.path()).unwrap(), Vec::<PathBuf>::new());
        for intruder in [
            "c_d",
            "a_b/other",
            "a_b/other.toml",
            "sbom/launch/a/x.json",
            "config/metadata.toml",
        ] {
            symlink("/etc", at(intruder)).unwrap();
        }
        let mut found = in_layers(scratch.path()).unwrap();
        found.sort();
        let mut expected = [
            "c_d",
            "a_b/other",
            "a_b/other.toml",
            "sbom/launch/a/x.json",
            "config/metadata.toml",
        ]
        .map(at);
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_folder_itself_may_not_be_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        symlink("/etc", &link).unwrap();
        assert_eq!(in_tree(&link).unwrap(), [link]);
    }
}

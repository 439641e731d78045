//! Paths by name, and removing files and folders that may not be there.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Removes a file; it is no error when there is none.
pub(crate) fn remove_if_there(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What is in a file; none where there is none, or it is not UTF-8.
pub(crate) fn read_if_text(file: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData
            ) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Removes the folders given and those above them, up to `root`, as far as nothing is in them.
pub(crate) fn remove_empty(root: &Path, folders: &BTreeSet<PathBuf>) -> io::Result<()> {
    // A folder sorts before what is in it.
    for folder in folders.iter().rev() {
        for folder in folder.ancestors() {
            if folder == root || !folder.starts_with(root) {
                break;
            }
            match std::fs::remove_dir(folder) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Resolves `.` and `..` by name; leading `..` stay. One file has one such path, links apart.
pub(crate) fn without_detours(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn detours() {
        for (path, expected) in [
            ("a/b.py", "a/b.py"),
            ("./a/../b.py", "b.py"),
            ("../../../bin/x", "../../../bin/x"),
        ] {
            assert_eq!(without_detours(Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn only_empty_folders_below_the_root_go() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at("a/b/c")).unwrap();
        std::fs::create_dir_all(at("kept/empty")).unwrap();
        std::fs::write(at("kept/file"), "").unwrap();
        let folders = BTreeSet::from([at("a/b"), at("a/b/c"), at("kept/empty"), at("gone/x")]);
        remove_empty(root.path(), &folders).unwrap();
        assert!(!at("a").exists());
        assert!(!at("kept/empty").exists());
        assert!(at("kept/file").exists());
    }
}

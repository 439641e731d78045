//! Which paths of the app folder belong to which slice (Buildpack API, "Slice Layers").
//!
//! The rules are the reference lifecycle's: a matched folder comes with all below it; what an earlier slice took
//! is gone; a slice also holds the folders above what it takes, and a folder of which everything is taken counts
//! as taken itself.

use super::glob::{Pattern, matches};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A relative path as bytes; the folder itself is empty. Sorted as strings, which is the order of the entries.
type Relative = Vec<u8>;

/// The app folder could not be listed.
#[derive(Debug)]
pub(super) struct SliceError {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

/// All paths of a folder, each with whether a slice took it.
#[derive(Debug)]
pub(super) struct Paths {
    taken: BTreeMap<Relative, bool>,
}

impl Paths {
    /// Lists `dir` without following symlinks.
    pub(super) fn list(dir: &Path) -> Result<Self, SliceError> {
        let mut taken = BTreeMap::from([(Vec::new(), false)]);
        let mut folders = vec![Vec::new()];
        while let Some(folder) = folders.pop() {
            let path = dir.join(OsString::from_vec(folder.clone()));
            let fail = |source| SliceError {
                path: path.clone(),
                source,
            };
            for entry in std::fs::read_dir(&path).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let mut relative = folder.clone();
                if !relative.is_empty() {
                    relative.push(b'/');
                }
                relative.extend_from_slice(entry.file_name().as_bytes());
                if entry.file_type().map_err(fail)?.is_dir() {
                    folders.push(relative.clone());
                }
                taken.insert(relative, false);
            }
        }
        Ok(Self { taken })
    }

    /// Takes what `patterns` match, sorted; the malformed pattern, if one is.
    ///
    /// Patterns are relative to the app folder, or absolute below `app_path`, where it is inside the image.
    pub(super) fn take(
        &mut self,
        patterns: &[String],
        app_path: &str,
    ) -> Result<Vec<OsString>, String> {
        let mut slice: BTreeSet<Relative> = BTreeSet::new();
        for text in patterns {
            let relative = text
                .strip_prefix(app_path)
                .and_then(|rest| rest.strip_prefix('/'))
                .unwrap_or(text);
            let pattern = Pattern::parse(&clean(relative)).ok_or_else(|| text.clone())?;
            let matched: Vec<Relative> = self
                .taken
                .keys()
                .filter(|path| !path.is_empty() && matches(&pattern, path))
                .cloned()
                .collect();
            for path in matched {
                self.take_tree(&path, &mut slice);
            }
        }
        // The folders above, and of those the ones that have nothing left, the deepest first.
        let mut above: Vec<Relative> = slice.iter().flat_map(|path| parents(path)).collect();
        above.sort_by(|left, right| depth(right).cmp(&depth(left)).then(left.cmp(right)));
        above.dedup();
        for folder in above {
            if slice.insert(folder.clone()) {
                let empty = self.children(&folder).all(|(_, taken)| taken);
                self.taken.insert(folder, empty);
            }
        }
        Ok(slice.into_iter().map(OsString::from_vec).collect())
    }

    /// Everything that no slice took, sorted.
    pub(super) fn rest(self) -> Vec<OsString> {
        let left = self.taken.into_iter().filter(|(_, taken)| !taken);
        left.map(|(path, _)| OsString::from_vec(path)).collect()
    }

    fn take_tree(&mut self, path: &[u8], slice: &mut BTreeSet<Relative>) {
        if self.taken.get(path).is_none_or(|taken| *taken) {
            return;
        }
        let children: Vec<Relative> = self
            .children(path)
            .map(|(child, _)| child.clone())
            .collect();
        for child in children {
            self.take_tree(&child, slice);
        }
        self.taken.insert(path.to_owned(), true);
        slice.insert(path.to_owned());
    }

    fn children<'p>(
        &'p self,
        folder: &[u8],
    ) -> impl Iterator<Item = (&'p Relative, bool)> + use<'p> {
        let mut prefix = folder.to_owned();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        self.taken
            .range(prefix.clone()..)
            .take_while({
                let prefix = prefix.clone();
                move |(path, _)| path.starts_with(&prefix)
            })
            .filter(move |(path, _)| {
                path.len() > prefix.len() && !path[prefix.len()..].contains(&b'/')
            })
            .map(|(path, taken)| (path, *taken))
    }
}

fn depth(path: &[u8]) -> usize {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
        .count()
}

/// The folders above a path, the app folder included.
fn parents(path: &[u8]) -> Vec<Relative> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let mut parents: Vec<Relative> = slashes.map(|(at, _)| path[..at].to_owned()).collect();
    if !path.is_empty() {
        parents.push(Vec::new());
    }
    parents
}

/// As Go's `filepath.Clean` for what patterns contain: no empty or `.` elements, `..` resolved.
fn clean(pattern: &str) -> String {
    let mut elements: Vec<&str> = Vec::new();
    for element in pattern.split('/') {
        match element {
            "" | "." => {}
            ".." if elements.last().is_some_and(|last| *last != "..") => {
                elements.pop();
            }
            other => elements.push(other),
        }
    }
    if elements.is_empty() {
        return ".".to_owned();
    }
    let absolute = if pattern.starts_with('/') { "/" } else { "" };
    format!("{absolute}{}", elements.join("/"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn app(files: &[&str]) -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let paths = Paths::list(dir.path()).unwrap();
        (dir, paths)
    }

    fn text(paths: Vec<OsString>) -> Vec<String> {
        paths
            .into_iter()
            .map(|path| path.into_string().unwrap())
            .collect()
    }

    #[test]
    fn slices_take_trees_with_the_folders_above() {
        let (_dir, mut paths) = app(&["a/b/one", "a/two", "a-b", "c/three"]);
        assert_eq!(
            text(paths.take(&["a/b".into()], "/workspace").unwrap()),
            ["", "a", "a/b", "a/b/one"]
        );
        assert_eq!(
            text(paths.take(&["a/*".into()], "/workspace").unwrap()),
            ["", "a", "a/two"]
        );
        assert_eq!(
            text(paths.take(&["/workspace/c/".into()], "/workspace").unwrap()),
            ["", "c", "c/three"]
        );
        assert!(
            paths
                .take(&["c".into(), "../etc".into(), "none".into()], "/workspace")
                .unwrap()
                .is_empty()
        );
        assert_eq!(text(paths.rest()), ["", "a-b"]);
    }

    #[test]
    fn a_folder_that_is_taken_piece_by_piece_is_taken() {
        let (_dir, mut paths) = app(&["a/one", "a/two"]);
        paths.take(&["a/one".into()], "/workspace").unwrap();
        paths.take(&["a/two".into()], "/workspace").unwrap();
        assert!(paths.rest().is_empty());
    }

    #[test]
    fn entries_are_in_the_order_of_strings() {
        let (_dir, paths) = app(&["a/x", "a-b", "a.b"]);
        assert_eq!(text(paths.rest()), ["", "a", "a-b", "a.b", "a/x"]);
    }

    #[test]
    fn a_malformed_pattern_is_named() {
        let (_dir, mut paths) = app(&["a"]);
        assert_eq!(
            paths
                .take(&["a".into(), "[".into()], "/workspace")
                .unwrap_err(),
            "["
        );
    }
}

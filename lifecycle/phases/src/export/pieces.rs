//! A large app in several layers, so that a file that changes costs one of them to compress and to send.
//!
//! "The lifecycle MUST include all unmatched files in the app directory in any number of additional layers" (Buildpack
//! API, "Slice Layers"). Where the app is cut depends on its paths and sizes only, and around a change on nothing
//! that is far from it: the same app has the same layers on every machine, and a changed one has most of them again.

use oci_image::Digest;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// So many pieces a large app has at most, half as many mostly.
pub(super) const MOST: u64 = 64;

/// What an entry costs in a tar besides its content, in bytes.
const HEADER: u64 = 512;

/// Cuts what is left of the app below `dir`, sorted, into `most` pieces at most; one that is smaller than `above` bytes stays
/// whole.
///
/// Every piece has the folders above what it holds. The path that could not be looked at is named.
pub(super) fn cut(
    dir: &Path,
    paths: Vec<OsString>,
    above: u64,
    most: u64,
) -> Result<Vec<Vec<OsString>>, (PathBuf, io::Error)> {
    let mut sizes = Vec::with_capacity(paths.len());
    for path in &paths {
        let path = dir.join(path);
        let found = fs::symlink_metadata(&path).map_err(|error| (path, error))?;
        sizes.push(HEADER + if found.is_file() { found.len() } else { 0 });
    }
    let total: u64 = sizes.iter().sum();
    if total < above {
        return Ok(vec![paths]);
    }
    // In powers of two, so that an app that grows a little is cut as before.
    // A piece has half of what is aimed at, at least.
    let aim = (above / 4).max((2 * total / most).next_power_of_two());
    let mut pieces = Vec::new();
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for (path, size) in paths.into_iter().zip(sizes) {
        if is_border(&path, size, bytes, aim) {
            pieces.push(with_folders(std::mem::take(&mut piece)));
            bytes = 0;
        }
        piece.push(path);
        bytes += size;
    }
    pieces.push(with_folders(piece));
    Ok(pieces)
}

/// Whether a piece that has `bytes` ends before this entry: after half of what is aimed at, with a chance that grows with
/// the entry, so that pieces have the size that is aimed at on average.
fn is_border(path: &OsStr, size: u64, bytes: u64, aim: u64) -> bool {
    let half = (aim / 2).max(1);
    if bytes < half {
        return false;
    }
    let digest = Digest::of(path.as_bytes());
    let chance = digest
        .as_bytes()
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    bytes + size > aim.saturating_mul(2) || chance % half < size
}

fn with_folders(piece: Vec<OsString>) -> Vec<OsString> {
    let mut all = BTreeSet::new();
    for path in piece {
        let bytes = path.as_bytes();
        let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let above = slashes.map(|(at, _)| OsStr::from_bytes(&bytes[..at]));
        for folder in above.rev().chain([OsStr::new("")]) {
            if !all.insert(folder.to_owned()) {
                break;
            }
        }
        all.insert(path);
    }
    all.into_iter().collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ABOVE: u64 = 64 << 10;

    fn app(files: &[(String, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, size) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![b'x'; *size]).unwrap();
        }
        dir
    }

    /// Files of about a kilobyte in folders of ten.
    fn files(count: usize) -> Vec<(String, usize)> {
        let file = |number| {
            let name = format!("folder{}/inner/file{number}", number / 10);
            (name, 500 + number * 37 % 1000)
        };
        (0..count).map(file).collect()
    }

    fn pieces(dir: &Path) -> Vec<Vec<OsString>> {
        let mut paths = vec![OsString::new()];
        for entry in walkdir(dir) {
            paths.push(entry.strip_prefix(dir).unwrap().as_os_str().to_owned());
        }
        paths.sort();
        cut(dir, paths, ABOVE, MOST).unwrap()
    }

    fn walkdir(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(walkdir(&path));
            }
            found.push(path);
        }
        found
    }

    #[test]
    fn a_small_app_stays_whole() {
        let dir = app(&files(20));
        assert_eq!(pieces(dir.path()).len(), 1);
    }

    #[test]
    fn a_large_one_is_cut_and_every_piece_has_the_folders_above() {
        let dir = app(&files(1000));
        let pieces = pieces(dir.path());
        assert!((10..=64).contains(&pieces.len()), "{}", pieces.len());
        let few = cut(dir.path(), pieces.concat(), ABOVE, 4).unwrap();
        assert!((2..=4).contains(&few.len()), "{}", few.len());
        let mut seen = BTreeSet::new();
        for piece in &pieces {
            assert!(piece.is_sorted());
            let all: BTreeSet<&OsStr> = piece.iter().map(OsString::as_os_str).collect();
            for path in piece {
                let above = Path::new(path).ancestors().skip(1);
                assert!(
                    above
                        .into_iter()
                        .all(|folder| all.contains(folder.as_os_str()))
                );
                let is_new = seen.insert(path.clone());
                assert!(is_new || dir.path().join(path).is_dir(), "{path:?} twice");
            }
        }
        assert_eq!(seen.len(), 1 + 1000 + 100 + 100);
    }

    #[test]
    fn a_change_costs_few_pieces() {
        let mut files = files(1000);
        let before = pieces(app(&files).path());
        files[500].1 += 300;
        files.push(("folder50/inner/more".to_owned(), 700));
        let after = pieces(app(&files).path());
        let new = after.iter().filter(|piece| !before.contains(piece)).count();
        assert!((1..=3).contains(&new), "{new}");
    }

    #[test]
    fn what_vanishes_is_named() {
        let dir = app(&[]);
        let (path, _) = cut(dir.path(), vec!["gone".into()], 0, MOST).unwrap_err();
        assert_eq!(path, dir.path().join("gone"));
    }
}

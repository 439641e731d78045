#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use rustix::fs::{FileType, Mode, mknodat};

fn whiteout(path: &Path) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Two directories laid over each other by `uid`.
fn merged(folder: &Path, uid: u32) -> Baseline {
    let layers = ["top", "bottom"].map(|name| Layer {
        path: folder.join(name),
        own: false,
    });
    let rules = Rules {
        uid,
        read_only: false,
    };
    lay_out_noting(&layers, &folder.join("tree"), rules).unwrap()
}

fn two_layers() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        "top/both",
        "top/opaque",
        "bottom/both/deep",
        "bottom/opaque",
        "bottom/gone",
    ] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    for path in [
        "top/both/new",
        "top/both/same",
        "top/opaque/new",
        "bottom/both/old",
        "bottom/both/same",
        "bottom/both/hidden",
        "bottom/opaque/old",
        "bottom/gone/old",
    ] {
        fs::write(folder.path().join(path), path).unwrap();
    }
    whiteout(&folder.path().join("top/both/hidden"));
    whiteout(&folder.path().join("top/gone"));
    make_opaque(&folder.path().join("top/opaque")).unwrap();
    folder
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let folder = two_layers();
    merged(folder.path(), u32::MAX - 1);
    let tree = folder.path().join("tree");
    assert_eq!(names(&tree), ["both", "opaque"]);
    assert_eq!(names(&tree.join("both")), ["deep", "new", "old", "same"]);
    assert_eq!(names(&tree.join("opaque")), ["new"]);
    let same = fs::read_to_string(tree.join("both/same")).unwrap();
    assert_eq!(same, "top/both/same");
}

#[test]
fn what_the_program_could_write_to_is_a_copy() {
    let folder = two_layers();
    let open = folder.path().join("bottom/both/old");
    fs::set_permissions(&open, Permissions::from_mode(0o666)).unwrap();
    let baseline = merged(folder.path(), u32::MAX - 1);
    let inode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().ino();
    assert_eq!(inode("tree/both/new"), inode("top/both/new"));
    assert_ne!(inode("tree/both/old"), inode("bottom/both/old"));
    let copy = fs::symlink_metadata(folder.path().join("tree/both/old")).unwrap();
    assert_eq!(copy.mode() & 0o7777, 0o666);
    assert_eq!(baseline.get(Path::new("both/old")), Some(&Stamp::of(&copy)));

    // Its own files are the program's to write to, whatever their mode.
    fs::remove_dir_all(folder.path().join("tree")).unwrap();
    merged(folder.path(), rustix::process::getuid().as_raw());
    assert_ne!(inode("tree/both/new"), inode("top/both/new"));
}

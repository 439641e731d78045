#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::os::unix::fs::symlink;

/// A layers folder with a file in it, and a folder of tools.
fn world(content: &[u8]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (layers, tools) = (root.path().join("layers"), root.path().join("tools"));
    fs::create_dir_all(layers.join("a/uv/bin")).unwrap();
    fs::create_dir(&tools).unwrap();
    fs::write(layers.join("a/uv/bin/uv"), content).unwrap();
    (root, layers, tools)
}

fn kept(layers: &Path, tools: &Path, source: &str, digest: Digest) -> Option<Vec<u8>> {
    let folder = tools.join(digest.hex());
    let place = folder.join("uv");
    if let Some(file) = fetched(layers, Path::new(source)) {
        take(tools, file, digest, &folder, &place).unwrap();
    }
    let left_behind = fs::read_dir(tools)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path() != folder)
        .count();
    assert_eq!(left_behind, 0);
    fs::read(place).ok()
}

#[test]
fn only_the_right_file_is_taken() {
    let (_root, layers, tools) = world(b"uv");
    let source = "a/uv/bin/uv";
    assert_eq!(kept(&layers, &tools, source, Digest::of(b"other")), None);
    assert_eq!(
        kept(&layers, &tools, source, Digest::of(b"uv")).as_deref(),
        Some(b"uv".as_slice())
    );
    let place = tools.join(Digest::of(b"uv").hex()).join("uv");
    let mode = fs::metadata(place).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o555);
}

#[test]
fn links_lead_nowhere() {
    let (root, layers, tools) = world(b"uv");
    let secret = root.path().join("secret");
    fs::write(&secret, "uv").unwrap();
    symlink(&secret, layers.join("a/uv/bin/linked")).unwrap();
    symlink(layers.join("a/uv"), layers.join("a/also")).unwrap();
    for source in ["a/uv/bin/linked", "a/also/bin/uv", "../secret", "a/uv/bin"] {
        assert_eq!(
            kept(&layers, &tools, source, Digest::of(b"uv")),
            None,
            "{source}"
        );
    }
}

#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

use crate::test_deb::{File as Content, compress, deb, tar};

fn unpack_into(
    root: &Path,
    data: &[Content<'_>],
    conffiles: &str,
) -> Result<Unpacked, UnpackError> {
    let control = [
        (
            "control",
            0o644,
            "Package: hello\nVersion: 1\nArchitecture: all\n",
        ),
        ("conffiles", 0o644, conffiles),
    ];
    let package = root.join("../hello.deb");
    std::fs::write(
        &package,
        deb(&control, compress("data.tar.xz", &tar(data)), "data.tar.xz"),
    )
    .unwrap();
    let filters = PathFilters {
        exclude: vec!["/usr/share/doc/*".to_owned()],
        include: vec!["/usr/share/doc/*/copyright".to_owned()],
    };
    Root::open(root, &filters, true)
        .unwrap()
        .unpack(&package, "hello")
}

fn unpack(
    data: &[Content<'_>],
    conffiles: &str,
) -> (tempfile::TempDir, Result<Unpacked, UnpackError>) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let result = unpack_into(&root, data, conffiles);
    (folder, result)
}

#[test]
fn files_links_modes_and_times() {
    let (folder, unpacked) = unpack(
        &[
            ("", 0o755, "symlink:ignored"),
            ("usr/", 0o755, ""),
            ("usr/bin/", 0o755, ""),
            ("usr/bin/tool", 0o4755, "tool"),
            ("usr/bin/same", 0o4755, "link:./usr/bin/tool"),
            ("usr/bin/other", 0o777, "symlink:tool"),
            ("lib/implied/file", 0o640, "x"),
            ("bin", 0o777, "symlink:usr/bin"),
        ],
        "",
    );
    let unpacked = unpacked.unwrap();
    let root = folder.path().join("root");
    let tool = std::fs::metadata(root.join("usr/bin/tool")).unwrap();
    assert_eq!(
        (tool.mode() & 0o7777, tool.mtime(), tool.nlink()),
        (0o4755, 1_700_000_000, 2)
    );
    assert_eq!(
        tool.ino(),
        std::fs::metadata(root.join("bin/same")).unwrap().ino()
    );
    assert_eq!(
        std::fs::read_link(root.join("usr/bin/other")).unwrap(),
        Path::new("tool")
    );
    assert_eq!(
        std::fs::read(root.join("usr/lib/implied/file")).unwrap(),
        b"x"
    );
    let implied = std::fs::metadata(root.join("usr/lib/implied")).unwrap();
    assert_eq!(implied.permissions().mode() & 0o7777, 0o755);
    assert_eq!(
        unpacked.list,
        "/.\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/bin/same\n/usr/bin/other\n/lib/implied/file\n/bin\n"
    );
    let moved = &unpacked.entries[5];
    assert_eq!(
        (moved.path.as_path(), moved.mode),
        (Path::new("usr/lib/implied/file"), 0o640)
    );
    assert_eq!((moved.group.name.as_str(), moved.group.id), ("shadow", 42));
}

#[test]
fn configuration_files_wait_beside_their_place() {
    let (folder, unpacked) = unpack(
        &[("etc/", 0o755, ""), ("etc/hello.conf", 0o640, "x")],
        "/etc/hello.conf\n",
    );
    assert_eq!(
        unpacked.unwrap().entries[1].path,
        Path::new("etc/hello.conf")
    );
    let etc = folder.path().join("root/etc");
    assert!(etc.join("hello.conf.dpkg-new").exists());
    assert!(!etc.join("hello.conf").exists());
}

#[test]
fn excluded_paths_are_listed_but_not_there() {
    let (folder, unpacked) = unpack(
        &[
            ("usr/share/doc/", 0o755, ""),
            ("usr/share/doc/hello/", 0o755, ""),
            ("usr/share/doc/hello/README", 0o644, "x"),
            ("usr/share/doc/hello/copyright", 0o644, "x"),
            ("usr/share/doc/empty/", 0o755, ""),
            ("usr/share/doc/twin", 0o777, "symlink:hello"),
        ],
        "",
    );
    let unpacked = unpacked.unwrap();
    let doc = folder.path().join("root/usr/share/doc");
    assert!(doc.join("hello/copyright").exists() && doc.join("twin").is_symlink());
    assert!(!doc.join("hello/README").exists() && !doc.join("empty").exists());
    assert!(unpacked.list.contains("/usr/share/doc/hello/README\n"));
}

#[test]
fn nothing_reaches_outside() {
    let outside = tempfile::tempdir().unwrap();
    let target = format!("symlink:{}", outside.path().display());
    for (data, reason) in [
        (vec![("../evil", 0o644, "x")], "points outside of the root"),
        (
            vec![("usr/evil", 0o644, "link:../../etc/passwd")],
            "is a link to outside of the root",
        ),
        (
            vec![("usr/way", 0o777, &*target), ("usr/way/evil", 0o644, "x")],
            "",
        ),
        (
            vec![
                ("usr/way", 0o777, "symlink:../../../.."),
                ("usr/way/evil", 0o644, "x"),
            ],
            "",
        ),
        (
            vec![("usr/file", 0o777, &*target), ("usr/file", 0o644, "x")],
            "another package",
        ),
    ] {
        let (folder, result) = unpack(&data, "");
        match result {
            Err(error) => assert!(error.to_string().contains(reason), "{error}"),
            Ok(_) => assert_eq!(reason, "", "{data:?}"),
        }
        assert_eq!(
            std::fs::read_dir(outside.path()).unwrap().count(),
            0,
            "{data:?}"
        );
        assert!(!folder.path().join("evil").exists(), "{data:?}");
    }
}

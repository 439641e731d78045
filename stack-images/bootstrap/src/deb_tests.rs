#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write as _;

use super::*;

use crate::test_deb::{compress, deb, tar};

const CONTROL: (&str, u32, &str) = (
    "control",
    0o644,
    "Package: hello\nVersion: 1\nArchitecture: all\n",
);

fn open(bytes: &[u8]) -> Result<Deb, DebError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Deb::open(file.path())
}

#[test]
fn all_methods_of_compression() {
    for name in ["data.tar", "data.tar.gz", "data.tar.xz", "data.tar.zst"] {
        let content = tar(&[("usr/", 0o755, ""), ("usr/odd", 0o644, "odd")]);
        let control = [
            CONTROL,
            ("postinst", 0o755, "#!/bin/sh\n"),
            ("conffiles", 0o644, "# no\n/etc/a\n"),
        ];
        let mut deb = open(&deb(&control, compress(name, &content), name)).unwrap();
        assert_eq!(deb.control.paragraph().get("Version"), Some("1"));
        assert_eq!(
            deb.control.files["postinst"],
            (0o755, b"#!/bin/sh\n".to_vec())
        );
        assert_eq!(
            deb.control.lines("conffiles").collect::<Vec<_>>(),
            ["/etc/a"]
        );
        assert_eq!(deb.control.lines("triggers").count(), 0);
        let mut unpacked = Vec::new();
        deb.data().unwrap().read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, content, "{name}");
    }
}

#[test]
fn several_xz_streams_are_one() {
    let content = tar(&[("a", 0o644, "content")]);
    let (first, second) = content.split_at(100);
    let data = [compress("x.tar.xz", first), compress("x.tar.xz", second)].concat();
    let mut deb = open(&deb(&[CONTROL], data, "data.tar.xz")).unwrap();
    let mut unpacked = Vec::new();
    deb.data().unwrap().read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, content);
}

#[test]
fn what_is_no_package() {
    let good = deb(
        &[CONTROL],
        compress("data.tar.gz", &tar(&[])),
        "data.tar.gz",
    );
    let message = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
    assert_eq!(
        message(b"<html>Log in first</html>"),
        "it is not a Debian package: it is not an ar archive"
    );
    assert_eq!(
        message(b"!<arch>\n"),
        "it is not a Debian package: it is empty"
    );
    assert_eq!(
        message(&good[..good.len() - 2]),
        "it is not a Debian package: it is cut off"
    );
    assert_eq!(
        message(&good[..90]),
        "it is not a Debian package: it is cut off"
    );
    let three = String::from_utf8_lossy(&good[..72])
        .replace("2.0", "3.0")
        .into_bytes();
    let three = [three, good[72..].to_vec()].concat();
    assert_eq!(
        message(&three),
        "it is not a Debian package: its format version is not 2"
    );
    let nameless = deb(&[("../control", 0o644, "x")], Vec::new(), "data.tar");
    assert!(message(&nameless).contains("unusable name"));
    let empty = deb(&[], Vec::new(), "data.tar");
    assert_eq!(
        message(&empty),
        "it is not a Debian package: it has no control file"
    );
    let unknown = deb(&[CONTROL], Vec::new(), "data.tar.lzma");
    let error = open(&unknown).unwrap().data().map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "its part data.tar.lzma is compressed by an unknown method"
    );
}

//! Tars to mutate.

use oci_image::{LayerTar, Owner};
use std::path::Path;
use test_support::{tar_entry as entry, tar_of as joined};

fn written(write: impl FnOnce(&mut LayerTar<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut tar = LayerTar::new(&mut bytes);
    write(&mut tar);
    tar.finish().unwrap();
    bytes
}

/// Layers of every kind: plain, with long names, with whiteouts, with links that lead to `outside`, by climbing three
/// times or as it is.
pub(crate) fn layers(outside: &Path) -> Vec<Vec<u8>> {
    let outside = outside.to_str().unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(160));
    let pax = "30 mtime=1350244992.023960108\n20 path=pax/name/é\n".as_bytes();
    vec![
        written(|tar| {
            tar.file("/etc/hosts", 0o644, Owner::ROOT, 4, &b"host"[..])
                .unwrap();
            tar.file(
                format!("/{long}"),
                0o4755,
                Owner {
                    uid: 70_000,
                    gid: 1,
                },
                3,
                &b"abc"[..],
            )
            .unwrap();
        }),
        joined(&[
            entry(b'5', "usr/lib/", "", b""),
            entry(b'2', "lib", "usr/lib", b""),
            entry(b'0', "lib/a", "", b"content of a"),
            entry(b'1', "usr/b", "lib/a", b""),
        ]),
        joined(&[
            entry(b'2', "up", "../../..", b""),
            entry(b'2', "abs", "/", b""),
            entry(b'0', "up/new", "", b"n"),
            entry(b'0', "up/outside", "", b"x"),
            entry(b'1', "hard", "up/outside", b""),
            entry(b'0', "abs/outside", "", b"y"),
        ]),
        joined(&[
            entry(b'2', "up", outside, b""),
            entry(b'0', "up/new", "", b"n"),
            entry(b'0', "up/outside", "", b"x"),
            entry(b'5', "up/a", "", b""),
            entry(b'1', "hard", &format!("{outside}/outside"), b""),
        ]),
        joined(&[
            entry(b'x', "pax", "", pax),
            entry(b'0', "short", "", b"1"),
            entry(
                b'L',
                "././@LongLink",
                "",
                format!("{}\0", &long[..200]).as_bytes(),
            ),
            entry(b'0', "short", "", b"2"),
            entry(b'K', "././@LongLink", "", b"outside\0"),
            entry(b'2', "link", "x", b""),
            entry(b'g', "g", "", b"13 comment=x\n"),
        ]),
        joined(&[
            entry(b'0', ".wh.gone", "", b""),
            entry(b'5', "dir", "", b""),
            entry(b'0', "dir/.wh..wh..opq", "", b""),
            entry(b'0', ".wh.dir", "", b""),
            entry(b'3', "dev/null", "", b""),
            entry(b'6', "fifo", "", b""),
        ]),
    ]
}

/// What readers of tars take in different ways.
pub(crate) const WORDS: [&str; 14] = [
    "../",
    "/",
    "..",
    ".",
    ".wh.",
    ".wh..wh..opq",
    "outside",
    "../outside",
    "ustar\0",
    "path=",
    "size=",
    "GNU.sparse.",
    "\0",
    "up/",
];

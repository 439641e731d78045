//! What is refused: ambiguity, excess, damage.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn ambiguous_archives_are_refused() {
    let bad: &[(&str, Vec<u8>)] = &[
        (
            "twice",
            Tar::default().file("a", "1").file("./a", "2").end(),
        ),
        (
            "twice through a link",
            Tar::default()
                .dir("d")
                .entry(b'2', "l", "d")
                .file("d/a", "")
                .file("l/a", "")
                .end(),
        ),
        (
            "file over directory",
            Tar::default().dir("a").file("a", "").end(),
        ),
        (
            "directory over file",
            Tar::default().file("a", "").dir("a").end(),
        ),
        (
            "directory over link",
            Tar::default().dir("b").entry(b'2', "a", "b").dir("a").end(),
        ),
        (
            "file as parent",
            Tar::default().file("a", "").file("a/b", "").end(),
        ),
        ("file with a slash", Tar::default().file("a/", "").end()),
        ("root as file", Tar::default().file("./", "").end()),
        (
            "directory with content",
            Tar::default().raw(b'5', "a", "", 3, b"abc").end(),
        ),
        (
            "link with content",
            Tar::default().raw(b'1', "a", "b", 3, b"abc").end(),
        ),
        ("unknown type", Tar::default().entry(b'Z', "a", "").end()),
        ("sparse", Tar::default().entry(b'S', "a", "").end()),
        (
            "PAX sparse",
            Tar::default()
                .pax(&[("GNU.sparse.major", "1")])
                .file("a", "")
                .end(),
        ),
        (
            "two PAX headers",
            Tar::default()
                .pax(&[("path", "b")])
                .pax(&[("mtime", "1")])
                .file("a", "")
                .end(),
        ),
        (
            "a record twice",
            Tar::default()
                .pax(&[("path", "b"), ("path", "c")])
                .file("a", "")
                .end(),
        ),
        (
            "PAX and GNU name",
            Tar::default()
                .pax(&[("path", "b")])
                .raw(b'L', "x", "", 1, b"c")
                .file("a", "")
                .end(),
        ),
        (
            "NUL in PAX name",
            Tar::default().pax(&[("path", "a\0b")]).file("a", "").end(),
        ),
        (
            "climbing PAX name",
            Tar::default()
                .pax(&[("path", "../outside")])
                .file("a", "")
                .end(),
        ),
        (
            "negative PAX size",
            Tar::default().pax(&[("size", "-1")]).file("a", "").end(),
        ),
        (
            "huge PAX size",
            Tar::default()
                .pax(&[("size", "18446744073709551616")])
                .file("a", "")
                .end(),
        ),
        (
            "PAX size beyond the end",
            Tar::default()
                .pax(&[("size", "100000")])
                .file("a", "abc")
                .end(),
        ),
        (
            "PAX header at the end",
            Tar::default().pax(&[("path", "b")]).end(),
        ),
        (
            "global path",
            Tar::default()
                .raw(b'g', "g", "", 10, b"10 path=b\n")
                .file("a", "")
                .end(),
        ),
        (
            "huge extension",
            Tar::default().raw(b'x', "x", "", 1 << 30, b"").end(),
        ),
        (
            "cut in a header",
            Tar::default().file("a", "abc").0[..100].to_vec(),
        ),
        (
            "cut in content",
            Tar::default().file("a", "abc").0[..514].to_vec(),
        ),
        (
            "junk after an empty block",
            [vec![0; 512], Tar::default().file("a", "").end()].concat(),
        ),
        ("no tar", vec![b'x'; 2048]),
    ];
    for (what, tar) in bad {
        assert!(unpack(tar).is_err(), "{what}");
    }
    let mut flipped = Tar::default().file("a", "").end();
    flipped[3] ^= 1;
    assert!(matches!(
        unpack(&flipped),
        Err(UnpackError::Malformed { .. })
    ));
}

#[test]
fn limits_hold() {
    let rules = |change: fn(&mut UnpackRules)| {
        let mut rules = UnpackRules::default();
        change(&mut rules);
        rules
    };
    let two = Tar::default().file("a", "").file("b", "").end();
    let unpack = |tar: &[u8], rules: &UnpackRules| Scratch::new().unpack(tar, rules);
    assert!(unpack(&two, &rules(|rules| rules.max_entries = 2)).is_ok());
    assert!(matches!(
        unpack(&two, &rules(|rules| rules.max_entries = 1)),
        Err(UnpackError::TooManyEntries { limit: 1 })
    ));
    assert!(unpack(&two, &rules(|rules| rules.max_bytes = 2048)).is_ok());
    assert!(matches!(
        unpack(&two, &rules(|rules| rules.max_bytes = 2047)),
        Err(UnpackError::Read { .. })
    ));

    // Zeros behind the end of the archive cost nobody disk, but time: 80 MiB in 80 kB.
    let mut bomb = gzip(&two);
    let zeros = gzip(&vec![0; 1 << 20]);
    for _ in 0..80 {
        bomb.extend_from_slice(&zeros);
    }
    assert!(matches!(
        unpack(&bomb, &UnpackRules::default()),
        Err(UnpackError::Read { .. })
    ));
    assert!(unpack(&bomb, &rules(|rules| rules.max_ratio = 2000)).is_ok());
}

#[test]
fn damage_is_noticed() {
    let tar = Tar::default().file("a", &"content ".repeat(10_000)).end();
    let packed = gzip(&tar);
    assert!(unpack(&packed[..packed.len() - 1]).is_err());
    assert!(unpack(&packed[..packed.len() / 2]).is_err());
    let mut flipped = packed;
    let length = flipped.len();
    flipped[length - 6] ^= 1;
    assert!(unpack(&flipped).is_err());
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    assert!(unpack(&zstd[..zstd.len() - 1]).is_err());
    assert!(matches!(
        unpack(b"\xfd7zXZ\0rest"),
        Err(UnpackError::Read { .. })
    ));
}

/// Random bytes over a valid archive, and random archives of hostile entries: nothing may panic, hang or get out.
#[test]
fn noise_does_no_harm() {
    let mut state = 7_u64;
    let mut next = |count: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from((state >> 33) % count as u64).unwrap()
    };
    let names = [
        "a",
        "b",
        "a/b",
        "a/c",
        "b/a",
        "../outside",
        "/a",
        "a/../../outside",
        ".",
        ".wh.a",
        "a/.wh..wh..opq",
    ];
    let links = [
        "a",
        "b",
        "..",
        "/",
        "../../outside",
        "../outside",
        "a/b",
        "b/../../outside",
        "",
    ];
    for round in 0..300 {
        let mut tar = Tar::default();
        for _ in 0..next(8) {
            let flag = b"0125670xL"[next(9)];
            let content = if flag == b'0' || flag == b'L' {
                &b"noise"[..]
            } else {
                b""
            };
            tar = tar.raw(
                flag,
                names[next(names.len())],
                links[next(links.len())],
                content.len() as u64,
                content,
            );
        }
        let mut tar = tar.end();
        if round % 2 == 0 {
            for _ in 0..4 {
                let at = next(tar.len());
                tar[at] = next(256).to_le_bytes()[0];
            }
        }
        let existing = if round % 3 == 0 {
            Existing::Replace
        } else {
            Existing::Refuse
        };
        let rules = UnpackRules {
            existing,
            max_bytes: 1 << 20,
            ..UnpackRules::default()
        };
        drop(Scratch::new().unpack(&tar, &rules));
    }
}

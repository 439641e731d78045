#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::*;
use crate::{HardLinks, LayerTar, Times, TreeRules};

mod refusals;

/// A tar made field by field, so that it can lie.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn raw(mut self, flag: u8, name: &str, link: &str, size: u64, content: &[u8]) -> Self {
        let mut block = [0_u8; 512];
        block[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        block[100..107].copy_from_slice(b"0000755");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000007");
        block[156] = flag;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        self.0.extend_from_slice(&sealed(block));
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, flag: u8, name: &str, link: &str) -> Self {
        self.raw(flag, name, link, 0, b"")
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.raw(b'0', name, "", content.len() as u64, content.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.entry(b'5', name, "")
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let base = key.len() + value.len() + 3;
            let length = (base + 1..base + 9)
                .find(|length| base + length.to_string().len() == *length)
                .unwrap();
            data.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
        }
        self.raw(b'x', "pax", "", data.len() as u64, &data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn sealed(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("into")).unwrap();
        fs::write(scratch.path().join("outside"), "untouched").unwrap();
        Self(scratch)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("into")
    }

    fn unpack(&self, tar: &[u8], rules: &UnpackRules) -> Result<UnpackReport, UnpackError> {
        let result = unpack_layer(tar, &self.root(), rules);
        assert_eq!(
            fs::read_to_string(self.0.path().join("outside")).unwrap(),
            "untouched"
        );
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["into", "outside"]);
        result
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }
}

fn unpack(tar: &[u8]) -> Result<UnpackReport, UnpackError> {
    Scratch::new().unpack(tar, &UnpackRules::default())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_was_written_comes_back() {
    let source = tempfile::tempdir().unwrap();
    let root = source.path();
    let long = "n".repeat(200);
    fs::create_dir_all(root.join(&long).join(&long)).unwrap();
    fs::write(root.join(&long).join(&long).join("file"), "deep").unwrap();
    fs::write(root.join("setuid"), vec![9; 300_000]).unwrap();
    fs::hard_link(root.join("setuid"), root.join("twin")).unwrap();
    fs::set_permissions(root.join("setuid"), fs::Permissions::from_mode(0o4711)).unwrap();
    std::os::unix::fs::symlink("l".repeat(300), root.join("link")).unwrap();
    fs::create_dir(root.join("closed")).unwrap();
    fs::write(root.join("closed/é"), "").unwrap();
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o1555)).unwrap();

    let rules = TreeRules {
        times: Times::Keep { clamp: i64::MAX },
        hard_links: HardLinks::Preserve,
        ..TreeRules::owned_by(Owner {
            uid: 1000,
            gid: 1001,
        })
    };
    let tar_of = |dir: &Path| {
        let mut tar = Vec::new();
        let mut writer = LayerTar::new(&mut tar);
        writer.tree(dir, "/", &rules).unwrap();
        writer.finish().unwrap();
        tar
    };
    let tar = tar_of(root);
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    let members = [gzip(&tar[..1000]), gzip(&tar[1000..])].concat();
    for packed in [&tar, &zstd, &members] {
        let scratch = Scratch::new();
        let report = scratch.unpack(packed, &UnpackRules::default()).unwrap();
        assert_eq!(report.diff_id, Digest::of(&tar));
        assert_eq!(report.bytes, tar.len() as u64);
        assert_eq!(report.entries, 9);
        assert_eq!(
            report.owners.get(Path::new("/closed/é")),
            Some(&Owner {
                uid: 1000,
                gid: 1001
            })
        );
        assert_eq!(report.owners.len(), 9);
        assert!(tar_of(&scratch.root()) == tar);
        let twin = fs::metadata(scratch.root().join("twin")).unwrap();
        assert_eq!((twin.nlink(), twin.mode() & 0o7777), (2, 0o4711));
        fs::set_permissions(
            scratch.root().join("closed"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
    }
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn links_lead_nowhere_but_inside() {
    let scratch = Scratch::new();
    let outside = scratch.0.path().join("outside");
    let outside = outside.to_str().unwrap();
    let tar = Tar::default()
        .entry(b'2', "up", "../..")
        .entry(b'2', "absolute", "/")
        .file("up/escaped", "a")
        .file("absolute/rooted", "b")
        .entry(b'2', "alias", "usr/lib")
        .dir("usr/lib")
        .file("alias/library", "c")
        .entry(b'1', "hard", "/alias/library")
        .end();
    scratch.unpack(&tar, &UnpackRules::default()).unwrap();
    assert_eq!(scratch.read("escaped"), "a");
    assert_eq!(scratch.read("rooted"), "b");
    assert_eq!(scratch.read("usr/lib/library"), "c");
    assert_eq!(scratch.read("hard"), "c");

    // A last component that is a link is not written through, in either mode.
    for existing in [Existing::Refuse, Existing::Replace] {
        let scratch = Scratch::new();
        let tar = Tar::default()
            .entry(b'2', "link", outside)
            .file("link", "overwritten")
            .end();
        let result = scratch.unpack(
            &tar,
            &UnpackRules {
                existing,
                ..UnpackRules::default()
            },
        );
        assert_eq!(result.is_ok(), existing == Existing::Replace);
    }
    for name in ["../outside", "a/../../outside", "..", "a/.."] {
        assert!(
            matches!(
                unpack(&Tar::default().file(name, "x").end()),
                Err(UnpackError::Refused { .. })
            ),
            "{name}"
        );
    }
    // A hard link neither climbs nor reaches outside through a link.
    for (name, link) in [
        ("h", "../outside"),
        ("h", outside),
        ("h", "/"),
        ("h", "missing"),
    ] {
        assert!(
            unpack(&Tar::default().entry(b'1', name, link).end()).is_err(),
            "{link}"
        );
    }
    let through = Tar::default()
        .entry(b'2', "d", "../../..")
        .entry(b'1', "h", &format!("d{outside}"))
        .end();
    assert!(unpack(&through).is_err());
    let dangling = Tar::default()
        .entry(b'2', "d", "nowhere")
        .file("d/file", "x")
        .end();
    assert!(unpack(&dangling).is_err());
}

#[test]
fn names_of_every_format_are_read() {
    let scratch = Scratch::new();
    let long = "gnu/".to_owned() + &"n".repeat(150);
    let tar = Tar::default()
        .raw(
            b'L',
            "././@LongLink",
            "",
            long.len() as u64 + 1,
            format!("{long}\0").as_bytes(),
        )
        .file("short", "gnu")
        .pax(&[
            ("path", "pax/é"),
            ("mtime", "1234.9"),
            ("uid", "70000"),
            ("comment", "x"),
            ("size", "3"),
        ])
        .raw(b'0', "short", "", 0, b"pax")
        .raw(b'g', "g", "", 13, b"13 comment=x\n")
        .entry(0, "old-directory/", "")
        .raw(0, "old-file", "", 3, b"old")
        .raw(b'7', "contiguous", "", 1, b"c")
        .end();
    let report = scratch.unpack(&tar, &UnpackRules::default()).unwrap();
    assert_eq!(scratch.read(&long), "gnu");
    assert_eq!(scratch.read("pax/é"), "pax");
    assert_eq!(
        fs::metadata(scratch.root().join("pax/é")).unwrap().mtime(),
        1234
    );
    assert_eq!(
        report.owners,
        BTreeMap::from([(
            PathBuf::from("/pax/é"),
            Owner {
                uid: 70_000,
                gid: 0
            }
        )])
    );
    assert!(scratch.root().join("old-directory").is_dir());
    assert_eq!(scratch.read("old-file"), "old");
    // Made because nothing in the tar did.
    assert_eq!(
        fs::metadata(scratch.root().join("pax")).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn devices_are_reported_and_directories_may_repeat() {
    let scratch = Scratch::new();
    let tar = Tar::default()
        .dir("d")
        .file("d/a", "")
        .dir("d/")
        .entry(b'3', "dev/null", "")
        .entry(b'6', "fifo", "")
        .end();
    let report = scratch.unpack(&tar, &UnpackRules::default()).unwrap();
    assert_eq!(report.skipped_devices, [PathBuf::from("/dev/null")]);
    assert!(
        fs::symlink_metadata(scratch.root().join("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(!scratch.root().join("dev/null").exists());
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 16];
    let length = rustix::fs::getxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

#[test]
fn whiteouts_take_overlayfs_form_and_come_back_as_whiteouts() {
    let scratch = Scratch::new();
    let probe = rustix::fs::setxattr(
        scratch.root(),
        "user.probe",
        b"",
        rustix::fs::XattrFlags::empty(),
    );
    if probe.is_err() {
        println!("skipped: the scratch file system keeps no user attributes");
        return;
    }
    let tar = Tar::default()
        .file(".wh.gone", "")
        .dir("fresh")
        .file("fresh/.wh..wh..opq", "")
        .file("fresh/new", "n")
        .file("was/.wh.file", "")
        .file(".wh.replaced", "")
        .dir("replaced")
        .dir("kept")
        .file(".wh.kept", "")
        .file("both", "here")
        .file(".wh.both", "")
        .file(".wh..wh.plnk", "")
        .end();
    scratch.unpack(&tar, &UnpackRules::default()).unwrap();
    let into = scratch.root();
    let is_whiteout = |path: &str| {
        let metadata = fs::symlink_metadata(into.join(path)).unwrap();
        (metadata.file_type().is_char_device() && metadata.rdev() == 0)
            || attribute(&into.join(path), "user.overlay.whiteout").is_some()
    };
    assert!(is_whiteout("gone"));
    assert!(is_whiteout("was/file"));
    for opaque in ["fresh", "replaced", "kept"] {
        assert_eq!(
            attribute(&into.join(opaque), "user.overlay.opaque").as_deref(),
            Some(&b"y"[..]),
            "{opaque}"
        );
    }
    assert_eq!(scratch.read("both"), "here");
    assert!(!into.join(".wh..wh.plnk").exists());

    let mut again = Vec::new();
    let mut writer = LayerTar::new(&mut again);
    let rules = TreeRules {
        overlay: crate::Overlay::Translate,
        ..TreeRules::default()
    };
    writer.tree(&into, "", &rules).unwrap();
    writer.finish().unwrap();
    let names: Vec<String> = tar::Archive::new(again.as_slice())
        .entries()
        .unwrap()
        .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
        .collect();
    assert_eq!(
        names,
        [
            ".wh.gone",
            "both",
            "fresh",
            "fresh/.wh..wh..opq",
            "fresh/new",
            "kept",
            "kept/.wh..wh..opq",
            "replaced",
            "replaced/.wh..wh..opq",
            "was",
            "was/.wh.file",
        ]
    );

    let refuse = UnpackRules {
        whiteouts: Whiteouts::Refuse,
        ..UnpackRules::default()
    };
    assert!(matches!(
        Scratch::new().unpack(&tar, &refuse),
        Err(UnpackError::Refused { .. })
    ));
    assert!(unpack(&Tar::default().file(".wh.", "").end()).is_err());
    assert!(unpack(&Tar::default().file(".wh...", "").end()).is_err());
}

#[test]
fn packages_can_be_unpacked_over_one_another() {
    let scratch = Scratch::new();
    let rules = UnpackRules {
        existing: Existing::Replace,
        ..UnpackRules::default()
    };
    let first = Tar::default()
        .dir("./")
        .dir("./usr/lib")
        .entry(b'2', "./lib", "usr/lib")
        .file("./usr/lib/a", "old")
        .entry(b'2', "./link", "usr")
        .end();
    let second = Tar::default()
        .dir("./")
        .dir("./lib/")
        .file("./lib/a", "new")
        .file("./lib/b", "b")
        .entry(b'2', "./link", "elsewhere")
        .end();
    scratch.unpack(&first, &rules).unwrap();
    scratch.unpack(&second, &rules).unwrap();
    assert!(scratch.root().join("lib").is_symlink());
    assert_eq!(scratch.read("usr/lib/a"), "new");
    assert_eq!(scratch.read("lib/b"), "b");
    assert_eq!(
        fs::read_link(scratch.root().join("link")).unwrap(),
        Path::new("elsewhere")
    );
    assert!(
        scratch
            .unpack(&Tar::default().file("usr", "").end(), &rules)
            .is_err()
    );

    // A link that the last entry went through leads elsewhere afterwards.
    let turned = Tar::default()
        .dir("one")
        .dir("two")
        .entry(b'2', "way", "one")
        .file("way/a", "1")
        .entry(b'2', "way", "two")
        .file("way/a", "2")
        .end();
    let scratch = Scratch::new();
    scratch.unpack(&turned, &rules).unwrap();
    assert_eq!(scratch.read("one/a"), "1");
    assert_eq!(scratch.read("two/a"), "2");
}

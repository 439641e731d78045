#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::Digest;

/// The same sequence as in the Go program that made the expected digests.
struct Picks(u64);

impl Picks {
    fn next(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % count as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next(choices.len())]
    }
}

fn name(length: usize, style: usize) -> Vec<u8> {
    let unit: &[u8] = match style {
        4 => "é".as_bytes(),
        5 => b"\xff\xfe/abc",
        7 => b"a/../b/./c//",
        8 => "/日本語".as_bytes(),
        _ => b"a",
    };
    let is_slash = |at: usize| match style {
        1 => at.is_multiple_of(10),
        2 => at == 0 || at == length / 2,
        3 => at == 0 || at == 100,
        6 => at > 0 && at + 3 >= length,
        _ => false,
    };
    (0..length)
        .map(|at| {
            if is_slash(at) {
                b'/'
            } else {
                unit[at % unit.len()]
            }
        })
        .collect()
}

/// Expected: Go 1.26's `tar.Writer.WriteHeader` over the same 580 headers.
#[test]
fn headers_are_those_of_go() {
    const LENGTHS: [usize; 17] = [
        1, 2, 99, 100, 101, 102, 154, 155, 156, 157, 200, 255, 256, 257, 258, 300, 1100,
    ];
    const IDS: [u32; 5] = [0, 1000, 2_097_151, 2_097_152, u32::MAX];
    let mut picks = Picks(42);
    let mut out = Vec::new();
    for length in LENGTHS {
        for style in 0..9 {
            for kind in [Kind::File, Kind::HardLink, Kind::Symlink, Kind::Directory] {
                let name_bytes = name(length, style);
                if kind == Kind::File && name_bytes.ends_with(b"/") {
                    continue;
                }
                let link = match kind {
                    Kind::HardLink | Kind::Symlink => {
                        let length = picks.of(&LENGTHS);
                        name(length, picks.next(9))
                    }
                    _ => Vec::new(),
                };
                let mut entry = Header {
                    kind,
                    name: &name_bytes,
                    link: &link,
                    mode: picks.of(&[0, 0o644, 0o755, 0o4755, 0o7777]),
                    uid: 0,
                    gid: 0,
                    size: 0,
                    mtime: NORMALIZED_MTIME,
                    device: (0, 0),
                };
                if picks.next(3) == 0 {
                    entry.uid = picks.of(&IDS);
                    entry.gid = picks.of(&IDS);
                    if kind == Kind::File {
                        entry.size = picks.of(&[0, 1, (8 << 30) - 1, 8 << 30, 1 << 40]);
                    }
                    entry.mtime = picks.of(&[NORMALIZED_MTIME, 0, (8 << 30) - 1, 8 << 30, -1]);
                }
                header::write(&mut out, &entry).unwrap();
            }
        }
    }
    assert_eq!(
        Digest::of(&out).hex(),
        "74cd698a74480049c4c17992e172941aad4b7cc4d23435c308540220601114f0"
    );
}

const OWNER: Owner = Owner {
    uid: 1000,
    gid: 1000,
};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn file(path: &Path, content: &[u8], permissions: u32) {
    fs::write(path, content).unwrap();
    mode(path, permissions);
}

fn directory(path: &Path, permissions: u32) {
    fs::create_dir(path).unwrap();
    mode(path, permissions);
}

/// Everything that a walk can meet and that formats disagree about.
fn nasty_tree(root: &Path) {
    mode(root, 0o755);
    directory(&root.join("a"), 0o755);
    file(&root.join("a/x"), b"in a", 0o644);
    file(&root.join("a-b"), b"before a/x as a string", 0o640);
    file(&root.join("a.b"), b"", 0o600);
    directory(&root.join("empty"), 0o700);
    directory(&root.join("sticky"), 0o1777);
    file(&root.join("setuid"), b"#!", 0o4755);
    file(&root.join("setgid"), b"#!", 0o2711);
    let large: Vec<u8> = (0..3_000_001_u32)
        .map(|at| (at.wrapping_mul(at) >> 7).to_le_bytes()[0])
        .collect();
    file(&root.join("large"), &large, 0o444);
    file(&root.join("block"), &[7; 512], 0o644);
    fs::hard_link(root.join("block"), root.join("block-again")).unwrap();
    file(&root.join("ünïcode"), b"u", 0o644);
    directory(&root.join("日本語"), 0o755);
    file(&root.join("日本語/語"), b"", 0o644);
    file(
        &root.join(OsStr::from_bytes(b"invalid-\xff-utf8")),
        b"i",
        0o644,
    );
    file(&root.join("with space\nand line feed"), b"s", 0o644);
    for length in [60, 81, 82, 83, 84, 85, 136, 137, 138, 139, 200, 255] {
        file(&root.join("n".repeat(length)), b"n", 0o644);
        directory(&root.join("d".repeat(length)), 0o755);
        file(
            &root.join("d".repeat(length)).join("f".repeat(100)),
            b"f",
            0o644,
        );
        file(
            &root.join("d".repeat(length)).join("g".repeat(101)),
            b"g",
            0o644,
        );
        symlink("t".repeat(length), root.join(format!("link{length}"))).unwrap();
    }
    symlink("x".repeat(1000), root.join("link1000")).unwrap();
    symlink("../é", root.join("link-unicode")).unwrap();
    symlink("/", root.join("a/up")).unwrap();
    let mut deep = root.join("deep");
    directory(&deep, 0o755);
    for _ in 0..40 {
        deep.push("level-down");
        directory(&deep, 0o755);
    }
    file(&deep.join("bottom"), b"b", 0o644);
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        root.join("fifo"),
        rustix::fs::Mode::from_raw_mode(0o600),
    )
    .unwrap();
    mode(&root.join("fifo"), 0o620);
    drop(UnixListener::bind(root.join("socket")).unwrap());
}

fn tar_of(dir: &Path, at: &str, rules: &TreeRules) -> Result<Vec<u8>, LayerError> {
    let mut out = Vec::new();
    let mut tar = LayerTar::new(&mut out);
    tar.tree(dir, at, rules)?;
    tar.finish()?;
    Ok(out)
}

/// Expected: what upstream's `AddDirToArchive`, and its sorted slices, write of this tree with Go 1.26.
#[test]
fn trees_are_those_of_go() {
    let scratch = tempfile::tempdir().unwrap();
    nasty_tree(scratch.path());
    let mut rules = TreeRules::owned_by(OWNER);
    let walked = tar_of(scratch.path(), "/layers/a_b/c", &rules).unwrap();
    rules.order = Order::Path;
    let sorted = tar_of(scratch.path(), "/layers/a_b/c", &rules).unwrap();
    assert_eq!(
        Digest::of(&walked).hex(),
        "a0db560a63e0352292012547b711d18df5c0ae7c1088088858b11790f4def990"
    );
    assert_eq!(
        Digest::of(&sorted).hex(),
        "3e12acfa3fbd792d7dc26239ea9f7b41761323f0aaf3b872bc5dedf494dd0206"
    );
    assert_eq!(walked.len(), sorted.len());
}

/// Name, type flag, link, mode, size, uid and mtime of every entry, as another reader sees them.
fn listing(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let link = entry
                .link_name_bytes()
                .map(|link| String::from_utf8_lossy(&link).into_owned());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let header = entry.header();
            format!(
                "{}{name} {:o} {}:{} @{}{}{}",
                char::from(header.entry_type().as_byte()),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.mtime().unwrap(),
                link.map(|link| format!(" -> {link}")).unwrap_or_default(),
                if content.is_empty() {
                    String::new()
                } else {
                    format!(" {content:?}")
                },
            )
        })
        .collect()
}

#[test]
fn entries_by_hand_are_upstreams_launcher_and_process_types() {
    let mut out = Vec::new();
    let mut tar = LayerTar::new(&mut out);
    tar.parents("/cnb/process/web", 0o755, Owner::ROOT).unwrap();
    tar.symlink_with_mode(
        "/cnb/process/web",
        "/cnb/lifecycle/launcher",
        0o755,
        Owner::ROOT,
    )
    .unwrap();
    tar.symlink("/link", "target", OWNER).unwrap();
    tar.set_mtime(5);
    tar.file("/file", 0o600, OWNER, 3, &b"abc"[..]).unwrap();
    tar.finish().unwrap();
    assert_eq!(
        listing(&out),
        [
            "5/cnb 755 0:0 @315532801",
            "5/cnb/process 755 0:0 @315532801",
            "2/cnb/process/web 755 0:0 @315532801 -> /cnb/lifecycle/launcher",
            "2/link 777 1000:1000 @315532801 -> target",
            "0/file 600 1000:1000 @5 \"abc\"",
        ]
    );
    assert_eq!(out.len() % BLOCK_SIZE, 0);
}

const BLOCK_SIZE: usize = 512;

#[test]
fn bad_entries_are_refused() {
    let mut out = Vec::new();
    let mut tar = LayerTar::new(&mut out);
    assert!(matches!(
        tar.directory("", 0o755, OWNER),
        Err(LayerError::Name { .. })
    ));
    assert!(matches!(
        tar.directory("/a\0b", 0o755, OWNER),
        Err(LayerError::Name { .. })
    ));
    assert!(matches!(
        tar.file("/a/", 0o644, OWNER, 0, io::empty()),
        Err(LayerError::Name { .. })
    ));
    for content in [&b"ab"[..], b"abcd"] {
        assert!(matches!(
            tar.file("/a", 0o644, OWNER, 3, content),
            Err(LayerError::Size { size: 3, .. })
        ));
    }
    let missing = tar_of(Path::new("/nonexistent"), "/a", &TreeRules::default()).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent"));
}

#[test]
fn owners_times_and_hard_links_follow_the_rules() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    directory(&root.join("var"), 0o755);
    directory(&root.join("var/mail"), 0o2775);
    file(&root.join("var/mail/a"), b"a", 0o644);
    fs::hard_link(root.join("var/mail/a"), root.join("var/mail/b")).unwrap();
    let at = |path: &str, seconds| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(seconds);
        File::open(root.join(path))
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    at("var/mail/a", 1_500);
    at("var/mail", 99_400);
    at("var", 100_600);
    let mail = Owner { uid: 0, gid: 8 };
    let rules = TreeRules {
        owners: Owners {
            default: Owner::ROOT,
            paths: BTreeMap::from([("/var/mail".into(), mail)]),
        },
        times: Times::Keep { clamp: 100 },
        hard_links: HardLinks::Preserve,
        ..TreeRules::default()
    };
    assert_eq!(
        listing(&tar_of(root, "", &rules).unwrap()),
        [
            "5var 755 0:0 @100",
            "5var/mail 2775 0:8 @99",
            "0var/mail/a 644 0:0 @2 \"a\"",
            "1var/mail/b 644 0:0 @2 -> var/mail/a",
        ]
    );
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

#[test]
fn overlay_marks_become_whiteouts_before_their_siblings() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    directory(&root.join("opaque"), 0o755);
    directory(&root.join("marked"), 0o755);
    file(&root.join("opaque/kept"), b"k", 0o644);
    file(&root.join("marked/gone"), b"", 0o644);
    file(&root.join("marked/stays"), b"", 0o644);
    file(&root.join("a"), b"a", 0o644);
    if !set_attribute(&root.join("opaque"), "user.overlay.opaque", b"y") {
        println!("skipped: the scratch file system keeps no user attributes");
        return;
    }
    assert!(set_attribute(
        &root.join("marked"),
        "user.overlay.opaque",
        b"x"
    ));
    assert!(set_attribute(
        &root.join("marked/gone"),
        "user.overlay.whiteout",
        b"y"
    ));
    let device = rustix::fs::FileType::CharacterDevice;
    let private = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("z-gone"), device, private, 0).unwrap();
    let mut rules = TreeRules {
        overlay: Overlay::Translate,
        times: Times::Fixed(7),
        ..TreeRules::default()
    };
    assert_eq!(
        listing(&tar_of(root, "/", &rules).unwrap())[1..],
        [
            "0/.wh.z-gone 644 0:0 @7",
            "0/a 644 0:0 @7 \"a\"",
            "5/marked 755 0:0 @7",
            "0/marked/.wh.gone 644 0:0 @7",
            "0/marked/stays 644 0:0 @7",
            "5/opaque 755 0:0 @7",
            "0/opaque/.wh..wh..opq 644 0:0 @7",
            "0/opaque/kept 644 0:0 @7 \"k\"",
        ]
    );
    assert!(set_attribute(
        &root.join("marked"),
        "user.overlay.redirect",
        b"/elsewhere"
    ));
    assert!(matches!(
        tar_of(root, "/", &rules),
        Err(LayerError::Overlay { .. })
    ));
    rules.overlay = Overlay::Ignore;
    assert!(tar_of(root, "/", &rules).is_ok());
}

#[test]
fn single_entries_are_those_of_the_tree() {
    let scratch = tempfile::tempdir().unwrap();
    nasty_tree(scratch.path());
    let rules = TreeRules::owned_by(OWNER);
    let mut out = Vec::new();
    let mut tar = LayerTar::new(&mut out);
    tar.entries(
        scratch.path(),
        "/app",
        ["", "a", "a-b", "a/up", "a/x"],
        &rules,
    )
    .unwrap();
    tar.finish().unwrap();
    assert_eq!(
        listing(&out),
        [
            "5/app 755 1000:1000 @315532801",
            "5/app/a 755 1000:1000 @315532801",
            "0/app/a-b 640 1000:1000 @315532801 \"before a/x as a string\"",
            "2/app/a/up 777 1000:1000 @315532801 -> /",
            "0/app/a/x 644 1000:1000 @315532801 \"in a\"",
        ]
    );
}

/// A sink that does something to the disk when a header or some content has gone through.
struct Meddler<F: FnMut()> {
    at_write: usize,
    writes: usize,
    act: F,
}

impl<F: FnMut()> Write for Meddler<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writes == self.at_write {
            (self.act)();
        }
        self.writes += 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_underfoot_is_an_error_that_names_it() {
    const SIZE: usize = 3 * READ_BUFFER;
    let acted = AtomicBool::new(false);
    // Writes: 0 the directory's header, 1 that of an empty file, 2 the victim's, 3 to 5 its content.
    let meddle = |at_write: usize, act: &dyn Fn(&Path)| {
        let scratch = tempfile::tempdir().unwrap();
        file(&scratch.path().join("empty"), b"", 0o644);
        let path = scratch.path().join("victim");
        file(&path, &vec![1; SIZE], 0o644);
        acted.store(false, Ordering::Relaxed);
        let act = || {
            act(&path);
            acted.store(true, Ordering::Relaxed);
        };
        let mut sink = Meddler {
            at_write,
            writes: 0,
            act,
        };
        let result = LayerTar::new(&mut sink).tree(scratch.path(), "/a", &TreeRules::default());
        assert!(acted.load(Ordering::Relaxed));
        let error = result.unwrap_err();
        assert!(error.to_string().contains("victim"), "{error}");
        error
    };
    let append = |path: &Path| {
        OpenOptions::new()
            .append(true)
            .open(path)
            .unwrap()
            .write_all(b"more")
            .unwrap();
    };
    let truncate = |path: &Path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(10)
            .unwrap();
    };
    let rewrite = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    };
    let replace = |path: &Path| {
        fs::rename(path, path.with_extension("old")).unwrap();
        fs::write(path, vec![1; SIZE]).unwrap();
    };
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let to_fifo = |path: &Path| {
        fs::remove_file(path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap();
    };
    for at_write in [2, 3] {
        assert!(matches!(
            meddle(at_write, &append),
            LayerError::Changed { .. }
        ));
        assert!(matches!(
            meddle(at_write, &truncate),
            LayerError::Changed { .. }
        ));
        assert!(matches!(
            meddle(at_write, &rewrite),
            LayerError::Changed { .. }
        ));
    }
    assert!(matches!(meddle(2, &replace), LayerError::Changed { .. }));
    assert!(matches!(meddle(2, &to_fifo), LayerError::Changed { .. }));
    assert!(matches!(meddle(1, &remove), LayerError::Read { .. }));
    assert!(matches!(meddle(2, &remove), LayerError::Read { .. }));
}

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::LazyLock;

use super::*;

static PROGRAMS: LazyLock<HashMap<i32, Vec<u8>>> =
    LazyLock::new(|| HashMap::from([(own(), b"/usr/bin/me".to_vec())]));

fn own() -> i32 {
    std::process::id().cast_signed()
}

fn me() -> Onlooker<'static> {
    Onlooker {
        thread: own(),
        process: own(),
        programs: &PROGRAMS,
    }
}

struct Fixture {
    _folder: tempfile::TempDir,
    view: View,
    host: String,
}

/// A root with links in it, and `/data` from elsewhere.
fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(folder.path()).unwrap();
    for path in ["root/usr/bin", "root/data", "elsewhere/deep"] {
        fs::create_dir_all(base.join(path)).unwrap();
    }
    fs::write(base.join("root/usr/bin/sh"), "").unwrap();
    symlink("usr/bin", base.join("root/bin")).unwrap();
    symlink("/usr/bin/sh", base.join("root/shell")).unwrap();
    symlink("/data/deep", base.join("root/usr/deep")).unwrap();
    symlink("../../../../../etc", base.join("root/out")).unwrap();
    symlink("loop", base.join("root/loop")).unwrap();
    let place = |inside: &str, host: &str, writable| Place {
        inside: inside.into(),
        host: if host.starts_with('/') {
            host.into()
        } else {
            base.join(host).into_os_string().into_vec()
        },
        writable,
    };
    let view = View {
        places: vec![
            place("", "root", false),
            place("/data", "elsewhere", true),
            place("/proc", "/proc", false),
        ],
    };
    Fixture {
        view,
        host: base.display().to_string(),
        _folder: folder,
    }
}

fn resolved(from: &str, path: &str, last: Last) -> Result<String, Errno> {
    let fixture = fixture();
    let found = fixture
        .view
        .resolve(me(), from.as_bytes(), path.as_bytes(), last)?;
    Ok(String::from_utf8(found).unwrap())
}

#[test]
fn links_stay_inside() {
    for (from, path, expected) in [
        ("", "/bin/sh", "/usr/bin/sh"),
        ("/usr", "../bin/./sh", "/usr/bin/sh"),
        ("", "/shell", "/usr/bin/sh"),
        ("", "/usr/deep", "/data/deep"),
        ("", "/usr/deep/new", "/data/deep/new"),
        ("", "/out", "/etc"),
        ("", "/../../etc/passwd-to-be", "/etc/passwd-to-be"),
        ("", "/", ""),
        ("/usr/bin", "..", "/usr"),
        ("", "/proc/self/fd/0", "/proc/OWN/fd/0"),
        ("", "/proc/thread-self/comm", "/proc/OWN/task/OWN/comm"),
        ("", "/proc/self/root/bin/sh", "/usr/bin/sh"),
        ("", "/proc/thread-self/root/../bin/sh", "/usr/bin/sh"),
    ] {
        let found = resolved(from, path, Last::Followed);
        let expected = expected.replace("OWN", &own().to_string());
        if path.contains("passwd-to-be") {
            assert_eq!(found, Err(Errno::NOENT), "/etc is not there");
        } else {
            assert_eq!(found, Ok(expected), "{path} from {from}");
        }
    }
}

#[test]
fn the_last_link_is_followed_on_demand() {
    assert_eq!(resolved("", "/shell", Last::Itself).unwrap(), "/shell");
    assert_eq!(resolved("", "/bin", Last::Itself).unwrap(), "/bin");
    assert_eq!(resolved("", "/bin/", Last::Itself).unwrap(), "/usr/bin");
    assert_eq!(
        resolved("", "/bin/sh", Last::Itself).unwrap(),
        "/usr/bin/sh"
    );
}

#[test]
fn what_leads_nowhere_is_an_error() {
    assert_eq!(resolved("", "/loop", Last::Followed), Err(Errno::LOOP));
    assert_eq!(resolved("", "/no/file", Last::Followed), Err(Errno::NOENT));
    assert_eq!(
        resolved("", "/usr/bin/sh/x", Last::Followed),
        Err(Errno::NOTDIR)
    );
    assert_eq!(
        resolved("", "/usr/new", Last::Followed).unwrap(),
        "/usr/new"
    );
}

#[test]
fn places_of_the_host_are_known_by_their_names_inside() {
    let Fixture {
        view,
        host,
        _folder,
    } = fixture();
    let inside = |path: &str| view.to_inside(format!("{host}/{path}").as_bytes());
    assert_eq!(inside("root/usr").unwrap(), b"/usr");
    assert_eq!(inside("root").unwrap(), b"");
    assert_eq!(inside("elsewhere/deep").unwrap(), b"/data/deep");
    assert_eq!(inside("rooted"), None);
    assert_eq!(
        view.to_host(b"/data/x"),
        format!("{host}/elsewhere/x").into_bytes()
    );
    assert_eq!(
        view.to_host(b"/database"),
        format!("{host}/root/database").into_bytes()
    );
    assert!(view.is_writable(format!("{host}/elsewhere/deep").as_bytes()));
    assert!(!view.is_writable(format!("{host}/root/usr").as_bytes()));
    assert!(!view.is_writable(b"/etc/passwd"));
}

#[test]
fn a_process_knows_its_program_by_its_name_inside() {
    let fixture = fixture();
    let view = &fixture.view;
    let exe = format!("/proc/{}/exe", own());
    assert_eq!(view.link(me(), exe.as_bytes()).unwrap(), b"/usr/bin/me");
    assert_eq!(
        view.link(me(), b"/proc/self").unwrap(),
        own().to_string().into_bytes()
    );
    assert_eq!(view.link(me(), b"/bin").unwrap(), b"usr/bin");
    let found = view.resolve(me(), b"", b"/proc/self/exe", Last::Followed);
    assert_eq!(found.unwrap(), b"/usr/bin/me");
}

//! The tier without namespaces: a root that is a real tree, and directories that are moved into it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sandbox::{Filter, Mount, Sandbox, Stream, Tier, Writable, recover, spawn_at};

use crate::fixture::{Fixture, Outcome, eventually, processes_with};

const PROGRAMS: [&str; 10] = [
    "bash", "cat", "chmod", "id", "ls", "mkdir", "mv", "rm", "setsid", "sleep",
];

/// A root with a few programs of the machine, for root; nobody else has this tier.
fn fixture() -> Option<Fixture> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: not root");
        return None;
    }
    let fixture = Fixture::new(Tier::Chroot);
    let lower = fixture.path("lower");
    for folder in ["usr/bin", "usr/lib", "usr/lib64", "host", "var"] {
        fs::create_dir_all(lower.join(folder)).unwrap();
    }
    for program in PROGRAMS {
        let path = Path::new("/usr/bin").join(program);
        copy(&path, &lower);
        let needed = Command::new("ldd").arg(&path).output().unwrap();
        for word in String::from_utf8(needed.stdout).unwrap().split_whitespace() {
            if word.starts_with('/') {
                copy(Path::new(word), &lower);
            }
        }
    }
    fs::write(lower.join("data/open"), "original").unwrap();
    fs::set_permissions(lower.join("data/open"), fs::Permissions::from_mode(0o666)).unwrap();
    chown(lower.join("var"), Some(1000), Some(1000)).unwrap();
    fs::write(lower.join("var/own"), "original").unwrap();
    chown(lower.join("var/own"), Some(1000), Some(1000)).unwrap();
    Some(fixture)
}

fn copy(path: &Path, lower: &Path) {
    let to = lower.join(path.strip_prefix("/").unwrap());
    if !to.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

fn sandbox(fixture: &Fixture, script: &str) -> Sandbox {
    let mut sandbox = fixture.program(&["bash", "-c", script]);
    sandbox.mounts.clear();
    sandbox.root.writable = Writable::Dir {
        upper: fixture.path("upper"),
        work: fixture.path("work"),
    };
    sandbox
}

fn succeeds(fixture: &Fixture, sandbox: &Sandbox) -> String {
    let outcome = fixture.run(sandbox);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (0, ""),
        "{outcome:?}"
    );
    outcome.stdout
}

#[test]
fn the_program_is_confined_to_its_root() {
    let Some(fixture) = fixture() else { return };
    let script = "id -u; echo /*; echo /proc/*; echo x >/dev/null; \
        echo x >/data/precious || echo refused; echo x >/usr/bin/cat || echo refused; \
        kill -0 $OUTSIDE || echo refused";
    let mut sandbox = sandbox(&fixture, script);
    let outside = std::process::id().to_string();
    sandbox.env.push(("OUTSIDE".into(), outside.into()));
    let outcome = fixture.run(&sandbox);
    let (id, rest) = outcome.stdout.split_once('\n').unwrap();
    let (root, rest) = rest.split_once('\n').unwrap();
    assert_eq!(id, "1000", "{outcome:?}");
    assert!(
        root.contains("/data /dev") && !root.contains("/home"),
        "{root}"
    );
    assert!(
        rest.starts_with("/proc/*\nrefused\nrefused\nrefused\n"),
        "{outcome:?}"
    );
    let lower = fixture.path("lower/data/precious");
    assert_eq!(fs::read_to_string(lower).unwrap(), "original");
}

#[test]
fn what_one_program_writes_the_next_does_not_see() {
    let Some(fixture) = fixture() else { return };
    let change = "echo changed >/data/open; echo changed >/var/own; echo new >/var/new; \
        echo new >/tmp/new; mkdir -p /var/folder/deep; cat /data/open /var/own /var/new";
    let changed = succeeds(&fixture, &sandbox(&fixture, change));
    assert_eq!(changed, "changed\nchanged\nnew\n");
    let look = sandbox(&fixture, "cat /data/open /var/own; ls /var /tmp");
    assert_eq!(
        succeeds(&fixture, &look),
        "originaloriginal/tmp:\n\n/var:\nown\n"
    );
    let remove = sandbox(&fixture, "rm -r /var/own; mkdir /var/own; ls -d /var/own");
    assert_eq!(succeeds(&fixture, &remove), "/var/own\n");
    assert_eq!(
        succeeds(&fixture, &look),
        "originaloriginal/tmp:\n\n/var:\nown\n"
    );
    for (path, content) in [("data/open", "original"), ("var/own", "original")] {
        let lower = fixture.path("lower").join(path);
        assert_eq!(fs::read_to_string(lower).unwrap(), content);
    }
    // One tree has served them all; another root of the same user is made out of it.
    assert!(fixture.path("work/0").is_dir() && !fixture.path("work/1").exists());
    let more = fixture.path("more");
    fs::create_dir_all(more.join("var")).unwrap();
    fs::write(more.join("var/own"), "covering").unwrap();
    chown(more.join("var"), Some(1000), Some(1000)).unwrap();
    chown(more.join("var/own"), Some(1000), Some(1000)).unwrap();
    let mut covered = sandbox(&fixture, "cat /var/own /data/precious");
    covered.root.lower.insert(0, more);
    assert_eq!(succeeds(&fixture, &covered), "coveringoriginal");
    assert_eq!(
        succeeds(&fixture, &look),
        "originaloriginal/tmp:\n\n/var:\nown\n"
    );
}

#[test]
fn sandboxes_of_one_work_directory_run_at_once() {
    let Some(fixture) = fixture() else { return };
    let mut first = sandbox(&fixture, "echo first >/var/own; read line; cat /var/own");
    first.stdin = Stream::Pipe;
    let mut first = spawn_at(&first, Tier::Chroot).unwrap();
    let second = succeeds(&fixture, &sandbox(&fixture, "cat /var/own"));
    assert_eq!(second, "original");
    assert!(fixture.path("work/1").is_dir());
    drop(first.stdin.take());
    assert_eq!(crate::finish(first).stdout, "first\n");
}

#[test]
fn directories_of_the_host_are_lent() {
    let Some(fixture) = fixture() else { return };
    let (shared, given) = (fixture.path("shared"), fixture.path("given"));
    chown(&shared, Some(1000), Some(1000)).unwrap();
    fs::create_dir(&given).unwrap();
    fs::write(given.join("file"), "given").unwrap();
    chown(given.join("file"), Some(1000), Some(1000)).unwrap();
    let inode = fs::metadata(&shared).unwrap().ino();
    let script = "echo written >/data/file; cat /host/file /host/precious; \
        echo x >/host/file || rm /host/file || echo refused";
    let mut sandbox = sandbox(&fixture, script);
    sandbox.mounts = vec![
        Mount::read_write(&shared, "/data"),
        Mount::read_only(&given, "/host"),
        Mount::read_only(fixture.path("lower/data/precious"), "/host/precious"),
    ];
    let outcome = fixture.run(&sandbox);
    assert_eq!(outcome.stdout, "givenoriginalrefused\n", "{outcome:?}");
    assert_eq!(fs::metadata(&shared).unwrap().ino(), inode);
    assert_eq!(
        fs::read_to_string(shared.join("file")).unwrap(),
        "written\n"
    );
    assert_eq!(fs::read_to_string(given.join("file")).unwrap(), "given");
    assert!(!given.join("precious").exists());
    // What the directory covered is there again.
    sandbox.mounts.clear();
    sandbox.argv[2] = "cat /data/precious".into();
    assert_eq!(succeeds(&fixture, &sandbox), "original");
    // A program that cannot be started has borrowed nothing either.
    sandbox.mounts = vec![Mount::read_write(&shared, "/data")];
    sandbox.argv = vec!["/no/such/program".into()];
    assert!(spawn_at(&sandbox, Tier::Chroot).is_err());
    assert!(shared.join("file").exists());
}

#[test]
fn directories_of_another_file_system_return_too() {
    let Some(fixture) = fixture() else { return };
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: no /dev/shm");
        return;
    };
    let here = fs::metadata(fixture.dir.path()).unwrap().dev();
    if fs::metadata(other.path()).unwrap().dev() == here {
        println!("skipped: /dev/shm is no file system of its own");
        return;
    }
    let shared = other.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("old"), "old").unwrap();
    chown(&shared, Some(1000), Some(1000)).unwrap();
    let mut sandbox = sandbox(&fixture, "cat /data/old; rm /data/old; echo new >/data/new");
    sandbox.mounts = vec![Mount::read_write(&shared, "/data")];
    assert_eq!(fixture.run(&sandbox).stdout, "old");
    assert_eq!(fs::read_to_string(shared.join("new")).unwrap(), "new\n");
    assert!(!shared.join("old").exists());
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
}

/// Every path with its kind, mode and, for files, content.
fn listing(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() {
                fs::read_to_string(&path).unwrap()
            } else {
                String::new()
            };
            if metadata.is_dir() {
                open.push(path.clone());
            }
            let hidden = metadata.file_type().is_char_device() && metadata.rdev() == 0;
            let mode = if hidden { 0 } else { metadata.mode() };
            found.insert(
                path.strip_prefix(folder).unwrap().to_owned(),
                format!("{mode:o} {content}"),
            );
        }
    }
    found
}

#[test]
fn changes_of_root_are_what_an_overlay_would_have() {
    let script = "set -e; echo new >/data/new; rm /data/precious; mkdir -p /etc/folder/deep; \
        echo deep >/etc/folder/deep/file; mv /var/own /var/moved; echo in place >>/data/open; \
        rm /etc/passwd; echo again >/etc/passwd; rm -r /host; chmod 600 /data/new; \
        rm /data/upper; echo more >>/data/kept; mkdir /usr/new; rm -r /usr/new; cat /data/open";
    let mut listings = Vec::new();
    let overlays = sandbox::tier() == Tier::Root;
    for tier in [Tier::Chroot, Tier::Root] {
        if tier == Tier::Root && !overlays {
            println!("skipped: no namespaces to compare with");
            continue;
        }
        let Some(mut fixture) = fixture() else { return };
        fixture.tier = tier;
        for name in ["upper", "kept"] {
            fs::create_dir_all(fixture.path("upper/data")).unwrap();
            fs::write(fixture.path("upper/data").join(name), "upper\n").unwrap();
        }
        let mut sandbox = sandbox(&fixture, script);
        (sandbox.uid, sandbox.gid) = (0, 0);
        sandbox.filter = Filter::FakeOwnership;
        assert_eq!(succeeds(&fixture, &sandbox), "originalin place\n");
        let precious = fixture.path("lower/data/precious");
        assert_eq!(fs::read_to_string(precious).unwrap(), "original");
        assert_eq!(
            fs::read_to_string(fixture.path("lower/data/open")).unwrap(),
            "original"
        );
        let found = listing(&fixture.path("upper"));
        assert!(
            found.contains_key(Path::new("etc/folder/deep/file")),
            "{found:?}"
        );
        listings.push(found);
        // The changes are what the next one starts from.
        sandbox.argv[2] = "cat /data/new /data/kept /etc/passwd; ls /var".into();
        assert_eq!(
            succeeds(&fixture, &sandbox),
            "new\nupper\nmore\nagain\nmoved\n"
        );
    }
    if let [tree, overlay] = listings.as_slice() {
        assert_eq!(tree, overlay);
    }
}

#[test]
fn nothing_outlives_program_or_caller() {
    let Some(fixture) = fixture() else { return };
    let marker = format!("86400.{}7", std::process::id());
    let script =
        format!("for i in 1 2 3; do sleep {marker} & (setsid sleep {marker} &) ; done; exit 7");
    let Outcome { code, .. } = fixture.run(&sandbox(&fixture, &script));
    assert_eq!(code, 7);
    assert_eq!(processes_with(&marker), Vec::<String>::new());
    let child = spawn_at(
        &sandbox(&fixture, &format!("setsid sleep {marker} & sleep {marker}")),
        Tier::Chroot,
    )
    .unwrap();
    assert!(eventually(|| processes_with(&marker).len() >= 2));
    drop(child);
    assert_eq!(processes_with(&marker), Vec::<String>::new());
}

#[test]
fn a_killed_caller_s_directories_are_found_again() {
    let Some(fixture) = fixture() else { return };
    let shared = fixture.path("shared");
    fs::write(shared.join("file"), "kept").unwrap();
    let marker = format!("86400.{}8", std::process::id());
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tree::helper_that_borrows",
            "--ignored",
            "--nocapture",
        ])
        .env("SANDBOX_MARKER", &marker)
        .env("SANDBOX_FIXTURE", fixture.dir.path())
        .spawn()
        .unwrap();
    let name = format!("sleep {marker}");
    assert!(eventually(|| processes_with(&name).len() >= 2));
    assert!(!shared.exists());
    // A living caller's directories are left alone.
    recover(&fixture.path("work")).unwrap();
    assert!(!shared.exists());
    helper.kill().unwrap();
    helper.wait().unwrap();
    recover(&fixture.path("work")).unwrap();
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "kept");
    assert_eq!(processes_with(&name), Vec::<String>::new());
    recover(&fixture.path("work")).unwrap();
    assert_eq!(
        succeeds(&fixture, &sandbox(&fixture, "cat /data/precious")),
        "original"
    );
}

#[test]
#[ignore = "the process that the test above kills"]
fn helper_that_borrows() {
    let Ok(marker) = std::env::var("SANDBOX_MARKER") else {
        return;
    };
    let folder = PathBuf::from(std::env::var_os("SANDBOX_FIXTURE").unwrap());
    let script = format!("setsid sleep {marker} & sleep {marker}");
    let root = sandbox::Root {
        lower: vec![folder.join("lower")],
        writable: Writable::Dir {
            upper: folder.join("upper"),
            work: folder.join("work"),
        },
    };
    let argv = ["bash", "-c", &script].map(Into::into).to_vec();
    let mut sandbox = Sandbox::new(root, argv);
    sandbox.stdout = Stream::Null;
    sandbox.stderr = Stream::Null;
    sandbox.mounts = vec![Mount::read_write(folder.join("shared"), "/data")];
    std::mem::forget(spawn_at(&sandbox, Tier::Chroot).unwrap());
    std::thread::sleep(Duration::from_mins(1));
}

/// Who owns the way to a mount can put a link there, which root must not follow afterwards.
#[test]
fn links_on_the_way_to_a_mount_are_not_followed() {
    let Some(fixture) = fixture() else { return };
    let (victim, given) = (fixture.path("victim"), fixture.path("given"));
    for folder in [victim.join("mount"), given.clone()] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("precious"), "precious").unwrap();
    }
    let way = fixture.path("lower/var/way");
    fs::create_dir(&way).unwrap();
    chown(&way, Some(1000), Some(1000)).unwrap();
    let script = format!(
        "cat /var/way/mount/precious; mv /var/way /var/away; ln -s {} /var/way",
        victim.display()
    );
    copy(Path::new("/usr/bin/ln"), &fixture.path("lower"));
    let mut sandbox = sandbox(&fixture, &script);
    sandbox.mounts = vec![Mount::read_only(&given, "/var/way/mount")];
    let mut child = spawn_at(&sandbox, Tier::Chroot).unwrap();
    assert!(child.wait().is_err());
    assert!(victim.join("mount/precious").exists() && given.join("precious").exists());
    // The next one finds everything in its place.
    let look = self::sandbox(&fixture, "ls /var /var/way");
    assert_eq!(succeeds(&fixture, &look), "/var:\nown\nway\n\n/var/way:\n");
}

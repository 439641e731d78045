//! What becomes of files that a program reads and writes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use sandbox::{Access, Error, Mount, Writable, host_ids, spawn_at};

use crate::fixture::fixtures;

#[test]
fn writes_do_not_reach_the_lower_directories() {
    for fixture in fixtures() {
        let mut sandbox = fixture.sh("echo changed >/data/precious && rm -r /etc && mkdir /etc && touch /etc/new /data/new && cat /data/precious && ls /etc");
        (sandbox.uid, sandbox.gid) = (0, 0);
        let outcome = fixture.run(&sandbox);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (0, "changed\nnew\n"),
            "{outcome:?}"
        );
        let lower = fixture.path("lower");
        assert_eq!(
            fs::read_to_string(lower.join("data/precious")).unwrap(),
            "original"
        );
        assert!(lower.join("etc/passwd").exists() && !lower.join("data/new").exists());
    }
}

#[test]
fn changes_are_kept_in_the_upper_directory() {
    for fixture in fixtures() {
        let keep = |script: &str| {
            let mut sandbox = fixture.sh(script);
            (sandbox.uid, sandbox.gid) = (0, 0);
            sandbox.root.writable = Writable::Dir {
                upper: fixture.path("upper"),
                work: fixture.path("work"),
            };
            let outcome = fixture.run(&sandbox);
            assert_eq!(
                (outcome.code, outcome.stderr.as_str()),
                (0, ""),
                "{outcome:?}"
            );
            outcome.stdout
        };
        keep("echo kept >/data/new; rm /data/precious; chmod 600 /data/new");
        assert_eq!(fs::read_dir(fixture.path("work")).unwrap().count(), 0);
        assert_eq!(keep("cat /data/new; ls /data"), "kept\nnew\n");
        assert_eq!(
            fs::read_to_string(fixture.path("upper/data/new")).unwrap(),
            "kept\n"
        );
        assert_eq!(
            fs::read_to_string(fixture.path("lower/data/precious")).unwrap(),
            "original"
        );
    }
}

#[test]
fn lower_directories_lie_over_each_other() {
    for fixture in fixtures() {
        let mut sandbox = fixture.sh("cat /data/precious; ls /data");
        let names = ["a", "b, with:odd\\characters"];
        for name in names {
            fs::create_dir_all(fixture.path(name).join("data")).unwrap();
            fs::write(fixture.path(name).join("data/precious"), name).unwrap();
            fs::write(fixture.path(name).join("data").join(&name[..1]), "").unwrap();
            sandbox.root.lower.insert(0, fixture.path(name));
        }
        for writable in [Writable::Tmpfs, Writable::ReadOnly] {
            sandbox.root.writable = writable;
            assert_eq!(
                fixture.run(&sandbox).stdout,
                format!("{}a\nb\nprecious\n", names[1])
            );
        }
        // Longer than one page if they were written as paths.
        let deep = fixture.path(&"long/".repeat(40));
        fs::create_dir_all(&deep).unwrap();
        for number in 0..120 {
            let layer = deep.join(number.to_string());
            fs::create_dir(&layer).unwrap();
            sandbox.root.lower.push(layer);
        }
        assert_eq!(fixture.run(&sandbox).code, 0);
    }
}

#[test]
fn a_read_only_root_refuses_writes() {
    for fixture in fixtures() {
        let mut sandbox = fixture.sh("touch /x /data/x /usr/x; touch /tmp/x /shared/x");
        (sandbox.uid, sandbox.gid) = (0, 0);
        sandbox.root.writable = Writable::ReadOnly;
        let outcome = fixture.run(&sandbox);
        assert_eq!(
            outcome.stderr.matches("Read-only file system").count(),
            3,
            "{outcome:?}"
        );
        // With a mount point that the root lacks.
        sandbox
            .mounts
            .push(Mount::read_write(fixture.path("shared"), "/shared"));
        let outcome = fixture.run(&sandbox);
        assert_eq!(
            outcome.stderr.matches("Read-only file system").count(),
            3,
            "{outcome:?}"
        );
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert!(fixture.path("shared/x").exists());
        assert!(!fixture.path("lower/shared").exists());
    }
}

#[test]
fn mounts_are_as_writable_as_asked() {
    for fixture in fixtures() {
        let source = fixture.path("shared");
        fs::write(fixture.path("hosts"), "127.0.0.1 localhost\n").unwrap();
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let mut sandbox = fixture.sh(
                "touch /deep/er/x; cat /etc/hosts; echo >>/etc/hosts; ls -ld /deep | cut -c1-10",
            );
            sandbox.mounts.push(Mount {
                source: source.clone(),
                target: "/deep/er".into(),
                access,
            });
            sandbox
                .mounts
                .push(Mount::read_only(fixture.path("hosts"), "/etc/hosts"));
            let outcome = fixture.run(&sandbox);
            assert_eq!(
                outcome.stdout, "127.0.0.1 localhost\ndrwxr-xr-x\n",
                "{outcome:?}"
            );
            assert!(outcome.stderr.contains("/etc/hosts"), "{outcome:?}");
            assert_eq!(source.join("x").exists(), access == Access::ReadWrite);
        }
        let owner = fs::metadata(source.join("x")).unwrap();
        let expected = if fixture.tier == sandbox::tier() {
            host_ids(1000, 1000)
        } else {
            (0, 0)
        };
        assert_eq!((owner.uid(), owner.gid()), expected);
    }
}

#[test]
fn links_in_the_root_do_not_lead_mounts_out() {
    for fixture in fixtures() {
        let lower = fixture.path("lower");
        std::os::unix::fs::symlink(fixture.path("shared"), lower.join("escape")).unwrap();
        std::os::unix::fs::symlink("../run/nowhere/resolv.conf", lower.join("etc/resolv.conf"))
            .unwrap();
        fs::write(fixture.path("resolv.conf"), "nameserver ::1\n").unwrap();
        let mut sandbox = fixture.sh("cat /etc/resolv.conf");
        sandbox.mounts.push(Mount::read_only(
            fixture.path("resolv.conf"),
            "/etc/resolv.conf",
        ));
        sandbox.mounts.push(Mount::read_only(
            fixture.path("resolv.conf"),
            "/escape/file",
        ));
        let result = spawn_at(&sandbox, fixture.tier);
        assert!(
            matches!(&result, Err(Error::Mount { target, .. }) if target == Path::new("/escape/file")),
            "{result:?}"
        );
        assert!(!fixture.path("shared/file").exists());
        sandbox.mounts.pop();
        assert_eq!(fixture.run(&sandbox).stdout, "nameserver ::1\n");
    }
}

#[test]
fn in_memory_directories_belong_to_the_program() {
    for fixture in fixtures() {
        let mut sandbox = fixture.sh("stat -c '%u %a' /home/app /tmp && touch /home/app/x /tmp/x");
        sandbox.tmpfs = vec!["/home/app".into()];
        sandbox.root.writable = Writable::ReadOnly;
        assert_eq!(
            fixture.run(&sandbox).stdout.lines().next(),
            Some("1000 755")
        );
        sandbox
            .mounts
            .push(Mount::read_write(fixture.path("shared"), "/tmp"));
        assert_eq!(fixture.run(&sandbox).code, 0);
        assert!(fixture.path("shared/x").exists());
    }
}

/// As in most containers, where everything is on overlayfs already.
#[test]
fn changes_come_back_where_no_upper_directory_can_be() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["upper", "work", "merged"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let script = "cd $0 && mount -t overlay overlay -o userxattr,lowerdir=/usr/lib,upperdir=upper,workdir=work merged \
        && mkdir -m 777 merged/tests && TMPDIR=$0/merged/tests exec $1 --exact files::helper_on_an_overlay --ignored --nocapture";
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    let program = std::env::current_exe().unwrap();
    let output = command
        .args(["--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(program)
        .output()
        .unwrap();
    // overlayfs leaves it closed even to its owner.
    let litter = dir.path().join("work/work");
    let opened = fs::set_permissions(&litter, fs::Permissions::from_mode(0o700));
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("running 1 test") {
        println!(
            "skipped: no overlay here: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    opened.unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "the test above runs it on an overlay"]
fn helper_on_an_overlay() {
    for fixture in fixtures() {
        let upper = fixture.path("upper");
        let keep = |script: &str| {
            let mut sandbox = fixture.sh(script);
            (sandbox.uid, sandbox.gid) = (0, 0);
            sandbox.root.writable = Writable::Dir {
                upper: upper.clone(),
                work: fixture.path("work"),
            };
            let outcome = fixture.run(&sandbox);
            assert_eq!(
                (outcome.code, outcome.stderr.as_str()),
                (0, ""),
                "{outcome:?}"
            );
            outcome.stdout
        };
        keep(
            "mkdir -m 751 /data/dir && echo one >/data/dir/one && ln /data/dir/one /data/dir/two && ln -s one /data/dir/link && touch -d @1000 /data/dir/one && echo changed >/data/precious && echo gone >/data/gone",
        );
        assert_eq!(
            keep(
                "cat /data/precious /data/dir/two && rm /data/gone && rm -r /data/dir/link && ls /data/dir"
            ),
            "changed\none\none\ntwo\n"
        );
        let dir = upper.join("data/dir");
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o751);
        let (one, two) = (
            fs::metadata(dir.join("one")).unwrap(),
            fs::metadata(dir.join("two")).unwrap(),
        );
        assert_eq!((one.mtime(), one.ino()), (1000, two.ino()));
        assert_eq!(
            fs::read_to_string(upper.join("data/precious")).unwrap(),
            "changed\n"
        );
        assert!(!upper.join("data/gone").exists() && !dir.join("link").exists());
        assert_eq!(
            fs::read_to_string(fixture.path("lower/data/precious")).unwrap(),
            "original"
        );
    }
}

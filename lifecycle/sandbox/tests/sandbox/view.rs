//! What a program sees, and what it may not do.

use sandbox::{Filter, Mount, Network, Sandbox, Tier, spawn_at};

use crate::fixture::{Fixture, Outcome, fixtures};

#[test]
fn the_environment_is_what_was_given() {
    for fixture in fixtures() {
        let mut sandbox = fixture.program(&["env"]);
        sandbox.env.push(("ANSWER".into(), "42 =\n43".into()));
        let outcome = fixture.run(&sandbox);
        assert_eq!(outcome.stdout, "PATH=/usr/bin:/bin\nANSWER=42 =\n43\n");
    }
}

#[test]
fn the_program_is_who_it_should_be() {
    for fixture in fixtures().into_iter().filter(Fixture::has_own_proc) {
        let script = "id -u; id -g; hostname; pwd; tr '\\0' ' ' </proc/1/cmdline | wc -w; umask";
        assert_eq!(fixture.output(script), "1000\n1000\nsandbox\n/\n0\n0022\n");
        let mut sandbox = fixture.program(&["id", "-u"]);
        sandbox.uid = 0;
        sandbox.gid = 0;
        assert_eq!(fixture.run(&sandbox).stdout, "0\n");
    }
}

#[test]
fn the_host_is_out_of_sight() {
    for fixture in fixtures().into_iter().filter(Fixture::has_own_proc) {
        assert_eq!(
            fixture.output("echo /*"),
            "/bin /data /dev /etc /lib /lib64 /proc /sbin /tmp /usr\n"
        );
        assert_eq!(
            fixture
                .output("echo /tmp/* /dev/shm/*; ls /proc >/tmp/list; grep -c '^[0-9]' /tmp/list"),
            "/tmp/* /dev/shm/*\n3\n"
        );
        assert_eq!(
            fixture.output("echo /dev/*"),
            "/dev/fd /dev/full /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero\n"
        );
        // Descriptor 3 is ls' own, of the directory it lists.
        assert_eq!(
            fixture.output("ls /proc/self/fd | tr '\\n' ' '; : </dev/null"),
            "0 1 2 3 "
        );
        let outcome = fixture.run(&fixture.sh("cat /proc/1/environ /proc/1/maps"));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    }
}

#[test]
fn privileges_are_gone() {
    for fixture in fixtures() {
        let status = fixture
            .output("grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status");
        assert_eq!(
            status.replace('\t', " "),
            "CapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\n"
        );
        for uid in [0, 1000] {
            for command in [
                "mount -t tmpfs tmpfs /tmp",
                "mount -o remount,bind,rw /usr",
                "umount /usr",
                "unshare --user true",
                "unshare --mount true",
                "hostname other",
                "mknod /tmp/null c 1 3",
                "echo 1 >/proc/sys/vm/drop_caches",
                "echo h >/proc/sysrq-trigger",
                "touch /dev/x",
            ] {
                let mut sandbox = fixture.sh(command);
                (sandbox.uid, sandbox.gid) = (uid, uid);
                let outcome = fixture.run(&sandbox);
                assert_ne!(outcome.code, 0, "{command} as {uid} in {:?}", fixture.tier);
            }
        }
    }
}

#[test]
fn ownership_is_faked_on_request() {
    for fixture in fixtures() {
        let script = "touch /tmp/file && chown 33:44 /tmp/file && chgrp -h 55 /tmp/file && mknod /tmp/device c 1 3 && mkfifo /tmp/pipe && stat -c %u:%g /tmp/file && stat -c %F /tmp/pipe && ls /tmp";
        let mut sandbox = fixture.sh(script);
        (sandbox.uid, sandbox.gid) = (0, 0);
        sandbox.filter = Filter::FakeOwnership;
        let expected = Outcome {
            code: 0,
            stdout: "0:0\nfifo\nfile\npipe\n".into(),
            stderr: String::new(),
        };
        assert_eq!(fixture.run(&sandbox), expected);
        sandbox.filter = Filter::Default;
        if fixture.tier == Tier::UserNamespace {
            assert_ne!(fixture.run(&sandbox).code, 0);
        }
    }
}

#[test]
fn a_network_of_its_own_has_only_loopback() {
    for fixture in fixtures() {
        let mut sandbox = fixture.sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '");
        sandbox.network = Network::None;
        assert_eq!(fixture.run(&sandbox).stdout, "lo\n");
    }
}

#[test]
fn failures_say_what_failed() {
    for fixture in fixtures() {
        let message = |sandbox: &Sandbox| {
            let error = spawn_at(sandbox, fixture.tier).unwrap_err();
            let source = std::error::Error::source(&error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            format!("{error}{source}").replace(fixture.dir.path().to_str().unwrap(), "DIR")
        };
        assert_eq!(
            message(&fixture.program(&["nonesuch"])),
            "cannot run nonesuch in the sandbox: No such file or directory (os error 2)"
        );
        assert_eq!(
            message(&fixture.program(&["/etc/passwd"])),
            "cannot run /etc/passwd in the sandbox: Permission denied (os error 13)"
        );
        assert_eq!(
            message(&fixture.program(&[])),
            "no program was given to run in the sandbox"
        );
        assert_eq!(
            message(&fixture.program(&["a\0b"])),
            "the sandbox's argument list contains a NUL byte"
        );
        let mut sandbox = fixture.program(&["true"]);
        sandbox.cwd = "/nowhere".into();
        assert_eq!(
            message(&sandbox),
            "cannot enter the working directory /nowhere in the sandbox: No such file or directory (os error 2)"
        );
        sandbox.cwd = "nowhere".into();
        assert_eq!(
            message(&sandbox),
            "the sandbox's working directory nowhere is not an absolute path"
        );
        let mut sandbox = fixture.program(&["true"]);
        sandbox
            .mounts
            .push(Mount::read_only(fixture.path("missing"), "/x"));
        assert_eq!(
            message(&sandbox),
            "cannot open DIR/missing for the sandbox: No such file or directory (os error 2)"
        );
        let mut sandbox = fixture.program(&["true"]);
        sandbox.root.lower.push(fixture.path("missing"));
        assert_eq!(
            message(&sandbox),
            "cannot open DIR/missing for the sandbox: No such file or directory (os error 2)"
        );
        sandbox.root.lower.clear();
        assert_eq!(
            message(&sandbox),
            "the sandbox's root needs 1 to 180 lower directories, not 0; join some of them"
        );
    }
}

//! Programs that are started in a sandbox that runs.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;

use sandbox::{Child, Error, Sandbox, Signal, Stream, enter, spawn_at};

use crate::fixture::{Fixture, eventually, fixtures, processes_with};

/// A sandbox whose program has said that it runs.
fn running(fixture: &Fixture, script: &str) -> Child {
    let mut child = spawn_at(
        &fixture.sh(&format!("{script}; echo ready; sleep 1000")),
        fixture.tier,
    )
    .unwrap();
    let mut ready = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    child
}

/// Runs a script in it, with the output in a pipe.
fn visit(fixture: &Fixture, child: &Child, script: &str) -> (i32, String) {
    let (mut read, write) = std::io::pipe().unwrap();
    let mut sandbox = fixture.sh(script);
    connect(&mut sandbox, write.into());
    let mut visitor = enter(child.pid(), &sandbox).unwrap();
    drop(sandbox);
    let mut output = String::new();
    read.read_to_string(&mut output).unwrap();
    (sandbox::exit_code(visitor.wait().unwrap()), output)
}

fn connect(sandbox: &mut Sandbox, output: OwnedFd) {
    sandbox.stdout = Stream::Fd(output.try_clone().unwrap());
    sandbox.stderr = Stream::Fd(output);
}

#[test]
fn the_same_files_processes_and_ids() {
    for fixture in fixtures() {
        let marker = format!("86400.{}5", std::process::id());
        let mut child = running(
            &fixture,
            &format!("echo left >/tmp/note; sleep {marker} & hostname >/dev/null"),
        );
        let (code, output) = visit(
            &fixture,
            &child,
            "cat /tmp/note; id -u; id -g; hostname; ls /; exit 7",
        );
        assert_eq!(code, 7, "{output}");
        assert!(
            output.starts_with("left\n1000\n1000\nsandbox\n"),
            "{output}"
        );
        assert!(!output.contains("root"), "{output}");
        if fixture.has_own_proc() {
            let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; cat /proc/1/comm";
            let (_, output) = visit(&fixture, &child, script);
            assert!(output.contains(&marker), "{output}");
            assert!(output.ends_with("sandbox-init\n"), "{output}");
        }
        // It has no more privileges than the sandbox's own program.
        let (_, output) = visit(
            &fixture,
            &child,
            "mount -t tmpfs none /tmp 2>/dev/null || echo refused; grep -c 'NoNewPrivs:.1' /proc/self/status || true",
        );
        assert!(output.starts_with("refused\n"), "{output}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn signals_and_ends() {
    for fixture in fixtures() {
        let mut child = running(&fixture, "true");
        let marker = format!("86400.{}6", std::process::id());
        let init = child.pid();
        let start = |script: &str| {
            let mut sandbox = fixture.sh(script);
            let null = fs::File::options().write(true).open("/dev/null").unwrap();
            connect(&mut sandbox, null.into());
            enter(init, &sandbox).unwrap()
        };
        let mut told = start(&format!("sleep {marker}"));
        assert!(eventually(|| !processes_with(&marker).is_empty()));
        told.signal(Signal::TERM).unwrap();
        assert_eq!(told.wait().unwrap().signal(), Some(15));
        told.signal(Signal::TERM).unwrap();

        // One that is dropped goes alone.
        let dropped = start(&format!("sleep {marker}"));
        drop(dropped);
        assert!(eventually(|| processes_with(&marker).is_empty()));
        assert_eq!(child.try_wait().unwrap(), None);

        // What is still there ends with the sandbox.
        let mut left = start(&format!("sleep {marker}"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(left.wait().unwrap().signal(), Some(9));
    }
}

#[test]
fn failures_are_named() {
    for fixture in fixtures() {
        let mut child = running(&fixture, "true");
        let mut missing = fixture.program(&["/no/such/program"]);
        missing.stdout = Stream::Null;
        missing.stderr = Stream::Null;
        let error = enter(child.pid(), &missing).unwrap_err();
        assert!(matches!(error, Error::Exec { .. }), "{error}");
        child.kill().unwrap();
        child.wait().unwrap();
        let error = enter(child.pid(), &missing).unwrap_err();
        assert!(matches!(error, Error::Gone { .. }), "{error}");
    }
}

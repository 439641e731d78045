//! Release commands.

use crate::fixture::{Fixture, everybody, processes_with, wait_until};
use crate::running::{signal, stdout_of};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

fn finish(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    stdout_of(&output)
}

#[test]
fn exit_codes_and_output() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        assert_eq!(
            finish(&mut fixture.release("good")),
            "release.7\nto stderr\nExited(0)\n",
            "{who:?}"
        );
        assert_eq!(
            finish(&mut fixture.release("bad")),
            "no endExited(3)\n",
            "{who:?}"
        );
        assert_eq!(fixture.leftovers(), 0);
    }
}

#[test]
fn one_that_hangs_is_stopped() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let printed = finish(fixture.release("polite").env("LIMIT_SECONDS", "1"));
        // Bash may also tell that its sleep was terminated.
        assert!(printed.starts_with("ready\n"), "{who:?}: {printed}");
        assert!(printed.ends_with("bye\nTimedOut\n"), "{who:?}: {printed}");
        // It closed its output long before.
        let printed = finish(fixture.release("quiet").env("LIMIT_SECONDS", "1"));
        assert_eq!(printed, "TimedOut\n", "{who:?}");
        assert_eq!(processes_with("sleep 4721"), 0);
        assert_eq!(fixture.leftovers(), 0);
    }
}

#[test]
fn signals_stop_it() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let (child, mut lines) = start(fixture.release("polite"));
        signal(&child, Signal::INT);
        let printed = rest(child, &mut lines);
        assert!(
            printed.ends_with("bye\nInterrupted(2)\n"),
            "{who:?}: {printed}"
        );

        // The second one kills.
        let (child, mut lines) = start(fixture.release("deaf"));
        signal(&child, Signal::TERM);
        signal(&child, Signal::INT);
        let printed = rest(child, &mut lines);
        assert!(
            printed.ends_with("Interrupted(15)\n") || printed.ends_with("Interrupted(2)\n"),
            "{who:?}: {printed}"
        );
        wait_until("no leftovers", || fixture.leftovers() == 0);
    }
}

type Lines = BufReader<std::process::ChildStdout>;

/// Starts one and waits until it is ready.
fn start(mut command: Command) -> (Child, Lines) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line != "ready\n" {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it never was ready");
    }
    (child, lines)
}

fn rest(mut child: Child, lines: &mut Lines) -> String {
    let mut printed = String::new();
    lines.read_to_string(&mut printed).unwrap();
    assert!(child.wait().unwrap().success());
    printed
}

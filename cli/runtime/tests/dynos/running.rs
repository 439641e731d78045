//! One-off dynos without a terminal.

use crate::fixture::{Fixture, everybody, processes_with, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

/// What the dyno itself printed: libtest writes a heading before it.
pub(crate) fn stdout_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, rest) = text.split_once("running 1 test\n").unwrap();
    rest.to_owned()
}

fn finish(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stdout_of(&output), errors)
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn exit_codes_streams_and_environment() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let run = |words: &[&str]| finish(&mut fixture.run(words));

        let result = run(&["echo out; echo err >&2; exit 7"]);
        assert_eq!(
            result,
            (Some(7), "out\n".to_owned(), "err\n".to_owned()),
            "{who:?}"
        );
        assert_eq!(run(&["kill -TERM $$"]).0, Some(143));
        assert_eq!(run(&["kill -PIPE $$"]).0, Some(141));
        assert_eq!(run(&["no-such-program"]).0, Some(127));

        let (code, env, _) = run(&["env"]);
        assert_eq!(code, Some(0));
        let mut names: Vec<&str> = env
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        // Set by bash itself.
        names.retain(|name| !["SHLVL", "PWD", "OLDPWD", "_"].contains(name));
        names.sort_unstable();
        assert_eq!(
            names,
            ["DYNO", "FROM_IMAGE", "GREETING", "HOME", "PATH"],
            "{who:?}"
        );
        assert!(env.contains("DYNO=run."), "{env}");
        assert!(env.contains("HOME=/home/cnb\n"), "{env}");
        assert!(env.contains("GREETING=hello\n"), "{env}");

        let (_, ids, _) = run(&["echo $(id -u):$(id -g) $PWD"]);
        assert_eq!(ids, "1000:1000 /workspace\n", "{who:?}");
        let (_, words, _) = run(&["printf", "<%s>", "a b", "", "$HOME", "it's"]);
        assert_eq!(words, "<a b><><$HOME><it's>");
        assert_eq!(fixture.leftovers(), 0);
    }
}

#[test]
fn writes_are_allowed_and_forgotten() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let script = "touch /workspace/new ~/new /tmp/new && rm -f /none; echo 1 > /workspace/new && ls /workspace";
        let (code, output, errors) = finish(&mut fixture.run(&[script]));
        assert_eq!(
            (code, output.as_str()),
            (Some(0), "new\n"),
            "{who:?}: {errors}"
        );
        let (_, output, _) = finish(&mut fixture.run(&["ls /workspace ~"]));
        assert!(!output.contains("new"), "{output}");
        assert_eq!(fixture.leftovers(), 0);
    }
}

#[test]
fn standard_input_is_the_callers() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut command = fixture.run(&["cat"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"through\n").unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(stdout_of(&output), "through\n", "{who:?}");
    }
}

#[test]
fn signals_are_passed_on() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        for (sent, name, code) in [(Signal::TERM, "TERM", 5), (Signal::INT, "INT", 6)] {
            let script =
                format!("trap 'exit {code}' {name}; echo ready; while :; do sleep 0.05; done");
            let path = fixture.folder.path().join(format!("out-{name}"));
            let output = std::fs::File::create(&path).unwrap();
            let mut command = fixture.run(&[&script]);
            let mut child = command.stdin(Stdio::null()).stdout(output).spawn().unwrap();
            wait_until("the dyno", || {
                std::fs::read_to_string(&path).is_ok_and(|text| text.contains("ready"))
            });
            signal(&child, sent);
            assert_eq!(child.wait().unwrap().code(), Some(code), "{who:?} {name}");
        }
    }
}

#[test]
fn nothing_outlives_a_killed_runner() {
    for (index, who) in everybody().into_iter().enumerate() {
        let fixture = Fixture::new(who);
        let marker = format!("sleep {}{index}", 900_000 + std::process::id());
        let mut child = fixture
            .run(&[&format!("{marker} & {marker}")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("both processes", || processes_with(&marker) == 2);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("their end", || processes_with(&marker) == 0);
        assert_eq!(fixture.leftovers(), 1);
        assert_eq!(finish(&mut fixture.run(&["exit 0"])).0, Some(0));
        assert_eq!(fixture.leftovers(), 0, "{who:?}");
    }
}

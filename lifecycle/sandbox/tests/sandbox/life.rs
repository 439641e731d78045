//! How a program starts, is told, and ends.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

use sandbox::{Signal, Stream, spawn_at};

use crate::fixture::{Fixture, eventually, finish, fixtures, processes_with};

#[test]
fn exit_codes_and_signals_pass_through() {
    for fixture in fixtures() {
        for code in [0, 1, 42, 255] {
            assert_eq!(fixture.run(&fixture.sh(&format!("exit {code}"))).code, code);
        }
        for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11)] {
            let mut child = spawn_at(
                &fixture.sh(&format!("ulimit -c 0; kill -{name} $$; sleep 9")),
                fixture.tier,
            )
            .unwrap();
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), Some(number));
            assert_eq!(sandbox::exit_code(status), 128 + number);
            // Asking again is no error.
            assert_eq!(child.try_wait().unwrap(), Some(status));
        }
    }
}

#[test]
fn signals_reach_the_group_or_everyone() {
    for fixture in fixtures() {
        let script = "trap 'echo main; exit 3' TERM
            (trap 'echo group; exit' TERM; echo ready; while :; do sleep 0.01; done) &
            setsid sh -c 'trap \"echo other; exit\" TERM; echo ready; while :; do sleep 0.01; done' &
            echo ready; while :; do sleep 0.01; done";
        for all in [false, true] {
            let mut child = spawn_at(&fixture.sh(script), fixture.tier).unwrap();
            let mut ready = [0; 18];
            child
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut ready)
                .unwrap();
            assert_eq!(&ready, b"ready\nready\nready\n");
            let signaller = child.signaller().unwrap();
            if all {
                signaller.signal_all(Signal::TERM)
            } else {
                child.signal(Signal::TERM)
            }
            .unwrap();
            let outcome = finish(child);
            assert_eq!(outcome.code, 3);
            assert!(outcome.stdout.contains("main"), "{outcome:?}");
            assert!(all || !outcome.stdout.contains("other"), "{outcome:?}");
            // Nobody is left to take an order; that is no error.
            signaller.signal(Signal::TERM).unwrap();
            signaller.kill().unwrap();
        }
    }
}

#[test]
fn nothing_outlives_the_program() {
    for fixture in fixtures() {
        let marker = format!("86400.{}1", std::process::id());
        let script = format!(
            "for i in 1 2 3 4 5 6 7 8; do sleep {marker} & (setsid sleep {marker} &) ; nohup sleep {marker} >/dev/null 2>&1 & done; exit 7"
        );
        assert_eq!(fixture.run(&fixture.sh(&script)).code, 7);
        assert_eq!(processes_with(&marker), Vec::<String>::new());
    }
}

#[test]
fn a_killed_or_dropped_sandbox_is_gone() {
    for fixture in fixtures() {
        let marker = format!("86400.{}2", std::process::id());
        let sandbox = fixture.sh(&format!("sleep {marker} & echo ready; sleep {marker}"));
        let start = || {
            let mut child = spawn_at(&sandbox, fixture.tier).unwrap();
            child
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut [0; 6])
                .unwrap();
            assert!(!processes_with(&marker).is_empty());
            child
        };
        let mut child = start();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_eq!(processes_with(&marker), Vec::<String>::new());
        drop(start());
        assert_eq!(processes_with(&marker), Vec::<String>::new());
    }
}

#[test]
fn orphans_are_reaped() {
    for fixture in fixtures().into_iter().filter(Fixture::has_own_proc) {
        let script = "for i in 1 2 3 4 5; do (sleep 0 &); done; sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status || echo none";
        assert_eq!(fixture.output(script), "none\n");
    }
}

#[test]
fn standard_streams_go_where_they_should() {
    for fixture in fixtures() {
        let mut sandbox = fixture.sh("cat; echo error >&2");
        sandbox.stdin = Stream::Pipe;
        let file = fs::File::create(fixture.path("output")).unwrap();
        sandbox.stdout = Stream::Fd(file.into());
        let mut child = spawn_at(&sandbox, fixture.tier).unwrap();
        child.stdin.take().unwrap().write_all(b"hello").unwrap();
        assert_eq!(finish(child).stderr, "error\n");
        assert_eq!(fs::read_to_string(fixture.path("output")).unwrap(), "hello");
    }
}

#[test]
fn a_terminal_controls() {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    for fixture in fixtures() {
        let leader =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&leader).unwrap();
        unlockpt(&leader).unwrap();
        let follower =
            || ioctl_tiocgptpeer(&leader, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        let mut sandbox = fixture.sh("trap 'echo interrupted; exit 5' INT; echo opened >/dev/tty; while :; do sleep 0.01; done");
        sandbox.stdin = Stream::Fd(follower());
        sandbox.stdout = Stream::Fd(follower());
        sandbox.stderr = Stream::Fd(follower());
        sandbox.terminal = true;
        let mut child = spawn_at(&sandbox, fixture.tier).unwrap();
        let mut terminal = fs::File::from(leader);
        let mut seen = [0; 8];
        terminal.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"opened\r\n");
        terminal.write_all(b"\x03").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(5));
    }
}

#[test]
fn hundreds_start_at_once_from_threads() {
    for fixture in fixtures() {
        let done = thread::scope(|scope| {
            let workers: Vec<_> = (0..20)
                .map(|worker| {
                    let fixture = &fixture;
                    scope.spawn(move || {
                        (0..10)
                            .filter(|round| {
                                fixture.output(&format!("echo {worker}.{round}"))
                                    == format!("{worker}.{round}\n")
                            })
                            .count()
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .sum::<usize>()
        });
        assert_eq!(done, 200);
    }
}

#[test]
fn the_spawning_thread_may_end_but_not_the_process() {
    for fixture in fixtures() {
        let marker = format!("86400.{}3{:?}", std::process::id(), fixture.tier);
        let mut helper = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "life::helper_that_spawns_and_lingers",
                "--ignored",
                "--nocapture",
            ])
            .env("SANDBOX_MARKER", &marker)
            .env("TMPDIR", fixture.path("shared"))
            .env("SANDBOX_TIER", format!("{:?}", fixture.tier))
            .spawn()
            .unwrap();
        let name = format!("sleeper-{marker}");
        assert!(
            eventually(|| processes_with(&name).len() >= 3),
            "the sandbox runs on after its thread's end"
        );
        thread::sleep(std::time::Duration::from_millis(200));
        assert!(processes_with(&name).len() >= 3);
        helper.kill().unwrap();
        helper.wait().unwrap();
        assert!(
            eventually(|| processes_with(&name).is_empty()),
            "{:?}",
            processes_with(&name)
        );
    }
}

#[test]
#[ignore = "the process that the test above kills"]
fn helper_that_spawns_and_lingers() {
    let Ok(marker) = std::env::var("SANDBOX_MARKER") else {
        return;
    };
    let tier = std::env::var("SANDBOX_TIER").unwrap();
    for fixture in fixtures()
        .into_iter()
        .filter(|fixture| format!("{:?}", fixture.tier) == tier)
    {
        // The sandboxes' own names, not this process', contain the marker.
        let script = format!(
            "(exec -a sleeper-{marker} sleep 1000) & (exec setsid bash -c 'exec -a sleeper-{marker} sleep 1000') & exec -a sleeper-{marker} sleep 1000"
        );
        let mut sandbox = fixture.program(&["bash", "-c", &script]);
        sandbox.stdout = Stream::Null;
        sandbox.stderr = Stream::Null;
        let child = thread::scope(|scope| {
            scope
                .spawn(|| spawn_at(&sandbox, fixture.tier).unwrap())
                .join()
                .unwrap()
        });
        std::mem::forget(child);
        thread::sleep(std::time::Duration::from_mins(1));
    }
}

#[test]
fn init_holds_none_of_the_caller_s_descriptors() {
    for fixture in fixtures() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let child = spawn_at(&fixture.program(&["sleep", "1000"]), fixture.tier).unwrap();
        drop(writer);
        // Would wait for as long as anybody has the other end.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        drop(child);
    }
}

#[test]
fn a_program_that_closes_its_output_ends_the_pipe() {
    for fixture in fixtures() {
        let mut sandbox = fixture.sh("exec >&- 2>&-; read line");
        sandbox.stdin = Stream::Pipe;
        let mut child = spawn_at(&sandbox, fixture.tier).unwrap();
        assert_eq!(child.stdout.take().unwrap().read(&mut [0]).unwrap(), 0);
        assert_eq!(child.try_wait().unwrap(), None);
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

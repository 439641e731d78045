//! Launches in the foreground.

use crate::fixture::{Fixture, everybody, wait_until};
use crate::running::signal;
use rustix::process::Signal;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

fn errors_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read_until(stream: &mut impl Read, text: &str) {
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains(text) {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the end came before {text:?}");
        shown.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn a_web_dyno_comes_up_and_is_stopped() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut child = fixture.launch("").spawn().unwrap();
        fixture.wait_for("State changed from starting to up");
        signal(&child, Signal::INT);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{who:?}");
        let log = fixture.log();
        assert!(log[0].starts_with("heroku[router]: Listening at http://localhost:"));
        let heading = "heroku[web.1]: Starting process with command `/bin/web x`";
        assert_eq!(log[1], heading);
        let port = log[2].strip_prefix("app[web.1]: starting on ").unwrap();
        assert!((20_000..32_000).contains(&port.parse::<u16>().unwrap()));
        assert_eq!(
            log[log.len() - 3..],
            [
                "heroku[web.1]: State changed from starting to up",
                "heroku[web.1]: Stopping all processes with SIGTERM",
                "heroku[web.1]: Process exited with status 143",
            ],
            "{log:?}"
        );
        assert_eq!(fixture.leftovers(), 0);
    }
}

#[test]
fn output_and_restarts_of_a_crash() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut child = fixture.launch("fails").spawn().unwrap();
        let crashes = || {
            let log = fixture.log();
            let crashed = "heroku[fails.1]: State changed from up to crashed";
            log.iter().filter(|line| *line == crashed).count()
        };
        wait_until("a third crash", || crashes() == 3);
        signal(&child, Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{who:?}");
        let log = fixture.log();
        let one = [
            "heroku[fails.1]: Starting process with command `/bin/fails x`",
            "heroku[fails.1]: State changed from starting to up",
            "app[fails.1]: to stdout",
            "app[fails.1]: to stderr",
            "app[fails.1]: no end",
            "heroku[fails.1]: Process exited with status 3",
            "heroku[fails.1]: State changed from up to crashed",
        ];
        let between = ["heroku[fails.1]: State changed from crashed to starting"];
        let expected = [&one[..], &between, &one, &between, &one].concat();
        assert_eq!(log, expected);
        // The first restart is immediate, the second one a second later.
        let instants = fixture.instants_of("State changed from crashed to starting");
        let began = fixture.instants_of("State changed from up to crashed");
        assert!(instants[0].duration_since(began[0]).as_secs_f64() < 0.9);
        assert!(instants[1].duration_since(began[1]).as_secs_f64() >= 0.9);
    }
}

#[test]
fn several_types_end_independently() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("fails polite").spawn().unwrap();
    fixture.wait_for("heroku[fails.1]: Process exited with status 3");
    fixture.wait_for("app[polite.1]: ready");
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let log = fixture.log();
    assert!(log.contains(&"app[polite.1]: bye".to_owned()), "{log:?}");
    assert!(log.contains(&"heroku[polite.1]: Process exited with status 0".to_owned()));
}

#[test]
fn sigterm_reaches_every_process() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut child = fixture.launch("family").spawn().unwrap();
        fixture.wait_for("app[family.1]: child");
        signal(&child, Signal::HUP);
        assert_eq!(child.wait().unwrap().code(), Some(129), "{who:?}");
        let mut log = fixture.log();
        // What the shell says of its `sleep`, which got the signal too.
        log.retain(|line| !line.contains("Terminated"));
        assert_eq!(
            log[log.len() - 3..],
            [
                "app[family.1]: child ends",
                "app[family.1]: parent ends",
                "heroku[family.1]: Process exited with status 4",
            ],
            "{log:?}"
        );
    }
}

#[test]
fn a_dyno_that_does_not_bind_is_killed() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = fixture.launch("web");
        command
            .env("BOOT_SECONDS", "1")
            .env("WRONG_PORT", port.to_string());
        let mut child = command.spawn().unwrap();
        fixture.wait_for("heroku[web.1]: State changed from starting to crashed");
        // The restart is immediate.
        fixture.wait_for("heroku[web.1]: State changed from crashed to starting");
        signal(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(143), "{who:?}");
        let log = fixture.log();
        let error = log
            .iter()
            .position(|line| line.contains("Error R10"))
            .unwrap();
        let where_it_is = log[error + 1]
            .strip_prefix(&format!(
                "heroku[web.1]: It listens on {port} instead of $PORT ("
            ))
            .unwrap();
        assert!(where_it_is.ends_with("): have it listen on 0.0.0.0:$PORT"));
        assert_eq!(
            log[error],
            "heroku[web.1]: Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 1 seconds of launch",
        );
        assert_eq!(
            log[error + 2..error + 5],
            [
                "heroku[web.1]: Stopping process with SIGKILL",
                "heroku[web.1]: Process exited with status 137",
                "heroku[web.1]: State changed from starting to crashed",
            ]
        );
    }
}

#[test]
fn who_ignores_sigterm_gets_sigkill() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut child = fixture
            .launch("mute")
            .env("EXIT_SECONDS", "1")
            .spawn()
            .unwrap();
        fixture.wait_for("app[mute.1]: deaf");
        signal(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(143), "{who:?}");
        let log = fixture.log();
        assert_eq!(
            log[log.len() - 4..],
            [
                "heroku[mute.1]: Stopping all processes with SIGTERM",
                "heroku[mute.1]: Error R12 (Exit timeout) -> At least one process failed to exit within 1 seconds of SIGTERM",
                "heroku[mute.1]: Stopping remaining processes with SIGKILL",
                "heroku[mute.1]: Process exited with status 137",
            ]
        );
    }
}

#[test]
fn a_second_interrupt_kills_at_once() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("mute").spawn().unwrap();
    fixture.wait_for("app[mute.1]: deaf");
    let begin = Instant::now();
    signal(&child, Signal::INT);
    fixture.wait_for("Stopping all processes with SIGTERM");
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(
        fixture
            .log()
            .contains(&"heroku[mute.1]: Process exited with status 137".to_owned())
    );
}

#[test]
fn a_taken_port_is_an_error_that_names_the_holder() {
    let fixture = Fixture::new(everybody()[0]);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut command = fixture.launch("web");
    let output = command
        .env("LAUNCH_PORT", port.to_string())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(99));
    let errors = errors_of(&output);
    let expected = format!("port {port} is taken by process {}", std::process::id());
    assert!(errors.contains(&expected), "{errors}");
}

#[test]
fn unknown_types_are_errors() {
    let fixture = Fixture::new(everybody()[0]);
    let output = fixture.launch("polit").output().unwrap();
    assert_eq!(output.status.code(), Some(99));
    let errors = errors_of(&output);
    assert!(errors.contains("did you mean polite?"), "{errors}");
}

#[test]
fn long_and_binary_lines() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("binary").spawn().unwrap();
    // An exit code of 0 is a crash as well.
    fixture.wait_for("heroku[binary.1]: State changed from up to crashed");
    child.kill().unwrap();
    child.wait().unwrap();
    let log = fixture.log();
    let end = log
        .iter()
        .position(|line| line.contains("exited with status 0"));
    let log = &log[..end.unwrap()];
    assert!(
        log.contains(&"app[binary.1]: \u{fffd}\0".to_owned()),
        "{log:?}"
    );
    let lengths: Vec<usize> = log
        .iter()
        .filter_map(|line| line.strip_prefix("app[binary.1]: ^@"))
        .map(|rest| rest.len() + 2)
        .collect();
    // `cat -v` prints a zero as two characters.
    assert_eq!(lengths, [10_000; 5]);
}

#[test]
fn a_reader_that_stops_reading_does_not_stop_the_stop() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut command = fixture.launch("floods");
        let mut child = command
            .env("LOG_TO_STDOUT", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Nothing more is read: the pipe and everything behind it are full in a moment.
        read_until(child.stdout.as_mut().unwrap(), "app[floods.1]: 0123");
        std::thread::sleep(Duration::from_millis(300));
        let begin = Instant::now();
        signal(&child, Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(143), "{who:?}");
        assert!(begin.elapsed() < Duration::from_secs(8));
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_launch() {
    let fixture = Fixture::new(everybody()[0]);
    let mut command = fixture.launch("floods");
    let mut child = command
        .env("LOG_TO_STDOUT", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    read_until(&mut stdout, "app[floods.1]: 0123");
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn nothing_outlives_a_killed_launch() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut child = fixture.launch("crowd").spawn().unwrap();
        let alive = || {
            ["sleep 4711", "sleep 4712", "sleep 4713"]
                .into_iter()
                .map(crate::fixture::processes_with)
                .sum::<usize>()
        };
        wait_until("three processes", || alive() >= 3);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("their end", || alive() == 0);
    }
}

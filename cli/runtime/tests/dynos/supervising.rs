//! Commands to a supervisor that runs.

use crate::fixture::{Fixture, everybody, processes_with, wait_until};
use crate::running::signal;
use rustix::process::Signal;
use slug_runtime::supervisor::{
    ClientError, DynoState, DynoStatus, Quantities, Status, Supervisor, Target,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

fn quantities(text: &str) -> Quantities {
    let words = text.split_whitespace();
    words
        .map(|word| {
            let (name, count) = word.split_once('=').unwrap();
            (name.parse().unwrap(), count.parse().unwrap())
        })
        .collect()
}

/// Names and states, in order.
fn shown(status: &Status) -> Vec<String> {
    let dynos = status.dynos.iter();
    dynos
        .map(|dyno| format!("{} {}", dyno.name, dyno.state))
        .collect()
}

fn all_up(status: &Status, names: &[&str]) -> bool {
    let dynos = &status.dynos;
    dynos.len() == names.len()
        && names.iter().all(|name| {
            let mut dynos = dynos.iter();
            dynos.any(|dyno| dyno.name == *name && dyno.state == DynoState::Up)
        })
}

fn dyno<'a>(status: &'a Status, name: &str) -> &'a DynoStatus {
    let mut dynos = status.dynos.iter();
    dynos.find(|dyno| dyno.name == name).unwrap()
}

#[test]
fn scaling_touches_nobody_else() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let mut child = fixture.launch("web=2 polite=1").spawn().unwrap();
        let client = fixture.client();
        let names = ["web.1", "web.2", "polite.1"];
        let before = fixture.wait_for_status(&client, "two and one", |s| all_up(s, &names));
        let ports: Vec<_> = before.dynos.iter().filter_map(|dyno| dyno.port).collect();
        assert_eq!(ports.len(), 2);
        assert_ne!(ports[0], ports[1]);

        client.scale(&quantities("web=3 polite=0")).unwrap();
        let names = ["web.1", "web.2", "web.3"];
        let after = fixture.wait_for_status(&client, "three", |s| all_up(s, &names));
        for name in ["web.1", "web.2"] {
            assert_eq!(dyno(&after, name).pid, dyno(&before, name).pid, "{name}");
        }
        let log = fixture.log();
        assert!(log.contains(&"app[polite.1]: bye".to_owned()), "{log:?}");
        assert!(log.contains(&"heroku[polite.1]: State changed from up to down".to_owned()));

        client.scale(&quantities("web=0")).unwrap();
        fixture.wait_for_status(&client, "none", |s| s.dynos.is_empty());
        client.scale(&quantities("web=1")).unwrap();
        fixture.wait_for_status(&client, "one", |s| all_up(s, &["web.1"]));
        client.quit(PATIENCE).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(fixture.leftovers(), 0);
        let found = Supervisor::find(fixture.folder.path()).unwrap();
        assert!(matches!(found, Supervisor::Absent { killed: None }));
    }
}

#[test]
fn one_restarts_and_the_others_go_on() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("web=2 polite=2").spawn().unwrap();
    let client = fixture.client();
    let names = ["web.1", "web.2", "polite.1", "polite.2"];
    let before = fixture.wait_for_status(&client, "four", |s| all_up(s, &names));
    for (target, restarted) in [
        ("web.1", &["web.1"][..]),
        ("polite", &["polite.1", "polite.2"]),
    ] {
        client.restart(&Target::parse(target).unwrap()).unwrap();
        let after = fixture.wait_for_status(&client, "a restart", |status| {
            all_up(status, &names)
                && restarted
                    .iter()
                    .all(|name| dyno(status, name).pid != dyno(&before, name).pid)
        });
        assert_eq!(dyno(&after, "web.2").pid, dyno(&before, "web.2").pid);
    }
    for (target, words) in [
        (
            "web.7",
            "there is no dyno web.7; the formation has polite.1,",
        ),
        ("clock", "no dyno of the type clock"),
    ] {
        let error = client.restart(&Target::parse(target).unwrap()).unwrap_err();
        assert!(matches!(error, ClientError::Refused(_)));
        assert!(error.to_string().contains(words), "{error}");
    }
    std::fs::write(
        fixture.folder.path().join("unloadable"),
        "the disk is broken",
    )
    .unwrap();
    let error = client.reload(true).unwrap_err();
    assert!(matches!(error, ClientError::Failed(_)));
    assert_eq!(error.to_string(), "the disk is broken");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn stopped_dynos_stay_down_until_they_are_restarted() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("web=1 polite=2").spawn().unwrap();
    let client = fixture.client();
    let names = ["web.1", "polite.1", "polite.2"];
    fixture.wait_for_status(&client, "three", |s| all_up(s, &names));
    client.stop(&Target::parse("polite.2").unwrap()).unwrap();
    let expected = ["polite.1 up", "polite.2 down", "web.1 up"];
    fixture.wait_for_status(&client, "one down", |s| shown(s) == expected);
    client.restart(&Target::parse("polite.2").unwrap()).unwrap();
    fixture.wait_for_status(&client, "three again", |s| all_up(s, &names));
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn a_release_replaces_every_dyno() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("web=2 polite=1").spawn().unwrap();
    let client = fixture.client();
    let names = ["web.1", "web.2", "polite.1"];
    let before = fixture.wait_for_status(&client, "three", |s| all_up(s, &names));
    assert_eq!(before.release, 1);
    fixture.set_release(2, "GREETING=moin");
    client.reload(true).unwrap();
    let after = fixture.wait_for_status(&client, "release 2", |status| {
        all_up(status, &names) && status.dynos.iter().all(|dyno| dyno.release == 2)
    });
    for name in names {
        assert_ne!(dyno(&after, name).pid, dyno(&before, name).pid, "{name}");
    }
    // New web dynos listen before old ones are told to end.
    let log = fixture.log();
    let stopping = "heroku[web.1]: Stopping all processes with SIGTERM";
    let stop = log.iter().position(|line| line == stopping).unwrap();
    let up = "heroku[web.1]: State changed from starting to up";
    let ups = log[..stop].iter().filter(|line| *line == up);
    assert_eq!(ups.count(), 2, "{log:#?}");

    // Told otherwise, the old ones end first.
    fixture.set_release(3, "");
    client.reload(false).unwrap();
    fixture.wait_for_status(&client, "release 3", |status| {
        all_up(status, &names) && status.dynos.iter().all(|dyno| dyno.release == 3)
    });
    let log = fixture.log();
    let last = |text: &str| log.iter().rposition(|line| line == text).unwrap();
    assert!(
        last("heroku[web.1]: Process exited with status 143")
            < last("heroku[web.1]: Starting process with command `/bin/web x`")
    );
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn old_dynos_are_cycled_without_losing_requests() {
    let fixture = Fixture::new(everybody()[0]);
    let mut command = fixture.launch("web=1 polite=1");
    let mut child = command.env("CYCLE_SECONDS", "3").spawn().unwrap();
    let client = fixture.client();
    let names = ["web.1", "polite.1"];
    let before = fixture.wait_for_status(&client, "two", |s| all_up(s, &names));
    fixture.wait_for("heroku[web.1]: Cycling");
    fixture.wait_for("heroku[polite.1]: Cycling");
    fixture.wait_for_status(&client, "fresh ones", |status| {
        all_up(status, &names)
            && names
                .iter()
                .all(|name| dyno(status, name).pid != dyno(&before, name).pid)
    });
    let log = fixture.log();
    let first = |text: &str| log.iter().position(|line| line == text).unwrap();
    // The fresh one listens before the old one is told to end.
    let stop = first("heroku[web.1]: Stopping all processes with SIGTERM");
    let up = "heroku[web.1]: State changed from starting to up";
    let ups = log[..stop].iter().filter(|line| *line == up).count();
    assert!(ups >= 2, "{log:#?}");
    assert!(first("heroku[web.1]: Cycling") < stop);
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn a_release_that_does_not_come_up_leaves_the_one_before_serving() {
    let fixture = Fixture::new(everybody()[0]);
    let mut command = fixture.launch("web=1");
    let mut child = command.env("BOOT_SECONDS", "1").spawn().unwrap();
    let client = fixture.client();
    let before = fixture.wait_for_status(&client, "one", |s| all_up(s, &["web.1"]));
    fixture.set_release(2, "WRONG_PORT=0");
    client.reload(true).unwrap();
    fixture.wait_for("Error R10");
    fixture.wait_for("State changed from starting to crashed");
    let serving = client.status().unwrap();
    let serving = serving.dynos.iter().find(|dyno| dyno.release == 1).unwrap();
    assert_eq!(serving.pid, before.dynos[0].pid);
    assert_eq!(serving.state, DynoState::Up);

    fixture.set_release(3, "");
    client.reload(true).unwrap();
    fixture.wait_for_status(&client, "release 3", |status| {
        all_up(status, &["web.1"]) && status.dynos[0].release == 3
    });
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn two_supervisors_of_one_app() {
    let fixture = Fixture::new(everybody()[0]);
    let mut first = fixture.launch("polite").spawn().unwrap();
    fixture.client().status().unwrap();
    let second = fixture.launch("polite").output().unwrap();
    assert_eq!(second.status.code(), Some(99));
    let errors = String::from_utf8_lossy(&second.stderr);
    let expected = format!(
        "the app already runs: its supervisor is process {}",
        first.id()
    );
    assert!(errors.contains(&expected), "{errors}");
    signal(&first, Signal::TERM);
    first.wait().unwrap();
}

#[test]
fn nothing_outlives_killed_supervisors() {
    for who in everybody() {
        let fixture = Fixture::new(who);
        let alive = || {
            ["sleep 5711", "sleep 5712", "sleep 5713"]
                .into_iter()
                .map(processes_with)
                .sum::<usize>()
        };
        for round in 0..20_u64 {
            let mut child = fixture.launch("flock=3 web=1").spawn().unwrap();
            // Some are killed while they start, some later.
            if round % 2 == 0 {
                wait_until("processes", || alive() >= 9);
            } else {
                std::thread::sleep(Duration::from_millis(round * 3));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            wait_until("their end", || alive() == 0);
            let killed = |found| match found {
                Supervisor::Absent { killed } => killed,
                Supervisor::Running(_) => panic!("{} is dead", child.id()),
            };
            // Said once.
            let told = killed(Supervisor::find(fixture.folder.path()).unwrap());
            if round % 2 == 0 {
                assert_eq!(told, Some(child.id()), "{who:?} {round}");
            }
            assert_eq!(
                killed(Supervisor::find(fixture.folder.path()).unwrap()),
                None
            );
        }
        assert_eq!(fixture.leftovers(), 0);
    }
}

#[test]
fn what_a_dyno_is_told() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("tells web").spawn().unwrap();
    fixture.wait_for("app[tells.1]: DYNO=tells.1");
    fixture.wait_for("app[tells.1]: end");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    let log = fixture.log();
    let end = log
        .iter()
        .position(|line| line == "app[tells.1]: end")
        .unwrap();
    let mut variables: Vec<&str> = log[..end]
        .iter()
        .filter_map(|line| line.strip_prefix("app[tells.1]: "))
        .filter(|line| line.starts_with("HEROKU_") || line.starts_with("PORT="))
        .collect();
    variables.sort_unstable();
    assert!(variables[1].starts_with("HEROKU_DYNO_ID="));
    variables.remove(1);
    assert_eq!(
        variables,
        [
            "HEROKU_APP_NAME=shop",
            "HEROKU_RELEASE_CREATED_AT=2026-01-02T03:04:05Z",
            "HEROKU_RELEASE_VERSION=v1",
            "HEROKU_SLUG_COMMIT=1a2b3c4d",
            "HEROKU_SLUG_DESCRIPTION=Deploy 1a2b3c4d",
        ],
        "PORT is for web dynos"
    );
}

#[test]
fn files_are_fresh_at_each_start() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("litters").spawn().unwrap();
    let starts = || {
        let log = fixture.log();
        log.iter()
            .filter(|line| line.contains("app[litters.1]: files: "))
            .count()
    };
    wait_until("a second start", || starts() >= 2);
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    let log = fixture.log();
    let files = log
        .iter()
        .filter_map(|line| line.strip_prefix("app[litters.1]: files: "));
    assert!(files.into_iter().all(|files| files == "0"), "{log:?}");
}

#[test]
fn twenty_dynos_are_up_soon_and_small() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("polite=20").spawn().unwrap();
    let client = fixture.client();
    let status = fixture.wait_for_status(&client, "twenty", |status| {
        status
            .dynos
            .iter()
            .filter(|dyno| dyno.state == DynoState::Up)
            .count()
            == 20
    });
    let proc_status = std::fs::read_to_string(format!("/proc/{}/status", status.pid)).unwrap();
    let rss = proc_status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    println!("twenty dynos: {rss}");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

/// One request on a connection of its own; what was answered, or what went wrong.
fn ask(port: u16) -> Result<String, String> {
    let attempt = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = attempt().map_err(|error| error.to_string())?;
    let body = answer.strip_prefix("HTTP/1.1 200 OK\r\n").ok_or(&answer)?;
    Ok(body
        .rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .to_owned())
}

#[test]
fn no_request_fails_while_everything_is_replaced() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("web=1").spawn().unwrap();
    let client = fixture.client();
    let status = fixture.wait_for_status(&client, "one", |s| all_up(s, &["web.1"]));
    let port = status.port.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (0..4)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    answers.push(ask(port));
                }
                answers
            })
        })
        .collect();
    let three = ["web.1", "web.2", "web.3"];
    for round in 2..5 {
        client.scale(&quantities("web=3")).unwrap();
        fixture.wait_for_status(&client, "three", |s| all_up(s, &three));
        fixture.set_release(round, &format!("GREETING=v{round}"));
        client.reload(true).unwrap();
        fixture.wait_for_status(&client, "the release", |status| {
            all_up(status, &three) && status.dynos.iter().all(|dyno| dyno.release == round)
        });
        client.restart(&Target::All).unwrap();
        client.scale(&quantities("web=1")).unwrap();
        fixture.wait_for_status(&client, "one", |s| all_up(s, &["web.1"]));
    }
    is_over.store(true, Ordering::Relaxed);
    let answers: Vec<_> = users
        .into_iter()
        .flat_map(|user| user.join().unwrap())
        .collect();
    let failed: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:?}",
        failed.len(),
        answers.len()
    );
    for greeting in ["hello", "v2", "v3", "v4"] {
        assert!(answers.contains(&Ok(greeting.to_owned())), "{greeting}");
    }
    println!("{} requests, none failed", answers.len());
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(
        fixture
            .log()
            .iter()
            .any(|line| line.starts_with("heroku[router]: at=info method=GET"))
    );
}

#[test]
fn requests_wait_for_the_first_dyno_and_learn_of_crashes() {
    let fixture = Fixture::new(everybody()[0]);
    let mut child = fixture.launch("web=1").spawn().unwrap();
    let client = fixture.client();
    let port = client.status().unwrap().port.unwrap();
    assert_eq!(ask(port).unwrap(), "hello");
    client.scale(&quantities("web=0")).unwrap();
    fixture.wait_for_status(&client, "none", |s| s.dynos.is_empty());
    assert!(ask(port).unwrap_err().starts_with("HTTP/1.1 503"));
    fixture.wait_for("code=H14");
    // Maintenance is a matter of the app's state.
    slug_runtime::state::AppState::new(fixture.folder.path().to_owned())
        .set_maintenance(true)
        .unwrap();
    assert!(client.maintenance().unwrap().maintenance);
    assert!(ask(port).unwrap_err().starts_with("HTTP/1.1 503"));
    fixture.wait_for("code=H80");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

//! An app in the background, and the commands on it.

use crate::as_each_user;
use serde_json::Value;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use test_support::{App, Signal, TestContext, free_port, get, processes_with};

/// Ends the app's supervisor when the test ends, however it ends.
pub(crate) struct Background<'a> {
    t: &'a TestContext,
    app: &'a App,
    pub(crate) port: u16,
}

impl<'a> Background<'a> {
    pub(crate) fn start(t: &'a TestContext, app: &'a App, words: &[&str]) -> Self {
        let port = free_port();
        let started = t
            .slugc_in(app)
            .args(["launch", "-d", "--port", &port.to_string()])
            .args(words)
            .run()
            .success();
        started.says(&[&format!("{} runs in the background", app.name())]);
        Self { t, app, port }
    }

    pub(crate) fn slugc(&self, words: &[&str]) -> test_support::Finished {
        self.t.slugc_in(self.app).args(words).run()
    }

    pub(crate) fn dynos(&self) -> Vec<Value> {
        let dynos = self.slugc(&["ps", "--json"]).success().json();
        dynos.as_array().unwrap().clone()
    }

    /// Waits until exactly these dynos are in these states: `web.1 up`.
    pub(crate) fn wait_for(&self, expected: &[&str]) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let dynos = self.dynos();
            let mut shown: Vec<String> = dynos
                .iter()
                .map(|dyno| format!("{} {}", text(dyno, "name"), text(dyno, "state")))
                .collect();
            shown.sort();
            if shown == expected {
                return dynos;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for {expected:?}, there is {shown:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        let status = self.slugc(&["status", "--json"]).success().json();
        u32::try_from(status["running"]["pid"].as_u64().unwrap()).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        let logs = self
            .t
            .store()
            .join("apps")
            .join(self.app.name())
            .join("logs");
        let mut segments: Vec<_> = std::fs::read_dir(logs)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        segments.sort();
        let bytes: Vec<u8> = segments
            .iter()
            .flat_map(|path| std::fs::read(path).unwrap())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn wait_for_log(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.log().contains(line) {
            assert!(Instant::now() < deadline, "no {line:?} in {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let stopped = self.slugc(&["ps:stop"]);
        if !std::thread::panicking() {
            stopped.success();
        }
    }
}

fn text<'a>(dyno: &'a Value, field: &str) -> &'a str {
    dyno[field].as_str().unwrap()
}

fn pid_of(dynos: &[Value], name: &str) -> u64 {
    let mut dynos = dynos.iter();
    let dyno = dynos.find(|dyno| dyno["name"] == name).unwrap();
    dyno["pid"].as_u64().unwrap()
}

as_each_user! {
    /// Scaling and restarting touch no dyno but those they are about.
    fn scaled_and_restarted(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        app.append("Procfile", "\nclock: exec sleep 1000\n");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let shop = Background::start(t, &app, &[]);
        let one = shop.wait_for(&["web.1 up"]);
        assert_eq!(get(shop.port, "/").unwrap().body, "Hello from flask\n");

        shop.slugc(&["ps:scale", "web=2", "clock+1"])
            .success()
            .says(&["Scaling dynos... done, now running", "web at 2", "clock at 1"]);
        let three = shop.wait_for(&["clock.1 up", "web.1 up", "web.2 up"]);
        assert_eq!(pid_of(&three, "web.1"), pid_of(&one, "web.1"));

        shop.slugc(&["restart", "web.2"]).success();
        let deadline = Instant::now() + Duration::from_mins(1);
        let after = loop {
            let after = shop.wait_for(&["clock.1 up", "web.1 up", "web.2 up"]);
            if pid_of(&after, "web.2") != pid_of(&three, "web.2") {
                break after;
            }
            assert!(Instant::now() < deadline, "web.2 was not restarted");
        };
        for name in ["web.1", "clock.1"] {
            assert_eq!(pid_of(&after, name), pid_of(&three, name));
        }

        shop.slugc(&["ps:stop", "clock"]).success();
        shop.wait_for(&["clock.1 down", "web.1 up", "web.2 up"]);
        let formation = shop.slugc(&["ps:scale"]).success();
        // What is printed can be typed again.
        let words: Vec<&str> = formation.stdout.split_whitespace().collect();
        assert_eq!(words, ["clock=1", "report=0", "web=2"]);

        let second = t.slugc_in(&app).arg("launch").run();
        second.failure(1).says(&["already runs (process ", "slugc ps:stop"]);
        for (words, said) in [
            (&["ps:scale", "wep=2"][..], "did you mean web?"),
            (&["ps:scale", "web"], "cannot understand \"web\""),
            (&["ps:scale", "web=1", "nonsense"], "cannot understand \"nonsense\""),
            (&["ps:restart", "web.7"], "there is no dyno web.7"),
            (&["ps:stop", "worker"], "no dyno of the type worker"),
        ] {
            shop.slugc(words).failure(2).says(&[said]);
        }
        shop.slugc(&["ps"]).success().says(&[
            "=== web: gunicorn --bind 0.0.0.0:$PORT --workers 1 app:app (2)",
            "web.1: up 20",
            "clock.1: down 20",
        ]);

        // The next launch has the same formation.
        shop.slugc(&["ps:stop"]).success();
        shop.slugc(&["ps"]).success().says(&["No dynos"]);
        let port = shop.port.to_string();
        shop.slugc(&["launch", "-d", "--port", &port]).success();
        shop.wait_for(&["clock.1 up", "web.1 up", "web.2 up"]);
    }
}

as_each_user! {
    /// A new release, a rollback and scaling lose no request.
    fn under_load(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let shop = Background::start(t, &app, &["web=2"]);
        shop.wait_for(&["web.1 up", "web.2 up"]);
        let is_over = Arc::new(AtomicBool::new(false));
        let users: Vec<_> = (0..3)
            .map(|_| {
                let (is_over, port) = (Arc::clone(&is_over), shop.port);
                std::thread::spawn(move || {
                    let mut answers = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        answers.push(match get(port, "/") {
                            Ok(answer) if answer.status == 200 => Ok(answer.body),
                            Ok(answer) => Err(format!("{} {}", answer.status, answer.head)),
                            Err(error) => Err(error.to_string()),
                        });
                    }
                    answers
                })
            })
            .collect();
        let settled = |release: u64| {
            let deadline = Instant::now() + Duration::from_mins(1);
            loop {
                let dynos = shop.wait_for(&["web.1 up", "web.2 up"]);
                if dynos.iter().all(|dyno| dyno["release"] == release) {
                    break;
                }
                assert!(Instant::now() < deadline, "no release {release}");
            }
        };
        shop.slugc(&["config:set", "GREETER=moin"]).success();
        settled(2);
        shop.slugc(&["ps:scale", "web=3"]).success();
        shop.wait_for(&["web.1 up", "web.2 up", "web.3 up"]);
        shop.slugc(&["ps:scale", "web=2"]).success();
        shop.slugc(&["rollback"]).success();
        settled(3);
        shop.slugc(&["ps:restart"]).success();
        settled(3);
        is_over.store(true, Ordering::Relaxed);
        let answers: Vec<_> = users.into_iter().flat_map(|user| user.join().unwrap()).collect();
        let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), answers.len());
        for greeting in ["Hello from flask\n", "Hello from moin\n"] {
            assert!(answers.contains(&Ok(greeting.to_owned())), "{greeting}");
        }
        println!("{} requests, none failed", answers.len());
    }
}

as_each_user! {
    /// Dynos with a size that take more memory are warned of, and killed when it is far too much.
    fn sizes(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        app.write(
            "Procfile",
            "web: gunicorn --bind 0.0.0.0:$PORT --workers 1 app:app\n\
             hungry: exec python -c 'import os, time; a = b\"x\" * (600 << 20); time.sleep(int(os.environ[\"PAUSE\"])); b = b\"y\" * (600 << 20); time.sleep(999)'\n",
        );
        t.slugc_in(&app).args(["build", "."]).run().success();
        t.slugc_in(&app).args(["config:set", "PAUSE=9999"]).run().success();
        let shop = Background::start(t, &app, &["web", "hungry"]);
        shop.wait_for(&["hungry.1 up", "web.1 up"]);
        shop.slugc(&["ps:type"]).success().says(&["hungry: 1, no size", "web: 1, no size"]);
        shop.slugc(&["ps:resize", "hungry=standard-1x"])
            .success()
            .says(&["hungry: 1, Standard-1X, ", "web: 1, no size"]);
        shop.wait_for_log("heroku[hungry.1]: Error R14 (Memory quota exceeded)");
        assert!(shop.log().contains("heroku[hungry.1]: Process running mem="), "{}", shop.log());
        shop.slugc(&["ps"]).success().says(&["=== hungry (Standard-1X): exec python"]);
        let web = pid_of(&shop.wait_for(&["hungry.1 up", "web.1 up"]), "web.1");
        // Far too much for it, and just enough for a larger one.
        shop.slugc(&["config:set", "PAUSE=0"]).success();
        shop.wait_for_log("heroku[hungry.1]: Error R15 (Memory quota vastly exceeded)");
        shop.wait_for_log("heroku[hungry.1]: State changed from up to crashed");
        assert!(shop.log().contains("heroku[hungry.1]: Process exited with status 137"), "{}", shop.log());
        assert!(!shop.log().contains("heroku[web.1]: Process running"), "{}", shop.log());
        shop.slugc(&["ps:scale", "hungry=0:performance-m"])
            .success()
            .says(&["hungry at 0:Performance-M", "web at 1"]);
        let dynos = shop.wait_for(&["web.1 up"]);
        assert_ne!(pid_of(&dynos, "web.1"), web);
        let stored = shop.slugc(&["ps:type", "--json"]).success().json();
        assert_eq!(stored[0]["size"], "performance-m", "{stored}");
        assert_eq!(stored[0]["quantity"], 0, "{stored}");
        shop.slugc(&["ps:type", "hungry=standart-1x"]).failure(2).says(&["did you mean standard-1x?"]);
    }
}

as_each_user! {
    /// New dynos come first, unless told otherwise.
    fn preboot(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let shop = Background::start(t, &app, &[]);
        shop.wait_for(&["web.1 up"]);
        shop.slugc(&["features"]).success().says(&["[+] preboot"]);
        shop.slugc(&["features:disable", "prebot"]).failure(2).says(&["did you mean preboot?"]);
        shop.slugc(&["features:disable", "preboot"])
            .success()
            .says(&["Disabling preboot for ⬢ "]);
        shop.slugc(&["features"]).success().says(&["[ ] preboot"]);
        let order = |log: &str| {
            let lines: Vec<&str> = log.lines().collect();
            let last = |text: &str| lines.iter().rposition(|line| line.ends_with(text)).unwrap();
            let ended = last("heroku[web.1]: Process exited with status 0");
            let started = lines.iter().rposition(|line| line.contains("heroku[web.1]: Starting process")).unwrap();
            (ended, started)
        };
        let settled = |release: u64| {
            let deadline = Instant::now() + Duration::from_mins(1);
            while shop.wait_for(&["web.1 up"])[0]["release"] != release {
                assert!(Instant::now() < deadline, "no release {release}");
            }
        };
        // Requests wait for the new one.
        let is_over = Arc::new(AtomicBool::new(false));
        let user = std::thread::spawn({
            let (is_over, port) = (Arc::clone(&is_over), shop.port);
            move || {
                let mut bodies = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    bodies.push(get(port, "/").map(|answer| answer.body).unwrap());
                }
                bodies
            }
        });
        shop.slugc(&["config:set", "GREETER=moin"]).success();
        settled(2);
        is_over.store(true, Ordering::Relaxed);
        let bodies = user.join().unwrap();
        for body in &bodies {
            assert!(["Hello from flask\n", "Hello from moin\n"].contains(&body.as_str()), "{body}");
        }
        assert!(!bodies.is_empty());
        let (ended, started) = order(&shop.log());
        assert!(ended < started, "{}", shop.log());
        shop.slugc(&["features:enable", "preboot"]).success();
        shop.slugc(&["config:set", "GREETER=again"]).success();
        settled(3);
        let (ended, started) = order(&shop.log());
        assert!(started < ended, "{}", shop.log());
    }
}

as_each_user! {
    /// Nothing outlives a killed supervisor, and the next command says what happened, once.
    fn killed(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let shop = Background::start(t, &app, &["web=2"]);
        let dynos = shop.wait_for(&["web.1 up", "web.2 up"]);
        let markers: Vec<String> = dynos
            .iter()
            .map(|dyno| format!("0.0.0.0:{}", dyno["port"]))
            .collect();
        let alive = || markers.iter().flat_map(|marker| processes_with(marker)).count();
        assert!(alive() > 0);
        let pid = shop.pid();
        test_support::kill(pid, Signal::KILL);
        let deadline = Instant::now() + Duration::from_secs(20);
        while alive() > 0 {
            assert!(Instant::now() < deadline, "dynos outlive their supervisor");
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = format!("(process {pid}) was killed; its dynos ended with it");
        shop.slugc(&["ps"]).success().says(&[&said, "No dynos"]);
        shop.slugc(&["ps"]).success().never_says(&["killed"]);
        let port = shop.port.to_string();
        shop.slugc(&["launch", "-d", "--port", &port]).success();
        shop.wait_for(&["web.1 up"]);
    }
}

as_each_user! {
    /// At whatever moment a supervisor is killed: no process is left, and the next one starts.
    fn killed_again_and_again(t: &TestContext) {
        let app = t.empty_app("victim");
        app.write("requirements.txt", "");
        // The same test runs beside this one as another user.
        let marker = format!("8{}{}", std::process::id(), free_port());
        app.write(
            "Procfile",
            // One that has left its parent and its session, and one that ignores all it can.
            format!(
                "worker: setsid sleep 3000{marker} & sleep 3000{marker}\n\
                 stubborn: trap '' TERM INT HUP; (sleep 3000{marker} & sleep 3000{marker}) & while :; do sleep 3000{marker}; done\n"
            ),
        );
        t.slugc_in(&app).args(["build", "."]).run().success();
        let alive = || processes_with(&format!("3000{marker}")).len();
        // Without the shells that start them, whose arguments they are as well.
        let command = format!("sleep\03000{marker}\0");
        let sleeping = || {
            let processes = processes_with(&format!("3000{marker}")).into_iter();
            let is_one = |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == command.as_bytes());
            processes.filter(is_one).count()
        };
        for round in 0..50 {
            let shop = Background::start(t, &app, &["worker=2", "stubborn=1"]);
            let pid = shop.pid();
            // While they start, and when all of them run.
            std::thread::sleep(Duration::from_millis(round * 3));
            let deadline = Instant::now() + Duration::from_secs(20);
            while round == 49 && sleeping() < 7 {
                assert!(Instant::now() < deadline, "only {} processes run", sleeping());
                std::thread::sleep(Duration::from_millis(5));
            }
            test_support::kill(pid, Signal::KILL);
            let deadline = Instant::now() + Duration::from_secs(20);
            while alive() > 0 {
                assert!(Instant::now() < deadline, "round {round}: {} processes are left", alive());
                std::thread::sleep(Duration::from_millis(5));
            }
            shop.slugc(&["ps"]).success().says(&[&format!("(process {pid}) was killed")]);
        }
    }
}

as_each_user! {
    /// Processes that crash, never bind, and ignore SIGTERM.
    fn unruly(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        app.write(
            "Procfile",
            "web: exec sleep 1000\n\
             fails: exit 0\n\
             deaf: trap '' TERM; echo deaf; while :; do sleep 1; done\n\
             missing: no-such-program\n",
        );
        t.slugc_in(&app).args(["build", "."]).run().success();
        let shop = Background::start(
            t,
            &app,
            &["web", "fails", "deaf", "missing", "--boot-timeout", "1", "--stop-timeout", "1"],
        );
        for line in [
            "heroku[web.1]: Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 1 seconds of launch",
            "heroku[web.1]: State changed from starting to crashed",
            "heroku[fails.1]: Process exited with status 0",
            "heroku[fails.1]: State changed from up to crashed",
            "heroku[missing.1]: Process exited with status 127",
            "app[deaf.1]: deaf",
        ] {
            shop.wait_for_log(line);
        }
        let crashed = || {
            let dynos = shop.dynos();
            let mut dynos = dynos.iter();
            dynos.any(|dyno| dyno["name"] == "fails.1" && dyno["crashes"].as_u64() > Some(1))
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !crashed() {
            assert!(Instant::now() < deadline, "crashes are not counted");
        }
        shop.slugc(&["ps:stop", "deaf.1"]).success();
        shop.wait_for_log("heroku[deaf.1]: Error R12 (Exit timeout)");
        shop.wait_for_log("heroku[deaf.1]: Process exited with status 137");
    }
}

as_each_user! {
    /// What a supervisor cannot do is not the command line's fault.
    fn orders_to_one_that_ends(t: &TestContext) {
        let app = t.fixture("procfile-duplicates");
        app.write("Procfile", "worker: trap '' TERM; echo deaf; while true; do sleep 1; done\n");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let mut worker = t
            .slugc_in(&app)
            .args(["launch", "worker", "--stop-timeout", "600"])
            .start();
        worker.wait_for("app[worker.1]: deaf");
        let restart = |what: &str| t.slugc_in(&app).args(["ps:restart", what]).run();
        restart("clock").failure(2).says(&["no dyno of the type clock", "slugc ps"]);
        worker.signal(Signal::TERM);
        worker.wait_for("Stopping all processes with SIGTERM");
        restart("worker").failure(1).says(&["the supervisor ends", "slugc logs"]);
        worker.signal(Signal::INT);
        worker.wait(Duration::from_secs(40));
    }
}

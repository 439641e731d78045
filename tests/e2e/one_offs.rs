//! One-offs that nobody sits in front of, and programs inside dynos that run.

use crate::as_each_user;
use crate::ps::Background;
use std::time::{Duration, Instant};
use test_support::{Finished, TestContext, get, processes_with};

/// The dyno's name in what `run:detached` printed.
pub(crate) fn name_of(started: &Finished) -> String {
    let line = started.stdout.lines().next().unwrap();
    let (_, name) = line.split_once("... done, ").unwrap();
    name.to_owned()
}

/// Waits until the app's log of a dyno has this in it.
pub(crate) fn wait_for_log(
    t: &TestContext,
    app: &test_support::App,
    dyno: &str,
    text: &str,
) -> String {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let logs = t
            .slugc_in(app)
            .args(["logs", "--dyno", dyno])
            .run()
            .success();
        if logs.stdout.contains(text) {
            return logs.stdout;
        }
        assert!(Instant::now() < deadline, "no {text:?} in {}", logs.stdout);
        std::thread::sleep(Duration::from_millis(50));
    }
}

as_each_user! {
    /// Its output is in the log, `ps` lists it, `ps:stop` ends it; no supervisor is needed.
    fn detached(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        let marker = format!("7{}", std::process::id());

        let script = "echo $DYNO $GREETING $HEROKU_RELEASE_VERSION $HEROKU_APP_NAME; echo err >&2; exit 3";
        let started = slugc(&["run:detached", "-e", "GREETING=moin", "--", "sh", "-c", script]);
        let dyno = name_of(&started.success());
        let log = wait_for_log(t, &app, &dyno, "State changed from up to complete");
        for line in [
            format!("heroku[{dyno}]: Starting process with command `sh -c 'echo $DYNO"),
            format!("app[{dyno}]: {dyno} moin v1 {}", app.name()),
            format!("app[{dyno}]: err"),
            format!("heroku[{dyno}]: Process exited with status 3"),
        ] {
            assert!(log.contains(&line), "{line} is not in {log}");
        }

        let started = slugc(&["run", "detached", &format!("sleep 4000{marker}; true")]).success();
        let dyno = name_of(&started);
        started.says(&[&format!("slugc ps:stop -a {} {dyno}", app.name())]);
        slugc(&["ps"]).success().says(&[
            "=== run: one-off processes (1)",
            &format!("{dyno}: up 20"),
            &format!(": sleep 4000{marker}; true"),
        ]);
        slugc(&["run:inside", &dyno, "echo in $DYNO"]).success().says(&[&format!("in {dyno}")]);
        slugc(&["ps:stop", "run.1"]).failure(2).says(&["there is no dyno run.1", &dyno]);
        slugc(&["ps:stop", &dyno]).success().says(&[&format!("Stopping {dyno} on ⬢ ")]);
        let log = wait_for_log(t, &app, &dyno, "Process exited with status 143");
        assert!(log.contains("Stopping all processes with SIGTERM"), "{log}");
        assert!(processes_with(&format!("4000{marker}")).is_empty());
        slugc(&["ps"]).success().says(&["No dynos"]);

        // Without a name everything of the app ends.
        slugc(&["run:detached", &format!("sleep 4001{marker}; true")]).success();
        slugc(&["ps:stop"]).success().says(&["Stopping ⬢ "]);
        assert!(processes_with(&format!("4001{marker}")).is_empty());
        slugc(&["ps:stop"]).success().says(&["does not run"]);
        slugc(&["run:detached"]).failure(2).says(&["CMD"]);
    }
}

as_each_user! {
    /// A one-off that is killed leaves nothing, and an attached one is listed too.
    fn attended(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        let running = t
            .slugc_in(&app)
            .args(["run", "--", "python", "-c", "print('up', flush=True); import time; time.sleep(999)"])
            .start();
        let mut running = running;
        running.wait_for("up");
        let listed = slugc(&["ps", "--json"]).success().json();
        let dyno = listed[0]["name"].as_str().unwrap().to_owned();
        assert_eq!(listed[0]["type"], "run", "{listed}");
        assert_eq!(listed[0]["release"], 1, "{listed}");
        slugc(&["ps:stop", &dyno]).success();
        assert_eq!(running.wait(Duration::from_secs(20)).code(), 143);
        slugc(&["ps"]).success().says(&["No dynos"]);

        let started = slugc(&["run:detached", "sleep 999"]).success();
        let dyno = name_of(&started);
        let status = slugc(&["status", "--json"]).success().json();
        let attendant = status["one_offs"][0]["attendant"].as_u64().unwrap();
        test_support::kill(u32::try_from(attendant).unwrap(), test_support::Signal::KILL);
        let deadline = Instant::now() + Duration::from_secs(20);
        while slugc(&["ps"]).success().stdout.contains(&dyno) {
            assert!(Instant::now() < deadline, "{dyno} is still listed");
        }
        slugc(&["run", "echo and on"]).success().says(&["and on"]);
    }
}

as_each_user! {
    /// The kernel kills what takes more than twice the memory of its size, where it may be told to.
    fn sizes(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        let greedy = "print(len(b'x' * (1200 << 20)))";
        let small = slugc(&["run", "-s", "eco", "--", "sh", "-c", "echo $DYNO_RAM"]).success();
        assert_eq!(small.stdout, "512\n");
        if small.stderr.contains("not all that the size Eco says can be enforced: ") {
            println!("skipped: {}", small.stderr);
            slugc(&["run", "-s", "eco", "--", "python", "-c", greedy]).success();
            return;
        }
        slugc(&["run", "-s", "eco", "--", "python", "-c", greedy])
            .failure(137)
            .says(&["Error R15 (Memory quota vastly exceeded)", "of Eco"]);
        slugc(&["run", "-s", "performance-m", "--", "python", "-c", greedy]).success();
        slugc(&["ps:type", "web=eco"]).success();
        let started = slugc(&["run:detached", "--type", "web", "--", "python", "-c", greedy]).success();
        let log = wait_for_log(t, &app, &name_of(&started), "State changed from up to complete");
        assert!(log.contains("Error R15 (Memory quota vastly exceeded)"), "{log}");
        assert!(log.contains("Process exited with status 137"), "{log}");
        slugc(&["run", "-s", "ecco", "true"]).failure(2).says(&["did you mean eco?"]);
    }
}

as_each_user! {
    /// The dyno's own files, environment and processes.
    fn inside(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let shop = Background::start(t, &app, &[]);
        let up = shop.wait_for(&["web.1 up"]);
        let inside = |words: &[&str]| {
            let fixed = ["run:inside", "web.1", "--"];
            t.slugc_in(&app).args(fixed).args(words).run()
        };
        inside(&["touch", "/tmp/note"]).success();
        inside(&["sh", "-c", "ls /tmp; pwd; id -u; exit 7"])
            .failure(7)
            .says(&["note\n", "/workspace\n", "1000\n"]);
        let port = up[0]["port"].to_string();
        inside(&["echo $DYNO $PORT $HEROKU_RELEASE_VERSION"])
            .success()
            .says(&[&format!("web.1 {port} v1")]);
        // The program of the dyno itself is seen from there.
        let seen = inside(&["cat", "/proc/2/cmdline"]).success();
        assert!(seen.stdout.contains("gunicorn"), "{}", seen.stdout);
        inside(&["python", "-c", "import flask, os; print(os.getpid() > 2)"]).success().says(&["True"]);
        // A process type stands for its command.
        inside(&["report", "a b"]).says(&["arguments: a b"]);
        inside(&["no-such-program"]).failure(127);
        let echoed = t
            .slugc_in(&app)
            .args(["run:inside", "web.1", "-e", "GREETER=you", "--", "sh", "-c", "cat; echo $GREETER"])
            .stdin(b"from outside\n".to_vec())
            .run()
            .success();
        assert_eq!(echoed.stdout, "from outside\nyou\n");
        // The dyno takes no notice.
        assert_eq!(get(shop.port, "/").unwrap().body, "Hello from flask\n");
        assert_eq!(shop.wait_for(&["web.1 up"])[0]["pid"], up[0]["pid"]);

        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        slugc(&["run:inside", "wep.1", "true"]).failure(2).says(&["no dyno wep.1", "did you mean web.1?"]);
        slugc(&["run:inside", "web.7", "true"]).failure(2).says(&["no dyno web.7", "web.1"]);

        // It ends with the dyno.
        let mut visitor = t
            .slugc_in(&app)
            .args(["run:inside", "web.1", "--", "sh", "-c", "echo there; sleep 999"])
            .start();
        visitor.wait_for("there");
        shop.slugc(&["ps:stop", "web.1"]).success();
        shop.wait_for(&["web.1 down"]);
        assert_eq!(visitor.wait(Duration::from_mins(1)).code(), 143);
        slugc(&["run:inside", "web.1", "true"]).failure(2).says(&["web.1", "is down"]);
    }
}

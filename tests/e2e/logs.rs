//! `slugc logs`: what a launch has said, afterwards and meanwhile.

use crate::as_each_user;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use test_support::{Signal, TestContext};

as_each_user! {
    fn of_a_worker(t: &TestContext) {
        let app = t.fixture("worker-only");
        t.slugc_in(&app).args(["build", "."]).run().success();
        t.slugc_in(&app).arg("logs").run().success().says(&["no logs yet", "slugc launch"]);

        let mut tail = t.slugc_in(&app).args(["logs", "--tail", "-s", "app"]).start();
        tail.wait_for("waiting for them");
        let mut dyno = t.slugc_in(&app).arg("launch").start();
        dyno.wait_for("worked");
        tail.wait_for("app[worker.1]: worked");
        // While it runs, from another process.
        let shown = t.slugc_in(&app).args(["logs", "-p", "worker"]).run().success();
        let shown = shown.says(&[
            "heroku[worker.1]: Starting process with command `python worker.py`",
            "heroku[worker.1]: State changed from starting to up",
            "app[worker.1]: waiting for work, port none",
        ]);
        assert!(!shown.stdout.contains('\u{1b}'), "colours without a terminal: {}", shown.stdout);
        dyno.signal(Signal::TERM);
        let ended = dyno.wait(Duration::from_secs(35));
        assert_eq!(ended.code(), 143);

        // Afterwards: every line that was printed, and nothing else.
        let all = t.slugc_in(&app).args(["logs", "-n", "100000"]).run().success();
        assert_eq!(all.stdout, ended.stdout);
        let last = t.slugc_in(&app).args(["logs", "-n", "2", "--ps", "worker"]).run().success();
        let lines: Vec<&str> = all.stdout.lines().collect();
        assert_eq!(last.stdout.lines().collect::<Vec<_>>(), lines[lines.len() - 2..]);
        let platform = t.slugc_in(&app).args(["logs", "-s", "heroku", "-d", "worker.1"]).run();
        let platform = platform.success().never_says(&["app["]);
        assert!(platform.stdout.lines().count() >= 4, "{}", platform.stdout);

        let json = t.slugc_in(&app).args(["logs", "--json", "-s", "app", "-n", "1"]).run();
        let json = json.success().json();
        assert_eq!(json["text"], "stopped by SIGTERM");
        assert_eq!(json["source"], "app");
        assert_eq!(json["dyno"], "worker.1");
        assert!(json["at"].as_str().unwrap().ends_with('Z'), "{json}");

        tail.wait_for("stopped by SIGTERM");
        assert!(!tail.has_ended());
        tail.signal(Signal::TERM);
        let tailed = tail.wait(Duration::from_secs(10));
        assert_eq!(tailed.code(), 143);
        let of_app: Vec<&str> = lines.iter().copied().filter(|line| line.contains(" app[")).collect();
        assert_eq!(tailed.stdout.lines().collect::<Vec<_>>(), of_app);
    }
}

as_each_user! {
    fn what_is_not_there(t: &TestContext) {
        let app = t.fixture("worker-only");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let mut dyno = t.slugc_in(&app).arg("launch").start();
        dyno.wait_for("worked");
        dyno.signal(Signal::TERM);
        dyno.wait(Duration::from_secs(35));

        let unknown = t.slugc_in(&app).args(["logs", "-d", "web.9"]).run().success();
        assert_eq!(unknown.stdout, "");
        unknown.says(&["no lines of web.9", "worker.1"]);
        let wrong = t.slugc_in(&app).args(["logs", "-s", "router"]).run().failure(2);
        wrong.says(&["app", "heroku"]);
        let wrong = t.slugc_in(&app).args(["logs", "-n", "many"]).run().failure(2);
        wrong.says(&["many"]);
        let nobody = t.slugc_in(&app).args(["logs", "-a", "nobody"]).run().failure(3);
        nobody.says(&["no app nobody", "slugc build"]);
    }
}

as_each_user! {
    /// Nobody but the owner reads what an app may print by mistake.
    fn private(t: &TestContext) {
        let app = t.fixture("worker-only");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let mut dyno = t.slugc_in(&app).arg("launch").start();
        dyno.wait_for("worked");
        let mut segments = 0;
        for entry in std::fs::read_dir(t.store().join("apps").join(app.name()).join("logs")).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
            segments += 1;
        }
        assert!(segments > 0);
        dyno.signal(Signal::TERM);
        dyno.wait(Duration::from_secs(35));
    }
}

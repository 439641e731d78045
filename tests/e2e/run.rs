//! `slugc run`: one-offs.

use crate::as_each_user;
use std::time::Duration;
use test_support::{Signal, TestContext};

as_each_user! {
    fn exit_codes_and_arguments_pass_through(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let run = |words: &[&str]| t.slugc_in(&app).arg("run").args(words).run();
        run(&["true"]).success();
        run(&["--", "python", "-c", "import sys; sys.exit(42)"]).failure(42);
        run(&["--", "sh", "-c", "kill -TERM $$"]).failure(143);
        run(&["--", "no-such-command"]).failure(127);
        // A process type stands for its command; further words become its arguments.
        run(&["-e", "REPORT_EXIT_CODE=7", "report", "a b", "c"])
            .failure(7)
            .says(&["arguments: a b c", "port: none"]);
        // A single word goes through the shell.
        run(&["echo $((6 * 7)) && echo $DYNO"]).success().says(&["42", "run."]);
        // Heroku's words are understood.
        run(&["-x", "--no-tty", "--size", "standard-2x", "--", "sh", "-c", "echo $HEROKU_RELEASE_VERSION; exit 4"])
            .failure(4)
            .says(&["v1\n"]);
        run(&["--size", "huge", "true"]).failure(2).says(&["there is no dyno size huge"]);
    }
}

as_each_user! {
    fn streams(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
        let echoed = t.slugc_in(&app).args(["run", "cat"]).stdin(bytes.clone()).run().success();
        assert_eq!(echoed.stdout.as_bytes(), bytes);
        let split = t
            .slugc_in(&app)
            .args(["run", "--", "sh", "-c", "echo to stdout; echo to stderr >&2"])
            .run()
            .success();
        assert_eq!(split.stdout, "to stdout\n");
        assert_eq!(split.stderr, "to stderr\n");
    }
}

as_each_user! {
    /// Each one-off has a file system of its own, a fresh copy of the image's.
    fn nothing_that_is_written_stays(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let run = |script: &str| t.slugc_in(&app).args(["run", "--", "sh", "-c", script]).run();
        run("echo changed > app.py && cat app.py").success().says(&["changed"]);
        run("cat app.py").success().never_says(&["changed"]);
        run("id -u; id -g; pwd").success().says(&["1000", "/workspace"]);
    }
}

as_each_user! {
    fn ended_by_signals(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let start = || {
            let mut running = t
                .slugc_in(&app)
                .args(["run", "--", "python", "-c", "print('up', flush=True); import time; time.sleep(999)"])
                .start();
            running.wait_for("up");
            running
        };
        for (signal, code) in [(Signal::TERM, 143), (Signal::KILL, 137)] {
            let running = start();
            running.signal(signal);
            let ended = running.wait(Duration::from_secs(20));
            assert_eq!(ended.code(), code, "{}", ended.stderr);
        }
    }
}

as_each_user! {
    fn an_app_without_an_image(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        for call in [&["run", "true"][..], &["launch"], &["inspect"]] {
            t.slugc_in(&app)
                .args(call)
                .run()
                .failure(3)
                .says(&[app.name(), "slugc build"]);
        }
    }
}

//! Projects with locks: installed by their own tools inside the sandbox, and the same image each time.

use crate::as_each_user;
use test_support::{App, TestContext, free_port, wait_for_http};

/// What the app's `report` process prints.
fn report(t: &TestContext, app: &App) -> String {
    t.slugc_in(app)
        .args(["run", "report"])
        .run()
        .success()
        .stdout
}

as_each_user! {
    fn a_workspace_of_uv(t: &TestContext) {
        let app = t.fixture("uv-workspace");
        let digest = t
            .slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["Installing uv.lock with uv"])
            .digest();
        let said = report(t, &app);
        assert!(said.starts_with("hello from the workspace by /layers/"), "{said}");
        let listed = t.slugc_in(&app).args(["run", "--", "ls", "libs/greeting"]).run().success();
        assert!(!listed.stdout.contains("build.log"), "{}", listed.stdout);

        // The same image in another folder, without a cache.
        let scratch = tempfile::tempdir_in(t.scratch()).unwrap();
        let other = app.duplicate(scratch.path());
        assert_eq!(
            t.slugc_in(&other).args(["build", "."]).run().success().digest(),
            digest
        );

        // Another main module leaves the environment alone, another package does not.
        app.append("report.py", "print('once more')\n");
        t.slugc_in(&app).args(["build", "."]).run().success().says(&["Reusing the virtual environment"]);
        assert!(report(t, &app).contains("once more"));
        app.write("libs/greeting/greeting.py", "def words():\n    return 'changed'\n");
        t.slugc_in(&app).args(["build", "."]).run().success().says(&["the requirements changed"]);
        assert!(report(t, &app).starts_with("changed by "));

        let description = app.read("pyproject.toml");
        app.write("pyproject.toml", description.replace(">=3.10", ">=3.11"));
        let outdated = t.slugc_in(&app).args(["build", "."]).run();
        assert_eq!(outdated.code(), 51, "{}", outdated.stderr);
        outdated.says(&["uv.lock does not fit pyproject.toml", "uv lock"]);
        app.write("pyproject.toml", description);
        t.slugc_in(&app).args(["build", "."]).run().success();
    }
}

as_each_user! {
    /// Poetry itself comes from the package index into the sandbox.
    fn a_lock_of_poetry(t: &TestContext) {
        let app = t.fixture("poetry-path");
        t.slugc_in(&app).args(["build", "."]).run().success().says(&["Fetching Poetry", "Installing poetry.lock with Poetry"]);
        assert!(report(t, &app).starts_with("hello from the path dependency by /layers/"));
        // Poetry is kept for the next build.
        app.write("libs/greeting/greeting.py", "def words():\n    return 'changed'\n");
        let again = t.slugc_in(&app).args(["build", "."]).run().success();
        assert!(!again.stdout.contains("Fetching Poetry") && !again.stderr.contains("Fetching Poetry"));
        assert!(report(t, &app).starts_with("changed by "));
    }
}

as_each_user! {
    /// Without a Procfile the build suggests a web process, and uses it on request.
    fn a_web_process_without_a_procfile(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        app.remove("Procfile");
        let line = "web: gunicorn app:app --bind 0.0.0.0:$PORT";
        t.slugc_in(&app).args(["build", "."]).run().success().says(&[line, "BP_WEB_DEFAULT=1"]);
        t.slugc_in(&app)
            .args(["build", ".", "-e", "BP_WEB_DEFAULT=1"])
            .run()
            .success();
        let port = free_port();
        let mut dyno = t
            .slugc_in(&app)
            .args(["launch", "web", "--port", &port.to_string()])
            .start();
        let ready = wait_for_http(port, "/", || dyno.has_ended().then(|| dyno.printed()));
        assert_eq!((ready.status, ready.body.as_str()), (200, "Hello from flask\n"));
    }
}

//! `slugc build`: every fixture becomes an image that does what the app is for.

use crate::as_each_user;
use test_support::{FileServer, TestContext, free_port, get, wait_for_http};

as_each_user! {
    /// Static files are collected during the build, with their hashed names and compressed.
    fn django_with_static_files(t: &TestContext) {
        let app = t.fixture("django-static-db");
        let built = t.slugc_in(&app).args(["build", "."]).run().success();
        built.says(&["static file", app.name()]);
        let listed = t
            .slugc_in(&app)
            .args(["run", "--", "ls", "-R", "staticfiles"])
            .run()
            .success();
        for name in ["shelf.css", "staticfiles.json", ".css.gz"] {
            assert!(listed.stdout.contains(name), "{}", listed.stdout);
        }
        let ignored = t.slugc_in(&app).args(["run", "--", "ls"]).run().success();
        assert!(!ignored.stdout.contains("notes"), ".slugignore: {}", ignored.stdout);
    }
}

as_each_user! {
    fn collectstatic_can_be_switched_off(t: &TestContext) {
        let app = t.fixture("django-static-db");
        t.slugc_in(&app)
            .args(["build", ".", "-e", "DISABLE_COLLECTSTATIC=1"])
            .run()
            .success();
        let listed = t.slugc_in(&app).args(["run", "--", "ls"]).run().success();
        assert!(!listed.stdout.contains("staticfiles"), "{}", listed.stdout);
    }
}

as_each_user! {
    fn flask_by_uv_and_by_pip(t: &TestContext) {
        for (installer, word) in [("uv", "uv"), ("pip", "pip")] {
            let app = t.fixture("flask-gunicorn");
            t.slugc_in(&app)
                .args(["build", ".", "-e", &format!("BP_PYTHON_INSTALLER={installer}")])
                .run()
                .success()
                .says(&[word]);
            t.slugc_in(&app)
                .args(["run", "report"])
                .run()
                .success()
                .says(&["routes: / /process"]);
        }
    }
}

as_each_user! {
    /// Bytecode is compiled once, in the build, and never checked against its source again.
    fn bytecode_is_there_and_unchecked(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let script = "import flask, importlib.util as u\n\
                      head = open(u.cache_from_source(flask.__file__), 'rb').read(8)\n\
                      print('flags', int.from_bytes(head[4:], 'little'))\n";
        t.slugc_in(&app)
            .args(["run", "python", "-"])
            .stdin(script)
            .run()
            .success()
            .says(&["flags 1"]);
    }
}

as_each_user! {
    fn fastapi(t: &TestContext) {
        let app = t.fixture("fastapi-uvicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let port = free_port();
        let mut dyno = t
            .slugc_in(&app)
            .args(["launch", "web", "--port", &port.to_string()])
            .start();
        let ready = wait_for_http(port, "/", || dyno.has_ended().then(|| dyno.printed()));
        assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"status":"ready"}"#));
        let sum = test_support::post(port, "/sum", r#"{"numbers": [1, 2.5]}"#).unwrap();
        assert_eq!((sum.status, sum.body.as_str()), (200, r#"{"sum":3.5}"#));
        assert_eq!(get(port, "/missing").unwrap().status, 404);
    }
}

as_each_user! {
    /// runtime.txt is read, and deprecated.
    fn worker_without_web(t: &TestContext) {
        let app = t.fixture("worker-only");
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["runtime.txt", "deprecated", ".python-version"]);
        let seen = t.slugc_in(&app).args(["inspect", "--output", "json"]).run().success().json();
        assert_eq!(seen["processes"][0]["type"], "worker");
        assert_eq!(seen["processes"][0]["default"], true);
    }
}

as_each_user! {
    /// Files named by files named by requirements.txt are installed from, and are part of the
    /// cache's key.
    fn nested_requirements(t: &TestContext) {
        let app = t.fixture("nested-requirements");
        let versions = || {
            let script = "import app; print(app.app.test_client().get('/').text)";
            t.slugc_in(&app).args(["run", "python", "-c", script]).run().success().json()
        };
        t.slugc_in(&app).args(["build", "."]).run().success();
        assert_eq!(versions()["markupsafe"], "3.0.3");
        app.write("constraints/templates.txt", "jinja2==3.1.6\nmarkupsafe==3.0.2\n");
        t.slugc_in(&app).args(["build", "."]).run().success();
        assert_eq!(versions()["markupsafe"], "3.0.2");
    }
}

as_each_user! {
    fn sdist_that_compiles_c(t: &TestContext) {
        let app = t.fixture("sdist-c-extension");
        t.slugc_in(&app).args(["build", "."]).run().success();
        t.slugc_in(&app)
            .args(["run", "report"])
            .run()
            .success()
            .says(&["digital root of 987654321 is 9", "compiled into so"]);
    }
}

as_each_user! {
    fn git_requirement_to_this_machine(t: &TestContext) {
        if !test_support::met(&test_support::Need::Program("git")) {
            test_support::skipped(&test_support::Need::Program("git"));
            return;
        }
        let (folder, commit) = t.git_repository();
        let server = FileServer::of(&folder);
        let app = t.git_fixture(&format!("{}/greeting.git", server.url()), &commit);
        t.slugc_in(&app).args(["build", "."]).run().success();
        t.slugc_in(&app)
            .args(["run", "report"])
            .run()
            .success()
            .says(&["Hello, git!"]);
    }
}

as_each_user! {
    /// What is passed for the build is seen by the build and by nothing else.
    fn build_variables_stay_out_of_the_image(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let secret = "s3cret-of-a-test";
        let file = t.scratch().join("build.env");
        std::fs::write(&file, format!("# for the build\nFROM_FILE={secret}-file\n")).unwrap();
        t.give(&file);
        t.slugc_in(&app)
            .args(["build", ".", "-e", &format!("GIVEN={secret}"), "--env-file"])
            .arg(&file)
            .args(["-e", "INHERITED"])
            .env("INHERITED", format!("{secret}-inherited"))
            .run()
            .success()
            .never_says(&[secret]);
        let inside = t.slugc_in(&app).args(["run", "env"]).run().success();
        for name in ["GIVEN", "FROM_FILE", "INHERITED", secret] {
            assert!(!inside.stdout.contains(name), "{}", inside.stdout);
        }
        let layout = t.scratch().join("layout");
        t.slugc_in(&app)
            .args(["build", ".", "--refresh", "-e", &format!("GIVEN={secret}"), "-o"])
            .arg(format!("oci:{}", layout.display()))
            .run()
            .success();
        let config = serde_json::to_string(&test_support::read_layout(&layout).config).unwrap();
        assert!(!config.contains(secret), "{config}");
    }
}

as_each_user! {
    /// `--quiet` prints the digest alone; elsewhere there is a summary.
    fn summary(t: &TestContext) {
        let app = t.fixture("worker-only");
        let loud = t.slugc_in(&app).args(["build", "."]).run().success();
        let digest = loud.digest();
        loud.says(&["Size", "Time", "reused", "slugc launch worker"]);
        let quiet = t.slugc_in(&app).args(["build", ".", "-q", "--refresh"]).run().success();
        assert_eq!(quiet.stdout, format!("{digest}\n"));
    }
}

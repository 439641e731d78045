//! `slugc doctor`: what it finds, that it changes nothing, and that a build agrees with it.

use crate::{as_each_user, context};
use std::fs;
use test_support::{TestContext, Who, with_filters};

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n";

as_each_user! {
    /// An app that builds has no errors, and what `doctor` says of Python and packages is what the build does.
    fn a_sound_project(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let looked = t.slugc_in(&app).args(["doctor"]).run().success();
        looked.says(&[
            "✓ The source has",
            "✓ Procfile has web",
            "✓ Python 3.13.5 of the stack",
            "✓ Packages are installed from requirements.txt",
        ]).never_says(&["✗"]);
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["Using Python 3.13.5 of the stack", "Installing requirements.txt"]);
    }
}

as_each_user! {
    /// Secrets stay out of the image and are told of; naming one in `.slugignore` lets it in.
    fn secrets_stay_out(t: &TestContext) {
        let app = t.fixture("worker-only");
        app.write(".env", "TOKEN=hunter2\n");
        app.write("certs/server.pem", KEY);
        app.write("certs/ca.pem", "-----BEGIN CERTIFICATE-----\n");
        t.slugc_in(&app).args(["doctor"]).run().success().says(&[
            "✓ Secrets stay out of the image: .env, certs/server.pem",
            "write !.env in .slugignore",
        ]);
        t.slugc_in(&app).args(["build", "."]).run().success().says(&[
            "Left out .env, certs/server.pem (secrets; to have one in the image, write !.env in .slugignore)",
        ]);
        let listed = t
            .slugc_in(&app)
            .args(["run", "--", "ls", "-a", ".", "certs"])
            .run()
            .success()
            .stdout;
        assert!(listed.contains("ca.pem"), "{listed}");
        assert!(!listed.contains("server.pem") && !listed.contains(".env"), "{listed}");

        app.write(".slugignore", "!certs/server.pem\n");
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["Left out .env (secrets;"]);
        t.slugc_in(&app)
            .args(["run", "--", "grep", "-c", "PRIVATE", "certs/server.pem"])
            .run()
            .success();
    }
}

/// A project in which much is wrong: every finding, once for people and once for programs.
#[test]
fn a_project_in_trouble() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.empty_app("trouble");
    app.write("requirements.txt", "Django==5.2\nredis\n<<<<<<< HEAD\n");
    app.write("runtime.txt", "python-3.8.1\n");
    app.write("Procfile", "Web: gunicorn shop.wsgi\n-clock: x\n");
    app.write(
        "manage.py",
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.setings')\n",
    );
    app.write("shop/settings.py", "");
    app.write("Pipefile", "");
    app.write("node_modules/x.js", "");
    let before = listing(app.path());
    let looked = t
        .slugc_in(&app)
        .args(["doctor", "-e", "PYTHONHOME=/usr"])
        .run()
        .failure(3);
    with_filters(&t, || {
        insta::assert_snapshot!("doctor_in_trouble", looked.stdout);
    });

    let json = t
        .slugc_in(&app)
        .args(["doctor", "--json", "-e", "PYTHONHOME=/usr"])
        .run()
        .failure(3)
        .json();
    let errors: Vec<&str> = json
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["level"] == "error")
        .filter_map(|finding| finding["title"].as_str())
        .collect();
    let shown: Vec<&str> = looked
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("✗ "))
        .collect();
    assert_eq!(errors, shown);
    assert!(errors.len() >= 4, "{json:#}");
    assert_eq!(listing(app.path()), before, "doctor changes nothing");

    // The build stops for the first of them.
    let built = t.slugc_in(&app).args(["build", "."]).run().failure(51);
    built.says(&["[Error: "]);
}

/// A project in a folder of the app, by the variable that the build takes.
#[test]
fn a_project_in_a_folder() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.empty_app("mono");
    app.write("README.md", "");
    app.write("services/api/requirements.txt", "");
    app.write("services/api/hello.py", "print('hello from the folder')\n");
    app.write("Procfile", "hello: cd services/api && python hello.py\n");
    t.slugc_in(&app)
        .args(["doctor"])
        .run()
        .failure(3)
        .says(&["✗ No Python project found"]);
    let path = "BP_APP_PATH=services/api";
    t.slugc_in(&app)
        .args(["doctor", "-e", path])
        .run()
        .success();
    t.slugc_in(&app)
        .args(["build", ".", "-e", path])
        .run()
        .success()
        .says(&["The project is in services/api, as BP_APP_PATH says."]);
    let said = t
        .slugc_in(&app)
        .args(["run", "hello"])
        .run()
        .success()
        .stdout;
    assert!(said.contains("hello from the folder"), "{said}");
}

fn listing(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                waiting.push(entry.path());
            }
            found.push(entry.path().display().to_string());
        }
    }
    found.sort();
    found
}

//! `slugc build`, a second time: what is reused, what is read, and that the same input makes the
//! same image wherever and whenever it is built.

use crate::{BINARY, as_each_user, context};
use std::collections::BTreeMap;
use std::time::Duration;
use test_support::{App, ContentWatch, Need, Signal, TestContext, Who, requires};

/// The image's layers: name to diffID.
fn layers(t: &TestContext, app: &App) -> BTreeMap<String, String> {
    let seen = t
        .slugc_in(app)
        .args(["inspect", "--output", "json"])
        .run()
        .success()
        .json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let layers = seen["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| (text(&layer["name"]), text(&layer["diff_id"])))
        .collect()
}

as_each_user! {
    fn nothing_changed(t: &TestContext) {
        let app = t.fixture("django-static-db");
        let digest = t.slugc_in(&app).args(["build", "."]).run().success().digest();
        let again = t.slugc_in(&app).args(["build", "."]).run().success();
        assert_eq!(again.digest(), digest);
        again.says(&["up to date"]);
    }
}

as_each_user! {
    /// What a first build has fetched is there for the second one, although the first one failed.
    fn after_a_first_build_that_fails(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        app.write("Procfile", "web gunicorn app:app\n");
        t.slugc_in(&app).args(["build", "."]).run().failure(51).says(&["Procfile:1"]);
        app.write("Procfile", "web: gunicorn app:app\n");
        t.slugc_in(&app)
            .args(["build", ".", "-v"])
            .run()
            .success()
            .says(&["Restored layer slugc/python:uv-cache"])
            .never_says(&["Restored layer slugc/python:venv"]);
        // It is the committed build's now.
        assert!(!t.store().join("apps").join(app.name()).join("caches.json").exists());
    }
}

as_each_user! {
    /// Every phase runs, and still nothing is written.
    fn everything_is_reused(t: &TestContext) {
        let app = t.fixture("django-static-db");
        let digest = t.slugc_in(&app).args(["build", "."]).run().success().digest();
        let again = t.slugc_in(&app).args(["build", ".", "--refresh"]).run().success();
        assert_eq!(again.digest(), digest);
        again.says(&[" 0 new"]);
    }
}

as_each_user! {
    /// Neither the app's files nor the layers' are read to find out that nothing changed.
    fn no_content_is_read_when_nothing_changed(t: &TestContext) {
        let app = t.fixture("django-static-db");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let layers = t.store().join("apps").join(app.name()).join("layers");
        let watch = ContentWatch::over(&[app.path(), &layers]);
        t.slugc_in(&app).args(["build", "."]).run().success().says(&["up to date"]);
        let read = watch.files_read();
        // The rules of what belongs to the source are read to list it.
        let surprising: Vec<_> = read
            .iter()
            .filter(|file| !file.ends_with(".slugignore") && !file.ends_with("project.toml"))
            .collect();
        assert!(surprising.is_empty(), "read: {surprising:?}");
    }
}

as_each_user! {
    /// A line of code costs a layer of code: no other layer changes, and none is read.
    fn one_line_of_code(t: &TestContext) {
        let app = t.fixture("django-static-db");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let before = layers(t, &app);
        app.append("books/views.py", "\n# A line more.\n");
        let stored = t.store().join("apps").join(app.name()).join("layers");
        let packages = first_folder(&stored, "site-packages");
        let watch = ContentWatch::over(&[&packages.join("sqlparse")]);
        t.slugc_in(&app).args(["build", "."]).run().success();
        let read: Vec<_> = watch
            .files_read()
            .into_iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "py"))
            .collect();
        assert!(read.is_empty(), "sources of packages were read: {read:?}");
        let after = layers(t, &app);
        let changed: Vec<_> = after
            .iter()
            .filter(|(name, diff_id)| before.get(*name) != Some(diff_id))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(changed, ["app"]);
    }
}

as_each_user! {
    /// collectstatic is not run again for code that it did not read, and the image is the one that it would give.
    fn static_files_stand_until_what_was_read_changes(t: &TestContext) {
        const STANDS: &str = "Static files are those of the last build";
        const RUNNING: &str = "Running manage.py collectstatic";
        let app = t.fixture("django-static-db");
        t.slugc_in(&app).args(["build", "."]).run().success().says(&[RUNNING]);
        app.append("books/views.py", "\n# A line more.\n");
        let quick = t.slugc_in(&app).args(["build", "."]).run().success().says(&[STANDS]);
        let fresh = app.duplicate(t.scratch());
        let thorough = t.slugc_in(&fresh).args(["build", "."]).run().success().says(&[RUNNING]);
        assert_eq!(quick.digest(), thorough.digest());

        app.append("books/static/books/shelf.css", "\nbody { color: teal }\n");
        t.slugc_in(&app).args(["build", "."]).run().success().says(&[RUNNING]);
        t.slugc_in(&app)
            .args(["run", "--", "sh", "-c", "cat staticfiles/books/shelf.*.css"])
            .run()
            .success()
            .says(&["teal"]);
        app.append("shelf/settings.py", "\nX = 1\n");
        t.slugc_in(&app).args(["build", "."]).run().success().says(&[RUNNING]);
        t.slugc_in(&app).args(["build", ".", "-e", "COLOUR=red"]).run().success().says(&[RUNNING]);
    }
}

as_each_user! {
    /// The environment becomes a layer while Django runs, and the image is the one that waiting gives.
    fn a_layer_is_written_while_the_build_goes_on(t: &TestContext) {
        let app = t.fixture("django-static-db");
        t.slugc_in(&app).args(["build", "."]).run().success();
        // Time for the layer, whatever else the machine does.
        app.append(
            "shelf/settings.py",
            "\nimport time\nfor _ in range(600):\n    \
             if os.path.exists('/slugc/sealed/slugc_python/venv'):\n        time.sleep(2)\n        break\n    \
             time.sleep(0.1)\n",
        );
        app.append("requirements.txt", "schedule==1.2.2\n");
        let early = t
            .slugc_in(&app)
            .args(["build", ".", "-v"])
            .run()
            .success()
            .says(&["slugc/python:venv was written while the build ran"]);
        let waiting = app.duplicate(t.scratch());
        let late = t
            .slugc_in(&waiting)
            .args(["build", ".", "-v", "-e", "BP_SEALED_DIR=/nowhere", "-e", "DISABLE_COLLECTSTATIC=1"])
            .run()
            .success()
            .never_says(&["was written while the build ran"]);
        let venv = |app: &App| layers(t, app)["slugc/python:venv"].clone();
        drop((early, late));
        assert_eq!(venv(&app), venv(&waiting));
    }
}

as_each_user! {
    fn one_requirement_more_and_one_less(t: &TestContext) {
        let app = t.fixture("django-static-db");
        let digest = t.slugc_in(&app).args(["build", "."]).run().success().digest();
        let requirements = app.read("requirements.txt");
        app.append("requirements.txt", "schedule==1.2.2\n");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let import = |code: i32| {
            let call = t.slugc_in(&app).args(["run", "python", "-c", "import django, schedule"]);
            call.run().failure(code);
        };
        import(0);
        app.write("requirements.txt", requirements);
        let back = t.slugc_in(&app).args(["build", "."]).run().success();
        import(1);
        assert_eq!(back.digest(), digest);
    }
}

as_each_user! {
    /// Files' times, a folder's name, an app's name and a cache make no difference.
    fn same_digest_in_another_folder_and_without_cache(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let digest = t.slugc_in(&app).args(["build", "."]).run().success().digest();
        let other = app.duplicate(t.scratch());
        assert_ne!(app.name(), other.name());
        assert_eq!(t.slugc_in(&other).args(["build", "."]).run().success().digest(), digest);
        let cleared = t.slugc_in(&app).args(["build", ".", "--clear-cache"]).run().success();
        assert_eq!(cleared.digest(), digest);
    }
}

#[test]
fn same_digest_as_root_and_as_a_plain_user() {
    requires!(Need::Root, Need::PlainUser);
    let digests: Vec<String> = [Who::Root, Who::Plain]
        .into_iter()
        .filter_map(context)
        .map(|t| {
            let app = t.fixture("django-static-db");
            t.slugc_in(&app)
                .args(["build", "."])
                .run()
                .success()
                .digest()
        })
        .collect();
    assert_eq!(digests.len(), 2);
    assert_eq!(digests[0], digests[1]);
}

as_each_user! {
    /// Killed at any moment, the next build works and makes what an undisturbed one makes.
    fn killed_at_any_moment(t: &TestContext) {
        let undisturbed = t.fixture("flask-gunicorn");
        let digest = t.slugc_in(&undisturbed).args(["build", "."]).run().success().digest();
        let app = undisturbed.duplicate(t.scratch());
        for milliseconds in [0, 20, 60, 150, 300, 500, 800, 1200, 1700, 2300, 3000] {
            let build = t.slugc_in(&app).args(["build", ".", "--refresh"]).start();
            std::thread::sleep(Duration::from_millis(milliseconds));
            build.signal(Signal::KILL);
            let killed = build.wait(Duration::from_secs(20));
            assert!([0, 137].contains(&killed.code()), "ended with {}", killed.code());
        }
        let after = t.slugc_in(&app).args(["build", "."]).run().success();
        assert_eq!(after.digest(), digest);
        t.slugc_in(&app).args(["run", "report"]).run().success();
    }
}

as_each_user! {
    fn two_builds_of_one_app_at_once(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let builds: Vec<_> = (0..3)
            .map(|_| t.slugc_in(&app).args(["build", ".", "--refresh"]).start())
            .collect();
        let digests: Vec<String> = builds
            .into_iter()
            .map(|build| build.wait(Duration::from_mins(3)).success().digest())
            .collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        t.slugc_in(&app).args(["run", "report"]).run().success();
    }
}

/// The folder of that name, wherever below it stands.
fn first_folder(below: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut waiting = vec![below.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() == name {
                    return entry.path();
                }
                waiting.push(entry.path());
            }
        }
    }
    panic!("no folder {name} below {}", below.display());
}

/// A user without a name and without subordinate ids builds and runs, too.
#[test]
fn without_subordinate_ids() {
    requires!(Need::AnyUser, Need::PlainUser);
    let Some(t) = TestContext::with_store_of_plain(BINARY, Who::Nameless(41_234)) else {
        return;
    };
    let app = t.fixture("flask-gunicorn");
    t.slugc_in(&app).args(["build", "."]).run().success();
    t.slugc_in(&app)
        .args(["run", "report"])
        .run()
        .success()
        .says(&["routes: /"]);
}

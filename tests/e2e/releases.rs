//! Releases: what makes them, what runs in them, and the way back.

use crate::bases::changed;
use crate::{BINARY, as_each_user, context};
use std::fs;
use std::time::Duration;
use test_support::{App, Signal, TestContext, Who, output_of, read_layout, with_filters};

/// An app whose release command does what the config var KIND says.
fn app(t: &TestContext) -> App {
    let app = t.fixture("procfile-duplicates");
    app.write(
        "Procfile",
        "web: echo serving\nrelease: exec sh release.sh\n",
    );
    app.write(
        "release.sh",
        "echo \"releasing ${KIND:-nothing} as $DYNO, PORT=$PORT\"\n\
         case \"$KIND\" in\n\
         bad) echo 'out of luck' >&2; exit 3 ;;\n\
         hang) exec sleep 300 ;;\n\
         esac\n",
    );
    app.write("code", "one\n");
    app
}

fn versions(t: &TestContext, app: &App) -> Vec<(u64, String, bool)> {
    let releases = t
        .slugc_in(app)
        .args(["releases", "--json"])
        .run()
        .success()
        .json();
    releases
        .as_array()
        .unwrap()
        .iter()
        .map(|release| {
            (
                release["version"].as_u64().unwrap(),
                release["status"].as_str().unwrap().to_owned(),
                release["current"].as_bool().unwrap(),
            )
        })
        .collect()
}

/// What the current release's code and config are.
fn running(t: &TestContext, app: &App) -> String {
    let script = "echo $(cat code) $GREETING";
    let ran = t
        .slugc_in(app)
        .args(["run", "--", "sh", "-c", script])
        .run()
        .success();
    ran.stdout
}

as_each_user! {
    fn from_build_to_rollback(t: &TestContext) {
        let app = app(t);
        let slugc = |line: &str| t.slugc_in(&app).args(line.split(' ')).run();
        let name = app.name();
        slugc("config:set GREETING=first").success();
        slugc("build .").success().says(&["releasing nothing as release.2, PORT=\n", "Release  v2"]);
        slugc("build .").success().says(&["up to date"]).never_says(&["releasing", "Released"]);
        slugc("logs -d release.2").success().says(&[
            "heroku[release.2]: Starting process with command `",
            "app[release.2]: releasing nothing as release.2, PORT=",
            "heroku[release.2]: Process exited with status 0",
        ]);
        assert_eq!(running(t, &app), "one first\n");
        app.write("code", "two\n");
        let built = slugc("build . -q").success();
        assert_eq!(built.stdout, format!("{}\n", built.digest()), "nothing but the result");
        slugc("config:set GREETING=second").success().says(&["releasing nothing as release.4"]);
        assert_eq!(running(t, &app), "two second\n");
        let once = t.slugc_in(&app).args(["run", "-e", "GREETING=once", "echo $GREETING"]);
        assert_eq!(once.run().success().stdout, "once\n");

        // Code and config come back, without and with a version.
        let back = slugc("rollback").success();
        assert!(
            back.stdout.ends_with(&format!("Rolling back ⬢ {name} to v3... done, v5\n")),
            "{}",
            back.stdout
        );
        back.says(&["releasing nothing as release.5", "doesn't add or remove addons", "slugc rollback v4"]);
        assert_eq!(running(t, &app), "two first\n");
        slugc("releases:rollback v2").success().says(&["to v2... done, v6"]);
        assert_eq!(running(t, &app), "one first\n");

        // What is built is released again, although the build has nothing to do.
        slugc("build .").success().says(&["up to date", "Released v7"]);
        assert_eq!(running(t, &app), "two first\n");
    }
}

as_each_user! {
    /// What was built elsewhere runs here, in a store that has built nothing.
    fn an_image_from_elsewhere(t: &TestContext) {
        let app = app(t);
        let place = format!("oci:{}", t.scratch().join("image").display());
        t.slugc_in(&app).args(["build", ".", "-o", &place]).run().success();
        t.give(&t.scratch().join("image"));
        let here = t.scratch().join("store");
        let name = format!("{}-live", app.name());
        let slugc = |arguments: &[&str]| {
            t.slugc().env("XDG_DATA_HOME", &here).args(arguments).args(["-a", &name]).run()
        };
        slugc(&["config:set", "GREETING=there"]).success();
        let first = slugc(&["releases:create", &place]).success();
        let done = format!("Releasing {place} to ⬢ {name}... done, v2\n");
        assert!(first.stdout.ends_with(&done), "{}", first.stdout);
        first.says(&["releasing nothing as release.2"]);
        let told = t.slugc().env("XDG_DATA_HOME", &here).args(["run", "-a", &name, "--", "sh", "-c"]);
        assert_eq!(told.arg("cat code; echo $GREETING").run().success().stdout, "one\nthere\n");
        slugc(&["releases:create", &place]).success().says(&[&format!("v2 of ⬢ {name} runs {place} already")]);
        // A release command that fails decides here as well.
        slugc(&["config:set", "KIND=bad"]).failure(7).says(&["v2 stays in effect"]);
        slugc(&["releases"]).success().says(&[&format!("Deploy {place}")]);

        // A layer is missing: what ran goes on.
        let broken = t.scratch().join("broken");
        let copied = output_of("cp", &["-r", "image", "broken"], t.scratch());
        assert_eq!(copied, "");
        let layer = &read_layout(&broken).manifest.layers[0].digest;
        fs::remove_file(broken.join("blobs/sha256").join(layer.hex())).unwrap();
        t.give(&broken);
        let newer = t.scratch().join("newer-store");
        t.slugc()
            .env("XDG_DATA_HOME", &newer)
            .args(["releases:create", &format!("oci:{}", broken.display()), "-a", &name])
            .run()
            .failure(5)
            .says(&["cannot unpack the image oci:"]);
        t.slugc().env("XDG_DATA_HOME", &newer).args(["releases", "-a", &name]).run().failure(3);

        slugc(&["releases:create", "oci:nowhere"]).failure(3).says(&["oci:nowhere"]);
        let foreign = changed(t, &t.scratch().join("image"), "foreign", &|image, _| {
            image.config.architecture = "s390x".into();
        });
        slugc(&["releases:create", &format!("oci:{}:13", foreign.display())])
            .failure(3)
            .says(&["is for linux/s390x, this machine is linux/"]);
        slugc(&["releases:info"]).success().says(&["v3"]);
    }
}

as_each_user! {
    fn a_release_command_that_fails(t: &TestContext) {
        let app = app(t);
        let slugc = |line: &str| t.slugc_in(&app).args(line.split(' ')).run();
        slugc("config:set KIND=bad").success();
        slugc("build .")
            .failure(7)
            .says(&["out of luck", "v2 failed with exit code 3; v1 stays in effect"]);
        slugc("run true").failure(3).says(&["no release of", "has succeeded"]);
        slugc("config:set KIND=good").success();
        // The image waited for a release command that works.
        slugc("build .").success().says(&["up to date", "Released v4"]);
        slugc("config:set KIND=bad GREETING=never")
            .failure(7)
            .says(&["releasing bad as release.5", "v5 failed with exit code 3; v4 stays in effect"]);
        assert_eq!(slugc("config -s").success().stdout, "KIND=good\n");
        assert_eq!(running(t, &app), "one\n");
        slugc("rollback v5").failure(3).says(&["cannot roll back to v5", "its release command failed"]);
        slugc("releases:info").success().says(&["(release command failed)", "No, its release"]);
        assert_eq!(
            versions(t, &app),
            [
                (5, "failed".to_owned(), false),
                (4, "succeeded".to_owned(), true),
                (3, "succeeded".to_owned(), false),
                (2, "failed".to_owned(), false),
                (1, "succeeded".to_owned(), false),
            ]
        );
    }
}

as_each_user! {
    fn interrupted_and_killed(t: &TestContext) {
        let app = app(t);
        t.slugc_in(&app).args(["build", "."]).run().success();
        for (signal, code) in [(Signal::INT, 130), (Signal::KILL, 137)] {
            let mut hanging = t.slugc_in(&app).args(["config:set", "KIND=hang"]).start();
            hanging.wait_for("releasing hang");
            let executing = t.slugc_in(&app).arg("releases").run().success();
            executing.says(&["release command executing"]);
            let config = t.slugc_in(&app).args(["config", "-s"]).run().success();
            assert_eq!(config.stdout, "");
            config.says(&["not in effect yet"]);
            // Others wait for it.
            let mut waiting = t.slugc_in(&app).args(["config:set", "OTHER=1"]).start();
            waiting.wait_for("waiting for another release");
            hanging.signal(signal);
            // Its output ends with the last process that holds it.
            hanging.wait(Duration::from_secs(40)).failure(code).never_says(&["done"]);
            waiting.wait(Duration::from_mins(1)).success();
            t.slugc_in(&app).args(["config:unset", "OTHER"]).run().success();
        }
        let of_version = |version: u64| {
            let releases = versions(t, &app);
            releases.into_iter().find(|release| release.0 == version).unwrap().1
        };
        assert_eq!([2, 3, 5, 6].map(of_version), ["failed", "succeeded", "failed", "succeeded"]);
        assert_eq!(t.slugc_in(&app).args(["config", "-s"]).run().success().stdout, "");

        // Killed while nobody waits: the next one that looks knows.
        let mut hanging = t.slugc_in(&app).args(["config:set", "KIND=hang"]).start();
        hanging.wait_for("releasing hang");
        hanging.signal(Signal::KILL);
        hanging.wait(Duration::from_secs(40)).failure(137);
        t.slugc_in(&app).arg("releases").run().success().says(&["release command failed"]);
    }
}

as_each_user! {
    /// An image that was built before there were releases runs without config vars.
    fn an_image_without_a_release(t: &TestContext) {
        let app = app(t);
        t.slugc_in(&app).args(["build", "."]).run().success();
        fs::remove_dir_all(t.store().join("apps").join(app.name()).join("releases")).unwrap();
        assert_eq!(running(t, &app), "one\n");
        t.slugc_in(&app).args(["build", "."]).run().success().says(&["Released v1"]);
    }
}

#[test]
fn what_is_printed() {
    let Some(t) = context(Who::Plain) else { return };
    let app = app(&t);
    let mut texts = Vec::new();
    for (line, code) in [
        ("config:set KIND=good", 0),
        ("rollback", 3),
        ("build . -q", 0),
        ("rollback v1", 3),
        ("config:set KIND=bad", 7),
        ("config:set A=1", 0),
        ("config:unset A", 0),
        ("rollback", 0),
        ("rollback v6", 3),
        ("rollback v7", 3),
        ("rollback latest", 2),
        ("releases", 0),
        ("releases -n 2", 0),
        ("releases info", 0),
        ("releases:info v3 -s", 0),
        ("releases:info v1 --json", 0),
        ("releases:info v9", 3),
        ("releases -a no-such-app-at-all", 3),
    ] {
        let ended = t.slugc_in(&app).args(line.split(' ')).run().failure(code);
        let printed = format!("$ slugc {line}\n{}{}", ended.stdout, ended.stderr);
        texts.push(printed);
    }
    with_filters(&t, || {
        insta::assert_snapshot!("releases", texts.join("\n"));
    });
}

/// Releases that cannot be read keep everything; the way out is told.
fn pruned_with_an_unreadable_release(t: &TestContext) {
    let app = app(t);
    t.slugc_in(&app).args(["build", "."]).run().success();
    app.write("code", "two");
    t.slugc_in(&app).args(["build", "."]).run().success();
    let folder = t.store().join("apps").join(app.name()).join("releases");
    let v1 = fs::read(folder.join("v1.json")).unwrap();
    fs::write(folder.join("v1.json"), "{").unwrap();
    let forget = format!("slugc cache prune -a {}", app.name());
    let prune = || t.slugc().args(["cache", "prune"]).run();
    prune()
        .failure(5)
        .says(&["v1.json", "nothing was removed", &forget]);
    let shown = t.slugc().arg("cache").run().success();
    shown.says(&["v1.json"]).never_says(&["would remove"]);
    fs::write(folder.join("v1.json"), v1).unwrap();
    prune().success();
    t.slugc_in(&app).args(["rollback", "v1"]).run().success();
    assert_eq!(running(t, &app), "one\n");
    fs::write(folder.join("v2.json"), "{").unwrap();
    let forgotten = t.slugc().args(["cache", "prune", "-a", app.name()]).run();
    forgotten.success();
    assert!(!folder.exists());
}

#[test]
fn pruned_with_an_unreadable_release_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        pruned_with_an_unreadable_release(&t);
    }
}

#[test]
fn pruned_with_an_unreadable_release_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        pruned_with_an_unreadable_release(&t);
    }
}

fn pruned(t: &TestContext) {
    let app = app(t);
    t.slugc_in(&app).args(["build", "."]).run().success();
    for code in ["two", "three"] {
        app.write("code", code);
        t.slugc_in(&app).args(["build", "."]).run().success();
    }
    t.slugc().args(["cache", "prune"]).run().success();
    t.slugc_in(&app).args(["rollback", "v1"]).run().success();
    t.slugc_in(&app).args(["rollback", "v3"]).run().success();
    // Ten releases keep their images; v5 has that of v3.
    for n in 0..9 {
        t.slugc_in(&app)
            .args(["config:set", &format!("N={n}")])
            .run()
            .success();
    }
    t.slugc().args(["cache", "prune"]).run().success();
    for version in ["v1", "v2"] {
        t.slugc_in(&app)
            .args(["rollback", version])
            .run()
            .failure(3)
            .says(&["was pruned", "slugc build"]);
    }
    t.slugc_in(&app).args(["rollback", "v3"]).run().success();
    assert_eq!(running(t, &app), "three\n");
}

#[test]
fn pruned_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        pruned(&t);
    }
}

#[test]
fn pruned_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        pruned(&t);
    }
}

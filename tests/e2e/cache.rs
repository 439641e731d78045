//! `slugc cache`, in stores of its own: the shared one is in use.

use crate::BINARY;
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use test_support::{Signal, TestContext, Who};

fn check(t: &TestContext) {
    let kept = t.fixture("worker-only");
    let forgotten = t.fixture("flask-gunicorn");
    for app in [&kept, &forgotten] {
        t.slugc_in(app).args(["build", "."]).run().success();
    }
    let usage = || {
        t.slugc()
            .args(["cache", "--output", "json"])
            .run()
            .success()
            .json()
    };
    let before = usage();
    assert!(before["apps"][kept.name()].as_u64() > Some(0), "{before}");
    assert!(
        before["apps"][forgotten.name()].as_u64() > Some(0),
        "{before}"
    );

    assert!(before["tools"].as_u64() > Some(0), "{before}");
    assert_eq!(before["buildpacks"], 0, "{before}");

    // What an older build left behind, once no release is made of it any more.
    kept.append("worker.py", "\n# A line more.\n");
    t.slugc_in(&kept).args(["build", "."]).run().success();
    let releases = t.store().join("apps").join(kept.name()).join("releases");
    fs::remove_file(releases.join("v1.json")).unwrap();
    assert!(usage()["unused_blobs"].as_u64() > Some(0), "{}", usage());

    // What a buildpack has closed to everybody is not looked into, which is said.
    let closed = t
        .store()
        .join("apps")
        .join(forgotten.name())
        .join("layers/closed");
    fs::create_dir(&closed).unwrap();
    t.give(&closed);
    for (mode, is_closed) in [(0o755, false), (0o000, true), (0o444, true)] {
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(closed.join("file"), "").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
        let shown = t.slugc().arg("cache").run().success();
        let says = shown.stderr.contains("layers/closed cannot be looked into");
        assert_eq!(says, is_closed && t.who() != Who::Root, "{}", shown.stderr);
    }

    t.slugc()
        .args(["cache", "prune", "-a", forgotten.name()])
        .run()
        .success()
        .says(&["Removed"]);
    let after = usage();
    assert_eq!(after["unused_blobs"], 0);
    assert!(after["apps"].get(forgotten.name()).is_none(), "{after}");
    assert!(
        after["blobs"].as_u64() < before["blobs"].as_u64(),
        "{before} {after}"
    );

    // What is needed is still there.
    t.slugc_in(&kept)
        .args(["run", "python", "-c", "import schedule"])
        .run()
        .success();
    t.slugc_in(&kept)
        .args(["build", "."])
        .run()
        .success()
        .says(&["up to date"]);
    // So are the files of a one-off that runs without a supervisor.
    t.slugc_in(&kept)
        .args(["run:detached", "sleep 4000; true"])
        .run()
        .success();
    t.slugc().args(["cache", "prune"]).run().success();
    t.slugc()
        .args(["cache", "prune", "-a", kept.name()])
        .run()
        .failure(3)
        .says(&[&format!("{} runs", kept.name()), "slugc ps:stop -a "]);
    t.slugc_in(&kept).arg("ps:stop").run().success();
    t.slugc_in(&forgotten)
        .args(["run", "true"])
        .run()
        .failure(3);
    t.slugc_in(&forgotten).args(["build", "."]).run().success();
    t.slugc_in(&forgotten)
        .args(["run", "report"])
        .run()
        .success();
    t.slugc()
        .args(["cache", "prune", "-a", "never-there"])
        .run()
        .failure(3)
        .says(&["never-there"]);
}

/// What killed commands left half written goes, what somebody is at stays.
fn check_leftovers(t: &TestContext) {
    let app = t.empty_app("left");
    t.slugc_in(&app).args(["config:set", "A=1"]).run().success();
    let folder = t.store().join("apps").join(app.name());
    let addon = t.store().join("addons/redis-gone-1");
    let make = |path: &Path| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        path.to_owned()
    };
    let gone = [
        make(&folder.join(".tmp-config-old.env")),
        make(&folder.join(".layers-old/file")),
        make(&t.store().join("images/.tmp-old")),
        make(&t.store().join("stacks/slug-13/.tmp-old")),
        make(&t.store().join("parts/.tmp-old/lifecycle")),
        make(&addon.join("backups/.tmpold")),
        make(&addon.join("data/redis.conf")),
        make(&t.store().join(".tmp-unpacked/lifecycle.toml")),
        make(&t.store().join("buildpacks/.tmp-old/buildpack.toml")),
        make(&folder.join(".tmp-old")),
        make(&folder.join("releases/.tmp-old")),
    ];
    let fresh = make(&folder.join(".tmp-fresh"));
    let two_hours_ago = SystemTime::now() - Duration::from_hours(2);
    for old in &gone[9..] {
        let file = fs::File::options().write(true).open(old).unwrap();
        file.set_modified(two_hours_ago).unwrap();
    }
    // Not more than the test made: the stack's files are shared with other stores.
    for made in [
        "images",
        "addons",
        ".tmp-unpacked",
        "buildpacks",
        "parts/.tmp-old",
        "stacks/slug-13/.tmp-old",
    ] {
        t.give(&t.store().join(made));
    }
    t.give(&folder);
    t.slugc().args(["cache", "prune"]).run().success();
    for path in &gone {
        assert!(!path.exists(), "{}", path.display());
    }
    assert!(!addon.exists());
    assert!(fresh.exists());

    let prune = format!("{} cache prune && test -s", env!("CARGO_BIN_EXE_slugc"));
    let edit = |editor: &str| {
        t.slugc_in(&app)
            .arg("config:edit")
            .env("VISUAL", editor)
            .run()
    };
    edit(&prune).success().says(&["Nothing changed"]);
    // The next edit removes what a killed one left, too: it has values of config vars.
    let left = make(&folder.join(".tmp-config-old.env"));
    t.give(&left);
    edit("true").success();
    assert!(!left.exists());
}

/// Builds keep the store within its bound, and never remove what another command uses.
fn check_limit(t: &TestContext) {
    let app = t.empty_app("bounded");
    app.write("Procfile", "web: sleep 1000\n");
    app.write("requirements.txt", "");
    let mut count = 0;
    let mut build = || {
        count += 1;
        app.write("main.py", format!("print('build {count}')\n"));
        t.slugc_in(&app).args(["build", "."]).run().success()
    };
    let unused = || {
        let shown = t.slugc().args(["cache", "--output", "json"]).run();
        shown.success().json()["unused_blobs"].as_u64().unwrap()
    };
    let settings = |size: &str| t.slugc().args(["settings", "cache-limit", size]).run();
    build();
    build();
    let releases = t.store().join("apps").join(app.name()).join("releases");
    fs::remove_file(releases.join("v1.json")).unwrap();
    build().never_says(&["that nobody needs"]);
    assert!(unused() > 0);
    settings("1 parsec").failure(2).says(&["20GB"]);
    settings("1MB").success().says(&["1.0 MB"]);
    let mut busy = t
        .slugc_in(&app)
        .args(["run", "echo begun; sleep 1000"])
        .start();
    busy.wait_for("begun");
    build().never_says(&["that nobody needs"]);
    assert!(unused() > 0);
    busy.signal(Signal::TERM);
    busy.wait(Duration::from_secs(40));
    build().says(&["that nobody needs", "more than 1.0 MB"]);
    assert_eq!(unused(), 0);
    // What is needed is still there.
    let again = t.slugc_in(&app).args(["run", "python", "main.py"]).run();
    again.success().says(&["build 5"]);
    t.slugc_in(&app).args(["rollback", "v2"]).run().success();
}

#[test]
fn builds_keep_the_bound_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        check_limit(&t);
    }
}

#[test]
fn builds_keep_the_bound_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        check_limit(&t);
    }
}

/// An app is not forgotten while a release of it is made, nor the other way round.
fn check_beside_releases(t: &TestContext) {
    let app = t.empty_app("changing");
    let set = |var: &str| t.slugc_in(&app).args(["config:set", var]);
    set("A=1").run().success();
    let lock = |path: &str| {
        let file = fs::File::open(t.store().join(path)).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file
    };
    let prune = || t.slugc().args(["cache", "prune", "-a", app.name()]).run();
    let releasing = lock(&format!("apps/{}/state.lock", app.name()));
    prune().failure(3).says(&["makes a release of", "again"]);
    drop(releasing);
    let pruning = lock("use.lock");
    let mut setting = set("B=2").start();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!setting.has_ended(), "{}", setting.printed());
    drop(pruning);
    setting.wait(Duration::from_mins(1)).success();
    // Who waits for a command says for which.
    app.write("Procfile", "web: sleep 1000\n");
    app.write("requirements.txt", "");
    t.slugc_in(&app).args(["build", "."]).run().success();
    let mut busy = t
        .slugc_in(&app)
        .args(["run", "echo begun; sleep 1000"])
        .start();
    busy.wait_for("begun");
    let mut pruning = t.slugc().args(["cache", "prune"]).start();
    pruning.wait_for("waiting for other commands of slugc to end: run (process ");
    busy.signal(Signal::TERM);
    busy.wait(Duration::from_secs(40));
    pruning.wait(Duration::from_mins(1)).success();
    prune().success();
    assert!(!t.store().join("apps").join(app.name()).exists());
}

#[test]
fn beside_releases_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        check_beside_releases(&t);
    }
}

#[test]
fn beside_releases_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        check_beside_releases(&t);
    }
}

#[test]
fn leftovers_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        check_leftovers(&t);
    }
}

#[test]
fn leftovers_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        check_leftovers(&t);
    }
}

#[test]
fn show_and_prune_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        check(&t);
    }
}

#[test]
fn show_and_prune_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        check(&t);
    }
}

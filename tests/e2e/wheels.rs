//! The wheel store: what apps share of their packages. In stores of their own: what is counted must not be others'.

use crate::BINARY;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use test_support::{App, Slugc, TestContext, Who};

/// What uv says when it fetched and unpacked something, and what is said of new bytecode.
const WORK: [&str; 2] = ["Prepared ", "Compiled "];

/// The files and folders of that name, wherever below a folder.
fn named(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_name() == name {
            found.push(entry.path());
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(named(&entry.path(), name));
        }
    }
    found
}

fn content(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// The unpacked wheels.
fn unpacked(t: &TestContext) -> BTreeSet<PathBuf> {
    let stores = content(&t.store().join("wheels"));
    stores
        .iter()
        .flat_map(|store| content(&store.join("uv/archive-v0")))
        .collect()
}

/// A build that takes part in the store.
fn sharing(t: &TestContext, app: &App) -> Slugc {
    t.slugc_in(app)
        .args(["build", ".", "-e", "BP_SHARED_WHEELS=1"])
}

fn check_second_app(t: &TestContext) {
    let first = t.fixture("flask-gunicorn");
    let built = sharing(t, &first).run().success();
    let digest = built.digest();
    built.says(&WORK).says(&["from the wheel store."]);
    let before = unpacked(t);
    assert!(!before.is_empty());

    let second = first.duplicate(t.scratch());
    let built = sharing(t, &second).run().success();
    assert_eq!(built.digest(), digest);
    built.says(&["from the wheel store."]).never_says(&WORK);
    assert_eq!(unpacked(t), before);
    t.slugc_in(&second).args(["run", "report"]).run().success();

    // Without the store the image is the same.
    let alone = first.duplicate(t.scratch());
    let built = sharing(t, &alone)
        .args(["-e", "BP_SHARED_WHEELS=0"])
        .run()
        .success();
    assert_eq!(built.digest(), digest);
    built.never_says(&["from the wheel store."]);

    // What is needed stays, what was not used for long goes.
    let usage = || {
        t.slugc()
            .args(["cache", "--output", "json"])
            .run()
            .success()
            .json()
    };
    assert!(usage()["wheels"].as_u64() > Some(100_000), "{}", usage());
    t.slugc().args(["cache", "prune"]).run().success();
    assert_eq!(unpacked(t), before);
    let store = content(&t.store().join("wheels")).pop_first().unwrap();
    let long_ago = SystemTime::now() - Duration::from_hours(24 * 40);
    for note in content(&store.join("bytecode")) {
        let note = fs::File::options().write(true).open(note).unwrap();
        note.set_modified(long_ago).unwrap();
    }
    t.slugc().args(["cache", "prune"]).run().success();
    assert!(!store.exists());
    let third = first.duplicate(t.scratch());
    let built = sharing(t, &third).run().success();
    assert_eq!(built.digest(), digest);
    built.says(&WORK);
}

fn check_one_more_and_one_less(t: &TestContext) {
    let app = t.fixture("flask-gunicorn");
    let digest = sharing(t, &app).run().success().digest();
    let before = unpacked(t).len();
    let requirements = app.read("requirements.txt");
    app.append("requirements.txt", "\nschedule==1.2.2\n");
    sharing(t, &app)
        .run()
        .success()
        .says(&[" + schedule==1.2.2", "Took 1 of ", "Prepared 1 package"])
        .never_says(&[" + flask", " - "]);
    assert_eq!(unpacked(t).len(), before + 1);
    let import = |code: i32| {
        let call = t
            .slugc_in(&app)
            .args(["run", "python", "-c", "import flask, schedule"]);
        call.run().failure(code);
    };
    import(0);
    app.write("requirements.txt", requirements);
    let back = sharing(t, &app).run().success();
    assert_eq!(back.digest(), digest);
    back.says(&[" - schedule==1.2.2", "Took 0 of "])
        .never_says(&[" + "])
        .never_says(&WORK);
    import(1);
}

fn check_two_at_once(t: &TestContext) {
    let first = t.fixture("flask-gunicorn");
    let others = [first.duplicate(t.scratch()), first.duplicate(t.scratch())];
    let builds: Vec<_> = others.iter().map(|app| sharing(t, app).start()).collect();
    let digests: BTreeSet<String> = builds
        .into_iter()
        .map(|build| build.wait(Duration::from_mins(5)).success().digest())
        .collect();
    let built = sharing(t, &first).run().success();
    assert_eq!(digests, BTreeSet::from([built.digest()]));
    built.says(&["from the wheel store."]).never_says(&WORK);
}

fn check_poisoned(t: &TestContext) {
    let app = t.fixture("flask-gunicorn");
    let digest = sharing(t, &app).run().success().digest();
    for (name, poison) in [
        ("sansio", None),
        ("wrappers.py", Some("import os\n")),
        ("wrappers.cpython-313.pyc", Some("no bytecode")),
    ] {
        let other = app.duplicate(t.scratch());
        let again = || sharing(t, &other).run().success();
        let stores = t.store().join("wheels");
        let Some(poison) = poison else {
            // A module that is missing is as bad as another one.
            for folder in named(&stores, name) {
                fs::remove_dir_all(folder).unwrap();
            }
            assert_eq!(again().digest(), digest);
            continue;
        };
        let found: Vec<_> = named(&stores, name)
            .into_iter()
            .filter(|path| path.components().any(|part| part.as_os_str() == "flask"))
            .collect();
        assert!(!found.is_empty());
        for file in &found {
            let staged = file.with_extension("staged");
            fs::write(&staged, poison).unwrap();
            let owner = fs::metadata(file).unwrap();
            chown(&staged, Some(owner.uid()), Some(owner.gid())).unwrap();
            fs::rename(&staged, file).unwrap();
        }
        let built = again();
        assert_eq!(built.digest(), digest, "{name}");
        built.says(&["The wheel store's flask is not what it was"]);
        // It was mended on the way.
        let next = app.duplicate(t.scratch());
        let built = sharing(t, &next).run().success();
        assert_eq!(built.digest(), digest, "{name}");
        built.never_says(&WORK).never_says(&["is not what it was"]);
    }
}

/// An app that says itself whom to trust for packages gives others nothing.
fn check_kept_apart(t: &TestContext) {
    let app = t.fixture("flask-gunicorn");
    app.write("uv.toml", "no-cache = false\n");
    sharing(t, &app)
        .run()
        .success()
        .never_says(&["from the wheel store."]);
    let plain = t.fixture("flask-gunicorn");
    sharing(t, &plain)
        .args(["-e", "UV_INSECURE_HOST=localhost"])
        .run()
        .success()
        .never_says(&["from the wheel store."]);
    assert!(unpacked(t).is_empty());
}

/// Defines a test as root and one as a plain user.
macro_rules! in_stores_of_their_own {
    ($($check:ident: $root:ident, $plain:ident;)+) => {$(
        #[test]
        fn $root() {
            with_no_wheels(Who::Root, $check);
        }

        #[test]
        fn $plain() {
            with_no_wheels(Who::Plain, $check);
        }
    )+};
}

fn with_no_wheels(who: Who, check: fn(&TestContext)) {
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    for store in content(&t.store().join("wheels")) {
        fs::remove_dir_all(store).unwrap();
    }
    check(&t);
}

in_stores_of_their_own! {
    check_second_app: second_app_as_root, second_app_as_plain_user;
    check_one_more_and_one_less: one_more_and_one_less_as_root, one_more_and_one_less_as_plain_user;
    check_two_at_once: two_at_once_as_root, two_at_once_as_plain_user;
    check_poisoned: poisoned_as_root, poisoned_as_plain_user;
    check_kept_apart: kept_apart_as_root, kept_apart_as_plain_user;
}

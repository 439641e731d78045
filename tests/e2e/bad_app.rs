//! Apps that cannot be built: the error names the file, the line where there is one, the cause and
//! the next step, and the store stays usable.

use crate::{BINARY, as_each_user, context};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use test_support::{App, Finished, TestContext, Who, with_filters};

fn build(t: &TestContext, app: &App) -> Finished {
    t.slugc_in(app).args(["build", "."]).run()
}

/// Snapshots are taken once, as the plain user: the texts are the same for everybody.
fn plain() -> Option<TestContext> {
    context(Who::Plain)
}

fn snapshot(t: &TestContext, name: &str, failed: &Finished) {
    with_filters(t, || insta::assert_snapshot!(name, failed.stderr));
}

#[test]
fn no_app() {
    let Some(t) = plain() else { return };
    let failed = build(&t, &t.fixture("no-app")).failure(20);
    snapshot(&t, "no_app", &failed);
}

#[test]
fn path_is_missing() {
    let Some(t) = plain() else { return };
    let failed = t.slugc().args(["build", "no-such-folder"]).run().failure(3);
    snapshot(&t, "path_is_missing", &failed);
}

#[test]
fn path_is_a_file() {
    let Some(t) = plain() else { return };
    let app = t.fixture("worker-only");
    let failed = t
        .slugc()
        .arg("build")
        .arg(app.path().join("worker.py"))
        .run()
        .failure(3);
    snapshot(&t, "path_is_a_file", &failed);
}

#[test]
fn unreadable_folder_and_file() {
    let Some(t) = plain() else { return };
    let app = t.fixture("worker-only");
    let file = app.path().join("worker.py");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let failed = build(&t, &app).failure(3);
    snapshot(&t, "unreadable_file", &failed);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(app.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let failed = t.slugc().arg("build").arg(app.path()).run();
    fs::set_permissions(app.path(), fs::Permissions::from_mode(0o755)).unwrap();
    snapshot(&t, "unreadable_folder", &failed.failure(3));
    build(&t, &app).success();
}

as_each_user! {
    fn procfile_with_bad_lines(t: &TestContext) {
        let failed = build(t, &t.fixture("procfile-bad-lines")).failure(51);
        failed.says(&["Procfile:3: worker python worker.py", "Procfile:5: -clock", "web: <command>"]);
    }
}

#[test]
fn procfile_with_duplicates() {
    let Some(t) = plain() else { return };
    let app = t.fixture("procfile-duplicates");
    // The last one wins, as `Web` is corrected to `web`; both are told.
    build(&t, &app)
        .success()
        .says(&["Procfile:3: Web: echo last", "Line 1 defines \"web\" too"]);
    t.slugc_in(&app)
        .args(["run", "web"])
        .run()
        .success()
        .says(&["last"]);
}

#[test]
fn procfile_with_a_byte_order_mark() {
    let Some(t) = plain() else { return };
    let app = t.fixture("procfile-byte-order-mark");
    build(&t, &app)
        .failure(51)
        .says(&["Procfile:1", "byte-order mark"]);
    app.write("Procfile", "web: true\n");
    build(&t, &app).success();
}

/// The failed build leaves the cache as it was: the app, repaired, builds at once.
fn fails_and_is_repaired(
    t: &TestContext,
    fixture: &str,
    texts: &[&str],
    file: &str,
    repaired: &str,
) {
    let app = t.fixture(fixture);
    build(t, &app).failure(51).says(texts);
    app.write(file, repaired);
    build(t, &app).success();
}

as_each_user! {
    fn package_that_does_not_exist(t: &TestContext) {
        fails_and_is_repaired(
            t,
            "missing-package",
            &["requirements.txt", "slugc-fixture-that-nobody-published", "not found"],
            "requirements.txt",
            "",
        );
    }
}

as_each_user! {
    fn conflicting_pins(t: &TestContext) {
        let texts = ["requirements.txt", "flask", "werkzeug==2.0.3", "unsatisfiable"];
        fails_and_is_repaired(t, "conflicting-pins", &texts, "requirements.txt", "");
    }
}

as_each_user! {
    /// The compiler's own words are kept, with either installer.
    fn sdist_that_fails(t: &TestContext) {
        let texts = ["needs-a-header", "a_header_that_no_package_has.h: No such file or directory"];
        fails_and_is_repaired(t, "failing-sdist", &texts, "requirements.txt", "");
        let app = t.fixture("failing-sdist");
        t.slugc_in(&app)
            .args(["build", ".", "-e", "BP_PYTHON_INSTALLER=pip"])
            .run()
            .failure(51)
            .says(&texts);
    }
}

as_each_user! {
    fn python_that_nobody_knows(t: &TestContext) {
        fails_and_is_repaired(t, "unknown-python", &[".python-version", "3.99", "from 3.10 to"], ".python-version", "3.13\n");
    }
}

as_each_user! {
    fn python_after_its_end_of_life(t: &TestContext) {
        let app = t.fixture("eol-python");
        build(t, &app).failure(51).says(&["runtime.txt", "3.6.15", "end of life", ".python-version"]);
        app.remove("runtime.txt");
        build(t, &app).success();
    }
}

as_each_user! {
    fn settings_that_django_cannot_load(t: &TestContext) {
        let app = t.fixture("broken-django-settings");
        build(t, &app)
            .failure(51)
            .says(&["collectstatic", "THE_KEY_THAT_NOBODY_SET", "DISABLE_COLLECTSTATIC"]);
        t.slugc_in(&app)
            .args(["build", ".", "-e", "THE_KEY_THAT_NOBODY_SET=x"])
            .run()
            .success();
    }
}

#[test]
fn link_out_of_the_source() {
    let Some(t) = plain() else { return };
    let app = t.fixture("symlink-outside");
    let failed = build(&t, &app).failure(3);
    snapshot(&t, "link_out_of_the_source", &failed);
    app.remove("host-name");
    std::os::unix::fs::symlink("/etc/hostname", app.path().join("absolute")).unwrap();
    build(&t, &app)
        .failure(3)
        .says(&["absolute", "/etc/hostname"]);
    app.remove("absolute");
    // A link inside the source is none of these.
    std::os::unix::fs::symlink("Procfile", app.path().join("inside")).unwrap();
    build(&t, &app).success();
}

#[test]
fn broken_project_toml() {
    let Some(t) = plain() else { return };
    let app = t.fixture("worker-only");
    app.write("project.toml", "[_]\nid = 3\n");
    build(&t, &app)
        .failure(3)
        .says(&["project.toml:2:6: _.id: "]);
    app.remove("project.toml");
    build(&t, &app).success();
}

#[test]
fn strange_names_and_kinds_of_files() {
    let Some(t) = plain() else { return };
    let app = t.fixture("worker-only");
    let long = "x".repeat(250);
    for name in ["with space", "ünïcode", "new\nline", "-dash", &long] {
        app.write(name, "content");
    }
    let deep = format!("deep/{}", ["folder-of-a-deep-tree"; 20].join("/"));
    app.write(&format!("{deep}/file"), "content");
    let socket = app.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    build(&t, &app).success();
    t.slugc_in(&app)
        .args([
            "run",
            "--",
            "sh",
            "-c",
            &format!("cat './with space' ünïcode ./-dash {long} {deep}/file"),
        ])
        .run()
        .success()
        .says(&[&"content".repeat(5)]);
}

/// A file that is written to while it is read makes no half-right image.
#[test]
fn file_that_changes_while_it_is_read() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let app = t.fixture("worker-only");
    app.write("growing", vec![b'x'; 60_000_000]);
    let path = app.path().join("growing");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
                file.write_all(b"y").unwrap();
            }
        });
        let failed = build(&t, &app);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        failed
    });
    failed
        .failure(3)
        .says(&["growing", "changed while it was read"]);
    build(&t, &app).success();
}

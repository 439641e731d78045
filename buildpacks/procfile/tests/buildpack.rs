//! The built program as a lifecycle calls it: as `bin/detect` and `bin/build`, over the fixtures.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What a phase printed, wrote and returned.
fn run(phase: &str, app: &Path) -> String {
    let scratch = TempDir::new().unwrap();
    let dir = |name: &str| -> PathBuf {
        let path = scratch.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let program = dir("buildpack/bin").join(phase);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_procfile-buildpack"), &program).unwrap();
    let descriptor = Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpack.toml");
    fs::copy(descriptor, dir("buildpack").join("buildpack.toml")).unwrap();
    let (platform, layers) = (dir("platform"), dir("layers"));
    let plan = scratch.path().join("plan.toml");
    fs::write(&plan, "").unwrap();

    let mut command = Command::new(program);
    if phase == "build" {
        command.arg(&layers);
    }
    let output = command
        .arg(platform)
        .arg(&plan)
        .current_dir(app)
        .env_clear()
        .env("CNB_BUILDPACK_DIR", dir("buildpack"))
        .env("CNB_TARGET_OS", "linux")
        .env("CNB_TARGET_ARCH", "amd64")
        .env("CNB_TARGET_DISTRO_NAME", "debian")
        .env("CNB_TARGET_DISTRO_VERSION", "13")
        .output()
        .unwrap();
    let mut report = String::from_utf8(output.stdout).unwrap();
    report += &String::from_utf8(output.stderr).unwrap();
    if let Ok(launch) = fs::read_to_string(layers.join("launch.toml")) {
        report += "--- launch.toml\n";
        report += &launch;
    }
    format!("{report}--- exit {}\n", output.status.code().unwrap())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

#[test]
fn web_and_worker() {
    let app = fixture("web_and_worker");
    insta::assert_snapshot!(run("detect", &app), @"--- exit 0");
    insta::assert_snapshot!(run("build", &app), @r#"
    [Procfile]
    web -> gunicorn --bind "0.0.0.0:$PORT" site.wsgi # not a comment
    worker -> celery --app site worker
    Default process: web
    --- launch.toml
    [[processes]]
    type = "web"
    command = ["bash", "-c"]
    args = ['gunicorn --bind "0.0.0.0:$PORT" site.wsgi # not a comment']
    default = true

    [[processes]]
    type = "worker"
    command = ["bash", "-c"]
    args = ["celery --app site worker"]
    --- exit 0
    "#);
    assert_eq!(run("build", &app), run("build", &app));
}

#[test]
fn a_sole_process_is_the_default() {
    insta::assert_snapshot!(run("build", &fixture("plain_worker")), @r#"
    [Procfile]
    worker -> run
    Default process: worker
    --- launch.toml
    [[processes]]
    type = "worker"
    command = ["bash", "-c"]
    args = ["run"]
    default = true
    --- exit 0
    "#);
}

#[test]
fn several_without_web_have_no_default() {
    insta::assert_snapshot!(run("build", &fixture("no_default")), @r#"
    [Procfile]
    a -> 1
    b -> 2
    No default process: there are several and none is called web.
    --- launch.toml
    [[processes]]
    type = "a"
    command = ["bash", "-c"]
    args = ["1"]

    [[processes]]
    type = "b"
    command = ["bash", "-c"]
    args = ["2"]
    --- exit 0
    "#);
}

#[test]
fn comments_alone_are_fine() {
    insta::assert_snapshot!(run("build", &fixture("comments_only")), @r#"
    [Procfile]

    [Warning: Procfile has no processes]
    It has blank lines and comments at most, so the image gets no process from it.
    Add a line like "web: <command>", or remove the file.
    --- launch.toml
    --- exit 0
    "#);
}

#[test]
fn what_is_corrected_or_repeated_is_warned_of() {
    insta::assert_snapshot!(run("build", &fixture("corrected_and_repeated")), @r#"
    [Procfile]
    my-worker -> run
    web -> second
    Default process: web

    [Warning: Procfile]
    Procfile:1: Web: first
    "Web" was read as "web": names have lower-case letters, digits and inner hyphens only.
    Write "web" there.

    [Warning: Procfile]
    Procfile:2:   my_worker: run
    "  my_worker" was read as "my-worker": names have lower-case letters, digits and inner hyphens only.
    Write "my-worker" there.

    [Warning: Procfile]
    Procfile:3: web: second
    Line 1 defines "web" too. This line counts.
    Remove or rename one of them.
    --- launch.toml
    [[processes]]
    type = "my-worker"
    command = ["bash", "-c"]
    args = ["run"]

    [[processes]]
    type = "web"
    command = ["bash", "-c"]
    args = ["second"]
    default = true
    --- exit 0
    "#);
}

#[test]
fn mistakes_end_the_build() {
    let app = fixture("mistakes");
    assert_eq!(run("detect", &app), "--- exit 0\n");
    insta::assert_snapshot!(run("build", &app), @r#"

    [Error: Procfile has 3 mistakes]

    Procfile:1: web: ok
    The file starts with a byte-order mark, which would become part of the first name.
    Save it as "UTF-8", not as "UTF-8 with BOM".

    Procfile:2: worker run
    No colon follows the name of the process. Put one right behind the name.

    Procfile:3: clock:
    No command follows the colon. Add one, or remove the line.

    A line looks like this: web: <command>
    --- exit 1
    "#);
}

#[test]
fn without_a_procfile_detection_fails() {
    insta::assert_snapshot!(run("detect", &fixture("missing")), @"
    No Procfile found.
    --- exit 100
    ");
}

#[test]
fn a_misspelt_procfile_is_pointed_out() {
    insta::assert_snapshot!(run("detect", &fixture("misspelt")), @r#"
    No Procfile found, but "procfile": the name has to be "Procfile".
    Rename it: mv procfile Procfile
    --- exit 100
    "#);
}

#[test]
fn a_folder_is_no_procfile() {
    insta::assert_snapshot!(run("build", &fixture("folder")), @"

    [Error: Procfile cannot be read]

    Is a directory (os error 21)
    It is a folder. The processes have to be in a file of that name.
    --- exit 1
    ");
}

#[test]
fn a_link_that_leads_nowhere_is_an_error() {
    let app = TempDir::new().unwrap();
    std::os::unix::fs::symlink("gone", app.path().join("Procfile")).unwrap();
    assert_eq!(run("detect", app.path()), "--- exit 0\n");
    insta::assert_snapshot!(run("build", app.path()), @"

    [Error: Procfile cannot be read]

    No such file or directory (os error 2)
    It is a link that leads nowhere. Replace it by the file itself.
    --- exit 1
    ");
}

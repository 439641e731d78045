//! What the launcher says when it cannot start a process, and the exit codes.

use crate::image::Image;
use std::fs;

#[test]
fn failures_of_exec_d() {
    let image = Image::new();
    image.program("layers/new_buildpack/a/exec.d/x", "#!/bin/bash\nexit 9\n");
    insta::assert_snapshot!(image.run(&["web"], &[]), @r"
    ERROR: failed to launch: exec.d: failed to execute exec.d file at path '/layers/new_buildpack/a/exec.d/x': exit status 9
    exit 82
    ");

    let decode = "#!/bin/bash\necho 'A = 1' >&3\n";
    image.program("layers/new_buildpack/a/exec.d/x", decode);
    insta::assert_snapshot!(image.run_ours(&["web"], &[]), @r"
    ERROR: failed to launch: exec.d: failed to decode output from exec.d file at path '/layers/new_buildpack/a/exec.d/x': output:1:5: A: invalid type: integer `1`, expected a string
    exit 82
    ");

    image.program(
        "layers/new_buildpack/a/exec.d/x",
        "#!/bin/bash\nkill -9 $$\n",
    );
    insta::assert_snapshot!(image.run_ours(&["web"], &[]), @r"
    ERROR: failed to launch: exec.d: failed to execute exec.d file at path '/layers/new_buildpack/a/exec.d/x': killed by signal 9
    exit 82
    ");

    image.program(
        "layers/new_buildpack/a/exec.d/x",
        "#!/nonexistent/interpreter\n",
    );
    insta::assert_snapshot!(image.run_ours(&["web"], &[]), @r"
    ERROR: failed to launch: exec.d: failed to execute exec.d file at path '/layers/new_buildpack/a/exec.d/x': No such file or directory (os error 2)
    exit 82
    ");
}

#[test]
fn commands_that_cannot_be_started() {
    let image = Image::new();
    image.file("app/plain", "");
    fs::create_dir(image.path("app/dir")).unwrap();
    image.program("app/here", "#!/bin/bash\n");
    let launcher = "launcher";
    insta::assert_snapshot!(image.run(&[launcher], &[]), @r"
    ERROR: failed to launch: determine start command: when there is no default process a command is required
    exit 82
    ");
    insta::assert_snapshot!(image.run_ours(&["empty"], &[]), @r#"
    ERROR: failed to launch: no command provided for process type "empty"
    exit 82
    "#);
    insta::assert_snapshot!(image.run(&[launcher, "--", "no-such"], &[]), @r#"
    ERROR: failed to launch: path lookup: exec: "no-such": executable file not found in $PATH
    exit 82
    "#);
    insta::assert_snapshot!(image.run(&[launcher, "--", "./no-such"], &[]), @r#"
    ERROR: failed to launch: path lookup: exec: "./no-such": stat ./no-such: no such file or directory
    exit 82
    "#);
    insta::assert_snapshot!(image.run(&[launcher, "--", "./plain"], &[]), @r#"
    ERROR: failed to launch: path lookup: exec: "./plain": permission denied
    exit 82
    "#);
    insta::assert_snapshot!(image.run(&[launcher, "--", "./dir"], &[]), @r#"
    ERROR: failed to launch: path lookup: exec: "./dir": is a directory
    exit 82
    "#);
    insta::assert_snapshot!(image.run(&[launcher, "--", "here"], &[("PATH", ":/bin")]), @r#"
    ERROR: failed to launch: path lookup: exec: "here": cannot run executable found relative to current directory
    exit 82
    "#);
    insta::assert_snapshot!(image.run(&[launcher, "--", "ls"], &[("PATH", "")]), @r#"
    ERROR: failed to launch: path lookup: exec: "ls": executable file not found in $PATH
    exit 82
    "#);
    insta::assert_snapshot!(image.run(&[launcher, "no-such 2>/dev/null"], &[]), @"exit 127");
    insta::assert_snapshot!(image.run_ours(&["web"], &[("CNB_APP_DIR", "/nonexistent")]), @r"
    ERROR: failed to launch: change to app directory /nonexistent: No such file or directory (os error 2)
    exit 82
    ");
}

#[test]
fn apis_that_are_not_supported() {
    let image = Image::new();
    insta::assert_snapshot!(image.run(&["web"], &[("CNB_PLATFORM_API", "")]), @r"
    ERROR: failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version
    exit 11
    ");
    insta::assert_snapshot!(image.run(&["web"], &[("CNB_PLATFORM_API", "0.99")]), @r"
    ERROR: failed to set platform API: platform API version '0.99' is incompatible with the lifecycle
    exit 11
    ");
    insta::assert_snapshot!(image.run(&["web"], &[("CNB_PLATFORM_API", "new")]), @r"
    ERROR: failed to parse platform API 'new'
    exit 11
    ");
    let metadata = "[[buildpacks]]\nid = 'a/b'\nversion = '1'\napi = '0.2'\n";
    image.file("layers/config/metadata.toml", metadata);
    insta::assert_snapshot!(image.run(&["web"], &[]), @r"
    ERROR: failed to set API for buildpack 'a/b': buildpack API version '0.2' is incompatible with the lifecycle
    exit 12
    ");
    let metadata = "[[buildpacks]]\nid = 'a/b'\nversion = '1'\napi = 'x'\n";
    image.file("layers/config/metadata.toml", metadata);
    insta::assert_snapshot!(image.run_ours(&["web"], &[]), @r"
    ERROR: failed to parse buildpack API 'x' for buildpack 'a/b'
    exit 12
    ");
}

#[test]
fn metadata_that_cannot_be_read() {
    let image = Image::new();
    image.file("layers/config/metadata.toml", "[[processes]]\ntype = web\n");
    insta::assert_snapshot!(image.run_ours(&["web"], &[]), @r"
    ERROR: failed to read metadata: /layers/config/metadata.toml:2:8: processes.type: string values must be quoted, expected literal string
    exit 1
    ");
    fs::remove_dir_all(image.path("layers")).unwrap();
    insta::assert_snapshot!(image.run_ours(&["web"], &[]), @r"
    ERROR: failed to read metadata: reading /layers/config/metadata.toml: No such file or directory (os error 2)
    exit 1
    ");
}

//! The built launcher with real Bash over a layers directory on disk, one process per case.
//!
//! With `UPSTREAM_LAUNCHER=<path>` every case also runs under the upstream lifecycle's launcher, and both
//! must print and exit alike. What is known to differ is run by [`Image::run_ours`].

#![expect(clippy::unwrap_used, reason = "tests")]

mod image;
mod refusals;

use crate::image::{Image, OURS};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_process_type_starts_directly() {
    let image = Image::new();
    insta::assert_snapshot!(image.run(&["/cnb/process/web"], &[("A", "a")]), @r"
    <default>
    <$A 'x  y'>
    /app
    A=a
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    ");
    insta::assert_snapshot!(image.run(&["web", "mine", ""], &[]), @r"
    <mine>
    <>
    /app
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    ");
}

#[test]
fn a_line_of_a_procfile_keeps_its_bash_and_loses_its_text() {
    let image = Image::new();
    insta::assert_snapshot!(image.run(&["procfile"], &[("A", "a  b")]), @r"
    <a  b>
    /app
    A=a  b
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    exit 3
    ");
    insta::assert_snapshot!(image.run(&["procfile", "echo $0 $1", "x", "y"], &[]), @"x y");
}

#[test]
fn commands_of_the_user() {
    let image = Image::new();
    let launcher = "/cnb/lifecycle/launcher";
    let mine = &[("A", "a  b")][..];
    insta::assert_snapshot!(image.run(&[launcher, "--", "echo", "$A", "b c"], mine), @"$A b c");
    insta::assert_snapshot!(image.run(&[launcher, "echo", "$A", "'$A'", "b  c"], mine), @"a  b 'a  b' b c");
    insta::assert_snapshot!(image.run(&[launcher, "echo $A; exit 7"], mine), @r"
    a b
    exit 7
    ");
}

#[test]
fn launch_layers_make_the_environment() {
    let image = Image::new();
    image.file("layers/old_buildpack/a/bin/x", "");
    image.file("layers/old_buildpack/b/lib/x", "");
    image.file("layers/old_buildpack/b/env/A", "overridden");
    image.file("layers/old_buildpack/b/env/B.default", "only a default");
    image.file("layers/old_buildpack/b/env/C.append", "+old");
    image.file("layers/new_buildpack/a/bin/x", "");
    image.file("layers/new_buildpack/a/env/C.append", "+new");
    image.file("layers/new_buildpack/a/env.build/C.append", "+never");
    image.file("layers/new_buildpack/a/env.launch/C.prepend", "launch+");
    image.file("layers/new_buildpack/a/env.launch/web/C.prepend", "web");
    image.file("layers/new_buildpack/a/env.launch/web/C.delim", ":");
    image.file("layers/new_buildpack/a/env.launch/PATH.append", "/last");
    image.file("layers/new_buildpack/a/env.launch/PATH.delim", ":");
    image.file("layers/new_buildpack/a.toml", "[types]\nlaunch = true\n");
    let variables = [("A", "mine"), ("B", "mine"), ("C", "mine")];
    insta::assert_snapshot!(image.run(&["web", "x"], &variables), @r"
    <x>
    /app
    A=overridden
    B=mine
    C=web:launch+mine+old+new
    CNB_NO_COLOR=true
    LD_LIBRARY_PATH=/layers/old_buildpack/b/lib
    PATH=/layers/new_buildpack/a/bin:/layers/old_buildpack/a/bin:/tools:/usr/bin:/bin:/last
    ");
    insta::assert_snapshot!(image.run(&["launcher", "echo $C"], &variables), @"launch+mine+old+new");
}

#[test]
fn the_launcher_s_own_variables_stay_behind() {
    let image = Image::new();
    let variables = [
        ("CNB_DEPRECATION_MODE", "quiet"),
        ("CNB_EXEC_ENV", "test"),
        ("CNB_PROCESS_TYPE", "worker"),
    ];
    insta::assert_snapshot!(image.run(&["web", "x"], &variables), @r"
    Warning: CNB_PROCESS_TYPE is not supported in Platform API 0.12
    Warning: Run with ENTRYPOINT 'worker' to invoke the 'worker' process type
    <x>
    /app
    CNB_EXEC_ENV=test
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    ");
}

#[test]
fn profiles_are_sourced_in_one_shell() {
    let image = Image::new();
    image.file(
        "app/.profile",
        "export A=\"$A app\"; echo \"in $PWD of $0\"",
    );
    image.file("layers/old_buildpack/a/profile.d/2", "A=\"$A 2\"");
    image.file(
        "layers/old_buildpack/a/profile.d/1 one",
        "export A=\"$A 1\"",
    );
    image.file("layers/old_buildpack/a/profile.d/script/3", "A=\"$A 3\"");
    image.file("layers/old_buildpack/a/profile.d/words/3", "A=\"$A never\"");
    image.file("layers/new_buildpack/a/profile.d/4", "A=\"$A 4\"");
    insta::assert_snapshot!(image.run(&["/cnb/process/script"], &[("A", "0")]), @r"
    in /app of /cnb/process/script
    <0>
    <1>
    <2>
    <3>
    <4>
    <app>
    /app
    A=0 1 2 3 4 app
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    <again>
    /app
    A=0 1 2 3 4 app
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    ");
    insta::assert_snapshot!(image.run(&["launcher", "echo", "$A"], &[("A", "0")]), @r"
    in /app of launcher
    0 1 2 4 app
    ");
    insta::assert_snapshot!(image.run(&["web", "none"], &[("A", "0")]), @r"
    <none>
    /app
    A=0
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    ");
}

#[test]
fn words_of_a_shell_process_are_expanded_and_stay_words() {
    let image = Image::new();
    insta::assert_snapshot!(image.run(&["words", "\"quoted\""], &[("A", "x  y")]), @r"
    <x  y>
    <'x  y'>
    <a b>
    <quoted>
    /usr
    A=x  y
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    ");
}

#[test]
fn a_process_has_its_own_working_directory() {
    let image = Image::new();
    insta::assert_snapshot!(image.run(&["elsewhere"], &[]), @r"
    /usr
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    ");
}

#[test]
fn exec_d_programs_add_variables() {
    let image = Image::new();
    let first =
        "#!/bin/bash\necho \"A = \\\"from $PWD, B is $B\\\"\" >&3\necho out; echo err >&2; cat\n";
    image.program("layers/old_buildpack/a/exec.d/first", first);
    image.program(
        "layers/new_buildpack/a/exec.d/second",
        "#!/bin/bash\necho \"B = '$A, then second'\" >&3\n",
    );
    image.program(
        "layers/new_buildpack/a/exec.d/web/third",
        "#!/bin/bash\necho 'C = \"for web\"' >&3\n",
    );
    image.program("layers/new_buildpack/b/exec.d/silent", "#!/bin/bash\n");
    image.file("layers/new_buildpack/b/env/B", "static");
    insta::assert_snapshot!(image.run(&["web", "x"], &[]), @r"
    out
    <x>
    /app
    A=from /app, B is static
    B=from /app, B is static, then second
    C=for web
    CNB_NO_COLOR=true
    PATH=/tools:/usr/bin:/bin
    stderr: err
    ");
    insta::assert_snapshot!(image.run(&["launcher", "echo $B; echo $C"], &[]), @r"
    out
    from /app, B is static, then second

    stderr: err
    ");
}

#[test]
fn a_large_output_of_exec_d_arrives_whole() {
    let image = Image::new();
    image.program(
        "layers/new_buildpack/a/exec.d/large",
        "#!/bin/bash\nfor i in {1..500}; do printf \"V$i = '%0500d'\\n\" $i; done >&3\n",
    );
    // More than a pipe holds, but less than the kernel lets pass to a program.
    let report = image.run(&["launcher", "echo ${#V1} ${V500: -4}"], &[]);
    insta::assert_snapshot!(report, @"500 0500");
}

#[test]
fn an_image_without_layers_starts() {
    let image = Image::new();
    image.file("layers/config/metadata.toml", "");
    insta::assert_snapshot!(image.run(&["launcher", "--", "echo", "fine"], &[]), @"fine");
}

#[test]
fn execution_environments() {
    let image = Image::new();
    for (exec_env, code) in [("", 82), ("production", 82), ("test", 0)] {
        let variables = [("CNB_PLATFORM_API", "0.15"), ("CNB_EXEC_ENV", exec_env)];
        let output = image
            .command(OURS, &["checks"], &variables)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{exec_env:?}");
    }
}

#[test]
fn the_process_replaces_the_launcher_and_gets_its_signals() {
    let image = Image::new();
    for argv in [
        &["launcher", "--", "sleep", "60"][..],
        &["launcher", "sleep", "60"],
        &["launcher", "sleep 60"],
    ] {
        let mut child = image.command(OURS, argv, &[]).spawn().unwrap();
        let program = Path::new("/proc").join(child.id().to_string()).join("comm");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while fs::read_to_string(&program).unwrap() != "sleep\n" {
            assert!(
                std::time::Instant::now() < deadline,
                "{argv:?} never became sleep"
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "{argv:?}");
    }
}

#[test]
fn signals_and_descriptors_are_as_the_image_s_starter_left_them() {
    let image = Image::new();
    image.program(
        "layers/new_buildpack/a/exec.d/x",
        "#!/bin/bash\necho 'A = \"a\"' >&3\n",
    );
    image.file("app/inherited", "through descriptor 3\n");
    let launcher = image.command(OURS, &["launcher"], &[]);
    // Bash opens the descriptor and becomes what it is given, which has to leave it alone though exec.d
    // uses the same number.
    let start = |program: &[&str]| {
        let output = Command::new("/bin/bash")
            .args([
                "-c",
                "exec 3<app/inherited; exec -a launcher \"$@\"",
                "bash",
            ])
            .args(program)
            .arg("cat <&3; cd /proc/self/fd; echo *; grep ^Sig[BI] ../status")
            .current_dir(image.root.path())
            .env_clear()
            .envs(
                launcher
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .output()
            .unwrap();
        image.report(&output)
    };
    let without = start(&["/bin/bash", "-c"]);
    assert!(without.starts_with("through descriptor 3\n0 "), "{without}");
    assert!(without.contains("\nSigIgn:"), "{without}");
    assert_eq!(start(&[OURS, "--", "bash", "-c"]), without);
}

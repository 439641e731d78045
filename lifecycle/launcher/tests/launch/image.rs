//! An image on disk and what a launcher makes of it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_cnb-launcher");

/// Prints what a process sees: its arguments, folder and the variables that the cases use.
const SHOW: &str = r#"#!/bin/bash
for argument in "$@"; do echo "<$argument>"; done
pwd
env | grep -E '^(CNB_|[A-Z]=|LD_LIBRARY_PATH=|PATH=)' | sort
"#;

const METADATA: &str = r#"
[[buildpacks]]
id = "old/buildpack"
version = "1"
api = "0.8"
[[buildpacks]]
id = "new/buildpack"
version = "1"
api = "0.10"
[[processes]]
type = "web"
command = ["show"]
args = ["default", "$A 'x  y'"]
direct = true
buildpack-id = "new/buildpack"
[[processes]]
type = "procfile"
command = ["bash", "-c"]
args = ["show \"$A\"; exit 3"]
direct = true
buildpack-id = "new/buildpack"
[[processes]]
type = "elsewhere"
command = ["show"]
args = []
direct = true
buildpack-id = "new/buildpack"
working-dir = "/usr"
[[processes]]
type = "script"
command = "show $A && show again"
args = []
direct = false
buildpack-id = "old/buildpack"
[[processes]]
type = "words"
command = "show"
args = ["$A", "'$A'", "a b"]
direct = false
buildpack-id = "old/buildpack"
working-dir = "/usr"
[[processes]]
type = "empty"
command = []
args = []
direct = true
buildpack-id = "new/buildpack"
[[processes]]
type = "checks"
command = ["show"]
args = []
direct = true
buildpack-id = "new/buildpack"
exec-env = ["test"]
"#;

/// An image's file system, as far as the launcher looks at it.
pub(crate) struct Image {
    pub(crate) root: TempDir,
}

impl Image {
    pub(crate) fn new() -> Self {
        let image = Self {
            root: TempDir::new().unwrap(),
        };
        image.file("layers/config/metadata.toml", METADATA);
        image.program("tools/show", SHOW);
        fs::create_dir(image.path("app")).unwrap();
        image
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn file(&self, path: &str, contents: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    pub(crate) fn program(&self, path: &str, contents: &str) {
        self.file(path, contents);
        fs::set_permissions(self.path(path), PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub(crate) fn command(
        &self,
        launcher: &str,
        argv: &[&str],
        variables: &[(&str, &str)],
    ) -> Command {
        let mut command = Command::new(launcher);
        command
            .arg0(argv[0])
            .args(&argv[1..])
            .current_dir("/")
            .stdin(Stdio::null())
            .env_clear()
            .env("CNB_LAYERS_DIR", self.path("layers"))
            .env("CNB_APP_DIR", self.path("app"))
            .env("CNB_PLATFORM_API", "0.12")
            .env("CNB_NO_COLOR", "true")
            .env("PATH", self.search_path())
            .envs(variables.iter().copied());
        command
    }

    fn search_path(&self) -> String {
        let tools = self.path("tools").display().to_string();
        format!("/cnb/process:/cnb/lifecycle:{tools}:/usr/bin:/bin")
    }

    /// Runs our launcher, and upstream's if there is one, which must agree.
    pub(crate) fn run(&self, argv: &[&str], variables: &[(&str, &str)]) -> String {
        let ours = self.run_ours(argv, variables);
        if let Ok(upstream) = std::env::var("UPSTREAM_LAUNCHER") {
            let output = self.command(&upstream, argv, variables).output().unwrap();
            assert_eq!(
                ours,
                self.report(&output),
                "left is ours, right is upstream's, of {argv:?} {variables:?}"
            );
        }
        ours
    }

    pub(crate) fn run_ours(&self, argv: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.command(OURS, argv, variables).output().unwrap();
        self.report(&output)
    }

    /// What was printed and how it ended, with the image's place taken out.
    pub(crate) fn report(&self, output: &Output) -> String {
        let mut report = String::from_utf8(output.stdout.clone()).unwrap();
        for line in String::from_utf8(output.stderr.clone()).unwrap().lines() {
            writeln!(report, "stderr: {line}").unwrap();
        }
        match (output.status.code(), output.status.signal()) {
            (Some(0), _) => {}
            (Some(code), _) => writeln!(report, "exit {code}").unwrap(),
            (None, signal) => writeln!(report, "signal {signal:?}").unwrap(),
        }
        report.replace(&self.root.path().display().to_string(), "")
    }
}

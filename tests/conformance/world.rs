//! A folder with all that phases read and write, and the ways to run a phase in it.

use crate::lifecycle::Which;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The user of the build, where the tests run as root.
pub(crate) const USER: u32 = 65_534;

/// Tests run one after the other: a script must not be executed while a fork of another test still has it open for
/// writing.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// How a phase ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// Both streams, without colours.
    pub(crate) log: String,
}

/// The folder. Both lifecycles get the same one, one after the other, as paths are part of what they make.
pub(crate) struct World {
    root: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

impl World {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // Without upper case, which tempfile's names have: the reference lifecycle takes paths for references.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("conformance-{}-{count}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self { root };
        world.clear();
        world
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Empties the folder of all that a lifecycle or a case left.
    pub(crate) fn clear(&self) {
        for entry in fs::read_dir(self.root()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        for name in [
            "app",
            "buildpacks",
            "cache",
            "layers",
            "platform/env",
            "tmp",
        ] {
            fs::create_dir_all(self.path(name)).unwrap();
        }
        self.write("launcher", "the launcher\n");
    }

    /// Writes a file; one that begins as a script does is executable.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        if content.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// A buildpack `<id>@<version>` with these scripts.
    pub(crate) fn buildpack(&self, name: &str, more: &str, api: &str, scripts: [&str; 2]) {
        let (id, version) = name.split_once('@').unwrap_or((name, "1"));
        let folder = format!("buildpacks/{}/{version}", id.replace('/', "_"));
        let descriptor = format!(
            "api = \"{api}\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\nname = \"{id}\"\n{more}\n"
        );
        self.write(&format!("{folder}/buildpack.toml"), &descriptor);
        for (name, script) in ["detect", "build"].into_iter().zip(scripts) {
            self.write(
                &format!("{folder}/bin/{name}"),
                &format!("#!/bin/bash\n{script}\n"),
            );
        }
    }

    /// `order.toml` of groups such as `a@1 b?`.
    pub(crate) fn order(&self, groups: &[&str]) {
        let mut text = String::new();
        for group in groups {
            text.push_str("[[order]]\n");
            for element in group.split_whitespace() {
                let optional = element.ends_with('?');
                let element = element.trim_end_matches('?');
                let (id, version) = element.split_once('@').unwrap_or((element, "1"));
                let lines = format!(
                    "[[order.group]]\nid = \"{id}\"\nversion = \"{version}\"\noptional = {optional}\n"
                );
                text.push_str(&lines);
            }
        }
        self.write("order.toml", &text);
    }

    /// Everything belongs to the build's user.
    pub(crate) fn hand_over(&self) {
        if is_root() {
            give(self.root());
        }
    }

    /// Runs a phase with its folders in the environment.
    pub(crate) fn run(
        &self,
        which: Which,
        phase: &str,
        args: &[String],
        env: &BTreeMap<String, String>,
        as_root: bool,
    ) -> Ended {
        let mut command = Command::new(which.program());
        command.arg0(format!("/cnb/lifecycle/{phase}")).env_clear();
        command
            .env("CNB_PLATFORM_API", "0.12")
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("tmp"))
            .env("TMPDIR", self.path("tmp"));
        for (name, path) in [
            ("CNB_APP_DIR", "app"),
            ("CNB_LAYERS_DIR", "layers"),
            ("CNB_PLATFORM_DIR", "platform"),
            ("CNB_BUILDPACKS_DIR", "buildpacks"),
            ("CNB_EXTENSIONS_DIR", "extensions"),
            ("CNB_BUILD_CONFIG_DIR", "build-config"),
            ("CNB_ORDER_PATH", "order.toml"),
            ("CNB_RUN_PATH", "run.toml"),
            ("CNB_STACK_PATH", "stack.toml"),
            ("CNB_SYSTEM_PATH", "system.toml"),
        ] {
            command.env(name, self.path(path));
        }
        let user = if is_root() && !as_root {
            command.uid(USER).gid(USER);
            USER
        } else {
            rustix::process::geteuid().as_raw()
        };
        command
            .env("CNB_USER_ID", user.to_string())
            .env("CNB_GROUP_ID", user.to_string());
        command.envs(env);
        if ["exporter", "creator"].contains(&phase) {
            command.arg("-launcher").arg(self.path("launcher"));
        }
        let output = command.args(args).output().unwrap();
        let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
        log.push_str(&String::from_utf8_lossy(&output.stderr));
        Ended {
            code: output.status.code().unwrap(),
            log: without_colours(&log),
        }
    }
}

fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        chown(path, Some(USER), Some(USER)).unwrap();
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

//! An app with its layers, and what a build of it gave.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// An app and everything that a lifecycle lays out around it.
pub(crate) struct Context {
    root: TempDir,
    path: OsString,
}

/// What a phase printed, and its exit code.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Asserts that the phase succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that it failed as libcnb's programs fail, and returns the explanation.
    #[track_caller]
    pub(crate) fn explanation(self) -> String {
        assert_eq!(self.code, Some(1), "{}\n{}", self.stdout, self.stderr);
        self.stderr.trim().to_owned()
    }
}

impl Context {
    /// An app with the files given.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["app", "layers", "platform/env", "buildpack/bin", "home"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let program = env!("CARGO_BIN_EXE_python-buildpack");
        for phase in ["detect", "build"] {
            symlink(program, root.path().join("buildpack/bin").join(phase)).unwrap();
        }
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpack.toml"),
            root.path().join("buildpack/buildpack.toml"),
        )
        .unwrap();
        fs::write(root.path().join("plan.toml"), "").unwrap();
        let context = Self {
            root,
            path: without_uv(),
        };
        for (name, text) in files {
            context.write(name, text);
        }
        context
    }

    /// The same, with uv on the `PATH`, and wheels from `packages` alone. `None`: there is no uv here,
    /// which the test's output then says.
    pub(crate) fn with_uv(files: &[(&str, &str)], packages: &Path) -> Option<Self> {
        let uv = uv()?;
        let mut context = Self::new(files);
        context.put_on_path(uv.parent().unwrap());
        context.set("PIP_NO_INDEX", "1");
        context.set("PIP_FIND_LINKS", packages.to_str().unwrap());
        Some(context)
    }

    fn put_on_path(&mut self, folder: &Path) {
        let mut path = folder.as_os_str().to_owned();
        path.push(":");
        path.push(&self.path);
        self.path = path;
    }

    pub(crate) fn app(&self) -> PathBuf {
        self.root.path().join("app")
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.layers().join("venv")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.path().join("layers")
    }

    /// Writes a file of the app.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.app().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Sets a variable as the user of a platform does.
    pub(crate) fn set(&self, name: &str, value: &str) {
        fs::write(self.root.path().join("platform/env").join(name), value).unwrap();
    }

    pub(crate) fn detect(&self) -> Finished {
        let plan = self.root.path().join("detected.toml");
        finished(&self.command("detect").arg(plan).output().unwrap())
    }

    pub(crate) fn build(&self) -> Finished {
        finished(&self.build_command().output().unwrap())
    }

    /// `bin/build`, ready to start.
    pub(crate) fn build_command(&self) -> Command {
        let mut command = Command::new(self.root.path().join("buildpack/bin/build"));
        command
            .arg(self.layers())
            .arg(self.root.path().join("platform"))
            .arg(self.root.path().join("plan.toml"));
        self.prepare(&mut command);
        command
    }

    fn command(&self, phase: &str) -> Command {
        let mut command = Command::new(self.root.path().join("buildpack/bin").join(phase));
        command.arg(self.root.path().join("platform"));
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.app())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.root.path().join("home"))
            .env("CNB_BUILDPACK_DIR", self.root.path().join("buildpack"))
            .env("CNB_TARGET_OS", "linux")
            .env("CNB_TARGET_ARCH", "amd64")
            .env("CNB_TARGET_DISTRO_NAME", "debian")
            .env("CNB_TARGET_DISTRO_VERSION", "13");
        // How this machine reaches its package index.
        for name in [
            "PIP_CERT",
            "SSL_CERT_FILE",
            "HTTPS_PROXY",
            "https_proxy",
            "PIP_INDEX_URL",
            "UV_DEFAULT_INDEX",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
    }

    /// The text without what differs from one run to the next.
    pub(crate) fn stable(&self, text: &str) -> String {
        let python = python_version();
        let series = python.rsplit_once('.').unwrap().0.to_owned();
        let text = text
            .replace(self.root.path().to_str().unwrap(), "[ROOT]")
            .replace(&python, "[PYTHON]")
            .replace(&series, "[SERIES]");
        text.lines()
            .map(|line| match line.find(" in ") {
                Some(at)
                    if line.ends_with("ms")
                        || line.ends_with('s')
                            && line[at + 4..].starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    format!("{} in [TIME]", &line[..at])
                }
                _ => line.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Moves the layers away, so that the next build in the same place starts with none.
    pub(crate) fn forget_layers(&self) {
        fs::rename(self.layers(), self.root.path().join("old")).unwrap();
        fs::create_dir(self.layers()).unwrap();
    }

    /// Whether the environment has a package.
    pub(crate) fn has(&self, package: &str) -> bool {
        let import = format!("import {package}");
        self.run("python", &["-c", &import]).code == Some(0)
    }

    /// Runs a program of the environment.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Finished {
        finished(
            &Command::new(self.venv().join("bin").join(program))
                .args(arguments)
                .current_dir(self.app())
                .output()
                .unwrap(),
        )
    }
}

/// Says in the test's output that it ends here. `SLUGC_TEST_NO_SKIP` is set where everything can be had.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("SLUGC_TEST_NO_SKIP").is_none(),
        "{reason}, and SLUGC_TEST_NO_SKIP forbids to skip"
    );
    println!("skipped: {reason}");
}

fn finished(output: &Output) -> Finished {
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Every path below a folder with type, mode and content.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    walk(folder, &mut |path, metadata| {
        let content = if metadata.is_symlink() {
            format!("-> {}", fs::read_link(path).unwrap().display())
        } else if metadata.is_file() {
            format!("{:?}", fs::read(path).unwrap())
        } else {
            String::new()
        };
        let relative = path.strip_prefix(folder).unwrap().to_path_buf();
        found.insert(relative, format!("{:o} {content}", metadata.mode()));
    });
    found
}

/// What the kernel notes about every path below a folder: it changes with every write.
pub(crate) fn traces(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, i64, i64)> {
    let mut found = BTreeMap::new();
    walk(folder, &mut |path, metadata| {
        let trace = (
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        );
        found.insert(path.to_path_buf(), trace);
    });
    found
}

fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let metadata = fs::symlink_metadata(path).unwrap();
    visit(path, &metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), visit);
        }
    }
}

/// The version of this machine's `python3`.
pub(crate) fn python_version() -> String {
    let output = Command::new("python3")
        .args(["-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// This machine's `PATH`, less the folders with a uv in them, and with the folder of the real Python
/// first: what stands for it (pyenv's shims) may choose by files in the app.
fn without_uv() -> OsString {
    let python = Command::new("python3")
        .args([
            "-c",
            "import os, sys; print(os.path.dirname(os.path.realpath(sys.executable)))",
        ])
        .output()
        .unwrap();
    let mut path = OsString::from(String::from_utf8(python.stdout).unwrap().trim());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    std::env::join_paths(std::env::split_paths(&path).filter(|dir| !dir.join("uv").exists()))
        .unwrap()
}

/// uv, fetched once for all tests by the buildpack itself.
pub(crate) fn uv() -> Option<PathBuf> {
    static UV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = UV.get_or_init(|| {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-buildpack-uv");
        let program = kept.join("uv");
        if program.is_file() {
            return Some(program);
        }
        // A package that is there already makes the buildpack get uv and ask for nothing else.
        let context = Context::new(&[("requirements.txt", "./alpha-1.0-py3-none-any.whl\n")]);
        crate::packages::wheel(&context.app(), "alpha", "1.0", &[], &[]);
        let finished = context.build();
        if finished.code != Some(0) {
            println!(
                "uv can't be fetched here:\n{}\n{}",
                finished.stdout, finished.stderr
            );
            return None;
        }
        fs::create_dir_all(&kept).unwrap();
        fs::copy(context.layers().join("uv/bin/uv"), kept.join("uv.new")).unwrap();
        fs::rename(kept.join("uv.new"), &program).unwrap();
        Some(program)
    });
    if found.is_none() {
        skip("no package index to fetch uv from");
    }
    found.clone()
}

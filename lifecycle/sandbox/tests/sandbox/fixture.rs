//! A root out of the machine's own `/usr`, and ways to run things in it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use sandbox::{Child, Mount, Root, Sandbox, Stream, Tier, Writable, exit_code, spawn_at};
use tempfile::TempDir;

/// Directories that stand for a stack, and one that programs inside may write to.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) tier: Tier,
}

/// What a program printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fixture {
    pub(crate) fn new(tier: Tier) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // For other users' programs to get through.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let fixture = Self { dir, tier };
        let lower = fixture.path("lower");
        for name in ["etc", "usr", "tmp", "proc", "dev", "data"] {
            make(&lower.join(name));
        }
        fs::write(
            lower.join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n",
        )
        .unwrap();
        fs::write(lower.join("data/precious"), "original").unwrap();
        for name in merged_directories() {
            symlink(format!("usr/{name}"), lower.join(name)).unwrap();
        }
        for name in ["shared", "upper", "work"] {
            make(&fixture.path(name));
            fixture.own(&fixture.path(name));
        }
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Gives a directory to user 1000 inside.
    pub(crate) fn own(&self, path: &Path) {
        if self.tier.keeps_ids() {
            chown(path, Some(1000), Some(1000)).unwrap();
        }
    }

    /// `sh -c script` in the root, with the output in pipes.
    pub(crate) fn sh(&self, script: &str) -> Sandbox {
        self.program(&["sh", "-c", script])
    }

    /// Whether `/proc` inside is the sandbox's own: no container masks parts of the one outside.
    pub(crate) fn has_own_proc(&self) -> bool {
        let own = self.output("cat /proc/1/comm") == "sandbox-init\n";
        if !own {
            println!("skipped: no /proc of its own in {:?}", self.tier);
        }
        own
    }

    pub(crate) fn program(&self, argv: &[&str]) -> Sandbox {
        let root = Root {
            lower: vec![self.path("lower")],
            writable: Writable::Tmpfs,
        };
        Sandbox {
            mounts: vec![Mount::read_only("/usr", "/usr")],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            stdin: Stream::Null,
            stdout: Stream::Pipe,
            stderr: Stream::Pipe,
            ..Sandbox::new(root, argv.iter().map(Into::into).collect())
        }
    }

    pub(crate) fn run(&self, sandbox: &Sandbox) -> Outcome {
        finish(spawn_at(sandbox, self.tier).unwrap())
    }

    /// The output of a script that must succeed.
    pub(crate) fn output(&self, script: &str) -> String {
        let outcome = self.run(&self.sh(script));
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (0, ""),
            "{script}: {outcome:?}"
        );
        outcome.stdout
    }
}

/// Reads both pipes to their ends and waits.
pub(crate) fn finish(mut child: Child) -> Outcome {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| err.map(|mut pipe| pipe.read_to_string(&mut stderr).unwrap()));
        out.map(|mut pipe| pipe.read_to_string(&mut stdout).unwrap());
    });
    Outcome {
        code: exit_code(child.wait().unwrap()),
        stdout,
        stderr,
    }
}

/// The kinds of sandbox with namespaces that work here; none is a skip.
pub(crate) fn tiers() -> Vec<Tier> {
    let probe = sandbox::probe();
    for refusal in &probe.refusals {
        println!("skipped: {refusal}");
    }
    match probe.tier {
        // Root can make user namespaces as well, unless it runs where only real ones are allowed.
        Tier::Root => vec![Tier::Root, Tier::UserNamespace],
        Tier::UserNamespace => vec![Tier::UserNamespace],
        Tier::Chroot | Tier::Traced | Tier::Landlock => Vec::new(),
    }
}

pub(crate) fn fixtures() -> Vec<Fixture> {
    tiers().into_iter().map(Fixture::new).collect()
}

/// Processes of this machine with `marker` in their command line.
pub(crate) fn processes_with(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let entry = entry.unwrap().path();
        // A process that ends meanwhile has none.
        if let Ok(line) = fs::read(entry.join("cmdline")) {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(marker) {
                found.push(format!("{}: {line}", entry.display()));
            }
        }
    }
    found
}

/// Asks until it is so, for at most ten seconds.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let start = std::time::Instant::now();
    while start.elapsed().as_secs() < 10 {
        if is_so() {
            return true;
        }
        thread::sleep(std::time::Duration::from_millis(5));
    }
    is_so()
}

fn merged_directories() -> Vec<&'static str> {
    let all = ["bin", "sbin", "lib", "lib64"];
    all.into_iter()
        .filter(|name| Path::new("/usr").join(name).exists())
        .collect()
}

fn make(path: &Path) {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .unwrap();
}

//! What programs see and can do inside, in every kind of sandbox that this machine allows.

#![expect(clippy::unwrap_used, reason = "tests")]

mod enter;
mod files;
mod fixture;
mod life;
mod tree;
mod view;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use fixture::{finish, processes_with};
use sandbox::{Mount, Root, Sandbox, Stream, Tier, Writable, spawn_at};

/// Names a directory outside of `/tmp` that the plain user may write to.
const SCRATCH: &str = "SANDBOX_SCRATCH";

/// A folder outside of `/tmp`, which a checkout may be in: programs may always write there.
fn scratch() -> Option<tempfile::TempDir> {
    let given = std::env::var_os(SCRATCH).map(PathBuf::from);
    given
        .into_iter()
        .chain([env!("CARGO_TARGET_TMPDIR"), "/var/cache", "/var/lib"].map(PathBuf::from))
        .filter(|place| !place.starts_with("/tmp") && !place.starts_with("/var/tmp"))
        .find_map(|place| tempfile::tempdir_in(place).ok())
}

#[test]
fn landlock_stands_in_where_it_can() {
    let Some(dir) = scratch() else {
        println!("skipped: no folder outside of /tmp is writable");
        return;
    };
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = dir.path().join("file");
    let marker = format!("86400.{}4", std::process::id());
    let script = format!(
        "(setsid sleep {marker} &); sleep {marker} & touch {}",
        file.display()
    );
    let root = Root {
        lower: vec!["/".into()],
        writable: Writable::Tmpfs,
    };
    let mut sandbox = Sandbox::new(root, ["/bin/sh", "-c", &script].map(Into::into).into());
    sandbox.env.push(("PATH".into(), "/usr/bin:/bin".into()));
    sandbox.stdin = Stream::Null;
    sandbox.stderr = Stream::Pipe;
    let outcome = match spawn_at(&sandbox, Tier::Landlock) {
        Ok(child) => finish(child),
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    assert!(
        outcome.code == 1 && outcome.stderr.contains("Permission denied"),
        "{outcome:?}"
    );
    assert!(!file.exists());
    assert_eq!(processes_with(&marker), Vec::<String>::new());
    sandbox
        .mounts
        .push(Mount::read_write(dir.path(), dir.path()));
    let outcome = finish(spawn_at(&sandbox, Tier::Landlock).unwrap());
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(file.exists());
    assert_eq!(processes_with(&marker), Vec::<String>::new());
    sandbox.mounts.push(Mount::read_only("/usr", "/opt/usr"));
    let error = spawn_at(&sandbox, Tier::Landlock).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("mounting /usr at /opt/usr needs namespaces, which are refused here"),
        "{error}"
    );
}

/// Everything above once more without privileges, if a plain user exists to be.
#[test]
fn all_of_it_works_for_a_plain_user() {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let plain = users.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let id: u32 = fields.get(2)?.parse().ok()?;
        (1000..60000)
            .contains(&id)
            .then(|| (id, fields.get(3).unwrap_or(&"").to_string()))
    });
    let Some((uid, gid)) = plain.filter(|_| is_root) else {
        println!("skipped: not root, or no plain user exists");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let scratch = scratch().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let as_user = |program: &Path| {
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={uid}"), format!("--regid={gid}")])
            .args(["--clear-groups", "--"])
            .arg(program);
        command
            .current_dir("/")
            .env("HOME", "/nonexistent")
            .env(SCRATCH, scratch.path());
        command
    };
    if !as_user(Path::new("true")).status().unwrap().success() {
        println!("skipped: cannot become user {uid} here");
        return;
    }
    let status = as_user(&program)
        .args(["--nocapture", "--skip", "all_of_it_works_for_a_plain_user"])
        .status()
        .unwrap();
    assert!(status.success(), "as user {uid}: {status}");
}

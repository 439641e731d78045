//! The program, as a platform runs it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

const NOBODY: u32 = 65_534;

/// Tests run one after the other: a script must not be executed while a fork of another test still has it open for
/// writing.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A folder with a buildpack and an order, that belongs to whoever the program runs as.
struct World(tempfile::TempDir);

impl World {
    fn new(detect: &str, build: &str) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        let buildpack = world.path("buildpacks/test_one/1.2.3");
        for dir in [
            &buildpack.join("bin"),
            &world.path("app"),
            &world.path("layers"),
            &world.path("platform/env"),
        ] {
            fs::create_dir_all(dir).unwrap();
        }
        let descriptor = "api = \"0.10\"\n[buildpack]\nid = \"test/one\"\nversion = \"1.2.3\"\n";
        fs::write(buildpack.join("buildpack.toml"), descriptor).unwrap();
        for (name, script) in [("detect", detect), ("build", build)] {
            let path = buildpack.join("bin").join(name);
            fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let order = "[[order]]\n[[order.group]]\nid = \"test/one\"\nversion = \"1.2.3\"\n";
        fs::write(world.path("order.toml"), order).unwrap();
        if is_root() {
            give_away(world.0.path());
        }
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, phase: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cnb-lifecycle"));
        command.arg0(format!("/cnb/lifecycle/{phase}")).env_clear();
        command
            .env("CNB_PLATFORM_API", "0.12")
            .env("PATH", "/usr/bin:/bin");
        for (flag, path) in [
            ("-app", "app"),
            ("-layers", "layers"),
            ("-platform", "platform"),
            ("-buildpacks", "buildpacks"),
        ] {
            command.arg(flag).arg(self.path(path));
        }
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn detector(&self) -> Command {
        let mut command = self.command("detector");
        command.env("CNB_ORDER_PATH", self.path("order.toml"));
        command
    }
}

fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

/// Exit code and standard output; nothing of ours goes to standard error.
fn run(command: &mut Command) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    (status.code().unwrap(), String::from_utf8(stdout).unwrap())
}

#[test]
fn detection_and_build_write_the_files_of_the_specification() {
    let _turn = turn();
    let world = World::new(
        "echo '[[provides]]' > $2; echo 'name = \"x\"' >> $2; echo '[[requires]]' >> $2; echo 'name = \"x\"' >> $2",
        "echo building with $CNB_TARGET_OS; printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"run\"]\\n' > $CNB_LAYERS_DIR/launch.toml",
    );
    let (code, text) = run(&mut world.detector());
    assert_eq!(
        (code, text.lines().last()),
        (0, Some("test/one 1.2.3")),
        "{text}"
    );
    let group = fs::read_to_string(world.path("layers/group.toml")).unwrap();
    assert_eq!(
        group,
        "[[group]]\nid = \"test/one\"\nversion = \"1.2.3\"\napi = \"0.10\"\n"
    );
    let plan = fs::read_to_string(world.path("layers/plan.toml")).unwrap();
    assert!(
        plan.contains("[[entries.providers]]\nid = \"test/one\"\n"),
        "{plan}"
    );

    let (code, text) = run(&mut world.command("builder"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("building with linux\n"), "{text}");
    let metadata = fs::read_to_string(world.path("layers/config/metadata.toml")).unwrap();
    assert!(metadata.contains("command = [\"run\"]"), "{metadata}");
    let mode = fs::metadata(world.path("layers/config/metadata.toml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn exit_codes_are_those_of_the_platform_api() {
    let _turn = turn();
    let fails = World::new("exit 100", "exit 1");
    assert_eq!(run(&mut fails.detector()).0, 20);
    let breaks = World::new("echo why; exit 1", "exit 1");
    let (code, text) = run(&mut breaks.detector());
    assert_eq!(code, 21);
    assert!(text.contains("why\n"), "{text}");
    let broken = World::new("exit 0", "exit 1");
    assert_eq!(run(&mut broken.detector()).0, 0);
    assert_eq!(run(&mut broken.command("builder")).0, 51);

    fs::write(broken.path("order.toml"), "order = 1\n").unwrap();
    let (code, text) = run(&mut broken.detector());
    assert_eq!(code, 1);
    assert!(text.contains("order.toml:1:9: order: "), "{text}");
    for (api, expected) in [("", 11), ("nonsense", 11), ("0.6", 11), ("0.99", 11)] {
        assert_eq!(
            run(broken.detector().env("CNB_PLATFORM_API", api)).0,
            expected,
            "{api:?}"
        );
    }
    for (extra, expected) in [
        ("-nope", 3),
        ("positional", 3),
        ("-log-level=loud", 3),
        ("-version", 0),
    ] {
        assert_eq!(run(broken.detector().arg(extra)).0, expected, "{extra}");
    }
    for phase in ["extender", "extend"] {
        let (code, text) = run(&mut broken.command(phase));
        assert_eq!(code, 102);
        assert!(text.starts_with("ERROR: failed to extend: "), "{text}");
    }
}

#[test]
fn the_first_argument_names_the_phase_too() {
    let _turn = turn();
    let world = World::new("exit 100", "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cnb-lifecycle"));
    let (code, text) = run(command.env_clear().arg("detect").arg("-version"));
    assert_eq!((code, text.trim()), (0, cnb_spec::api::LIFECYCLE));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cnb-lifecycle"));
    assert_eq!(run(command.env_clear().arg("nothing")).0, 3);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cnb-lifecycle"));
    assert_eq!(run(command.env_clear()).0, 3);
    drop(world);
}

#[test]
fn root_is_refused() {
    let _turn = turn();
    if !is_root() {
        println!("skipped: only root can try to run as root");
        return;
    }
    let world = World::new("", "");
    for phase in ["detector", "builder"] {
        let (code, text) = run(world.command(phase).uid(0).gid(0));
        assert_eq!(code, 1);
        assert!(text.contains("refusing to run as root"), "{text}");
    }
}

#[test]
fn phases_with_images_say_what_is_missing() {
    let _turn = turn();
    let world = World::new("", "");
    let nobody = "127.0.0.1:1/app";
    let analyzer = |more: &[&str]| {
        let mut command = world.command("analyzer");
        run(command.args(more))
    };
    // Which arguments, which files.
    for (phase, arguments, expected) in [
        ("analyzer", vec![], 3),
        ("analyzer", vec!["one", "two"], 3),
        ("analyzer", vec!["Not a name"], 3),
        (
            "analyzer",
            vec!["-tag=other.example/app", "one.example/app"],
            3,
        ),
        ("exporter", vec![], 3),
        ("exporter", vec!["-run-image=run", "app"], 3),
        ("restorer", vec!["app"], 3),
        ("restorer", vec![], 42),
        ("exporter", vec!["app"], 62),
        ("creator", vec![], 3),
        ("rebaser", vec![], 3),
        (
            "rebaser",
            vec!["-run-image=127.0.0.1:1/run", "127.0.0.1:1/app"],
            72,
        ),
        ("analyzer", vec!["-layout", "-run-image=run", "app"], 3),
        ("analyzer", vec!["-uid=me", "app"], 3),
    ] {
        let (code, text) = run(world.command(phase).args(&arguments));
        assert_eq!(code, expected, "{phase} {arguments:?}: {text}");
        assert!(text.contains("ERROR: failed to "), "{text}");
    }
    let (code, text) = analyzer(&[nobody]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("-run-image is required"), "{text}");
    // A registry that nobody serves, an engine that is not there, a cache that is not there.
    let (code, text) = analyzer(&["-run-image", "127.0.0.1:1/run", nobody]);
    assert_eq!(code, 32, "{text}");
    assert!(
        text.contains("registry read access to 127.0.0.1:1/app"),
        "{text}"
    );
    let mut daemon = world.command("analyzer");
    let socket = world.path("no-socket");
    daemon.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let (code, text) = run(daemon.args(["-daemon", "-run-image", "run", "app"]));
    assert_eq!(code, 32, "{text}");
    assert!(text.contains("no engine answers"), "{text}");
    fs::write(world.path("layers/group.toml"), "").unwrap();
    let (code, text) = run(world.command("restorer").args(["-cache-dir", "/nowhere"]));
    assert_eq!(code, 42, "{text}");
    let (code, text) = run(&mut world.command("restorer"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("No cached data will be used"), "{text}");
}

#[test]
fn secrets_of_the_environment_are_not_printed() {
    let _turn = turn();
    let world = World::new("", "");
    let mut command = world.command("analyzer");
    command.env(
        "CNB_REGISTRY_AUTH",
        r#"{"127.0.0.1:1": "Basic c2VjcmV0OnBhc3M="}"#,
    );
    command.args([
        "-log-level=debug",
        "-run-image",
        "127.0.0.1:1/run",
        "127.0.0.1:1/app",
    ]);
    let (code, text) = run(&mut command);
    assert_eq!(code, 32);
    assert!(!text.contains("c2VjcmV0OnBhc3M="), "{text}");
    command.env(
        "CNB_REGISTRY_AUTH",
        r#"{"127.0.0.1:1": "c2VjcmV0OnBhc3M="}"#,
    );
    let (code, text) = run(&mut command);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("CNB_REGISTRY_AUTH") && !text.contains("c2VjcmV0OnBhc3M="),
        "{text}"
    );
}

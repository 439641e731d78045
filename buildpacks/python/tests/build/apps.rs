//! What an app is offered besides its packages: a web process, workers, scripts around the build.

use crate::context::Context;
use crate::index::Index;
use std::fs;
use std::process::{Command, Stdio};

/// Small packages that have the names of well-known ones.
fn index() -> Index {
    let index = Index::new();
    for name in ["flask", "gunicorn"] {
        index.add(name, "1.0", &[]);
    }
    index
}

#[test]
fn a_web_process_is_suggested_and_used_on_request() {
    let index = index();
    let Some(context) = Context::with_uv(
        &[
            ("requirements.txt", "flask\n"),
            ("shop.py", ""),
            ("app.py", "import flask\nshop = flask.Flask(__name__)\n"),
        ],
        &index.folder("flask"),
    ) else {
        return;
    };
    let launch = context.layers().join("launch.toml");
    let built = context.build().success();
    assert!(
        built.stdout.contains("add gunicorn to what is installed"),
        "{}",
        built.stdout
    );
    context.set(
        "PIP_FIND_LINKS",
        &format!(
            "{} {}",
            index.folder("flask").display(),
            index.folder("gunicorn").display()
        ),
    );
    context.write("requirements.txt", "flask\ngunicorn\n");
    let built = context.build().success();
    let line = "web: gunicorn app:shop --bind 0.0.0.0:$PORT";
    assert!(built.stdout.contains(line), "{}", built.stdout);
    assert!(
        built
            .stdout
            .contains("BP_WEB_DEFAULT=1 uses it without a Procfile.")
    );
    assert!(!launch.exists());

    context.set("BP_WEB_DEFAULT", "1");
    context.build().success();
    let text = fs::read_to_string(&launch).unwrap();
    assert!(
        text.contains("gunicorn app:shop --bind 0.0.0.0:$PORT"),
        "{text}"
    );
    assert!(text.contains("default = true"), "{text}");

    // A Procfile decides.
    context.write("Procfile", "web: python app.py\n");
    fs::remove_file(&launch).unwrap();
    let built = context.build().success();
    assert!(!built.stdout.contains("[Web process]"), "{}", built.stdout);
    assert!(!launch.exists());
}

#[test]
fn scripts_run_before_and_after() {
    let context = Context::new(&[
        ("app.py", ""),
        (
            "bin/pre_compile",
            "echo before with $SETTING\necho 'print(1)' > made.py\n",
        ),
        ("bin/post_compile", "echo after by $(command -v python)\n"),
    ]);
    context.set("SETTING", "a value");
    let built = context.build().success();
    let before = built.stdout.find("before with a value").unwrap();
    let after = built
        .stdout
        .find(&format!(
            "after by {}",
            context.venv().join("bin/python").display()
        ))
        .unwrap();
    assert!(before < after, "{}", built.stdout);
    assert!(context.app().join("made.py").exists());

    context.write("bin/post_compile", "echo nothing to see\nexit 3\n");
    let failed = context.build();
    assert!(failed.stdout.contains("nothing to see"));
    insta::assert_snapshot!("hook", failed.explanation());
}

/// Runs the program that a web process runs first, in front of a tree of control groups.
fn workers(files: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    let context = Context::new(&[("app.py", "")]);
    context.build().success();
    let program = context.venv().join("exec.d/web/web_concurrency");
    let groups = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = groups.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let text = fs::read_to_string(&program).unwrap();
    let moved = text.replace("/sys/fs/cgroup", groups.path().to_str().unwrap());
    assert_ne!(text, moved);
    let output = Command::new("sh")
        .args(["-c", "exec 3>&1; . \"$0\""])
        .arg({
            let copy = groups.path().join("program");
            fs::write(&copy, moved).unwrap();
            copy
        })
        .env_remove("WEB_CONCURRENCY")
        .envs(variables.iter().copied())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn workers_by_what_the_container_may_use() {
    let one = "50000 100000\n";
    for (files, expected) in [
        (vec![("memory.max", "536870912\n"), ("cpu.max", one)], "2"),
        (vec![("memory.max", "4294967296\n"), ("cpu.max", one)], "3"),
        (vec![("memory.max", "100000000\n"), ("cpu.max", one)], "1"),
        (
            vec![
                ("memory/memory.limit_in_bytes", "1073741824\n"),
                ("cpu/cpu.cfs_quota_us", "100000\n"),
                ("cpu/cpu.cfs_period_us", "100000\n"),
            ],
            "3",
        ),
    ] {
        assert_eq!(
            workers(&files, &[]),
            format!("WEB_CONCURRENCY = \"{expected}\"\n"),
            "{files:?}"
        );
    }
    for files in [
        vec![],
        vec![("memory.max", "max\n")],
        vec![("memory/memory.limit_in_bytes", "9223372036854771712\n")],
    ] {
        assert_eq!(workers(&files, &[]), "", "{files:?}");
    }
    let limited = [("memory.max", "536870912\n")];
    assert_eq!(workers(&limited, &[("WEB_CONCURRENCY", "7")]), "");
    // A dyno's size.
    for files in [
        vec![("cpu.max", one)],
        vec![("memory.max", "1073741824\n"), ("cpu.max", one)],
    ] {
        assert_eq!(
            workers(&files, &[("DYNO_RAM", "512")]),
            "WEB_CONCURRENCY = \"2\"\n"
        );
    }
    assert_eq!(workers(&[], &[("DYNO_RAM", "much")]), "");
}

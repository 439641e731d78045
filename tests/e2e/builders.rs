//! Builders: made by slugc and by pack, used by slugc and by pack.

use crate::as_each_user;
use crate::registry::Registry;
use std::fs;
use std::path::Path;
use test_support::{App, Need, TestContext, Who, fixtures, output_of, requires};

fn greeting() -> String {
    fixtures().join("buildpacks/greeting").display().to_string()
}

/// A description of a builder with slugc's buildpacks and one that greets whatever else there is.
fn description(run_image: &str) -> String {
    format!(
        "description = \"for tests\"\n\
         [[buildpacks]]\nuri = \"slugc/python\"\n[[buildpacks]]\nuri = \"slugc/procfile\"\n\
         [[buildpacks]]\nuri = \"{}\"\n\
         [[order]]\n[[order.group]]\nid = \"slugc/python\"\n[[order.group]]\nid = \"slugc/procfile\"\noptional = true\n\
         [[order]]\n[[order.group]]\nid = \"fixtures/greeting\"\nversion = \"1.2.3\"\n\
         [[build.env]]\nname = \"OPERATOR\"\nvalue = \"builder\"\n\
         [[run.images]]\nimage = \"{run_image}\"\nmirrors = [\"mirror.example/run\"]\n",
        greeting()
    )
}

/// The stack's run image under a name in the store, and a builder on the stack.
fn make(t: &TestContext) {
    t.slugc()
        .args(["stack", "export", "--run", "oci:run"])
        .run()
        .success();
    t.slugc()
        .args(["pull", "oci:run", "-t", "registry.example/run:1"])
        .run()
        .success();
    fs::write(
        t.scratch().join("builder.toml"),
        description("registry.example/run:1"),
    )
    .unwrap();
    t.slugc()
        .args([
            "builder",
            "create",
            "registry.example/builder",
            "--config",
            "builder.toml",
        ])
        .run()
        .success()
        .says(&[
            "Adding buildpack slugc/python@0.1.0",
            "Named registry.example/builder:latest",
        ]);
}

fn pages(t: &TestContext) -> App {
    let app = t.empty_app("pages");
    app.write("index.html", "hello\n");
    app
}

as_each_user! {
    fn a_builder_builds(t: &TestContext) {
        make(t);
        let shown = t.slugc().args(["builder", "inspect", "registry.example/builder"]).run().success();
        shown.says(&["for tests", "slugc/procfile@0.1.0  (optional)", "fixtures/greeting@1.2.3", "registry.example/run:1"]);
        let json = t
            .slugc()
            .args(["builder", "inspect", "registry.example/builder", "--output", "json"])
            .run()
            .success()
            .json();
        assert_eq!(json["order"][1]["group"][0]["id"], "fixtures/greeting");
        assert_eq!(json["runImages"][0]["mirrors"][0], "mirror.example/run");

        let app = pages(t);
        let build = |more: &[&str]| {
            t.slugc_in(&app)
                .args(["build", ".", "--builder", "registry.example/builder"])
                .args(more)
                .run()
        };
        build(&[]).success().says(&["fixtures/greeting 1.2.3", "OPERATOR=builder"]);
        build(&[]).success().says(&["is up to date"]);
        let run = t.slugc_in(&app).args(["run", "web"]).run().success();
        assert_eq!(run.stdout, "hello nobody\n");
        // The phases that run buildpacks may be the builder's own.
        build(&["--lifecycle", "builder", "-e", "GREETING_NAME=own"]).success().says(&["NAME=own"]);
        build(&["-b", "urn:cnb:builder:fixtures/greeting@1.2.3", "--trust-builder"]).success();
        build(&["-b", "fixtures/greting"]).failure(2).says(&["did you mean fixtures/greeting?"]);
        build(&["-b", "fixtures/greeting@9"]).failure(3).says(&["it has fixtures/greeting@1.2.3"]);

        // A Python app goes the first group's way, on the same builder.
        let worker = t.fixture("worker-only");
        t.slugc_in(&worker)
            .args(["build", ".", "--builder", "registry.example/builder"])
            .run()
            .success()
            .says(&["slugc/python 0.1.0", "slugc/procfile 0.1.0"]);
        let there = t.slugc_in(&worker).args(["build", ".", "--builder", "slugc"]).run().success();
        there.says(&["slug-13 (Debian 13"]);
    }
}

as_each_user! {
    /// A project's builder comes before the user's default one, the command line's before both.
    fn the_default_builder_is_the_last_resort(t: &TestContext) {
        let own = TestContext::with_own_store(crate::BINARY, t.who());
        let Some(t) = own.as_ref() else {
            return;
        };
        make(t);
        let app = pages(t);
        let build = || t.slugc_in(&app).args(["build", "."]).run();
        build().failure(20);
        t.slugc().args(["settings", "default-builder", "registry.example/builder"]).run().success();
        t.slugc().args(["settings"]).run().success().says(&["registry.example/builder"]);
        build().success().says(&["fixtures/greeting 1.2.3"]);
        app.write("project.toml", "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nbuilder = \"slugc\"\n");
        build().failure(20);
        t.slugc_in(&app)
            .args(["build", ".", "--builder", "registry.example/builder"])
            .run()
            .success();
        t.slugc().args(["settings", "default-builder", "--unset"]).run().success();
        let settings = t.slugc().args(["settings", "--output", "json"]).run().success();
        assert_eq!(settings.stdout, "{}\n");
        // What prune leaves still builds.
        t.slugc().args(["cache", "prune"]).run().success();
        t.slugc_in(&app)
            .args(["build", ".", "--builder", "registry.example/builder", "--refresh", "--pull-policy", "never"])
            .run()
            .success();
    }
}

#[test]
fn settings_keep_mirrors() {
    let Some(t) = TestContext::bare(crate::BINARY, Who::Plain) else {
        return;
    };
    let settings = |words: &[&str]| t.slugc().arg("settings").args(words).run();
    settings(&[
        "run-image-mirrors",
        "add",
        "a.example/run",
        "-m",
        "b.example/run",
        "-m",
        "c.example/run",
    ])
    .success();
    settings(&[
        "registry-mirrors",
        "add",
        "a.example",
        "-m",
        "127.0.0.1:5000",
    ])
    .success();
    settings(&["pull-policy", "never"]).success();
    let all = settings(&[]).success();
    assert_eq!(
        all.stdout,
        "default-builder    slugc\npull-policy        never\n\
         run-image-mirrors  a.example/run: b.example/run, c.example/run\nregistry-mirrors   a.example: 127.0.0.1:5000\n"
    );
    settings(&[
        "run-image-mirrors",
        "remove",
        "a.example/run",
        "-m",
        "b.example/run",
    ])
    .success();
    let left = settings(&["run-image-mirrors"]).success();
    assert_eq!(left.stdout, "a.example/run: c.example/run\n");
    settings(&["run-image-mirrors", "remove", "a.example/rum"])
        .failure(3)
        .says(&["did you mean a.example/run?"]);
    settings(&["registry-mirrors", "add", "a/b", "-m", "c"])
        .failure(2)
        .says(&["is no registry's host"]);
    settings(&["pull-policy", "nevr"])
        .failure(2)
        .says(&["never"]);
    settings(&["run-image-mirors"])
        .failure(2)
        .says(&["run-image-mirrors"]);
    fs::write(t.store().join("settings.toml"), "defualt-builder = \"x\"\n").unwrap();
    settings(&[])
        .failure(5)
        .says(&["settings.toml:1:1: defualt-builder: unknown field"]);
}

#[test]
fn wrong_builders_are_named() {
    let Some(t) = crate::context(Who::Plain) else {
        return;
    };
    let app = pages(&t);
    t.slugc_in(&app)
        .args([
            "build",
            ".",
            "-b",
            &greeting(),
            "-t",
            "registry.example/pages:1",
        ])
        .run()
        .success();
    for (name, said) in [
        (
            "registry.example/pages:1",
            "registry.example/pages:1 is no builder",
        ),
        (
            "registry.example/none:1",
            "there is no image registry.example/none:1 in the store",
        ),
        ("oci:nowhere", "cannot read the image oci:nowhere"),
    ] {
        t.slugc_in(&app)
            .args(["build", ".", "--builder", name, "--pull-policy", "never"])
            .run()
            .failure(3)
            .says(&[said]);
    }
    t.slugc_in(&app)
        .args([
            "build",
            ".",
            "-b",
            "docker://registry.example/pages:1",
            "--pull-policy",
            "never",
        ])
        .run()
        .failure(3)
        .says(&["is no image of a buildpack", "--builder"]);
    t.slugc()
        .args(["builder", "inspect"])
        .run()
        .failure(2)
        .says(&["no builder is named"]);
    t.slugc()
        .args(["builder", "suggest"])
        .run()
        .success()
        .says(&["heroku/builder:24"]);
    for (text, said) in [
        ("[[order]]\n", "a builder needs an order"),
        (
            "[[order]]\n[[order.group]]\nid = \"a/b\"\n",
            "names no run image",
        ),
        (
            "[[order]]\n[[order.group]]\nid = \"a/b\"\n[[run.images]]\nimage = \"r.example/run\"\n",
            "the order names a/b, which is none of the builder's buildpacks",
        ),
        ("[[buildpack]]\n", "builder.toml:1:"),
    ] {
        fs::write(t.scratch().join("builder.toml"), text).unwrap();
        t.slugc()
            .args([
                "builder",
                "create",
                "x.example/b",
                "--config",
                "builder.toml",
            ])
            .run()
            .failure(3)
            .says(&[said]);
    }
}

fn pack(t: &TestContext, arguments: &[&str]) -> String {
    let home = format!("PACK_HOME={}", t.scratch().join("pack").display());
    let mut all = vec![
        home.as_str(),
        "DO_NOT_TRACK=1",
        "PACK_VOLUME_KEY=slugc-test",
        "pack",
    ];
    all.extend(arguments);
    output_of("env", &all, t.scratch())
}

/// Both ways: a builder of pack's under slugc, and one of slugc's under pack.
#[test]
fn builders_are_exchanged_with_pack() {
    requires!(
        Need::Program("pack"),
        Need::Root,
        Need::DockerEngine,
        Need::Program("docker-registry")
    );
    let Some(t) = crate::context(Who::Root) else {
        return;
    };
    let registry = Registry::start(&t);
    let image = |name: &str| format!("{}/slugc-test/{name}", registry.host);
    t.slugc()
        .args([
            "stack",
            "export",
            "--run",
            &image("run"),
            "--build",
            &image("build"),
        ])
        .run()
        .success();
    t.slugc()
        .args(["lifecycle", "package", "lifecycle.tgz"])
        .run()
        .success();
    for name in ["python", "procfile"] {
        t.slugc()
            .args(["buildpack", "package", name, &format!("{name}.tgz")])
            .run()
            .success();
    }
    t.slugc()
        .args(["buildpack", "package", "python-procfile", "both.cnb"])
        .run()
        .success();
    let (app, folder) = (pages(&t), t.scratch().display().to_string());

    // slugc's, under pack.
    fs::write(t.scratch().join("ours.toml"), description(&image("run"))).unwrap();
    t.slugc()
        .args([
            "builder",
            "create",
            &image("ours"),
            "--config",
            "ours.toml",
            "--publish",
        ])
        .run()
        .success();
    let shown = pack(&t, &["builder", "inspect", &image("ours")]);
    for text in [
        "Name: slugc",
        "Version: 0.20.1000",
        "fixtures/greeting@1.2.3",
        "slugc/procfile@0.1.0    (optional)",
    ] {
        assert!(shown.contains(text), "{text} is missing in\n{shown}");
    }
    let path = app.path().display().to_string();
    let common = [
        "--publish",
        "--trust-builder",
        "--network",
        "host",
        "--docker-host",
        "inherit",
        "--no-color",
    ];
    let policy = ["--pull-policy", "if-not-present"];
    let (target, ours) = (image("pages"), image("ours"));
    let mut build = vec!["build", &target, "--path", &path, "--builder", &ours];
    build.extend(common);
    build.extend(policy);
    let built = pack(&t, &build);
    for text in [
        "fixtures/greeting 1.2.3",
        "OPERATOR=builder",
        "Successfully built",
    ] {
        assert!(built.contains(text), "{text} is missing in\n{built}");
    }

    // The composite buildpack of ours, under pack on that builder.
    let (worker, both) = (t.fixture("worker-only"), format!("{folder}/both.cnb"));
    worker.write("requirements.txt", "\n");
    let (worker_path, target) = (worker.path().display().to_string(), image("worker"));
    let mut build = vec![
        "build",
        &target,
        "--path",
        &worker_path,
        "--builder",
        &ours,
        "--buildpack",
        &both,
    ];
    build.extend(common);
    build.extend(policy);
    build.push("--trust-extra-buildpacks");
    let built = pack(&t, &build);
    for text in [
        "slugc/python   0.1.0",
        "slugc/procfile 0.1.0",
        "Successfully built",
    ] {
        assert!(built.contains(text), "{text} is missing in\n{built}");
    }

    // pack's, under slugc: from the registry, with its own lifecycle, and what pack packages.
    let theirs = format!(
        "{}[build]\nimage = \"{}\"\n[lifecycle]\nuri = \"lifecycle.tgz\"\n",
        description(&image("run"))
            .replace(
                "slugc/python\"\n[[buildpacks]]",
                "python.tgz\"\n[[buildpacks]]"
            )
            .replace("uri = \"slugc/procfile\"", "uri = \"procfile.tgz\"")
            // pack wants to see each mirror.
            .replace("mirrors = [\"mirror.example/run\"]\n", ""),
        image("build")
    );
    let theirs = move_build_env(&theirs);
    fs::write(t.scratch().join("theirs.toml"), theirs).unwrap();
    pack(
        &t,
        &[
            "builder",
            "create",
            &image("theirs"),
            "--config",
            "theirs.toml",
            "--publish",
        ],
    );
    let greeting = greeting();
    pack(
        &t,
        &[
            "buildpack",
            "package",
            "greeting.cnb",
            "--path",
            &greeting,
            "--format",
            "file",
            "--target",
            "linux/amd64",
        ],
    );
    let theirs = image("theirs");
    for (more, said) in [
        (&[][..], "OPERATOR=builder"),
        (&["--lifecycle", "builder", "--refresh"], "OPERATOR=builder"),
        (&["-b", "greeting.cnb"], "fixtures/greeting 1.2.3"),
    ] {
        t.slugc()
            .args(["build", &path, "-a", app.name(), "--builder", &theirs])
            .args(more)
            .run()
            .success()
            .says(&[said]);
    }
    // The engine's builders and run images are found there, too.
    output_of("docker", &["pull", &theirs], Path::new(&folder));
    output_of("docker", &["pull", &image("run")], Path::new(&folder));
    t.slugc()
        .args([
            "build",
            &path,
            "-a",
            app.name(),
            "--builder",
            &format!("docker-daemon:{theirs}"),
        ])
        .run()
        .success()
        .says(&["OPERATOR=builder"]);
    output_of(
        "docker",
        &["rmi", "--force", &theirs, &image("run")],
        Path::new(&folder),
    );
}

/// TOML has each table once: the description's variables go behind the build image.
fn move_build_env(text: &str) -> String {
    let variables = "[[build.env]]\nname = \"OPERATOR\"\nvalue = \"builder\"\n";
    format!("{}{variables}", text.replace(variables, ""))
}

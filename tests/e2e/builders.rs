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

        // Where namespaces are forbidden, the builder's root is a tree, as the stack's is.
        t.slugc_in(&app)
            .args(["build", ".", "--builder", "registry.example/builder", "-e", "GREETING_NAME=tree"])
            .without_namespaces()
            .run()
            .success()
            .says(&["NAME=tree"]);

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

/// What both directions share: a registry with the stack's images, and an app.
struct Exchange {
    t: TestContext,
    registry: Registry,
    app: App,
}

impl Exchange {
    fn prepare() -> Option<Self> {
        let t = crate::context(Who::Root)?;
        let registry = Registry::start(&t);
        let app = pages(&t);
        let exchange = Self { t, registry, app };
        let t = &exchange.t;
        t.slugc()
            .args(["stack", "export", "--run", &exchange.image("run")])
            .args(["--build", &exchange.image("build")])
            .run()
            .success();
        Some(exchange)
    }

    fn image(&self, name: &str) -> String {
        format!("{}/slugc-test/{name}", self.registry.host)
    }

    /// `pack build` of a folder on the builder `ours`.
    fn build(&self, name: &str, path: &Path, more: &[&str]) -> String {
        let (target, builder) = (self.image(name), self.image("ours"));
        let path = path.display().to_string();
        let mut all = vec!["build", &target, "--path", &path, "--builder", &builder];
        all.extend([
            "--publish",
            "--trust-builder",
            "--network",
            "host",
            "--no-color",
        ]);
        all.extend([
            "--docker-host",
            "inherit",
            "--pull-policy",
            "if-not-present",
        ]);
        all.extend(more);
        pack(&self.t, &all)
    }
}

fn assert_says(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
}

#[test]
fn a_builder_of_slugcs_builds_under_pack() {
    requires!(
        Need::Program("pack"),
        Need::Root,
        Need::DockerEngine,
        Need::Program("docker-registry")
    );
    let Some(exchange) = Exchange::prepare() else {
        return;
    };
    let t = &exchange.t;
    let text = description(&exchange.image("run"));
    fs::write(t.scratch().join("ours.toml"), text).unwrap();
    t.slugc()
        .args(["builder", "create", &exchange.image("ours")])
        .args(["--config", "ours.toml", "--publish"])
        .run()
        .success();
    let shown = pack(t, &["builder", "inspect", &exchange.image("ours")]);
    let order = [
        "fixtures/greeting@1.2.3",
        "slugc/procfile@0.1.0    (optional)",
    ];
    assert_says(&shown, &["Name: slugc", "Version: 0.20.1000"]);
    assert_says(&shown, &order);
    let said = exchange.build("pages", exchange.app.path(), &[]);
    assert_says(
        &said,
        &[
            "fixtures/greeting 1.2.3",
            "OPERATOR=builder",
            "Successfully built",
        ],
    );

    // The composite buildpack of ours, on that builder.
    t.slugc()
        .args(["buildpack", "package", "python-procfile", "both.cnb"])
        .run()
        .success();
    let both = t.scratch().join("both.cnb").display().to_string();
    let worker = t.fixture("worker-only");
    worker.write("requirements.txt", "\n");
    let more = ["--buildpack", &both, "--trust-extra-buildpacks"];
    let said = exchange.build("worker", worker.path(), &more);
    assert_says(
        &said,
        &[
            "slugc/python   0.1.0",
            "slugc/procfile 0.1.0",
            "Successfully built",
        ],
    );
}

#[test]
fn a_builder_of_packs_builds_under_slugc() {
    requires!(
        Need::Program("pack"),
        Need::Root,
        Need::DockerEngine,
        Need::Program("docker-registry")
    );
    let Some(exchange) = Exchange::prepare() else {
        return;
    };
    let t = &exchange.t;
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
    let text = format!(
        "{}[build]\nimage = \"{}\"\n[lifecycle]\nuri = \"lifecycle.tgz\"\n",
        description(&exchange.image("run"))
            .replace(
                "slugc/python\"\n[[buildpacks]]",
                "python.tgz\"\n[[buildpacks]]"
            )
            .replace("uri = \"slugc/procfile\"", "uri = \"procfile.tgz\"")
            // pack wants to see each mirror.
            .replace("mirrors = [\"mirror.example/run\"]\n", ""),
        exchange.image("build")
    );
    fs::write(t.scratch().join("theirs.toml"), move_build_env(&text)).unwrap();
    let theirs = exchange.image("theirs");
    pack(
        t,
        &[
            "builder",
            "create",
            &theirs,
            "--config",
            "theirs.toml",
            "--publish",
        ],
    );
    let mut package = vec!["buildpack", "package", "greeting.cnb", "--format", "file"];
    let greeting = greeting();
    package.extend(["--path", &greeting, "--target", "linux/amd64"]);
    pack(t, &package);
    let file = t.scratch().join("greeting.cnb").display().to_string();
    let build = |builder: &str, more: &[&str], said: &str| {
        let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
        t.slugc_in(&exchange.app)
            .env("DOCKER_HOST", engine)
            .args(["build", ".", "--builder", builder])
            .args(more)
            .run()
            .success()
            .says(&[said]);
    };
    build(&theirs, &[], "OPERATOR=builder");
    build(
        &theirs,
        &["--lifecycle", "builder", "--refresh"],
        "OPERATOR=builder",
    );
    build(&theirs, &["-b", &file], "fixtures/greeting 1.2.3");
    // The engine's builders and run images are found there, too.
    let (run, here) = (exchange.image("run"), t.scratch());
    output_of("docker", &["pull", &theirs], here);
    output_of("docker", &["pull", &run], here);
    build(
        &format!("docker-daemon:{theirs}"),
        &["--refresh"],
        "OPERATOR=builder",
    );
    output_of("docker", &["rmi", "--force", &theirs, &run], here);
}

/// TOML has each table once: the description's variables go behind the build image.
fn move_build_env(text: &str) -> String {
    let variables = "[[build.env]]\nname = \"OPERATOR\"\nvalue = \"builder\"\n";
    format!("{}{variables}", text.replace(variables, ""))
}

as_each_user! {
    /// Whoever names a run image needs none of the builder's, which may be out of reach.
    fn a_run_image_takes_the_place_of_the_builders(t: &TestContext) {
        let gone = format!("127.0.0.1:{}/run:1", test_support::free_port());
        fs::write(t.scratch().join("builder.toml"), description(&gone)).unwrap();
        t.slugc()
            .args(["builder", "create", "registry.example/lonely", "--config", "builder.toml"])
            .run()
            .success();
        let app = pages(t);
        let build = |more: &[&str]| {
            t.slugc_in(&app)
                .args(["build", ".", "--builder", "registry.example/lonely"])
                .args(more)
                .run()
        };
        build(&[]).failure(4).says(&["cannot get the run image of the builder registry.example/lonely"]);
        build(&["--run-image", "slug-13"]).success().says(&["fixtures/greeting 1.2.3"]);
        build(&["--run-image", "slug-13"]).success().says(&["is up to date"]);
    }
}

as_each_user! {
    /// Variables of the platform win over those that the builder's image has of the same name.
    fn a_builders_variables_do_not_shadow_the_platforms(t: &TestContext) {
        requires!(Need::Program("umoci"));
        t.slugc().args(["stack", "export", "--run", "oci:run", "--build", "oci:build:b"]).run().success();
        output_of(
            "umoci",
            &["config", "--image", "build:b", "--config.env", "CNB_PLATFORM_API=0.3", "--config.env", "CNB_EXEC_ENV=test"],
            t.scratch(),
        );
        t.give(t.scratch());
        t.slugc().args(["pull", "oci:run", "-t", "registry.example/run:1"]).run().success();
        let text = description("registry.example/run:1");
        let text = format!("{text}[build]\nimage = \"oci:build:b\"\n").replace("[[build.env]]\nname = \"OPERATOR\"\nvalue = \"builder\"\n", "");
        fs::write(t.scratch().join("builder.toml"), text).unwrap();
        t.slugc()
            .args(["builder", "create", "registry.example/shadow", "--config", "builder.toml"])
            .run()
            .success();
        t.slugc_in(&pages(t))
            .args(["build", ".", "--builder", "registry.example/shadow"])
            .run()
            .success()
            .says(&["fixtures/greeting 1.2.3"]);
    }
}

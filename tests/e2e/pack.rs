//! The real `pack` with our lifecycle, our buildpacks and our stack's images.
//!
//! `.ci/run` builds `pack` out of `tests/pack/go.mod`; elsewhere one on `PATH` is taken.

use crate::registry::Registry;
use std::path::{Path, PathBuf};
use test_support::{App, Need, TestContext, Who, apt_mirror, output_of, requires};

/// A registry with a builder made by pack: our lifecycle, our buildpacks, our stack.
struct Builder {
    t: TestContext,
    app: App,
    registry: Registry,
}

impl Builder {
    fn make() -> Option<Self> {
        let t = crate::context(Who::Root)?;
        let registry = Registry::start(&t);
        let app = t.fixture("worker-only");
        let builder = Self { t, app, registry };
        let t = &builder.t;
        let place = |name: &str| t.scratch().join(name).display().to_string();
        t.slugc()
            .args(["lifecycle", "package", &place("lifecycle.tgz")])
            .run()
            .success()
            .says(&["Lifecycle 0.20.1000"]);
        for name in ["aptfile", "python", "procfile"] {
            let file = place(&format!("{name}.tgz"));
            t.slugc()
                .args(["buildpack", "package", name, &file])
                .run()
                .success();
        }
        t.slugc()
            .args(["stack", "export", "--run", &builder.image("run")])
            .args(["--build", &builder.image("build")])
            .run()
            .success();
        t.slugc()
            .args(["lifecycle", "image", &builder.image("lifecycle")])
            .run()
            .success();
        std::fs::write(t.scratch().join("builder.toml"), builder.description()).unwrap();
        let name = builder.image("builder");
        builder.pack(&[
            "builder",
            "create",
            &name,
            "--config",
            "builder.toml",
            "--publish",
        ]);
        Some(builder)
    }

    fn image(&self, name: &str) -> String {
        format!("{}/slugc-test/{name}", self.registry.host)
    }

    fn description(&self) -> String {
        let (run, build) = (self.image("run"), self.image("build"));
        format!(
            r#"
            [[buildpacks]]
            uri = "aptfile.tgz"
            [[buildpacks]]
            uri = "python.tgz"
            [[buildpacks]]
            uri = "procfile.tgz"
            [[order]]
            [[order.group]]
            id = "slugc/aptfile"
            optional = true
            [[order.group]]
            id = "slugc/python"
            [[order.group]]
            id = "slugc/procfile"
            [build]
            image = "{build}"
            [[run.images]]
            image = "{run}"
            [lifecycle]
            uri = "lifecycle.tgz"
            "#
        )
    }

    fn pack(&self, arguments: &[&str]) -> String {
        let home = format!("PACK_HOME={}", self.t.scratch().join("pack").display());
        let mut all = vec![home.as_str(), "DO_NOT_TRACK=1", "pack"];
        all.extend(arguments);
        output_of("env", &all, self.t.scratch())
    }

    /// Builds the app as `name`; returns what was printed and how the lifecycle calls the image.
    fn build(&self, name: &str, more: &[&str]) -> (String, String) {
        let (app, builder) = (self.app.path().display().to_string(), self.image("builder"));
        let mut arguments = vec!["build", name, "--path", &app, "--builder", &builder];
        arguments.extend([
            "--network",
            "host",
            "--docker-host",
            "inherit",
            "--no-color",
        ]);
        arguments.extend(["--pull-policy", "if-not-present"]);
        // The machine may have authorities of its own, which containers have to be told of.
        let bundle = certificates().map(|file| format!("{}:/host-ca.crt:ro", file.display()));
        if let Some(volume) = &bundle {
            arguments.extend(["--volume", volume, "-e", "UV_SYSTEM_CERTS=1"]);
            arguments.extend([
                "-e",
                "SSL_CERT_FILE=/host-ca.crt",
                "-e",
                "PIP_CERT=/host-ca.crt",
            ]);
        }
        arguments.extend(more);
        let printed = self.pack(&arguments);
        let image = printed
            .split_once("*** Images (")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(image, _)| image.to_owned());
        (printed, image.unwrap())
    }
}

fn certificates() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.filter(|file| Path::new(file).is_file())
}

#[test]
fn pack_publishes_with_our_lifecycle_in_one_phase_and_in_five() {
    requires!(
        Need::Program("pack"),
        Need::Root,
        Need::DockerEngine,
        Need::Program("docker-registry")
    );
    let Some(builder) = Builder::make() else {
        return;
    };
    let app = builder.image("app");
    let trusted = ["--publish", "--trust-builder"];
    let (printed, first) = builder.build(&app, &trusted);
    for line in [
        "===> ANALYZING",
        "Adding layer 'slugc/python:venv'",
        "Adding cache layer 'slugc/python:venv'",
    ] {
        assert!(printed.contains(line), "{line} is missing in\n{printed}");
    }
    let (printed, second) = builder.build(&app, &trusted);
    assert_eq!(first, second, "{printed}");
    for line in [
        "Restoring data for \"slugc/python:venv\" from cache",
        "Reusing layer 'slugc/python:venv'",
        "Reused 1/1 app layer(s)",
        "Reusing cache layer 'slugc/python:venv'",
    ] {
        assert!(printed.contains(line), "{line} is missing in\n{printed}");
    }
    assert!(!printed.contains("Adding layer"), "{printed}");

    // A builder that is not trusted gets credentials in phases of their own only, out of the lifecycle's image.
    let lifecycle = builder.image("lifecycle");
    let other = builder.image("other");
    let untrusted = ["--publish", "--lifecycle-image", &lifecycle];
    let (printed, five) = builder.build(&other, &untrusted);
    assert_eq!(five, first, "{printed}");
    assert!(
        printed.contains("[exporter] Adding layer 'slugc/python:venv'"),
        "{printed}"
    );
    builder.app.append("worker.py", "# changed\n");
    let (printed, changed) = builder.build(&other, &untrusted);
    assert_ne!(changed, five, "{printed}");
    assert!(
        printed.contains("[exporter] Reusing layer 'slugc/python:venv'"),
        "{printed}"
    );
    assert!(
        printed.contains("[exporter] Added 1/1 app layer(s)"),
        "{printed}"
    );
}

#[test]
fn pack_loads_into_the_daemon_with_our_lifecycle() {
    requires!(
        Need::Program("pack"),
        Need::Root,
        Need::DockerEngine,
        Need::Program("docker-registry")
    );
    let Some(builder) = Builder::make() else {
        return;
    };
    let app = format!("slugc-test-{}", std::process::id());
    let (_, first) = builder.build(&app, &["--trust-builder"]);
    let (printed, second) = builder.build(&app, &["--trust-builder"]);
    assert_eq!(first, second, "{printed}");
    assert!(
        printed.contains("Reusing layer 'slugc/python:venv'"),
        "{printed}"
    );

    // A layer that stays, on top of one that changes, is another one to an engine.
    builder.app.append("requirements.txt", "six==1.17.0\n");
    let (printed, third) = builder.build(&app, &["--trust-builder"]);
    assert_ne!(second, third, "{printed}");
    assert!(
        printed.contains("Adding layer 'slugc/python:venv'"),
        "{printed}"
    );
    assert!(
        printed.contains("Reusing layer 'buildpacksio/lifecycle:config'"),
        "{printed}"
    );
    let program = "import schedule, six; print(six.__version__)";
    let run = [
        "run",
        "--rm",
        "--entrypoint",
        "launcher",
        &app,
        "python",
        "-c",
        program,
    ];
    let here = builder.t.scratch();
    assert_eq!(output_of("docker", &run, here).trim(), "1.17.0");

    // Debian packages come from the mirror that is named, and the stack's own archive of keys vouches for them.
    if let Some(mirror) = apt_mirror() {
        builder.app.write("Aptfile", "hello\n");
        let variable = format!("BP_DEBIAN_MIRROR={mirror}");
        let (printed, _) = builder.build(&app, &["--trust-builder", "-e", &variable]);
        assert!(printed.contains("For the app: hello "), "{printed}");
        let run = ["run", "--rm", "--entrypoint", "launcher", &app, "hello"];
        assert_eq!(output_of("docker", &run, here).trim(), "Hello, world!");
        let (printed, _) = builder.build(&app, &["--trust-builder"]);
        assert!(
            printed.contains("Reusing the packages of the last build (1)."),
            "{printed}"
        );
    }
    output_of("docker", &["rmi", "--force", &app], here);
}

//! Buildpacks, flags and project descriptors that are wrong: what is said about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use test_support::{App, TestContext, Who};

fn app(t: &TestContext) -> App {
    let app = t.empty_app("pages");
    app.write("index.html", "hello\n");
    app
}

#[test]
fn wrong_buildpacks_are_named() {
    let Some(t) = crate::context(Who::Plain) else {
        return;
    };
    let app = app(&t);
    let write = |name: &str, descriptor: &str, programs: &[(&str, u32)]| {
        let folder = t.scratch().join(name);
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("buildpack.toml"), descriptor).unwrap();
        for (program, mode) in programs {
            let path = folder.join("bin").join(program);
            fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        t.give(&folder);
        folder.display().to_string()
    };
    let good = "api = \"0.10\"\n[buildpack]\nid = \"a/b\"\nversion = \"1.0.0\"\n";
    let no_build = write("no-build", good, &[("detect", 0o755)]);
    let not_executable = write("mode", good, &[("detect", 0o755), ("build", 0o644)]);
    let broken = write("broken", "api = \"0.10\"\n[buildpack]\nid = 3\n", &[]);
    let version = write("version", &good.replace("1.0.0", "../../x"), &[]);
    let unknown_api = write(
        "api",
        &good.replace("0.10", "0.99"),
        &[("detect", 0o755), ("build", 0o755)],
    );
    let lonely = write(
        "lonely",
        &format!("{good}[[order]]\n[[order.group]]\nid = \"gone/one\"\nversion = \"1.0.0\"\n"),
        &[],
    );
    let round = write(
        "round",
        &format!("{good}[[order]]\n[[order.group]]\nid = \"a/b\"\nversion = \"1.0.0\"\n"),
        &[],
    );
    fs::write(
        t.scratch().join("round/package.toml"),
        "[[dependencies]]\nuri = \"../round\"\n",
    )
    .unwrap();
    fs::write(t.scratch().join("junk.tgz"), "junk").unwrap();
    t.give(&t.scratch().join("junk.tgz"));
    let junk = t.scratch().join("junk.tgz").display().to_string();
    for (named, code, said) in [
        (&*no_build, 3, "cannot run: it has no bin/build"),
        (
            &not_executable,
            3,
            "cannot run: bin/build is not executable",
        ),
        (&broken, 3, "buildpack.toml:3:6: buildpack.id"),
        (&version, 3, "has the version \"../../x\""),
        (&unknown_api, 12, "0.99"),
        (&lonely, 3, "is made of gone/one@1.0.0, which is not there"),
        (&round, 3, "nested too deeply"),
        (&junk, 3, "cannot unpack the buildpack"),
        ("./none.tgz", 3, "cannot find the buildpack"),
        ("slugc/pyton", 2, "did you mean slugc/python?"),
        ("python", 2, "did you mean slugc/python?"),
        ("slugc/python@9.9.9", 3, "it has slugc/python@0.1.0"),
        (
            "urn:cnb:builder:slugc/pyhton",
            3,
            "did you mean slugc/python?",
        ),
        (
            "urn:cnb:registry:a/b",
            3,
            "there is no index of a registry of buildpacks",
        ),
        (
            "http://127.0.0.1:1/x.tgz?token=s3cret",
            4,
            "cannot fetch the buildpack http://127.0.0.1:1/x.tgz",
        ),
    ] {
        t.slugc_in(&app)
            .args(["build", ".", "-b", named])
            .run()
            .failure(code)
            .says(&[said])
            .never_says(&["s3cret"]);
    }
}

#[test]
fn wrong_flags_are_named() {
    let Some(t) = crate::context(Who::Plain) else {
        return;
    };
    let app = app(&t);
    for (arguments, said) in [
        (&["--network", "hots"][..], "'host'"),
        (&["--volume", "/tmp"], "is no volume"),
        (
            &["--volume", "/tmp:/layers"],
            "is what the build itself has there",
        ),
        (&["--binding", "db"], "is no service binding"),
        (&["--creation-time", "today"], "is no time of creation"),
        (&["--workspace", "/usr"], "cannot be the workspace"),
        (&["--exec-env", "a/b"], "cannot be an execution environment"),
        (&["--lifecycle", "builder"], "--builder"),
        (&["--pull-policy", "allways"], "'always'"),
        (&["--buldpack", "x"], "--buildpack"),
        (&["-b", "from=builder", "-b", "from=builder"], "only once"),
    ] {
        t.slugc_in(&app)
            .args(["build", "."])
            .args(arguments)
            .run()
            .failure(2)
            .says(&[said]);
    }
}

#[test]
fn wrong_descriptors_are_named_by_line() {
    let Some(t) = crate::context(Who::Plain) else {
        return;
    };
    let app = app(&t);
    for (text, said) in [
        (
            "[_]\nschema-version = \"0.9\"\n",
            "project.toml:2:18: _.schema-version: schema \"0.9\" is not known",
        ),
        (
            "[io.buildpacks]\ninclude = \"x\"\n",
            "project.toml:2:11: io.buildpacks.include: ",
        ),
        (
            "[[io.buildpacks.group]]\nversion = \"1\"\n",
            "project.toml:1:1: io.buildpacks.group: a buildpack needs an id, a uri or a script",
        ),
        (
            "[[io.buildpacks.group]]\nid = \"slugc/pyton\"\n",
            "did you mean slugc/python?",
        ),
    ] {
        app.write("project.toml", text);
        let code = if said.starts_with("did") { 2 } else { 3 };
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .failure(code)
            .says(&[said]);
    }
    app.remove("project.toml");
    t.slugc_in(&app)
        .args(["build", ".", "--descriptor", "gone.toml"])
        .run()
        .failure(3)
        .says(&["cannot read gone.toml"]);
}

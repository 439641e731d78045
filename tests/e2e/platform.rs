//! `slugc build` as a platform: buildpacks in every form, project descriptors, what a build sees.

use crate::as_each_user;
use crate::one_offs::{name_of, wait_for_log};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use test_support::{App, FileServer, Need, TestContext, Who, fixtures, output_of, requires};

fn buildpack(name: &str) -> String {
    fixtures()
        .join("buildpacks")
        .join(name)
        .display()
        .to_string()
}

/// An app that is nobody's language.
fn app(t: &TestContext) -> App {
    let app = t.empty_app("pages");
    app.write("index.html", "hello\n");
    app
}

/// What the app's web process prints.
fn printed(t: &TestContext, app: &App) -> String {
    let run = t.slugc_in(app).args(["run", "web"]).run().success();
    run.stdout.trim().to_owned()
}

/// A composite buildpack of the greeting and of slugc's own for Procfiles, in two folders beside each other.
fn composite(t: &TestContext) -> String {
    let folder = t.scratch().join("composite");
    fs::create_dir_all(&folder).unwrap();
    let descriptor = "api = \"0.10\"\n[buildpack]\nid = \"fixtures/composite\"\nversion = \"2.0.0\"\n\
                      [[order]]\n[[order.group]]\nid = \"fixtures/greeting\"\nversion = \"1.2.3\"\n\
                      [[order.group]]\nid = \"slugc/procfile\"\nversion = \"0.1.0\"\noptional = true\n";
    fs::write(folder.join("buildpack.toml"), descriptor).unwrap();
    let package = format!(
        "[[dependencies]]\nuri = \"{}\"\n[[dependencies]]\nuri = \"../procfile.tgz\"\n",
        buildpack("greeting")
    );
    fs::write(folder.join("package.toml"), package).unwrap();
    let archive = t.scratch().join("procfile.tgz").display().to_string();
    t.slugc()
        .args(["buildpack", "package", "procfile", &archive])
        .run()
        .success();
    t.give(t.scratch());
    folder.display().to_string()
}

as_each_user! {
    fn buildpacks_in_every_form(t: &TestContext) {
        requires!(Need::Program("tar"));
        let app = app(t);
        let place = |name: &str| t.scratch().join(name).display().to_string();
        let composite = composite(t);
        output_of("tar", &["-C", &buildpack("greeting"), "-czf", &place("greeting.tgz"), "."], t.scratch());
        t.slugc().args(["buildpack", "package", &composite, &place("composite.cnb")]).run().success();
        t.slugc()
            .args(["buildpack", "package", &composite, &format!("oci:{}", place("layout"))])
            .run()
            .success();
        t.slugc().args(["copy", &format!("oci:{}", place("layout")), "docker-archive:composite.tar:b:1"]).run().success();
        t.slugc().args(["pull", "docker-archive:composite.tar", "-t", "registry.example/composite:1"]).run().success();
        let served = FileServer::of(t.scratch());
        let forms = [
            buildpack("greeting"),
            place("greeting.tgz"),
            format!("file://{}", place("greeting.tgz")),
            format!("{}/greeting.tgz", served.url()),
            composite,
            place("composite.cnb"),
            place("layout"),
            format!("oci:{}", place("layout")),
            "docker://registry.example/composite:1".to_owned(),
        ];
        for (index, form) in forms.iter().enumerate() {
            let name = format!("NAME{index}");
            let built = t
                .slugc_in(&app)
                .args(["build", ".", "-b", form, "-e", &format!("GREETING_NAME={name}")])
                .run()
                .success();
            built.says(&["fixtures/greeting 1.2.3", &format!("NAME={name}")]);
            assert_eq!(printed(t, &app), format!("hello {name}"), "{form}");
            t.slugc_in(&app)
                .args(["build", ".", "-b", form, "-e", &format!("GREETING_NAME={name}")])
                .run()
                .success()
                .says(&["is up to date"]);
        }
        // What one of them needs is mounted from elsewhere, and a Procfile wins over the process before it.
        app.write("Procfile", "web: echo from the Procfile\n");
        t.slugc_in(&app)
            .args(["build", ".", "-b", &buildpack("greeting"), "-b", "slugc/procfile@0.1.0"])
            .run()
            .success()
            .says(&["fixtures/greeting 1.2.3", "slugc/procfile 0.1.0"]);
        assert_eq!(printed(t, &app), "from the Procfile");
    }
}

as_each_user! {
    /// Pre and post buildpacks go around slugc's own order.
    fn around_the_order(t: &TestContext) {
        let app = t.fixture("worker-only");
        let built = t
            .slugc_in(&app)
            .args(["build", ".", "--pre-buildpack", &buildpack("greeting")])
            .args(["--post-buildpack", &buildpack("keeper")])
            .run()
            .success();
        let order: Vec<&str> = built
            .stdout
            .lines()
            .chain(built.stderr.lines())
            .map(str::trim)
            .filter(|line| line.starts_with("fixtures/") || line.starts_with("slugc/"))
            .filter(|line| line.ends_with("1.2.3") || line.ends_with("1.0.0") || line.ends_with("0.1.0"))
            .take(4)
            .collect();
        assert_eq!(
            order,
            ["fixtures/greeting 1.2.3", "slugc/python 0.1.0", "slugc/procfile 0.1.0", "fixtures/keeper 1.0.0"]
        );
        t.slugc_in(&app)
            .args(["build", ".", "-b", &buildpack("greeting"), "-b", "from=builder"])
            .run()
            .success()
            .says(&["fixtures/greeting 1.2.3", "slugc/python 0.1.0"]);
    }
}

as_each_user! {
    fn a_project_descriptor_chooses(t: &TestContext) {
        let app = app(t);
        app.write(
            "project.toml",
            format!(
                "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nexclude = [\"secret.txt\"]\n\
                 [[io.buildpacks.group]]\nuri = \"file://{}\"\n\
                 [[io.buildpacks.group]]\nid = \"fixtures/inline\"\n\
                 [io.buildpacks.group.script]\napi = \"0.10\"\nshell = \"/bin/bash\"\n\
                 inline = \"\"\"ls; echo from-inline-$FLAVOUR\"\"\"\n\
                 [[io.buildpacks.build.env]]\nname = \"GREETING_NAME\"\nvalue = \"descriptor\"\n\
                 [[io.buildpacks.build.env]]\nname = \"FLAVOUR\"\nvalue = \"sweet\"\nexec-env = [\"test\"]\n",
                buildpack("greeting")
            ),
        );
        app.write("secret.txt", "not in the image\n");
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["NAME=descriptor", "fixtures/inline 0.0.0", "from-inline-"])
            .never_says(&["secret.txt", "from-inline-sweet"]);
        assert_eq!(printed(t, &app), "hello descriptor");
        t.slugc_in(&app)
            .args(["build", ".", "--exec-env", "test"])
            .run()
            .success()
            .says(&["from-inline-sweet"]);
        // The command line's group replaces the descriptor's; another descriptor replaces the whole file.
        t.slugc_in(&app)
            .args(["build", ".", "-b", &buildpack("greeting")])
            .run()
            .success()
            .never_says(&["inline"]);
        app.write(
            "other.toml",
            format!("[build]\n[[build.buildpacks]]\nuri = \"file://{}\"\n[[build.env]]\nname = \"GREETING_NAME\"\nvalue = \"old\"\n", buildpack("greeting")),
        );
        t.slugc_in(&app)
            .args(["build", ".", "--descriptor", "other.toml"])
            .run()
            .success()
            .says(&["NAME=old"]);
    }
}

as_each_user! {
    fn what_a_build_sees(t: &TestContext) {
        let app = app(t);
        let (data, binding) = (t.scratch().join("volume"), t.scratch().join("binding"));
        for folder in [&data, &binding] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(data.join("file"), "content\n").unwrap();
        fs::write(binding.join("type"), "postgresql").unwrap();
        fs::write(binding.join("password"), "s3cret").unwrap();
        // The build's user is another one than root.
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
        t.give(&data);
        t.give(&binding);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = format!("PORT_TO_TRY={}", listener.local_addr().unwrap().port());
        let surveyor = buildpack("surveyor");
        let build = |more: &[&str]| {
            t.slugc_in(&app)
                .args(["build", ".", "-b", &surveyor, "-e", &port])
                .args(more)
                .run()
                .success()
        };
        build(&[]).says(&["workspace: /workspace", "exec-env: production", "network: reached"]);
        build(&["--network", "none", "--exec-env", "test"]).says(&["exec-env: test", "network: not reached"]);
        let seen = t.slugc_in(&app).args(["inspect", "--output", "json"]).run().success();
        assert!(!seen.stdout.contains("s3cret"));
        let bound = build(&["--binding", &format!("db={}", binding.display())]);
        bound.says(&["binding db: postgresql 6"]);
        for folder in ["work", "layers"] {
            assert!(!holds(&t.store().join("apps").join(app.name()).join(folder), "s3cret"), "{folder}");
        }
        let dyno = |more: &[&str]| {
            let script = "cat $SERVICE_BINDING_ROOT/db/type; stat -c %a $SERVICE_BINDING_ROOT/db/password";
            t.slugc_in(&app).arg("run").args(more).args(["--", "sh", "-c", script]).run()
        };
        let bound = dyno(&["--binding", &format!("db={}", binding.display())]).success();
        assert_eq!(bound.stdout, "postgresql600\n");
        dyno(&[]).failure(1);
        // In the background as well: its output is in the log.
        let script = "echo bound to $(cat $SERVICE_BINDING_ROOT/db/type)";
        let started = t
            .slugc_in(&app)
            .args(["run:detached", "--binding", &format!("db={}", binding.display()), "--", "sh", "-c", script])
            .run()
            .success();
        wait_for_log(t, &app, &name_of(&started), "bound to postgresql");
        let volume = format!("{}:/data", data.display());
        build(&["--volume", &volume]).says(&["data: content", "data: read-only"]);
        build(&["--volume", &format!("{volume}:rw"), "--workspace", "/srv/pages"])
            .says(&["data: writable", "workspace: /srv/pages"]);
        assert!(data.join("written").exists());
        assert_eq!(printed(t, &app), "/srv/pages");
    }
}

/// Whether a file below a folder has this text.
fn holds(folder: &Path, text: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            holds(&path, text)
        } else {
            fs::read_to_string(&path).is_ok_and(|content| content.contains(text))
        }
    })
}

as_each_user! {
    fn times_and_reports(t: &TestContext) {
        let app = app(t);
        let greeting = buildpack("greeting");
        let reports = t.scratch().join("reports").display().to_string();
        let mut build = vec!["build", ".", "-b", &greeting, "--report-output-dir", &reports];
        build.extend(["-t", "pages:1", "-t", "pages:2", "--creation-time", "1700000000"]);
        let digest = t.slugc_in(&app).args(&build).run().success().digest();
        let report = || fs::read_to_string(t.scratch().join("reports/report.toml")).unwrap();
        for text in ["tags = [\"pages:1\", \"pages:2\"]", &digest, "manifest-size = "] {
            assert!(report().contains(text), "{}", report());
        }
        fs::remove_file(t.scratch().join("reports/report.toml")).unwrap();
        t.slugc_in(&app).args(&build).run().success().says(&["is up to date"]);
        assert!(report().contains(&digest));
        t.slugc().args(["copy", "pages:2", "oci:written"]).run().success();
        let image = test_support::read_layout(&t.scratch().join("written"));
        assert!(format!("{image:?}").contains("2023-11-14T22:13:20Z"), "{image:?}");
    }
}

as_each_user! {
    /// Another machine has only the image of the last build.
    fn a_previous_image_gives_its_layers(t: &TestContext) {
        let keeper = buildpack("keeper");
        let first = app(t);
        t.slugc_in(&first)
            .args(["build", ".", "-b", &keeper, "-t", "registry.example/kept:1"])
            .run()
            .success()
            .says(&["kept: made anew"]);
        let other = t.empty_app("pages-elsewhere");
        other.write("index.html", "hello\n");
        t.slugc_in(&other)
            .args(["build", ".", "-b", &keeper])
            .args(["--previous-image", "registry.example/kept:1", "--pull-policy", "never"])
            .run()
            .success()
            .says(&["kept: the last image has it"]);
        assert_eq!(printed(t, &first), printed(t, &other));
        let third = t.empty_app("pages-third");
        third.write("index.html", "hello\n");
        t.slugc_in(&third)
            .args(["build", ".", "-b", &keeper])
            .args(["--previous-image", "registry.example/none:1", "--pull-policy", "never"])
            .run()
            .success()
            .says(&["the previous image is not used", "kept: made anew"]);
    }
}

as_each_user! {
    /// What `buildpack new` writes detects and builds, with each Buildpack API.
    fn new_buildpacks_build(t: &TestContext) {
        let app = app(t);
        for api in ["0.8", "0.10", "0.12"] {
            let folder = format!("new-{api}");
            t.slugc()
                .args(["buildpack", "new", "acme/tool", "--api", api, "--path", &folder])
                .run()
                .success();
            let path = t.scratch().join(&folder).display().to_string();
            t.slugc_in(&app).args(["build", ".", "-b", &path]).run().success().says(&["---> acme/tool"]);
            let run = t.slugc_in(&app).args(["run", "greet"]).run().success();
            assert_eq!(run.stdout.trim(), "Hello from acme/tool");
            t.slugc()
                .args(["buildpack", "new", "acme/tool", "--path", &folder])
                .run()
                .failure(3)
                .says(&["the folder is not empty"]);
        }
        t.slugc().args(["buildpack", "new", "a b"]).run().failure(2);
        t.slugc().args(["buildpack", "new", "a", "--api", "0.3"]).run().failure(2).says(&["0.10"]);
    }
}

#[test]
fn the_composite_buildpack_is_both_of_ours() {
    let Some(t) = crate::context(Who::Plain) else {
        return;
    };
    t.slugc()
        .args(["buildpack", "package", "python-procfile", "both.cnb"])
        .run()
        .success();
    let shown = t
        .slugc()
        .args(["buildpack", "inspect", "both.cnb"])
        .run()
        .success();
    shown.says(&[
        "slugc/python-procfile@0.1.0",
        "composite",
        "slugc/procfile@0.1.0  (optional)",
    ]);
    t.slugc()
        .args(["buildpack", "package", "python-procfile", "./both/"])
        .run()
        .success();
    let app = t.fixture("worker-only");
    for form in ["both.cnb", "both/slugc_python-procfile"] {
        let path = t.scratch().join(form).display().to_string();
        t.slugc_in(&app)
            .args(["build", ".", "-b", &path])
            .run()
            .success()
            .says(&["slugc/python 0.1.0", "slugc/procfile 0.1.0"]);
    }
    t.slugc()
        .args(["buildpack", "package", "python-procfile", "both.tgz"])
        .run()
        .failure(2)
        .says(&["made of 4 buildpacks", ".cnb"]);
}

as_each_user! {
    /// What is fetched again gets a folder of its own: another build may be using the old one.
    fn an_archive_behind_an_address_may_change(t: &TestContext) {
        let app = app(t);
        let served = FileServer::of(t.scratch());
        let url = format!("{}/changing.tgz", served.url());
        let folder = t.scratch().join("changing");
        output_of("cp", &["-a", &buildpack("greeting"), "changing"], t.scratch());
        let publish = |version: &str| {
            let file = folder.join("buildpack.toml");
            let text = fs::read_to_string(&file).unwrap();
            let old = text.lines().find(|line| line.starts_with("version")).unwrap().to_owned();
            fs::write(&file, text.replace(&old, &format!("version = \"{version}\""))).unwrap();
            output_of("tar", &["-C", "changing", "-czf", "changing.tgz", "."], t.scratch());
        };
        let build = |more: &[&str]| t.slugc_in(&app).args(["build", ".", "-b", &url]).args(more).run().success();
        let unpacked = || {
            let folders = fs::read_dir(t.store().join("buildpacks")).unwrap();
            folders.flatten().filter(|entry| entry.path().join("fixtures_greeting").is_dir()).map(|entry| entry.path()).collect::<Vec<_>>()
        };
        publish("1.2.3");
        build(&[]).says(&["fixtures/greeting 1.2.3"]);
        let before = unpacked();
        assert!(!before.is_empty());
        publish("1.2.4");
        build(&[]).says(&["is up to date"]);
        build(&["--pull-policy", "always"]).says(&["fixtures/greeting 1.2.4"]);
        for folder in before {
            assert!(folder.is_dir(), "{} was replaced", folder.display());
        }
        build(&["-e", "GREETING_NAME=again"]).says(&["fixtures/greeting 1.2.4"]);
    }
}

as_each_user! {
    /// The index is a folder of the user's, as pack's is a clone.
    fn a_registry_of_buildpacks_leads_to_images(t: &TestContext) {
        requires!(Need::Program("docker-registry"));
        let own = TestContext::with_own_store(crate::BINARY, t.who());
        let Some(t) = own.as_ref() else {
            return;
        };
        let registry = crate::registry::Registry::start(t);
        let app = app(t);
        let image = format!("{}/team/greeting", registry.host);
        let pushed = t.slugc().args(["buildpack", "package", &buildpack("greeting"), &image]).run().success();
        let printed = format!("{}{}", pushed.stdout, pushed.stderr);
        let digest = printed.split("sha256:").nth(1).and_then(|rest| rest.get(..64)).unwrap().to_owned();
        let place = t.scratch().join("index/gr/ee");
        fs::create_dir_all(&place).unwrap();
        let line = |version: &str, yanked: bool, addr: &str| {
            format!("{{\"ns\":\"fixtures\",\"name\":\"greeting\",\"version\":\"{version}\",\"yanked\":{yanked},\"addr\":\"{addr}\"}}\n")
        };
        let text = line("1.2.3", false, &format!("{image}@sha256:{digest}")) + &line("9.0.0", true, &image);
        fs::write(place.join("fixtures_greeting"), text).unwrap();
        t.give(&t.scratch().join("index"));
        let build = |named: &str| t.slugc_in(&app).args(["build", ".", "-b", named]).run();
        build("urn:cnb:registry:fixtures/greeting").failure(3).says(&["slugc settings registry-index DIR"]);
        t.slugc().args(["settings", "registry-index", "index"]).run().success();
        t.slugc().arg("settings").run().success().says(&["registry-index", "/index"]);
        build("urn:cnb:registry:fixtures/greeting").success().says(&["fixtures/greeting 1.2.3"]);
        build("urn:cnb:registry:fixtures/greeting@1.2.3").success().says(&["is up to date"]);
        build("urn:cnb:registry:fixtures/greeting@2").failure(3).says(&["it has 1.2.3, 9.0.0"]);
        build("urn:cnb:registry:fixtures/greeting@9.0.0").failure(3).says(&["is no image by its digest"]);
        build("urn:cnb:registry:fixtures/none").failure(3).says(&["has no buildpack fixtures/none"]);
        t.slugc().args(["settings", "registry-index", "--unset"]).run().success();
    }
}

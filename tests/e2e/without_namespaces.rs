//! Where namespaces are refused to root, as in an ordinary container: a weaker sandbox and a
//! warning, and apart from that the same. A plain user's is in `traced.rs`.

use crate::sandbox::assert_gone;
use crate::{BINARY, context};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use test_support::{
    App, Need, Running, Signal, Slugc, TestContext, Who, fixtures, free_port, get, output_of,
    processes_with, requires, wait_for_http,
};

pub(crate) const WARNING: &str = "this machine forbids namespaces";

pub(crate) fn weak(t: &TestContext, app: &App) -> Slugc {
    t.slugc_in(app).without_namespaces()
}

pub(crate) fn reason(dyno: &mut Running) -> Option<String> {
    dyno.has_ended().then(|| dyno.printed())
}

/// What an app's trees hold in their journals.
fn journals(t: &TestContext, app: &App) -> Vec<Vec<u8>> {
    let trees = t.store().join("apps").join(app.name()).join("trees/build");
    let places = fs::read_dir(trees).unwrap();
    places
        .filter_map(|place| fs::read(place.unwrap().path().join("journal")).ok())
        .collect()
}

/// An image of a build with and of one without namespaces, new and again.
pub(crate) fn check_images(t: &TestContext) {
    let app = t.fixture("django-static-db");
    let strong = t.slugc_in(&app).args(["build", "."]).run().success();
    let digest = strong.never_says(&[WARNING]).digest();
    let other = app.duplicate(t.scratch());
    let built = weak(t, &other).args(["build", "."]).run().success();
    assert_eq!(built.digest(), digest);
    assert_eq!(built.stderr.matches(WARNING).count(), 1, "{}", built.stderr);
    // A build that finds nothing to do needs no sandbox.
    let again = weak(t, &other).args(["build", "."]).run().success();
    again.says(&["up to date", &digest]).never_says(&[WARNING]);
    for app in [&app, &other] {
        app.append("manage.py", "\n# changed\n");
    }
    let digest = t
        .slugc_in(&app)
        .args(["build", "."])
        .run()
        .success()
        .digest();
    let built = weak(t, &other).args(["build", "."]).run().success();
    assert_eq!(built.says(&["5 reused, 1 new"]).digest(), digest);
}

/// The stack of a store that has none, made without namespaces.
pub(crate) fn check_stacks(t: &TestContext, own: &TestContext) {
    own.slugc()
        .without_namespaces()
        .args(["stack", "create"])
        .run()
        .success()
        .says(&[WARNING]);
    let images = |t: &TestContext| {
        let text = fs::read_to_string(t.store().join("stacks/slug-13/stack.json")).unwrap();
        let stack: serde_json::Value = serde_json::from_str(&text).unwrap();
        [&stack["run_image"], &stack["build_image"]].map(|image| image["digest"].to_string())
    };
    assert_eq!(images(own), images(t));
}

#[test]
fn the_image_is_the_same() {
    if let Some(t) = context(Who::Root) {
        check_images(&t);
    }
}

#[test]
fn the_stack_is_the_same() {
    let Some(t) = context(Who::Root) else { return };
    if let Some(own) = TestContext::bare(BINARY, Who::Root) {
        check_stacks(&t, &own);
    }
}

#[test]
fn dynos_run_and_leave_nothing() {
    let Some(t) = context(Who::Root) else { return };
    let app = t.fixture("django-static-db");
    weak(&t, &app).args(["build", "."]).run().success();
    let run = |script: &str| weak(&t, &app).args(["run", "--", "sh", "-c", script]).run();
    let changed =
        run("id -u; echo changed >manage.py; rm Procfile; touch new /tmp/new; ls; exit 7");
    changed.failure(7).says(&["1000", "new", WARNING]);
    run("head -1 manage.py; ls /tmp . && test -e Procfile")
        .success()
        .never_says(&["changed", "new"]);
    let outside = format!("test ! -e {}", t.store().display());
    run(&outside).success();
    run("touch /usr/new || cat /etc/shadow")
        .failure(1)
        .says(&["Permission denied"]);

    let port = free_port();
    let mut dyno = weak(&t, &app)
        .args(["launch", "web", "--port", &port.to_string()])
        .start();
    let page = wait_for_http(port, "/titles.json", || reason(&mut dyno));
    assert!(page.body.contains("Solaris (1961)"), "{}", page.body);
    // A second one at the same time has files of its own.
    run("test ! -e db.sqlite3").success();
    let marker = format!("--bind 0.0.0.0:{port}");
    dyno.signal(Signal::INT);
    assert_eq!(dyno.wait(Duration::from_secs(35)).code(), 130);
    assert_eq!(processes_with(&marker), Vec::<u32>::new());
}

#[test]
fn pruning_leaves_running_dynos_their_files() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Root) else {
        return;
    };
    let app = t.fixture("django-static-db");
    weak(&t, &app).args(["build", "."]).run().success();
    let port = free_port();
    let mut dyno = weak(&t, &app)
        .args(["launch", "web", "--port", &port.to_string()])
        .start();
    wait_for_http(port, "/titles.json", || reason(&mut dyno));
    let trees = t.store().join("apps").join(app.name()).join("trees");
    assert!(trees.join("build").is_dir());
    weak(&t, &app).args(["cache", "prune"]).run().success();
    assert!(!trees.join("build").exists());
    let page = get(port, "/titles.json").unwrap();
    assert!(page.body.contains("Solaris (1961)"), "{}", page.body);
    weak(&t, &app).args(["ps:restart"]).run().success();
    wait_for_http(port, "/titles.json", || reason(&mut dyno));
    dyno.signal(Signal::INT);
    assert_eq!(dyno.wait(Duration::from_secs(35)).code(), 130);
    weak(&t, &app).args(["cache", "prune"]).run().success();
    assert!(!trees.exists());
}

#[test]
fn a_killed_build_takes_nothing_with_it() {
    let Some(t) = context(Who::Root) else { return };
    let app = t.fixture("worker-only");
    let layers = t.store().join("apps").join(app.name()).join("layers");
    let mark = format!("88{}", std::process::id());
    let digest = weak(&t, &app).args(["build", "."]).run().success().digest();
    assert!(layers.is_dir());
    let mut build = weak(&t, &app)
        .args(["build", ".", "-b"])
        .arg(fixtures().join("buildpacks/endless"))
        .args(["-e", &format!("MARK={mark}")])
        .start();
    build.wait_for("waits for something");
    assert!(!layers.exists(), "the layers are in the build's root");
    assert_eq!(journals(&t, &app).len(), 1);
    build.signal(Signal::KILL);
    assert_eq!(build.wait(Duration::from_secs(20)).code(), 137);
    assert_gone(&mark);
    let again = weak(&t, &app)
        .args(["build", ".", "--refresh"])
        .run()
        .success();
    assert_eq!(again.digest(), digest);
    assert!(layers.is_dir());
    assert_eq!(journals(&t, &app), Vec::<Vec<u8>>::new());
    // With namespaces, too, what a killed build lent is found.
    let mut build = weak(&t, &app)
        .args(["build", ".", "-b"])
        .arg(fixtures().join("buildpacks/endless"))
        .args(["-e", &format!("MARK={mark}")])
        .start();
    build.wait_for("waits for something");
    build.signal(Signal::KILL);
    assert_eq!(build.wait(Duration::from_secs(20)).code(), 137);
    t.slugc_in(&app)
        .args(["build", ".", "--refresh"])
        .run()
        .success();
    assert!(layers.is_dir());
    assert_eq!(journals(&t, &app), Vec::<Vec<u8>>::new());
}

/// The commonest place of all: a job of a CI system in Docker's default container.
mod in_docker_s_default_container {
    use super::{Who, build_and_run_in_a_container};

    #[test]
    fn as_root() {
        build_and_run_in_a_container(Who::Root);
    }

    /// `docker run --user`.
    #[test]
    fn as_plain_user() {
        build_and_run_in_a_container(Who::Plain);
    }
}

fn build_and_run_in_a_container(who: Who) {
    requires!(Need::DockerEngine, Need::Program("skopeo"), Need::Root);
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    let app = t.fixture("worker-only");
    let layout = t.scratch().join("layout");
    let digest = t
        .slugc_in(&app)
        .args(["build", ".", "-o"])
        .arg(format!("oci:{}:latest", layout.display()))
        .run()
        .success()
        .digest();
    let peer = |program: &str, words: &[&str]| output_of(program, words, Path::new("/"));
    let user = t.uid().to_string();
    let image = Image(format!(
        "slugc-e2e-container-{}-{user}:latest",
        std::process::id()
    ));
    let archive = t.scratch().join("image.tar");
    peer(
        "skopeo",
        &[
            "copy",
            "--quiet",
            &format!("oci:{}:latest", layout.display()),
            &format!("docker-archive:{}:{}", archive.display(), image.0),
        ],
    );
    peer(
        "docker",
        &["load", "--quiet", "--input", &archive.to_string_lossy()],
    );
    // Of the store's own the container has nothing but the stack.
    fs::remove_dir_all(t.store().join("apps")).unwrap();
    let script = "/slugc build /source -a job 2>&1 && /slugc run -a job -- sh -c 'id -u; exit 7'; echo code $?";
    let volumes = [
        format!("{}:/slugc:ro", BINARY.slugc),
        format!("{}:/store", t.store().parent().unwrap().display()),
        format!("{}:/source:ro", app.path().display()),
        "/etc/ssl/certs:/etc/ssl/certs:ro".to_owned(),
    ];
    let mut words = vec!["run", "--rm", "--network", "host", "--user", &user];
    for volume in &volumes {
        words.extend(["--volume", volume]);
    }
    for name in [
        "PIP_INDEX_URL",
        "UV_INDEX_URL",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
    ] {
        words.extend(["--env", name]);
    }
    words.extend(["--env", "XDG_DATA_HOME=/store", "--env", "HOME=/tmp"]);
    words.extend(["--entrypoint", "sh"]);
    words.extend([&image.0, "-c", script]);
    let said = peer("docker", &words);
    for text in [WARNING, &digest, "\n1000\n", "code 7"] {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
}

/// An image in the Docker engine that goes with the test.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        // The test may be failing already, with a better reason than this.
        drop(
            Command::new("docker")
                .args(["image", "rm", "--force", &self.0])
                .output(),
        );
    }
}

#[test]
fn addons_are_refused() {
    let Some(t) = context(Who::Root) else { return };
    let app = t.empty_app("no-addons");
    let refused = weak(&t, &app)
        .args(["addons:create", "redis"])
        .run()
        .failure(6);
    refused.says(&["add-ons need namespaces", "next:"]);
    assert!(!t.store().join("apps").join(app.name()).exists());
}

#[test]
fn one_offs_in_the_background() {
    let Some(t) = context(Who::Root) else { return };
    let app = t.fixture("flask-gunicorn");
    weak(&t, &app).args(["build", "."]).run().success();
    let marker = format!("5{}", std::process::id());
    let started = weak(&t, &app)
        .args(["run:detached", &format!("echo there; sleep 3000{marker}")])
        .run()
        .success();
    let line = started.stdout.lines().next().unwrap();
    let (_, dyno) = line.split_once("... done, ").unwrap();
    let start = Instant::now();
    loop {
        let log = weak(&t, &app).args(["logs", "-d", dyno]).run().success();
        if log.stdout.contains(&format!("app[{dyno}]: there")) {
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{}", log.stdout);
    }
    // There is nothing to enter.
    weak(&t, &app)
        .args(["run:inside", dyno, "true"])
        .run()
        .failure(6)
        .says(&["entering a running sandbox needs namespaces"]);
    weak(&t, &app).args(["ps:stop", dyno]).run().success();
    assert!(processes_with(&format!("3000{marker}")).is_empty());
}

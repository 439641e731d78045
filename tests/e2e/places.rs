//! Images go to every place that slugc can spell, and come back as they went.

use crate::BINARY;
use crate::registry::{Registry, Wire};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use test_support::{App, Need, Signal, TestContext, Who, met, output_of, requires};

/// A store of its own in which an app is built; the app and the image's digest.
pub(crate) fn built(t: &TestContext, more: &[&str]) -> (App, String) {
    let app = t.fixture("worker-only");
    let finished = t.slugc_in(&app).args(["build", "."]).args(more).run();
    let digest = finished.success().digest();
    (app, digest)
}

/// The digest of the configuration, which is Docker's and podman's ID of the image.
fn config_of(t: &TestContext, manifest: &str) -> String {
    let hex = manifest.trim_start_matches("sha256:");
    let path = t.store().join("blobs/sha256").join(hex);
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    document["config"]["digest"].as_str().unwrap().to_owned()
}

fn check_files_and_registries(who: Who) {
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    let place = |prefix: &str, name: &str| format!("{prefix}:{}", t.scratch().join(name).display());
    let (layout, archive) = (place("oci", "layout"), place("oci-archive", "oci.tar"));
    let docker = place("docker-archive", "docker.tar");
    let (app, digest) = built(
        &t,
        &[
            "-t",
            "team/shop:1.4",
            "-o",
            &layout,
            "-o",
            &archive,
            "-o",
            &docker,
        ],
    );
    let mut places = vec![layout.clone(), archive.clone(), docker.clone()];
    let named = place("docker-archive", "named.tar");
    let target = format!("{named}:localhost:5000/shop:v2");
    t.slugc()
        .args(["copy", &docker, &target])
        .run()
        .success()
        .says(&[&digest]);
    places.push(named.clone());
    // The same image gives the same bytes, whichever way it came.
    let again = place("docker-archive", "again.tar");
    t.slugc_in(&app)
        .args(["push", &format!("{again}:team/shop:1.4")])
        .run()
        .success();
    let bytes = |place: &str| std::fs::read(place.split_once(':').unwrap().1).unwrap();
    assert!(bytes(&docker) == bytes(&again));
    assert!(bytes(&docker) != bytes(&named));
    let registry = met(&Need::Program("docker-registry")).then(|| Registry::start(&t));
    if let Some(registry) = &registry {
        let target = format!("{}/team/shop:1.4", registry.host);
        t.slugc()
            .args(["copy", "team/shop:1.4", &target])
            .run()
            .success();
        // Inside one registry, layers are not sent again.
        let copy = format!("{}/other/shop", registry.host);
        t.slugc()
            .args(["copy", &target, &copy])
            .run()
            .success()
            .says(&["Sent 0 blobs"]);
        // Nor are those that an app's push brought there.
        let third = format!("{}/third/shop", registry.host);
        let push = t.slugc_in(&app).args(["push", &third]).run();
        push.success().says(&["Sent 0 blobs"]);
        places.extend([target, copy, third]);
    }
    if met(&Need::Program("skopeo")) {
        let seen = output_of("skopeo", &["inspect", &archive], t.scratch());
        assert!(seen.contains(&digest), "{seen}");
        let seen = output_of("skopeo", &["inspect", "--raw", &docker], t.scratch());
        assert!(seen.contains(&config_of(&t, &digest)), "{seen}");
    }
    // Back into a store that has nothing.
    let back = TestContext::bare(BINARY, who).unwrap();
    for (position, place) in places.iter().enumerate() {
        let name = format!("back:{position}");
        back.slugc()
            .args(["pull", place, "-t", &name])
            .run()
            .success()
            .says(&[&digest]);
    }
    back.slugc()
        .args(["pull", &docker])
        .run()
        .success()
        .says(&["team/shop:1.4"]);
    back.slugc()
        .args(["inspect", "team/shop:1.4"])
        .run()
        .success()
        .says(&[&digest, "back:0"]);
    back.slugc()
        .args(["pull", &layout])
        .run()
        .failure(2)
        .says(&["-t NAME"]);
    drop(registry);
}

#[test]
fn files_and_registries_as_root() {
    check_files_and_registries(Who::Root);
}

#[test]
fn files_and_registries_as_plain_user() {
    check_files_and_registries(Who::Plain);
}

/// Through the socket that `DOCKER_HOST` names, as `docker` itself.
#[test]
fn docker_takes_it_and_gives_it_back() {
    requires!(Need::Root, Need::DockerEngine);
    let Some(t) = TestContext::with_own_store(BINARY, Who::Root) else {
        return;
    };
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let name = format!("slugc-places-{}:1", std::process::id());
    let place = format!("docker-daemon:{name}");
    let app = t.fixture("worker-only");
    let build = t.slugc_in(&app).env("DOCKER_HOST", &host);
    let digest = build
        .args(["build", ".", "-o", &place])
        .run()
        .success()
        .digest();
    let _removed = Removed(name.clone());
    let run = [
        "run",
        "--rm",
        "--entrypoint",
        "/cnb/lifecycle/launcher",
        &name,
    ];
    let words = ["python", "-c", "import schedule; print('here')"];
    let said = output_of("docker", &[&run[..], &words].concat(), t.scratch());
    assert_eq!(said, "here\n");
    let back = TestContext::bare(BINARY, Who::Root).unwrap();
    let pull = back
        .slugc()
        .env("DOCKER_HOST", &host)
        .args(["pull", &place]);
    let pulled = pull.run().success().digest();
    assert_eq!(config_of(&back, &pulled), config_of(&t, &digest));
    let missing = back.slugc().env("DOCKER_HOST", &host);
    missing
        .args(["pull", "docker-daemon:never-there"])
        .run()
        .failure(3)
        .says(&["never-there"]);
}

/// An image of Docker's that goes with the test.
struct Removed(String);

impl Drop for Removed {
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
fn no_engine_is_said_plainly() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let (app, _) = built(&t, &[]);
    let nowhere = format!("unix://{}", t.scratch().join("none.sock").display());
    for variable in ["DOCKER_HOST", "CONTAINER_HOST"] {
        let place = if variable == "DOCKER_HOST" {
            "docker-daemon:x"
        } else {
            "podman:x"
        };
        let push = t
            .slugc_in(&app)
            .env(variable, &nowhere)
            .args(["push", place]);
        push.run()
            .failure(4)
            .says(&["none.sock", "docker-archive:FILE"]);
    }
}

#[test]
fn podman_takes_it_and_gives_it_back() {
    requires!(Need::Root, Need::Program("podman"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Root) else {
        return;
    };
    // podman wants the path of its state to have at most 50 characters.
    let folder = Unmounted(PathBuf::from(format!(
        "/tmp/slugc-pm-{}",
        std::process::id()
    )));
    std::fs::create_dir(&folder.0).unwrap();
    let settings = folder.0.join("storage.conf");
    let text = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/root\"\nrunroot = \"{0}/run\"\n",
        folder.0.display()
    );
    std::fs::write(&settings, text).unwrap();
    let (_, digest) = built(&t, &["-t", "shop:1"]);
    let slugc = |t: &TestContext, arguments: &[&str]| {
        let call = t.slugc().env("CONTAINERS_STORAGE_CONF", &settings);
        call.args(arguments).run().success().digest()
    };
    slugc(&t, &["copy", "shop:1", "podman:shop:1"]);
    let mut podman = Command::new("podman");
    podman.env("CONTAINERS_STORAGE_CONF", &settings);
    podman.args(["image", "inspect", "--format", "{{.Id}}", "shop:1"]);
    let seen = String::from_utf8(podman.output().unwrap().stdout).unwrap();
    let config = config_of(&t, &digest);
    assert_eq!(format!("sha256:{}", seen.trim()), config);
    let back = TestContext::bare(BINARY, Who::Root).unwrap();
    let pulled = slugc(&back, &["pull", "podman:shop:1"]);
    assert_eq!(config_of(&back, &pulled), config);
}

/// A folder of podman's, with what it left mounted there.
struct Unmounted(PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        // The test may be failing already, with a better reason than this.
        drop(
            Command::new("umount")
                .arg("--lazy")
                .arg(self.0.join("root"))
                .output(),
        );
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn names_keep_images() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let (app, first) = built(&t, &["-t", "shop:1"]);
    t.slugc()
        .args(["tag", app.name(), "r.example/team/shop:1"])
        .run()
        .success();
    app.append("worker.py", "\n# A line more.\n");
    let second = t
        .slugc_in(&app)
        .args(["build", "."])
        .run()
        .success()
        .digest();
    assert_ne!(first, second);
    let digest_of = |name: &str| {
        let listed = t
            .slugc()
            .args(["images", "--output", "json"])
            .run()
            .success()
            .json();
        let row = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["name"] == name);
        row.map(|row| row["digest"].as_str().unwrap().to_owned())
    };
    assert_eq!(digest_of("shop:1"), Some(first.clone()));
    assert_eq!(digest_of(app.name()), Some(second));
    t.slugc()
        .args(["images"])
        .run()
        .success()
        .says(&["NAME", "r.example/team/shop:1"]);
    t.slugc()
        .args(["rmi", "r.example/team/shop:1"])
        .run()
        .success();
    t.slugc().args(["cache", "prune"]).run().success();
    let place = format!("oci:{}", t.scratch().join("kept").display());
    t.slugc()
        .args(["copy", "shop:1", &place])
        .run()
        .success()
        .says(&[&first]);

    t.slugc().args(["rmi", "shop:1"]).run().success();
    t.slugc()
        .args(["rmi", "shop:1"])
        .run()
        .failure(3)
        .says(&["shop:1"]);
    t.slugc()
        .args(["rmi", app.name()])
        .run()
        .failure(3)
        .says(&["cache prune -a"]);
    t.slugc().args(["cache", "prune"]).run().success();
    let manifest = t
        .store()
        .join("blobs/sha256")
        .join(first.trim_start_matches("sha256:"));
    assert!(manifest.exists(), "a release of the app needs it");
    t.slugc()
        .args(["cache", "prune", "-a", app.name()])
        .run()
        .success();
    assert!(!manifest.exists());
    t.slugc()
        .args(["tag", "shop:1", "shop:2"])
        .run()
        .failure(3)
        .says(&["shop:1"]);
    t.slugc_in(&app)
        .args(["build", ".", "-t", "Upper"])
        .run()
        .failure(3)
        .says(&["Upper"]);
    t.slugc_in(&app)
        .args(["build", ".", "--publish"])
        .run()
        .failure(2);
}

#[test]
fn a_killed_pull_goes_on() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let (app, digest) = built(&t, &[]);
    let place = |host: &str| format!("{host}/shop:1");
    t.slugc_in(&app)
        .args(["push", &place(&registry.host)])
        .run()
        .success();

    let back = TestContext::bare(BINARY, Who::Plain).unwrap();
    let wire = Wire::to(&registry, 20 << 20);
    let mut pull = back.slugc().args(["pull", &place(&wire.host)]).start();
    let partials = || -> u64 {
        let entries = std::fs::read_dir(back.store().join("blobs/partial"));
        let sizes = entries.into_iter().flatten().flatten();
        sizes
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum()
    };
    let deadline = Instant::now() + Duration::from_mins(2);
    while partials() < 8 << 20 {
        assert!(!pull.has_ended(), "{}", pull.printed());
        assert!(Instant::now() < deadline, "{} bytes", partials());
        std::thread::sleep(Duration::from_millis(20));
    }
    pull.signal(Signal::KILL);
    drop(pull);
    let kept = partials();
    let names = back
        .slugc()
        .args(["images", "--output", "json"])
        .run()
        .success()
        .json();
    assert_eq!(names.as_array().map(Vec::len), Some(0), "{names}");

    let wire = Wire::to(&registry, u64::MAX);
    back.slugc()
        .args(["pull", &place(&wire.host), "-t", "shop:1"])
        .run()
        .success()
        .says(&[&digest]);
    let total: u64 = std::fs::read_dir(back.store().join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let received = wire.received.load(Ordering::Relaxed);
    assert!(
        received < total - kept / 2,
        "{received} of {total}, {kept} were there"
    );
    assert_eq!(partials(), 0);
}

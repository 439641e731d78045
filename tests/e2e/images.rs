//! What `-o oci:DIR` writes is an image for everybody else, too.

use crate::{as_each_user, context};
use std::path::{Path, PathBuf};
use std::process::Command;
use test_support::{
    Need, TestContext, Who, free_port, output_of, read_layout, requires, wait_for_http,
};

fn layout(t: &TestContext, fixture: &str) -> PathBuf {
    layout_in(t, fixture, t.scratch().join("layout"))
}

/// Builds an app into a layout with the tag `latest`.
fn layout_in(t: &TestContext, fixture: &str, folder: PathBuf) -> PathBuf {
    let app = t.fixture(fixture);
    t.slugc_in(&app)
        .args(["build", ".", "-o"])
        .arg(format!("oci:{}:latest", folder.display()))
        .run()
        .success();
    folder
}

fn peer(program: &str, arguments: &[&str]) -> String {
    output_of(program, arguments, Path::new("/"))
}

as_each_user! {
    /// Digests, sizes and counts are what the layout says they are.
    fn layouts_are_sound(t: &TestContext) {
        let folder = layout(t, "flask-gunicorn");
        let image = read_layout(&folder);
        assert_eq!(image.config.os, "linux");
        assert_eq!(image.config.config.working_dir, "/workspace");
        let labels = &image.config.config.labels;
        for label in ["io.buildpacks.lifecycle.metadata", "io.buildpacks.build.metadata", "io.buildpacks.project.metadata"] {
            assert!(labels.contains_key(label), "{labels:?}");
        }
        // Written again over the old one, it is replaced as a whole.
        let app = t.fixture("worker-only");
        let digest = t
            .slugc_in(&app)
            .args(["build", ".", "-o"])
            .arg(format!("oci:{}:latest", folder.display()))
            .run()
            .success()
            .digest();
        assert_eq!(read_layout(&folder).digest.to_string(), digest);
    }
}

#[test]
fn skopeo_and_umoci() {
    requires!(Need::Program("skopeo"), Need::Program("umoci"), Need::Root);
    let Some(t) = context(Who::Plain) else { return };
    let folder = layout(&t, "flask-gunicorn");
    let tagged = format!("{}:latest", folder.display());
    let inspected = peer("skopeo", &["inspect", &format!("oci:{tagged}")]);
    assert!(
        inspected.contains(&read_layout(&folder).digest.to_string()),
        "{inspected}"
    );
    let copy = t.scratch().join("copy");
    peer(
        "skopeo",
        &[
            "copy",
            "--quiet",
            &format!("oci:{tagged}"),
            &format!("dir:{}", copy.display()),
        ],
    );
    let bundle = t.scratch().join("bundle");
    peer(
        "umoci",
        &["unpack", "--image", &tagged, &bundle.to_string_lossy()],
    );
    let root = bundle.join("rootfs");
    for path in [
        "workspace/app.py",
        "cnb/lifecycle/launcher",
        "usr/bin/python3",
    ] {
        assert!(root.join(path).exists(), "{path}");
    }
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata(root.join("workspace/app.py")).unwrap(),
    );
    assert_eq!(owner, 1000);
}

#[test]
fn docker_runs_it() {
    requires!(Need::DockerEngine, Need::Program("skopeo"));
    let Some(t) = context(Who::Plain) else { return };
    let folder = layout(&t, "django-static-db");
    let name = format!("slugc-e2e-{}:latest", std::process::id());
    let archive = t.scratch().join("image.tar");
    peer(
        "skopeo",
        &[
            "copy",
            "--quiet",
            &format!("oci:{}:latest", folder.display()),
            &format!("docker-archive:{}:{name}", archive.display()),
        ],
    );
    peer(
        "docker",
        &["load", "--quiet", "--input", &archive.to_string_lossy()],
    );
    let image = Removed {
        what: "image",
        name: name.clone(),
    };
    let port = free_port().to_string();
    let container = peer(
        "docker",
        &[
            "run",
            "--detach",
            "--network",
            "host",
            "--env",
            &format!("PORT={port}"),
            &name,
        ],
    );
    let container = Removed {
        what: "container",
        name: container.trim().to_owned(),
    };
    let page = wait_for_http(port.parse().unwrap(), "/titles.json", || None);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Solaris (1961)"), "{}", page.body);
    // The launcher runs any other command in the app's environment.
    let version = peer(
        "docker",
        &[
            "run",
            "--rm",
            "--entrypoint",
            "/cnb/lifecycle/launcher",
            &name,
            "python",
            "-c",
            "import django; print(django.__version__)",
        ],
    );
    assert_eq!(version, "5.2.19\n");
    drop(container);
    drop(image);
}

#[test]
fn podman_runs_it() {
    requires!(Need::Root, Need::Program("podman"), Need::Program("runc"));
    let Some(t) = context(Who::Plain) else {
        return;
    };
    // podman wants the path of its state to have at most 50 characters, and that of a layout to
    // be in lower case.
    let folder = PathBuf::from(format!("/tmp/slugc-podman-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    t.give(&folder);
    let _removed = RemovedFolder(folder.clone());
    let layout = layout_in(&t, "flask-gunicorn", folder.join("layout"));
    let (root, state) = (folder.join("root"), folder.join("state"));
    // runc, because Debian 12's crun refuses hosts with both versions of cgroups; limits below
    // the test's own, because a container may lack the right to raise them.
    let image = format!("oci:{}:latest", layout.display());
    let report = peer(
        "podman",
        &[
            "--root",
            root.to_str().unwrap(),
            "--runroot",
            state.to_str().unwrap(),
            "--runtime",
            "runc",
            "run",
            "--rm",
            "--network",
            "host",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
            "--entrypoint",
            "/cnb/process/report",
            &image,
        ],
    );
    assert!(report.contains("routes: / /process"), "{report}");
}

/// A folder of podman's, with what it left mounted there.
struct RemovedFolder(PathBuf);

impl Drop for RemovedFolder {
    fn drop(&mut self) {
        // The test may be failing already, with a better reason than this.
        for mount in ["root/overlay", "root"] {
            drop(
                Command::new("umount")
                    .arg("--lazy")
                    .arg(self.0.join(mount))
                    .output(),
            );
        }
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Something in the Docker engine that goes with the test.
struct Removed {
    what: &'static str,
    name: String,
}

impl Drop for Removed {
    fn drop(&mut self) {
        // The test may be failing already, with a better reason than this.
        drop(
            Command::new("docker")
                .args([self.what, "rm", "--force", &self.name])
                .output(),
        );
    }
}

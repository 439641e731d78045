//! Full disks, no network, wrong command lines, damaged stores.

use crate::{BINARY, as_each_user, context};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use test_support::{Need, TestContext, Who, output_of, read_layout, requires};

/// A small file system of its own, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={size},mode=0700");
        output_of(
            "mount",
            &["-t", "tmpfs", "-o", &options, "none", &at.to_string_lossy()],
            "/".as_ref(),
        );
        Self(at)
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        output_of(
            "mount",
            &["-o", &options, &self.0.to_string_lossy()],
            "/".as_ref(),
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The test may be failing already, with a better reason than this.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).output());
    }
}

#[test]
fn full_disk_while_building() {
    requires!(Need::Root, Need::Program("mount"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Root) else {
        return;
    };
    let app = t.fixture("django-static-db");
    let disk = SmallDisk::mount(t.store().join("apps"), "12m");
    let failed = t.slugc_in(&app).args(["build", "."]).run();
    assert_ne!(failed.code(), 0);
    let text = (failed.stdout.clone() + &failed.stderr).to_lowercase();
    assert!(
        text.contains("no space left on device") || text.contains("disk is full"),
        "{text}"
    );
    disk.grow("500m");
    t.slugc_in(&app).args(["build", "."]).run().success();
    t.slugc_in(&app).args(["run", "true"]).run().success();
    drop(disk);
}

#[test]
fn full_disk_while_bootstrapping() {
    requires!(Need::Root, Need::Program("mount"));
    let Some(t) = TestContext::bare(BINARY, Who::Root) else {
        return;
    };
    let disk = SmallDisk::mount(t.store(), "20m");
    t.slugc()
        .args(["stack", "create"])
        .run()
        .failure(5)
        .says(&["No space left on device"]);
    t.slugc()
        .args(["stack", "list"])
        .run()
        .success()
        .never_says(&["slug-13"]);
    drop(disk);
}

/// Without any network, what is there is enough; what is not there is asked for by name.
#[test]
fn no_network() {
    requires!(Need::Root, Need::Program("unshare"));
    let Some(t) = context(Who::Root) else { return };
    let app = t.fixture("worker-only");
    let offline = |arguments: &[&str]| t.slugc_in(&app).without_network().args(arguments).run();
    // Which of the two is missing first depends on whether the store has uv.
    let failed = offline(&["build", "."]).failure(51).says(&["network"]);
    let output = format!("{}{}", failed.stdout, failed.stderr);
    let causes = [
        "could not be fetched",
        "could not be reached",
        "name of the package index could not be found",
    ];
    assert!(
        causes.iter().any(|cause| output.contains(cause)),
        "{output}"
    );
    t.slugc_in(&app).args(["build", "."]).run().success();
    offline(&["build", "."]).success().says(&["up to date"]);
    app.append("worker.py", "\n# A line more.\n");
    offline(&["build", "."]).success();
    offline(&["run", "python", "-c", "import schedule"]).success();
    let Some(empty) = TestContext::bare(BINARY, Who::Root) else {
        return;
    };
    empty
        .slugc()
        .without_network()
        .args(["stack", "create"])
        .run()
        .failure(4)
        .says(&["--mirror"]);
}

#[test]
fn wrong_command_lines() {
    let Some(t) = context(Who::Plain) else { return };
    for line in [
        &["buidl"][..],
        &["build", "-e", "=x"],
        &["build", "-o", "tar:x"],
        &["build", "-q", "-v"],
        &["launch", "--port", "70000"],
        &["run"],
        &["inspect", "-a", "Not A Name"],
    ] {
        let failed = t.slugc().args(line).run().failure(2);
        assert!(!failed.stderr.is_empty(), "{line:?} fails without a word");
    }
    t.slugc()
        .arg("--help")
        .run()
        .success()
        .says(&["slugc build .", "Examples"]);
}

as_each_user! {
    /// What a crash or a curious user did to an app's folder does not stop the next build.
    fn damaged_records(t: &TestContext) {
        let app = t.fixture("worker-only");
        let digest = t.slugc_in(&app).args(["build", "."]).run().success().digest();
        let folder = t.store().join("apps").join(app.name());
        fs::write(folder.join("build.json"), "{").unwrap();
        assert_eq!(t.slugc_in(&app).args(["build", "."]).run().success().digest(), digest);
        fs::remove_dir_all(folder.join("layers")).unwrap();
        assert_eq!(t.slugc_in(&app).args(["build", ".", "--refresh"]).run().success().digest(), digest);
    }
}

/// A layer that vanished from the store is made again, and what is written is whole.
#[test]
fn missing_blob() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let app = t.fixture("worker-only");
    let digest = t
        .slugc_in(&app)
        .args(["build", "."])
        .run()
        .success()
        .digest();
    let seen = t
        .slugc_in(&app)
        .args(["inspect", "--output", "json"])
        .run()
        .success()
        .json();
    for layer in seen["layers"].as_array().unwrap() {
        let hex = layer["digest"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:");
        fs::remove_file(t.store().join("blobs/sha256").join(hex)).unwrap();
    }
    let layout = t.scratch().join("layout");
    t.slugc_in(&app)
        .args(["build", ".", "-o"])
        .arg(format!("oci:{}", layout.display()))
        .run()
        .success();
    assert_eq!(read_layout(&layout).digest.to_string(), digest);
}

//! `slugc manifest`: indexes of images for several platforms.

use crate::BINARY;
use crate::registry::{Registry, Wire};
use oci_image::{BlobStore, Image, layout};
use std::path::Path;
use std::sync::atomic::Ordering;
use test_support::{Need, TestContext, Who, output_of, requires};

/// The app's image as somebody's arm64 machine would have built it, as far as its documents tell.
fn on_arm(t: &TestContext, from: &Path, to: &Path) {
    let store = BlobStore::open(t.scratch().join("arm-blobs")).unwrap();
    let manifest = layout::import(from, &store, None).unwrap();
    let mut image = Image::load(&store, &manifest.digest).unwrap();
    "arm64".clone_into(&mut image.config.architecture);
    image.config.variant = Some("v8".to_owned());
    let manifest = image.save(&store).unwrap();
    layout::write(to, &store, &manifest, Some("1")).unwrap();
    t.give(to);
}

/// What others see that a registry's index is for.
fn platforms(t: &TestContext, name: &str) -> Vec<String> {
    let raw = output_of(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{name}"),
        ],
        t.scratch(),
    );
    let seen: serde_json::Value = serde_json::from_str(&raw).unwrap();
    let entries = seen["manifests"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| entry["platform"].to_string())
        .collect()
}

#[test]
fn one_name_for_two_platforms() {
    requires!(Need::Program("docker-registry"), Need::Program("skopeo"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let app = t.fixture("worker-only");
    let (amd, arm) = (t.scratch().join("amd"), t.scratch().join("arm"));
    let place = |folder: &Path| format!("oci:{}:1", folder.display());
    let of_amd = t
        .slugc_in(&app)
        .args(["build", ".", "-o", &place(&amd)])
        .run()
        .success()
        .digest();
    on_arm(&t, &amd, &arm);
    let at = |name: &str| format!("{}/{name}", registry.host);
    t.slugc()
        .args(["copy", app.name(), &at("amd/shop:1")])
        .run()
        .success();
    let index = at("team/shop:1.4");
    let create = t
        .slugc()
        .args(["manifest", "create", &index, app.name(), &place(&arm)]);
    let created = create.run().success();
    let digest = created.digest();
    created.says(&["linux/amd64", "linux/arm64/v8"]);
    t.slugc()
        .args(["manifest", "push", &index])
        .run()
        .success()
        .says(&["taken from another repository"]);
    let platforms = platforms(&t, &index);
    assert_eq!(
        platforms,
        [
            r#"{"architecture":"amd64","os":"linux"}"#,
            r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#
        ]
    );
    // Everybody gets theirs.
    for (platform, expected) in [("linux/amd64", true), ("linux/arm64", false)] {
        let pulled = t.slugc().args(["pull", &index, "--platform", platform]);
        let pulled = pulled.run().success().digest();
        assert_eq!(pulled == of_amd, expected, "{platform}");
    }
    // An index of what is in the registry already is put together there.
    let other = TestContext::bare(BINARY, Who::Plain).unwrap();
    let wire = Wire::to(&registry, u64::MAX);
    let (from, to) = (
        format!("{}/team/shop:1.4", wire.host),
        format!("{}/copy/shop:1", wire.host),
    );
    let again = other.slugc().args(["manifest", "create", &to, &from]);
    assert_eq!(again.run().success().digest(), digest);
    // Until it is pushed, its documents stay.
    other.slugc().args(["cache", "prune"]).run().success();
    other
        .slugc()
        .args(["manifest", "push", &to])
        .run()
        .success()
        .says(&["Sent 0 blobs", &digest]);
    let received = wire.received.load(Ordering::Relaxed);
    assert!(received < 200_000, "{received} bytes came");
    // Into a layout, with what that brings.
    let copied = other.scratch().join("copied");
    other
        .slugc()
        .args(["manifest", "push", &to, &place(&copied)])
        .run()
        .success();
    let there = other.slugc().args(["manifest", "inspect", &to]).run();
    there.success().says(&["linux/arm64/v8", &of_amd]);
    other
        .slugc()
        .args(["manifest", "create", "again", &place(&copied)])
        .run()
        .success()
        .says(&[&digest]);
    // An index cannot be rebased in its place.
    let rebase = other.slugc().args(["rebase", &to]).run();
    rebase.failure(3).says(&["index", "-o PLACE"]);
    other.slugc().args(["manifest", "rm", &to]).run().success();
    other
        .slugc()
        .args(["manifest", "push", &to])
        .run()
        .failure(3)
        .says(&["no index"]);
}

#[test]
fn what_makes_no_index() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let app = t.fixture("worker-only");
    t.slugc_in(&app)
        .args(["build", ".", "-t", "first:1"])
        .run()
        .success();
    app.append("worker.py", "\n# A line more.\n");
    t.slugc_in(&app).args(["build", "."]).run().success();
    let two = ["manifest", "create", "shop:1", "first:1", app.name()];
    let two = t.slugc().args(two).run();
    two.failure(3)
        .says(&["two of the images are for linux/amd64"]);
    let one = ["manifest", "create", "shop:1", "first:1", "first:1"];
    t.slugc().args(one).run().success();
    let place = format!("docker-archive:{}", t.scratch().join("x.tar").display());
    let push = t.slugc().args(["manifest", "push", "shop:1", &place]).run();
    push.failure(2).says(&["oci:DIR"]);
    let push = t.slugc().args(["manifest", "push", "shop:1"]).run();
    push.failure(2).says(&["neither a registry"]);
}

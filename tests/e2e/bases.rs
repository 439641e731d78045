//! What images stand on: `slugc rebase`, `outdated`, `stack push|pull` and `build --run-image`.

use crate::registry::{Registry, Wire};
use crate::{BINARY, as_each_user, context};
use oci_image::{BlobStore, Compression, Image, Owner, layout, write_layer};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use test_support::{Need, TestContext, Who, read_layout, requires};

/// The file that only the newer run image has.
const NEWER: &str = "etc/newer-base";

/// How [`changed`] changes an image.
pub(super) type Change<'a> = &'a dyn Fn(&mut Image, &BlobStore);

/// An image in a layout, changed: what a maintainer of a base would publish next.
pub(super) fn changed(t: &TestContext, from: &Path, name: &str, change: Change<'_>) -> PathBuf {
    let store = BlobStore::open(t.scratch().join(format!("{name}-blobs"))).unwrap();
    let manifest = layout::import(from, &store, None).unwrap();
    let mut image = Image::load(&store, &manifest.digest).unwrap();
    change(&mut image, &store);
    let manifest = image.save(&store).unwrap();
    let folder = t.scratch().join(name);
    layout::write(&folder, &store, &manifest, Some("13")).unwrap();
    t.give(&folder);
    folder
}

/// With one more file, in a layer of its own.
fn with_file(image: &mut Image, store: &BlobStore) {
    let root = Owner { uid: 0, gid: 0 };
    let content = b"the new one\n";
    let layer = write_layer::<oci_image::LayerError>(store, Compression::default(), |tar| {
        tar.file(NEWER, 0o644, root, content.len() as u64, &content[..])
    });
    let layer = layer.unwrap();
    image.manifest.layers.push(layer.descriptor());
    image.config.rootfs.diff_ids.push(layer.diff_id);
    image.config.history.push(oci_image::History::default());
}

/// The stack's run image as a layout, and a newer one.
fn bases(t: &TestContext) -> (PathBuf, PathBuf) {
    let old = t.scratch().join("run");
    let place = format!("oci:{}:13", old.display());
    t.slugc()
        .args(["stack", "export", "--run", &place])
        .run()
        .success();
    let newer = changed(t, &old, "newer", &with_file);
    (old, newer)
}

fn place(folder: &Path) -> String {
    format!("oci:{}:13", folder.display())
}

as_each_user! {
    /// The app's layers stay what they are, and run on the new base; a rebased app is released.
    fn an_app_gets_a_new_base(t: &TestContext) {
        let (_, newer) = bases(t);
        let app = t.fixture("worker-only");
        let built = t.slugc_in(&app).args(["build", "."]).run().success().digest();
        t.slugc().args(["run", "-a", app.name(), "cat", &format!("/{NEWER}")]).run().failure(1);
        let stranger = changed(t, &newer, "stranger", &|image, _| {
            image.config.config.labels.insert("io.buildpacks.base.id".into(), "other".into());
        });
        let stranger = place(&stranger);
        let rebase = ["rebase", app.name(), "--run-image", &stranger];
        t.slugc().args(rebase).run().failure(3).says(&["none of the bases", "slug-13", "--force"]);
        let elsewhere = place(&t.scratch().join("forced"));
        t.slugc().args(rebase).args(["--force", "-o", &elsewhere]).run().success().says(&["warning"]);
        // The same base under another name needs no force.
        let rebased = t.slugc().args(["rebase", app.name(), "--run-image", &place(&newer)]).run();
        let rebased = rebased.success().says(&["Released v2"]).digest();
        assert_ne!(rebased, built);
        let run = t.slugc().args(["run", "-a", app.name(), "cat", &format!("/{NEWER}")]).run();
        run.success().says(&["the new one"]);
        let (old, new) = (t.scratch().join("built"), t.scratch().join("rebased"));
        let copy = |from: &str, to: &Path| {
            t.slugc().args(["copy", from, &place(to)]).run().success();
            read_layout(to)
        };
        let new = copy(app.name(), &new);
        assert_eq!(new.digest.to_string(), rebased);
        t.slugc().args(["rollback", "v1", "-a", app.name()]).run().success();
        t.slugc_in(&app).args(["build", ".", "-o", &place(&old)]).run().success();
        let old = read_layout(&old);
        assert_eq!(new.config.rootfs.diff_ids[2..], old.config.rootfs.diff_ids[1..]);
        assert_eq!(new.config.rootfs.diff_ids.len(), new.config.history.len());
    }
}

/// In a registry, a rebase sends a configuration and a manifest, and brings nothing but such.
#[test]
fn a_registry_rebases_by_itself() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let (_, newer) = bases(&t);
    let app = t.fixture("worker-only");
    t.slugc_in(&app).args(["build", "."]).run().success();
    let at = |host: &str, name: &str| format!("{host}/{name}");
    let (shop, run) = ("team/shop:1", "base/run:13");
    t.slugc_in(&app)
        .args(["push", &at(&registry.host, shop)])
        .run()
        .success();
    t.slugc()
        .args(["copy", &place(&newer), &at(&registry.host, run)])
        .run()
        .success();

    // On a machine that has neither.
    let other = TestContext::bare(BINARY, Who::Plain).unwrap();
    let wire = Wire::to(&registry, u64::MAX);
    let (shop, run) = (at(&wire.host, shop), at(&wire.host, run));
    let rebase = ["rebase", &shop, "--run-image", &run];
    let rebased = other.slugc().args(rebase).run().success();
    let digest = rebased.digest();
    let received = wire.received.load(Ordering::Relaxed);
    assert!(received < 200_000, "{received} bytes came");
    let again = other.slugc().args(rebase).run().success();
    again.says(&["already", "nothing sent", &digest]);
    // The image goes on naming what it stands on now, so that nothing is outdated.
    let seen = other.slugc().args(["outdated", &shop, "--json"]).run();
    let seen = seen.success().json();
    assert_eq!(seen[0]["state"], "current", "{seen}");
    assert_eq!(seen[0]["base"], run, "{seen}");
    other
        .slugc()
        .args(["inspect", &shop])
        .run()
        .success()
        .says(&[&digest, "worker"]);
    // The base goes on, and the image is behind.
    let newest = changed(&t, &newer, "newest", &|image, store| {
        with_file(image, store);
    });
    other
        .slugc()
        .args(["copy", &place(&newest), &run])
        .run()
        .success();
    let advice = format!("slugc rebase {shop} --publish");
    let outdated = other.slugc().args(["outdated", &shop]).run();
    outdated.success().says(&["outdated", &advice]);
    let rebase = other.slugc().args(["rebase", &shop, "--publish"]).run();
    rebase.success().says(&["layers: 3"]);
    // By its digest an image cannot be replaced, but be the source of another one.
    let by_digest = format!("{}@{digest}", shop.rsplit_once(':').unwrap().0);
    let refused = other.slugc().args(["rebase", &by_digest]).run();
    refused.failure(3).says(&["by its digest", "-o PLACE"]);
    let target = format!("{}/other/shop:2", wire.host);
    let elsewhere = other.slugc().args(["rebase", &by_digest, "-o", &target]);
    elsewhere.run().success().says(&["Sent 1 blobs"]);
    let copied = other.scratch().join("copied");
    let there = other.slugc().args(["copy", &shop, &place(&copied)]).run();
    there.success();
    assert_eq!(read_layout(&copied).manifest.layers.len(), 3 + 6);
}

/// From one registry to a base in another one, only layers travel that the target lacks.
#[test]
fn a_base_comes_from_another_registry() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let (_, newer) = bases(&t);
    let app = t.fixture("worker-only");
    let shop = format!("{}/team/shop:1", registry.host);
    t.slugc_in(&app)
        .args(["build", ".", "-t", &shop, "--publish"])
        .run()
        .success();
    let base = place(&newer);
    let rebase = ["rebase", &shop, "--publish", "--run-image", &base];
    let rebased = t.slugc().args(rebase).run().success();
    rebased.says(&["Sent 2 blobs", "7 were there"]);
    let missing = format!("{}/team/none:1", registry.host);
    let none = t.slugc().args(["rebase", &missing]).run();
    none.failure(3).says(&["no image", &missing]);
}

#[test]
fn a_base_that_does_not_fit_is_refused() {
    let Some(t) = context(Who::Plain) else { return };
    let (old, _) = bases(&t);
    let app = t.fixture("worker-only");
    t.slugc_in(&app).args(["build", "."]).run().success();
    let arm = changed(&t, &old, "arm", &|image, store| {
        with_file(image, store);
        "arm64".clone_into(&mut image.config.architecture);
    });
    let ubuntu = changed(&t, &old, "ubuntu", &|image, store| {
        with_file(image, store);
        let labels = &mut image.config.config.labels;
        labels.insert("io.buildpacks.base.distro.name".into(), "ubuntu".into());
    });
    let rebase = |base: &Path| {
        let platform = if base.ends_with("arm") {
            "arm64"
        } else {
            "amd64"
        };
        let name = format!("{}-{}:1", base.file_name().unwrap().display(), app.name());
        let platform = format!("linux/{platform}");
        t.slugc()
            .args(["pull", &place(base), "-t", &name, "--platform", &platform])
            .run()
            .success();
        t.slugc()
            .args(["rebase", app.name(), "--run-image", &name])
            .run()
    };
    rebase(&arm)
        .failure(3)
        .says(&["linux/arm64", "linux/amd64"]);
    rebase(&ubuntu).failure(3).says(&["ubuntu 13", "debian 13"]);
    let foreign = t.slugc().args(["rebase", &place(&old)]).run();
    foreign.failure(3).says(&["cannot tell the image's base"]);
    for base in [&arm, &ubuntu] {
        let name = format!("{}-{}:1", base.file_name().unwrap().display(), app.name());
        t.slugc().args(["rmi", &name]).run().success();
    }
}

fn check_stack_travels(who: Who) {
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    let target = format!("oci:{}:13", t.scratch().join("stack").display());
    t.slugc().args(["stack", "push", &target]).run().success();
    let app = t.fixture("worker-only");
    let built = t.slugc_in(&app).args(["build", "."]).run().success();
    let other = TestContext::bare(BINARY, who).unwrap();
    let pulled = other.slugc().args(["stack", "pull", &target]).run();
    pulled.success().says(&["slug-13 sha256:"]);
    let inspected = |t: &TestContext| {
        let shown = t
            .slugc()
            .args(["stack", "inspect", "--output", "json"])
            .run();
        shown.success().json()
    };
    assert_eq!(inspected(&other), inspected(&t));
    // What is built on it is the same image, and no package is fetched for the stack.
    let copy = app.duplicate(other.scratch());
    let again = other
        .slugc_in(&copy)
        .args(["build", ".", "--mirror", "http://127.0.0.1:9/"])
        .run()
        .success();
    assert_eq!(again.digest(), built.digest());
    other
        .slugc_in(&copy)
        .args(["run", "python3", "--version"])
        .run()
        .success();
    let shop = format!("oci:{}:13-build", t.scratch().join("shop").display());
    t.slugc().args(["copy", app.name(), &shop]).run().success();
    let wrong = format!("oci:{}:13", t.scratch().join("shop").display());
    let wrong = other.slugc().args(["stack", "pull", &wrong]).run();
    wrong.failure(3).says(&["no stack's build image"]);
    let wrong = other.slugc().args(["stack", "push", "podman:x"]).run();
    wrong.failure(2).says(&["two images"]);
}

#[test]
fn a_stack_travels_as_root() {
    check_stack_travels(Who::Root);
}

#[test]
fn a_stack_travels_as_plain_user() {
    check_stack_travels(Who::Plain);
}

#[test]
fn apps_are_built_on_another_run_image() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let (old, newer) = bases(&t);
    let run = format!("{}/base/run:13", registry.host);
    t.slugc()
        .args(["copy", &place(&newer), &run])
        .run()
        .success();
    let app = t.fixture("worker-only");
    let on = |base: &str| {
        let call = t.slugc_in(&app).args(["build", ".", "--run-image", base]);
        call.run()
    };
    let built = on(&run).success().digest();
    let file = format!("/{NEWER}");
    t.slugc_in(&app)
        .args(["run", "cat", &file])
        .run()
        .success()
        .says(&["the new one"]);
    // Nothing changed: the registry is not asked.
    drop(registry);
    let again = on(&run).success().says(&["up to date"]);
    assert_eq!(again.digest(), built);
    let place_of = place(&t.scratch().join("image"));
    t.slugc_in(&app).args(["push", &place_of]).run().success();
    let image = read_layout(&t.scratch().join("image"));
    let label = &image.config.config.labels["io.buildpacks.lifecycle.metadata"];
    assert!(label.contains(&run), "{label}");
    // A path of this machine is no name for others.
    let local = on(&place(&newer)).success().digest();
    assert_ne!(local, built);
    let empty = changed(&t, &old, "empty", &|image, store| {
        image.manifest.layers.clear();
        image.config.rootfs.diff_ids.clear();
        image.config.history.clear();
        with_file(image, store);
    });
    on(&place(&empty)).failure(3).says(&[
        "lacks what the app needs",
        "/usr/bin/python3",
        "/bin/bash",
    ]);
    let arm = changed(&t, &old, "arm", &|image, _| {
        "arm64".clone_into(&mut image.config.architecture);
    });
    on(&place(&arm)).failure(3).says(&["linux/arm64"]);
    // What failed changed nothing.
    let after = t.slugc_in(&app).args(["inspect", "--output", "json"]).run();
    assert_eq!(after.success().json()["digest"], local);
}

/// `--run-image` obeys the pull policy; in builds, `slugc settings registry-mirrors` comes before registries.conf.
#[test]
fn run_images_are_pulled_by_the_policy() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let (old, newer) = bases(&t);
    let run = format!("{}/base/run:13", registry.host);
    let copy = |base: &Path| {
        let call = t.slugc().args(["copy", &place(base), &run]);
        call.run().success();
    };
    copy(&old);
    let app = t.fixture("worker-only");
    let on = |base: &str, more: &[&str]| {
        let call = t.slugc_in(&app).args(["build", ".", "--run-image", base]);
        call.args(more).run()
    };
    on(&run, &["--pull-policy", "never"]).failure(3).says(&[
        "there is no image",
        &run,
        "slugc pull",
    ]);
    let first = on(&run, &[]).success().digest();
    copy(&newer);
    let unasked = on(&run, &["--pull-policy", "never"]).success();
    assert_eq!(unasked.says(&["up to date"]).digest(), first);
    let always = on(&run, &["--pull-policy", "always"]).success().digest();
    assert_ne!(always, first);

    let settings = |words: &[&str]| t.slugc().arg("settings").args(words).run().success();
    let mirrored = "registry.invalid/base/run:13";
    settings(&[
        "registry-mirrors",
        "add",
        "registry.invalid",
        "-m",
        &registry.host,
    ]);
    let folder = t.home().join(".config/containers");
    std::fs::create_dir_all(&folder).unwrap();
    let conf = |text: &str| {
        std::fs::write(folder.join("registries.conf"), text).unwrap();
        t.give(&t.home());
    };
    let mirror = "[[registry]]\nprefix = \"registry.invalid\"\n[[registry.mirror]]\nlocation = \"mirror.invalid\"\n";
    conf(mirror);
    let built = on(mirrored, &[]).success();
    assert_ne!(built.never_says(&["passing over"]).digest(), always);
    // Other commands know registries.conf alone.
    let pull = t.slugc().args(["pull", mirrored]).run();
    pull.failure(4)
        .says(&["passing over the mirror", "registry.invalid"]);
    conf("[[registry]]\nprefix = \"registry.invalid\"\nblocked = true\n");
    on(mirrored, &["--pull-policy", "always"])
        .failure(3)
        .says(&["blocked"]);
    settings(&["pull-policy", "always"]);
    drop(registry);
    on(&run, &[]).failure(4).says(&[&run]);
}

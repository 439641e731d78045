//! `slugc push --compression zstd`.

use crate::BINARY;
use crate::places::built;
use crate::registry::Registry;
use oci_image::{BlobStore, Image};
use test_support::{Need, TestContext, Who, output_of, read_layout, requires};

#[test]
fn layers_go_as_zstd_when_that_is_wanted() {
    requires!(Need::Program("docker-registry"), Need::Program("skopeo"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let (app, digest) = built(&t, &[]);
    let target = format!("{}/team/shop:zstd", registry.host);
    let push = ["push", &target, "--compression", "zstd:9"];
    let pushed = t.slugc_in(&app).args(push).run().success().digest();
    assert_ne!(pushed, digest);
    let again = t.slugc_in(&app).args(push).run().success();
    assert_eq!(again.says(&["nothing sent"]).digest(), pushed);
    // Others read it, and what it unpacks to is what it was.
    let copy = t.scratch().join("copy");
    let there = format!("docker://{target}");
    let here = format!("oci:{}:1", copy.display());
    let arguments = ["copy", "--quiet", "--src-tls-verify=false", &there, &here];
    output_of("skopeo", &arguments, t.scratch());
    let image = read_layout(&copy);
    assert_eq!(image.digest.to_string(), pushed);
    let types: Vec<&str> = image
        .manifest
        .layers
        .iter()
        .map(|layer| layer.media_type.rsplit('+').next().unwrap())
        .collect();
    assert_eq!(
        types,
        ["gzip", "zstd", "zstd", "zstd", "zstd", "zstd", "zstd"]
    );
    let plain = t.scratch().join("plain");
    let place = format!("oci:{}", plain.display());
    t.slugc_in(&app).args(["push", &place]).run().success();
    assert_eq!(
        read_layout(&plain).config.rootfs.diff_ids,
        image.config.rootfs.diff_ids
    );
    // It comes back, and unpacks to the same here, too.
    let back = TestContext::with_own_store(BINARY, Who::Plain).unwrap();
    back.slugc()
        .args(["pull", &target])
        .run()
        .success()
        .says(&[&pushed]);
    let blobs = BlobStore::open(back.store().join("blobs")).unwrap();
    let image = Image::load(&blobs, &pushed.parse().unwrap()).unwrap();
    let unpacked = image.manifest.layers.iter();
    let unpacked: Vec<_> = unpacked
        .map(|layer| blobs.diff_id(&layer.digest).unwrap())
        .collect();
    assert_eq!(unpacked, image.config.rootfs.diff_ids);
    for refused in ["zstd:0", "zstd:20", "gzip:3", "zstd:x"] {
        let push = ["push", &target, "--compression", refused];
        t.slugc_in(&app).args(push).run().failure(2).says(&[
            &format!("invalid value '{refused}'"),
            "a level from 1 to 19",
        ]);
    }
    let archive = format!("docker-archive:{}", t.scratch().join("x.tar").display());
    let push = ["push", &archive, "--compression", "zstd"];
    t.slugc_in(&app)
        .args(push)
        .run()
        .failure(2)
        .says(&["no zstd"]);
    assert!(!t.scratch().join("x.tar").exists());
}

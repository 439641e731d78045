//! Pulling, from friendly registries and lying ones.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use oci_image::{BlobStore, Descriptor, Digest, Index, Platform, media_type};
use oci_registry::{Client, PullError, Timeouts, pull};

use crate::images::{
    Store, ann, chain, client, client_as, for_amd64, image, image_for, manifest, options,
    reference, store,
};
use test_support::registry::{Auth, Profile, Registry};

const MIB: usize = 1 << 20;

/// A registry that has an image as `app:latest`.
fn serving(profile: Profile, lengths: &[usize]) -> (Registry, Store, Descriptor) {
    let (registry, source) = (Registry::start(profile), store());
    let image = image(&source.blobs, lengths);
    publish(&registry, &source.blobs, &image, "latest");
    (registry, source, image)
}

fn publish(registry: &Registry, source: &BlobStore, image: &Descriptor, name: &str) {
    let parsed = manifest(source, image);
    for blob in parsed.layers.iter().chain([&parsed.config]) {
        registry.put_blob("app", &source.read(&blob.digest).unwrap());
    }
    registry.put_manifest(
        "app",
        name,
        &image.media_type,
        &source.read(&image.digest).unwrap(),
    );
}

fn assert_whole(store: &BlobStore, image: &Descriptor) {
    let parsed = manifest(store, image);
    for blob in parsed.layers.iter().chain([&parsed.config]) {
        assert_eq!(store.read(&blob.digest).unwrap().len() as u64, blob.size);
    }
}

/// The error of a pull that has to fail, after which the store must not name the image.
fn refused(registry: &Registry, client: &Client, name: &str, image: &Descriptor) -> String {
    let target = store();
    let error = pull(
        client,
        &target.blobs,
        &reference(&registry.host(), name),
        &for_amd64(),
    )
    .unwrap_err();
    assert!(!target.blobs.contains(&image.digest).unwrap());
    chain(&error).replace(&registry.host(), "HOST")
}

#[test]
fn everything_is_brought_and_nothing_twice() {
    let (registry, _, image) = serving(Profile::default(), &[2 * MIB, 10, 0, 5]);
    let (target, client) = (store(), client(&registry.host()));
    let pulled = pull(
        &client,
        &target.blobs,
        &reference(&registry.host(), "app"),
        &for_amd64(),
    )
    .unwrap();
    assert_eq!(
        (pulled.manifest.digest, pulled.received, pulled.present),
        (image.digest, 5, 0)
    );
    assert_whole(&target.blobs, &image);

    registry.forget_log();
    let by_digest = reference(&registry.host(), &format!("app@{}", image.digest));
    let pulled = pull(&client, &target.blobs, &by_digest, &for_amd64()).unwrap();
    assert_eq!((pulled.received, pulled.present), (0, 5));
    assert_eq!(registry.log().len(), 1);
}

#[test]
fn anonymous_tokens() {
    let (registry, _, image) = serving(
        Profile {
            auth: Auth::Token,
            ..Profile::default()
        },
        &[10, 20, 30],
    );
    let target = store();
    pull(
        &client(&registry.host()),
        &target.blobs,
        &reference(&registry.host(), "app"),
        &for_amd64(),
    )
    .unwrap();
    assert_whole(&target.blobs, &image);
    let asked = registry.requests("GET", "/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].queries("scope"), ["repository:app:pull"]);
}

#[test]
fn the_platforms_image_is_taken() {
    let (registry, source) = (Registry::start(Profile::default()), store());
    let entries = ["arm64", "amd64"].map(|architecture| {
        let image = image_for(&source.blobs, architecture, &[100]);
        publish(&registry, &source.blobs, &image, architecture);
        let platform = Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            os_version: None,
            variant: None,
            extra: serde_json::Map::default(),
        };
        Descriptor {
            platform: Some(platform),
            ..image
        }
    });
    let index = serde_json::to_vec(&Index::new(entries.to_vec())).unwrap();
    registry.put_manifest("app", "latest", media_type::OCI_INDEX, &index);
    let (target, client) = (store(), client(&registry.host()));
    let source = reference(&registry.host(), "app");
    let pulled = pull(&client, &target.blobs, &source, &for_amd64()).unwrap();
    assert_eq!(pulled.manifest.digest, entries[1].digest);
    assert_eq!(pulled.index.unwrap().digest, Digest::of(&index));
    assert_whole(&target.blobs, &entries[1]);

    let mut options = for_amd64();
    options.platform.architecture = "riscv64".to_owned();
    for (name, offered) in [
        ("app", "linux/arm64, linux/amd64"),
        ("app:arm64", "linux/arm64"),
    ] {
        let error = pull(
            &client,
            &target.blobs,
            &reference(&registry.host(), name),
            &options,
        )
        .unwrap_err();
        assert!(matches!(error, PullError::Platform { .. }));
        assert!(
            error.to_string().ends_with(&format!(
                "has no image for linux/riscv64, only for {offered}"
            )),
            "{error}"
        );
    }
}

#[test]
fn downloads_go_on_where_they_broke_off() {
    for ignores_ranges in [false, true] {
        let profile = Profile {
            cut_downloads: AtomicUsize::new(2),
            ignores_ranges,
            ..Profile::default()
        };
        let (registry, _, image) = serving(profile, &[3 * MIB]);
        let target = store();
        pull(
            &client(&registry.host()),
            &target.blobs,
            &reference(&registry.host(), "app"),
            &for_amd64(),
        )
        .unwrap();
        assert_whole(&target.blobs, &image);
        let ranges = registry
            .requests("GET", "/blobs/")
            .into_iter()
            .filter(|request| request.header("range").is_some());
        assert!(ranges.count() >= 1);
    }
}

#[test]
fn a_registry_that_always_breaks_off_is_given_up() {
    let profile = Profile {
        cut_downloads: AtomicUsize::new(1000),
        ..Profile::default()
    };
    let (registry, _, image) = serving(profile, &[200_000]);
    let error = refused(&registry, &client(&registry.host()), "app", &image);
    assert!(
        error.starts_with("could not download the blob sha256:")
            && error.contains("no answer from http://HOST"),
        "{error}"
    );
}

#[test]
fn an_interrupted_pull_goes_on_next_time() {
    let broken = Profile {
        cut_downloads: AtomicUsize::new(1000),
        ..Profile::default()
    };
    let (registry, _, _) = serving(broken, &[3 * MIB]);
    let target = store();
    let once = |registry: &Registry, from: &str| {
        let host = registry.host();
        let from = reference(&host, from);
        pull(&client(&host), &target.blobs, &from, &for_amd64())
    };
    once(&registry, "app").unwrap_err();

    let (registry, _, image) = serving(Profile::default(), &[3 * MIB]);
    once(&registry, "app").unwrap();
    assert_whole(&target.blobs, &image);
    let ranges: Vec<_> = registry
        .requests("GET", "/blobs/")
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert!(!ranges.is_empty());
    assert!(!ranges.contains(&"bytes=0-".to_owned()), "{ranges:?}");
}

#[test]
fn a_wrong_beginning_is_not_gone_on_from() {
    let (registry, source, image) = serving(Profile::default(), &[MIB]);
    let target = store();
    let layer = manifest(&source.blobs, &image).layers[0].clone();
    let mut partial = target
        .blobs
        .partial(&layer.digest, layer.size)
        .unwrap()
        .unwrap();
    std::io::Write::write_all(&mut partial, b"what a disk made of it").unwrap();
    drop(partial);
    let host = registry.host();
    let pulled = pull(
        &client(&host),
        &target.blobs,
        &reference(&host, "app"),
        &for_amd64(),
    );
    pulled.unwrap();
    assert_whole(&target.blobs, &image);
}

#[test]
fn redirections_get_no_credentials() {
    let elsewhere = Registry::start(Profile::default());
    let blobs_at = Some(format!("http://{}/v2/app/blobs/", elsewhere.host()));
    let (registry, source, image) = serving(
        Profile {
            auth: Auth::Basic,
            blobs_at,
            ..Profile::default()
        },
        &[1000, 2000],
    );
    publish(&elsewhere, &source.blobs, &image, "latest");
    let target = store();
    pull(
        &client_as(&registry.host(), ann()),
        &target.blobs,
        &reference(&registry.host(), "app"),
        &for_amd64(),
    )
    .unwrap();
    assert_whole(&target.blobs, &image);
    let log = elsewhere.log();
    assert_eq!(log.len(), 3);
    assert!(
        log.iter()
            .all(|request| request.header("authorization").is_none())
    );
    assert!(
        log.iter()
            .all(|request| request.query("signature").as_deref() == Some("s3cret"))
    );
}

#[test]
fn redirections_that_are_not_followed() {
    for (blobs_at, why) in [
        (
            "ftp://elsewhere.example/",
            "it redirects to no usable address",
        ),
        ("http://elsewhere.example/", "it is not encrypted"),
    ] {
        let (registry, _, image) = serving(
            Profile {
                blobs_at: Some(blobs_at.to_owned()),
                ..Profile::default()
            },
            &[10],
        );
        let error = refused(&registry, &client(&registry.host()), "app", &image);
        assert!(error.ends_with(why) && !error.contains("s3cret"), "{error}");
    }
    // To itself, for ever.
    let (registry, _, image) = serving(
        Profile {
            blobs_at: Some("/v2/app/blobs/".to_owned()),
            ..Profile::default()
        },
        &[10],
    );
    let error = refused(&registry, &client(&registry.host()), "app", &image);
    assert!(
        error.ends_with("that was one redirection too many") && !error.contains("s3cret"),
        "{error}"
    );
}

#[test]
fn wrong_content_is_refused() {
    let (registry, _, image) = serving(
        Profile {
            corrupts: Some(5000),
            ..Profile::default()
        },
        &[5000, 10],
    );
    let error = refused(&registry, &client(&registry.host()), "app", &image);
    assert!(
        error.contains("the registry sent wrong content for sha256:"),
        "{error}"
    );
}

#[test]
fn a_manifest_that_is_not_its_digest_is_refused() {
    let (registry, _, image) = serving(
        Profile {
            lies_about_manifests: true,
            ..Profile::default()
        },
        &[10],
    );
    for name in ["app".to_owned(), format!("app@{}", image.digest)] {
        let error = refused(&registry, &client(&registry.host()), &name, &image);
        assert!(
            error.contains(&format!("wrong content for {}", image.digest)),
            "{error}"
        );
    }
}

#[test]
fn documents_that_are_no_images() {
    let (registry, _, image) = serving(Profile::default(), &[10]);
    for (media_type, document, problem) in [
        (
            media_type::OCI_MANIFEST,
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
            "is at once that of an image and an index",
        ),
        (
            media_type::OCI_MANIFEST,
            r#"{"schemaVersion":2,"manifests":[]}"#,
            "and is not",
        ),
        (
            media_type::OCI_INDEX,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#,
            "and is not",
        ),
        (
            "application/json",
            r#"{"schemaVersion":1}"#,
            "which is too old: push the image again with a newer tool",
        ),
        ("text/html", "<html>", "expected value at line 1 column 1"),
        (
            media_type::OCI_MANIFEST,
            r#"{"schemaVersion":2,"mediaType":"text/x"}"#,
            "has the type \"text/x\"",
        ),
    ] {
        registry.put_manifest("app", "odd", media_type, document.as_bytes());
        let error = refused(&registry, &client(&registry.host()), "app:odd", &image);
        assert!(error.ends_with(problem), "{error}");
    }
    let error = refused(&registry, &client(&registry.host()), "app:gone", &image);
    assert!(
        error.ends_with("404 Not Found: MANIFEST_UNKNOWN (told so)"),
        "{error}"
    );
}

#[test]
fn a_silent_registry_is_left() {
    let (registry, _, image) = serving(
        Profile {
            stalls: Some(Duration::from_secs(20)),
            ..Profile::default()
        },
        &[10],
    );
    let mut options = options();
    options.retry.tries = 2;
    let short = Duration::from_millis(300);
    options.timeouts = Timeouts {
        idle: short,
        answer: short,
        ..options.timeouts
    };
    let client = Client::new(&registry.host(), None, &options).unwrap();
    let start = Instant::now();
    let error = refused(&registry, &client, "app", &image);
    assert!(error.contains("it took too long"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

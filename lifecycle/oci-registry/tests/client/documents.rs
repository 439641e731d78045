//! Images of which only the documents are pulled.

use oci_image::{BlobStore, Descriptor, Digest, Index, Platform, media_type};
use oci_registry::{PullError, pull_all_documents};

use crate::images::{chain, client, image_for, manifest, reference, store};
use test_support::registry::{Profile, Registry};

fn entry(image: &Descriptor, os: &str, architecture: &str) -> Descriptor {
    Descriptor {
        platform: Some(Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: None,
            variant: None,
            extra: serde_json::Map::new(),
        }),
        ..image.clone()
    }
}

/// The registry has an image's manifest and configuration as `app:NAME`, and no layer of it.
fn publish(registry: &Registry, source: &BlobStore, image: &Descriptor, name: &str) {
    let config = manifest(source, image).config;
    registry.put_blob("app", &source.read(&config.digest).unwrap());
    let bytes = source.read(&image.digest).unwrap();
    registry.put_manifest("app", name, &image.media_type, &bytes);
}

fn publish_index(registry: &Registry, entries: Vec<Descriptor>) {
    let bytes = serde_json::to_vec(&Index::new(entries)).unwrap();
    registry.put_manifest("app", "latest", media_type::OCI_INDEX, &bytes);
}

fn pulled(registry: &Registry) -> Result<Option<Vec<Descriptor>>, PullError> {
    let target = store();
    let name = reference(&registry.host(), "app");
    let found = pull_all_documents(&client(&registry.host()), &target.blobs, &name)?;
    for image in found.iter().flatten() {
        let config = manifest(&target.blobs, image).config;
        assert_eq!(
            target.blobs.size(&config.digest).unwrap(),
            Some(config.size)
        );
    }
    Ok(found)
}

#[test]
fn an_indexs_images_without_their_layers() {
    let (registry, source) = (Registry::start(Profile::default()), store());
    assert!(pulled(&registry).unwrap().is_none());
    let images = ["amd64", "arm64"].map(|architecture| {
        let image = image_for(&source.blobs, architecture, &[500]);
        publish(&registry, &source.blobs, &image, &image.digest.to_string());
        entry(&image, "linux", architecture)
    });
    let attestation = entry(&images[0], "unknown", "unknown");
    publish_index(
        &registry,
        images.iter().cloned().chain([attestation]).collect(),
    );
    assert_eq!(pulled(&registry).unwrap().unwrap(), images);
    assert!(registry.requests("GET", "/blobs/").len() == 2);
    publish(&registry, &source.blobs, &images[1], "latest");
    let only = pulled(&registry).unwrap().unwrap();
    assert_eq!(only[0].digest, images[1].digest);
}

#[test]
fn what_would_be_too_much() {
    let (registry, source) = (Registry::start(Profile::default()), store());
    let image = image_for(&source.blobs, "amd64", &[500]);
    let entries = vec![entry(&image, "linux", "amd64"); 300];
    publish_index(&registry, entries);
    let error = pulled(&registry).unwrap_err();
    assert!(chain(&error).contains("300 images"), "{error}");

    let mut parsed = manifest(&source.blobs, &image);
    parsed.config.size = 10 << 30;
    parsed.config.digest = Digest::of(b"never sent");
    let bytes = serde_json::to_vec(&parsed).unwrap();
    registry.put_manifest("app", "latest", media_type::OCI_MANIFEST, &bytes);
    let error = pulled(&registry).unwrap_err();
    assert!(chain(&error).contains("too long"), "{error}");
    assert_eq!(registry.requests("GET", "/blobs/").len(), 0);
}

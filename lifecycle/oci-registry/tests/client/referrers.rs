//! Attaching documents to images, and reading them, in registries that know the referrers API and in others.

use oci_image::{BlobStore, Descriptor, Reference};
use oci_registry::referrers::{self, Artifact, Attached, ReferrerError};
use oci_registry::{Client, PushOptions, push};

use crate::images::{ann, client, client_as, image, reference, store};
use test_support::registry::{Auth, Profile, Registry};

const SBOM: &str = "application/vnd.cyclonedx+json";

fn artifact<'a>(kind: &'a str, content: &'a [u8]) -> Artifact<'a> {
    Artifact {
        artifact_type: kind,
        content,
        annotations: &[("org.example.note", "x")],
    }
}

/// An image that is in the registry as `team/app:1`.
fn pushed(client: &Client, store: &BlobStore, target: &Reference) -> Descriptor {
    let subject = image(store, &[10]);
    push(client, store, &subject, target, &PushOptions::default()).unwrap();
    subject
}

#[test]
fn the_registry_keeps_the_list_where_it_can() {
    for page in [1, 10] {
        let profile = Profile {
            referrers: Some(page),
            auth: Auth::Token,
            ..Profile::default()
        };
        let (registry, store) = (Registry::start(profile), store());
        let client = client_as(&registry.host(), ann());
        let target = reference(&registry.host(), "team/app:1");
        let subject = pushed(&client, &store.blobs, &target);
        let attach = |kind: &str, content: &[u8]| {
            let artifact = artifact(kind, content);
            referrers::attach(&client, &store.blobs, &target, &subject, &artifact).unwrap()
        };
        let first = attach(SBOM, b"{}");
        assert!(matches!(first, Attached::ByRegistry(_)));
        assert_eq!(attach(SBOM, b"{}"), first);
        let second = attach("text/plain", b"more");
        assert_ne!(second.digest(), first.digest());
        let list = |kind: Option<&str>| {
            let mut digests: Vec<_> = referrers::list(&client, &target, subject.digest, kind)
                .unwrap()
                .into_iter()
                .map(|entry| entry.digest)
                .collect();
            digests.sort();
            digests
        };
        let mut both = vec![first.digest(), second.digest()];
        both.sort();
        assert_eq!(list(None), both);
        assert_eq!(list(Some(SBOM)), [first.digest()]);
        let (_, manifest) = referrers::manifest(&client, &target, &first.digest().to_string())
            .unwrap()
            .unwrap();
        assert_eq!(manifest.subject.unwrap().digest, subject.digest);
        assert_eq!(manifest.annotations["org.example.note"], "x");
        let content = referrers::blob(&client, &target, &manifest.layers[0], 100).unwrap();
        assert_eq!(content, b"{}");
        assert_eq!(registry.tags("team/app"), ["1"]);
        let named = registry.requests("PUT", "/manifests/").into_iter();
        let tagged = named.filter(|request| !request.target.contains("/manifests/sha256:"));
        assert_eq!(tagged.count(), 1, "only the image has a tag");
    }
}

#[test]
fn elsewhere_a_tag_is_the_list() {
    let (registry, store) = (Registry::start(Profile::default()), store());
    let client = client(&registry.host());
    let target = reference(&registry.host(), "team/app:1");
    let subject = pushed(&client, &store.blobs, &target);
    assert_eq!(
        referrers::list(&client, &target, subject.digest, None).unwrap(),
        []
    );
    let attach = |content: &[u8]| {
        let artifact = artifact(SBOM, content);
        referrers::attach(&client, &store.blobs, &target, &subject, &artifact).unwrap()
    };
    let first = attach(b"1");
    assert!(matches!(first, Attached::ByTag(_)));
    attach(b"2");
    attach(b"1");
    let tag = referrers::tag_of(subject.digest, "");
    assert_eq!(registry.tags("team/app"), ["1", &tag]);
    let (kind, bytes) = registry.manifest("team/app", &tag).unwrap();
    assert_eq!(kind, "application/vnd.oci.image.index.v1+json");
    let index: oci_image::Index = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(index.manifests.len(), 2);
    assert_eq!(index.manifests[0].digest, first.digest());
    assert_eq!(index.manifests[0].artifact_type.as_deref(), Some(SBOM));
    assert_eq!(index.manifests[0].annotations["org.example.note"], "x");
    assert_eq!(
        referrers::list(&client, &target, subject.digest, Some(SBOM))
            .unwrap()
            .len(),
        2
    );
    assert!(
        referrers::manifest(&client, &target, "nothing")
            .unwrap()
            .is_none()
    );
    let nothing = reference(&registry.host(), "team/app:nothing");
    assert!(referrers::resolve(&client, &nothing).unwrap().is_none());
}

#[test]
fn wrong_content_is_refused() {
    let profile = Profile {
        corrupts: Some(5),
        ..Profile::default()
    };
    let (registry, store) = (Registry::start(profile), store());
    let client = client(&registry.host());
    let target = reference(&registry.host(), "team/app:1");
    let subject = pushed(&client, &store.blobs, &target);
    let attached = referrers::attach(
        &client,
        &store.blobs,
        &target,
        &subject,
        &artifact(SBOM, b"12345"),
    )
    .unwrap();
    let (_, manifest) = referrers::manifest(&client, &target, &attached.digest().to_string())
        .unwrap()
        .unwrap();
    let blob = &manifest.layers[0];
    let refused = |error: ReferrerError, expected: &str| {
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert!(reason.contains(expected), "{reason}");
    };
    refused(
        referrers::blob(&client, &target, blob, 100).unwrap_err(),
        "wrong content",
    );
    refused(
        referrers::blob(&client, &target, blob, 4).unwrap_err(),
        "more than 4",
    );
    let tag = referrers::tag_of(subject.digest, "");
    registry.put_manifest(
        "team/app",
        &tag,
        "application/vnd.oci.image.index.v1+json",
        b"{\"schemaVersion\":2,\"manifests\":7}",
    );
    assert!(matches!(
        referrers::list(&client, &target, subject.digest, None),
        Err(ReferrerError::Document { .. })
    ));
    // A manifest that is not the one asked for.
    let other = image(&store.blobs, &[20]);
    let bytes = store.blobs.read(&other.digest).unwrap();
    registry.put_manifest("team/app", &attached.digest().to_string(), "x", &bytes);
    let error = referrers::manifest(&client, &target, &attached.digest().to_string()).unwrap_err();
    assert!(matches!(error, ReferrerError::Registry(_)));
}

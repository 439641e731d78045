//! Pushing, to friendly registries and difficult ones.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use oci_image::{Digest, Index, Reference, media_type};
use oci_registry::{Credentials, Progress, PushOptions, push};

use crate::images::{ann, client, client_as, image, image_for, manifest, reference, store};
use test_support::noise;
use test_support::registry::{Auth, BASIC, Mount, Profile, REFRESH, Registry};

const MIB: usize = 1 << 20;

#[test]
fn everything_arrives_with_one_request_for_each_blob() {
    let (registry, store) = (Registry::start(Profile::default()), store());
    let image = image(&store.blobs, &[3 * MIB, 100, 0, 70_000, 5]);
    let target = reference(&registry.host(), "team/app:1.0");
    let passed = Mutex::new((0, 0));
    let watch = |progress| {
        let mut passed = passed.lock().unwrap();
        match progress {
            Progress::Total(bytes) => passed.0 += bytes,
            Progress::Passed(bytes) => passed.1 += bytes,
            Progress::Repeated(bytes) => passed.1 -= bytes,
        }
    };
    let options = PushOptions {
        watch: Some(&watch),
        ..PushOptions::default()
    };
    let pushed = push(
        &client(&registry.host()),
        &store.blobs,
        &image,
        &target,
        &options,
    )
    .unwrap();

    let manifest = manifest(&store.blobs, &image);
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        assert_eq!(
            registry.blob("team/app", blob.digest).unwrap().len() as u64,
            blob.size
        );
    }
    let (kind, bytes) = registry.manifest("team/app", "1.0").unwrap();
    assert_eq!(kind, media_type::OCI_MANIFEST);
    assert_eq!(bytes, store.blobs.read(&image.digest).unwrap());
    assert_eq!(
        (
            pushed.sent,
            pushed.present,
            pushed.mounted,
            pushed.unchanged
        ),
        (6, 0, 0, false)
    );
    let passed = passed.into_inner().unwrap();
    assert_eq!((passed.0, passed.1), (pushed.sent_bytes, pushed.sent_bytes));
    assert_eq!(registry.requests("PUT", "/blobs/uploads/").len(), 6);
    assert!(registry.requests("PATCH", "").is_empty());
    assert!(
        registry
            .log()
            .iter()
            .all(|request| !request.target.contains("referrers"))
    );
    assert_eq!(
        registry.log().last().unwrap().target,
        "/v2/team/app/manifests/1.0"
    );
}

#[test]
fn a_second_push_asks_once() {
    let (registry, store) = (Registry::start(Profile::default()), store());
    let image = image(&store.blobs, &[1000, 2000]);
    let target = reference(&registry.host(), "app:1");
    let client = client(&registry.host());
    push(
        &client,
        &store.blobs,
        &image,
        &target,
        &PushOptions::default(),
    )
    .unwrap();
    registry.forget_log();
    let pushed = push(
        &client,
        &store.blobs,
        &image,
        &target,
        &PushOptions::default(),
    )
    .unwrap();
    assert!(pushed.unchanged);
    let log: Vec<_> = registry
        .log()
        .into_iter()
        .map(|request| request.method)
        .collect();
    assert_eq!(log, ["HEAD"]);

    let other = reference(&registry.host(), "app:2");
    registry.forget_log();
    let pushed = push(
        &client,
        &store.blobs,
        &image,
        &other,
        &PushOptions::default(),
    )
    .unwrap();
    assert_eq!((pushed.sent, pushed.present), (0, 3));
    assert!(registry.requests("POST", "").is_empty());
}

#[test]
fn an_index_is_pushed_after_its_images() {
    let (registry, store) = (Registry::start(Profile::default()), store());
    let index = Index::new(vec![
        image_for(&store.blobs, "amd64", &[10, 20]),
        image_for(&store.blobs, "arm64", &[10, 30]),
    ]);
    let bytes = serde_json::to_vec(&index).unwrap();
    let (digest, size) = store.blobs.put(&bytes).unwrap();
    let descriptor = oci_image::Descriptor::new(media_type::OCI_INDEX, digest, size);
    let target = reference(&registry.host(), "app");
    push(
        &client(&registry.host()),
        &store.blobs,
        &descriptor,
        &target,
        &PushOptions::default(),
    )
    .unwrap();
    assert_eq!(
        registry.manifest("app", "latest").unwrap(),
        (media_type::OCI_INDEX.to_owned(), bytes)
    );
    for entry in &index.manifests {
        assert!(
            registry
                .manifest("app", &entry.digest.to_string())
                .is_some()
        );
    }
}

#[test]
fn basic_authentication() {
    let (registry, store) = (
        Registry::start(Profile {
            auth: Auth::Basic,
            ..Profile::default()
        }),
        store(),
    );
    let image = image(&store.blobs, &[1000]);
    let target = reference(&registry.host(), "app");
    push(
        &client_as(&registry.host(), ann()),
        &store.blobs,
        &image,
        &target,
        &PushOptions::default(),
    )
    .unwrap();
    let refused = registry
        .log()
        .iter()
        .filter(|request| request.header("authorization") != Some(BASIC))
        .count();
    assert_eq!(refused, 1, "only first contact goes without");
}

#[test]
fn tokens_are_asked_for_once_with_push_first() {
    let (registry, store) = (
        Registry::start(Profile {
            auth: Auth::Token,
            ..Profile::default()
        }),
        store(),
    );
    let image = image(&store.blobs, &[1000, 2000, 3000, 4000, 5000]);
    let target = reference(&registry.host(), "team/app");
    push(
        &client_as(&registry.host(), ann()),
        &store.blobs,
        &image,
        &target,
        &PushOptions::default(),
    )
    .unwrap();
    let asked = registry.requests("GET", "/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].queries("scope"), ["repository:team/app:pull,push"]);
    assert_eq!(asked[0].query("service").unwrap(), "test registry");
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    let leaked = |request: &&test_support::registry::Request| {
        request.target != asked[0].target && request.header("authorization") == Some(BASIC)
    };
    assert_eq!(
        registry.log().iter().filter(leaked).count(),
        0,
        "the password goes to the token server only"
    );
}

#[test]
fn refresh_tokens_are_exchanged() {
    let (registry, store) = (
        Registry::start(Profile {
            auth: Auth::Token,
            ..Profile::default()
        }),
        store(),
    );
    let image = image(&store.blobs, &[1000]);
    let target = reference(&registry.host(), "app");
    let client = client_as(
        &registry.host(),
        Credentials::IdentityToken(REFRESH.to_owned()),
    );
    push(
        &client,
        &store.blobs,
        &image,
        &target,
        &PushOptions::default(),
    )
    .unwrap();
    assert_eq!(registry.requests("POST", "/token").len(), 1);
}

/// The scopes of the tokens, the POST requests and the PUT requests of blobs that it takes to push an image whose one
/// layer is in another repository.
fn push_with_mount(profile: Profile) -> (Vec<Vec<String>>, usize, usize) {
    let (registry, store) = (Registry::start(profile), store());
    let image = image(&store.blobs, &[5000]);
    registry.put_blob("base", &noise(1, 5000));
    let from = [
        reference(&registry.host(), "base:1"),
        "elsewhere.example/base".parse().unwrap(),
    ];
    let options = PushOptions {
        mount_from: &from,
        ..PushOptions::default()
    };
    let client = client_as(&registry.host(), ann());
    push(
        &client,
        &store.blobs,
        &image,
        &reference(&registry.host(), "app"),
        &options,
    )
    .unwrap();
    let tokens = registry
        .requests("GET", "/token")
        .iter()
        .map(|request| request.queries("scope"))
        .collect();
    (
        tokens,
        registry.requests("POST", "/uploads/").len(),
        registry.requests("PUT", "/uploads/").len(),
    )
}

#[test]
fn blobs_are_mounted() {
    let (mut tokens, posts, puts) = push_with_mount(Profile {
        auth: Auth::Token,
        ..Profile::default()
    });
    tokens.sort();
    assert_eq!(
        tokens,
        [
            vec!["repository:app:pull,push"],
            vec!["repository:app:pull,push", "repository:base:pull"]
        ]
    );
    // The configuration is in no other repository: asking for it opened its session.
    assert_eq!((posts, puts), (2, 1));
}

/// A rebase has layers of two images, none of which need be here.
#[test]
fn layers_that_are_not_here_are_mounted_from_wherever_they_are() {
    let (registry, store) = (Registry::start(Profile::default()), store());
    let image = image(&store.blobs, &[5000, 6000]);
    let layers = manifest(&store.blobs, &image).layers;
    for (repository, layer) in ["base", "app"].into_iter().zip(&layers) {
        registry.put_blob(repository, &store.blobs.read(&layer.digest).unwrap());
        store.blobs.remove(&layer.digest).unwrap();
    }
    let from = ["base:1", "app:1"].map(|name| reference(&registry.host(), name));
    let options = PushOptions {
        mount_from: &from,
        remote_layers: true,
        ..PushOptions::default()
    };
    let client = client(&registry.host());
    let target = reference(&registry.host(), "rebased");
    let pushed = push(&client, &store.blobs, &image, &target, &options).unwrap();
    assert_eq!((pushed.mounted, pushed.sent), (2, 1));
    for layer in &layers {
        assert!(registry.blob("rebased", layer.digest).is_some());
    }
}

/// A layer that could be sent is asked for where it is known to be, in several repositories if need be.
#[test]
fn layers_that_are_here_are_mounted_from_where_they_are_known() {
    let mounts = |known: &[&str], held_by: &str| {
        let (registry, store) = (Registry::start(Profile::default()), store());
        let image = image(&store.blobs, &[5000]);
        let layer = manifest(&store.blobs, &image).layers[0].digest;
        registry.put_blob(held_by, &store.blobs.read(&layer).unwrap());
        let from = ["a:1", "b:1", "c:1", "d:1"].map(|name| reference(&registry.host(), name));
        let knows = |image: &Reference, blob: &Digest| {
            *blob == layer && known.contains(&image.repository())
        };
        let options = PushOptions {
            mount_from: &from,
            knows: Some(&knows),
            ..PushOptions::default()
        };
        let target = reference(&registry.host(), "app");
        let client = client(&registry.host());
        let pushed = push(&client, &store.blobs, &image, &target, &options).unwrap();
        let posts = registry.requests("POST", "/uploads/").len();
        (pushed.mounted, posts)
    };
    // One more is that of the configuration.
    assert_eq!(mounts(&["b"], "b"), (1, 2));
    assert_eq!(mounts(&["a", "b", "c"], "c"), (1, 4));
    assert_eq!(mounts(&["a", "b", "c", "d"], "d"), (0, 4));
    assert_eq!(mounts(&[], "a"), (1, 2));
    assert_eq!(mounts(&[], "b"), (0, 2));
}

#[test]
fn a_session_instead_of_a_mount_is_used() {
    let (_, posts, puts) = push_with_mount(Profile {
        mount: Mount::Session,
        ..Profile::default()
    });
    assert_eq!((posts, puts), (2, 2));
}

#[test]
fn a_refused_mount_becomes_an_upload() {
    let (_, posts, puts) = push_with_mount(Profile {
        mount: Mount::Refuses,
        ..Profile::default()
    });
    assert_eq!((posts, puts), (4, 2));
}

#[test]
fn relative_upload_addresses_keep_their_query() {
    let registry = Registry::start(Profile {
        relative_location: true,
        ..Profile::default()
    });
    let store = store();
    let image = image(&store.blobs, &[1000]);
    push(
        &client(&registry.host()),
        &store.blobs,
        &image,
        &reference(&registry.host(), "app"),
        &PushOptions::default(),
    )
    .unwrap();
    let put = registry.requests("PUT", "/uploads/");
    assert!(
        put[0].target.contains("?_state=a%2Fb&digest=sha256%3A"),
        "{}",
        put[0].target
    );
}

#[test]
fn chunks_come_after_a_413_only() {
    for relative_location in [false, true] {
        let largest_body = Some(2 * MIB);
        let registry = Registry::start(Profile {
            relative_location,
            largest_body,
            ..Profile::default()
        });
        let store = store();
        let image = image(&store.blobs, &[5 * MIB + 7, 1000]);
        push(
            &client(&registry.host()),
            &store.blobs,
            &image,
            &reference(&registry.host(), "app"),
            &PushOptions::default(),
        )
        .unwrap();
        let lengths: Vec<usize> = registry
            .requests("PATCH", "/uploads/")
            .iter()
            .map(|request| request.header("content-length").unwrap().parse().unwrap())
            .collect();
        assert_eq!(
            lengths,
            [4 * MIB, MIB, MIB, MIB, MIB, MIB, 7],
            "4 MiB are refused, too"
        );
        assert!(registry.manifest("app", "latest").is_some());
    }
}

#[test]
fn a_busy_registry_is_given_the_time_it_asks_for() {
    let registry = Registry::start(Profile {
        busy: AtomicUsize::new(1),
        retry_after: 1,
        ..Profile::default()
    });
    let store = store();
    let image = image(&store.blobs, &[1000]);
    let start = Instant::now();
    push(
        &client(&registry.host()),
        &store.blobs,
        &image,
        &reference(&registry.host(), "app"),
        &PushOptions::default(),
    )
    .unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn broken_uploads_are_tried_again() {
    let registry = Registry::start(Profile {
        dropped_uploads: AtomicUsize::new(2),
        ..Profile::default()
    });
    let store = store();
    let image = image(&store.blobs, &[2 * MIB]);
    let pushed = push(
        &client(&registry.host()),
        &store.blobs,
        &image,
        &reference(&registry.host(), "app"),
        &PushOptions::default(),
    )
    .unwrap();
    assert_eq!(pushed.sent, 2);
    assert_eq!(registry.requests("PUT", "/uploads/").len(), 4);
}

#[test]
fn an_upload_address_at_another_host_gets_no_credentials() {
    let elsewhere = Registry::start(Profile::default());
    let upload_host = Some(elsewhere.host());
    let registry = Registry::start(Profile {
        auth: Auth::Basic,
        upload_host,
        ..Profile::default()
    });
    let store = store();
    let image = image(&store.blobs, &[1000]);
    // The blobs never come back here, so that the manifest is refused.
    let target = reference(&registry.host(), "app");
    push(
        &client_as(&registry.host(), ann()),
        &store.blobs,
        &image,
        &target,
        &PushOptions::default(),
    )
    .unwrap_err();
    assert_eq!(elsewhere.requests("PUT", "/uploads/").len(), 2);
    assert!(
        elsewhere
            .log()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

//! What a push ends with when it cannot succeed: a clear error, no secret in it, and no tag in the registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use oci_image::{BlobStore, Descriptor, Digest, Image};
use oci_registry::{Client, Credentials, PushError, PushOptions, push};

use crate::images::{ann, chain, client, client_as, image, manifest, options, reference, store};
use test_support::registry::{Auth, Profile, Registry};

/// The error of a push that has to fail, and its advice.
fn refused(
    registry: &Registry,
    client: &Client,
    store: &BlobStore,
    image: &Descriptor,
) -> (String, String) {
    let target = reference(&registry.host(), "team/app");
    let error = push(client, store, image, &target, &PushOptions::default()).unwrap_err();
    assert!(registry.manifest("team/app", "latest").is_none());
    let advice = match &error {
        PushError::Registry(error) => error.advice().unwrap_or_default(),
        _ => String::new(),
    };
    let text = chain(&error).replace(&registry.host(), "HOST");
    (text, advice.replace(&registry.host(), "HOST"))
}

#[test]
fn wrong_credentials_are_named_by_their_source() {
    for auth in [Auth::Basic, Auth::Token] {
        let (registry, store) = (
            Registry::start(Profile {
                auth,
                ..Profile::default()
            }),
            store(),
        );
        let image = image(&store.blobs, &[10]);
        let wrong = Credentials::Basic {
            username: "ann".to_owned(),
            password: "hunter2".to_owned(),
        };
        let (error, advice) = refused(
            &registry,
            &client_as(&registry.host(), wrong),
            &store.blobs,
            &image,
        );
        let expected = match auth {
            Auth::Basic => {
                "could not look for the image latest (HOST/team/app): the registry answered 401 Unauthorized"
            }
            _ => {
                "could not look for the image latest (HOST/team/app): the token server http://HOST/token answered 401 Unauthorized: incorrect username or password"
            }
        };
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("hunter2"));
        assert_eq!(
            advice,
            "the credentials from the test's own file were refused: log in to HOST again"
        );
    }
}

#[test]
fn missing_credentials_are_said_to_be_missing() {
    for auth in [Auth::Basic, Auth::Token] {
        let (registry, store) = (
            Registry::start(Profile {
                auth,
                ..Profile::default()
            }),
            store(),
        );
        let image = image(&store.blobs, &[10]);
        let (_, advice) = refused(&registry, &client(&registry.host()), &store.blobs, &image);
        assert_eq!(
            advice,
            "no credentials for HOST were found: log in: slugc login HOST"
        );
    }
}

#[test]
fn an_incomplete_image_sends_nothing() {
    let (registry, store) = (Registry::start(Profile::default()), store());
    let image = image(&store.blobs, &[1000, 2000]);
    let layer = &manifest(&store.blobs, &image).layers[1];
    store.blobs.remove(&layer.digest).unwrap();
    let (error, _) = refused(&registry, &client(&registry.host()), &store.blobs, &image);
    assert_eq!(
        error,
        format!(
            "the image's layer {} is not complete in the store: 0 of 2000 bytes are there",
            layer.digest
        )
    );
    assert!(registry.log().is_empty());
}

#[test]
fn a_damaged_blob_does_not_arrive() {
    for (length, largest_body) in [(1000, None), (3 << 20, None), (3 << 20, Some(1 << 20))] {
        let (registry, store) = (
            Registry::start(Profile {
                largest_body,
                ..Profile::default()
            }),
            store(),
        );
        let image = image(&store.blobs, &[length]);
        let layer = &manifest(&store.blobs, &image).layers[0];
        let path = store.blobs.path(&layer.digest);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, bytes).unwrap();
        let (error, _) = refused(&registry, &client(&registry.host()), &store.blobs, &image);
        assert!(error.contains("is damaged"), "{error}");
        assert!(registry.blob("team/app", layer.digest).is_none());
    }
}

#[test]
fn a_layer_that_is_not_its_diff_id_does_not_arrive() {
    let (registry, store) = (Registry::start(Profile::default()), store());
    let mut wrong = Image::load(&store.blobs, &image(&store.blobs, &[1000]).digest).unwrap();
    let layer = wrong.manifest.layers[0].digest;
    wrong.config.rootfs.diff_ids = vec![Digest::of(b"another")];
    let wrong = wrong.save(&store.blobs).unwrap();
    let (error, _) = refused(&registry, &client(&registry.host()), &store.blobs, &wrong);
    assert!(error.contains("has the diffID"), "{error}");
    assert!(registry.blob("team/app", layer).is_none());
}

#[test]
fn a_token_is_no_password() {
    for token in [
        Credentials::IdentityToken("secret-word".to_owned()),
        Credentials::RegistryToken("secret-word".to_owned()),
    ] {
        let registry = Registry::start(Profile {
            auth: Auth::Basic,
            ..Profile::default()
        });
        let client = client_as(&registry.host(), token);
        let error = client.check_credentials().unwrap_err();
        assert_eq!(error.status(), Some(401));
        let text = chain(&error);
        assert!(
            text.ends_with(
                "the credentials from the test's own file are a token, and the registry takes passwords only"
            ),
            "{text}"
        );
        let advice = error.advice().unwrap_or_default();
        assert!(advice.contains("slugc login 127."), "{advice}");
        // First contact, and the request once.
        assert_eq!(registry.log().len(), 2);
    }
}

#[test]
fn credentials_are_checked() {
    let profile = || Profile {
        auth: Auth::Basic,
        ..Profile::default()
    };
    let registry = Registry::start(profile());
    client_as(&registry.host(), ann())
        .check_credentials()
        .unwrap();
    let wrong = Credentials::Basic {
        username: "ann".to_owned(),
        password: "secret-word".to_owned(),
    };
    let error = client_as(&registry.host(), wrong)
        .check_credentials()
        .unwrap_err();
    assert_eq!(error.status(), Some(401));
    let text = chain(&error);
    assert!(
        text.starts_with("could not check the login (127."),
        "{text}"
    );
    assert!(!text.contains("secret-word"), "{text}");
    client(&Registry::start(Profile::default()).host())
        .check_credentials()
        .unwrap();
}

#[test]
fn a_registry_that_always_breaks_off_is_given_up() {
    let (registry, store) = (
        Registry::start(Profile {
            dropped_uploads: AtomicUsize::new(1000),
            ..Profile::default()
        }),
        store(),
    );
    let image = image(&store.blobs, &[2 << 20, 10]);
    let (error, advice) = refused(&registry, &client(&registry.host()), &store.blobs, &image);
    assert!(
        error.starts_with("could not upload the blob sha256:")
            && error.contains("no answer from http://HOST"),
        "{error}"
    );
    assert!(advice.starts_with("check the network"), "{advice}");
}

#[test]
fn a_limit_too_small_for_any_chunk_ends() {
    let (registry, store) = (
        Registry::start(Profile {
            largest_body: Some(100_000),
            ..Profile::default()
        }),
        store(),
    );
    let image = image(&store.blobs, &[200_000]);
    let (error, advice) = refused(&registry, &client(&registry.host()), &store.blobs, &image);
    assert!(
        error.ends_with("413 Payload Too Large: 413 Request Entity Too Large"),
        "{error}"
    );
    assert!(advice.contains("proxy"), "{advice}");
}

#[test]
fn nobody_waits_for_an_hour() {
    let (registry, store) = (
        Registry::start(Profile {
            busy: AtomicUsize::new(9),
            retry_after: 3600,
            ..Profile::default()
        }),
        store(),
    );
    let image = image(&store.blobs, &[10]);
    let start = Instant::now();
    let (error, _) = refused(&registry, &client(&registry.host()), &store.blobs, &image);
    assert!(
        error.ends_with("the registry asks to wait 3600 seconds before the next request"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn pages_instead_of_error_documents() {
    for (status, page, expected) in [
        (
            403,
            "<html><head><title>Forbidden by gateway</title></head>",
            "403 Forbidden: Forbidden by gateway",
        ),
        (500, "", "500 Internal Server Error"),
        (
            400,
            "just\ntext \u{1b}[2J",
            "400 Bad Request: just text [2J",
        ),
    ] {
        let (registry, store) = (
            Registry::start(Profile {
                page: Some((status, page)),
                ..Profile::default()
            }),
            store(),
        );
        let image = image(&store.blobs, &[10]);
        let (error, _) = refused(&registry, &client(&registry.host()), &store.blobs, &image);
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn nobody_there() {
    let store = store();
    let image = image(&store.blobs, &[10]);
    let free = format!("127.0.0.1:{}", test_support::free_port());
    let error = push(
        &client(&free),
        &store.blobs,
        &image,
        &reference(&free, "app"),
        &PushOptions::default(),
    )
    .unwrap_err();
    assert!(
        chain(&error).contains(&format!("no answer from http://{free}: ")),
        "{}",
        chain(&error)
    );
}

#[test]
fn http_is_not_spoken_to_other_machines() {
    // Documentation addresses: nothing is ever sent there, as connecting has to fail first.
    let mut options = options();
    options.timeouts.connect = Duration::from_millis(200);
    options.retry.tries = 1;
    let store = store();
    let image = image(&store.blobs, &[10]);
    let client = Client::new(
        "192.0.2.1:5000",
        Some(oci_registry::Found {
            credentials: ann(),
            origin: String::new(),
        }),
        &options,
    )
    .unwrap();
    let error = push(
        &client,
        &store.blobs,
        &image,
        &reference("192.0.2.1:5000", "app"),
        &PushOptions::default(),
    )
    .unwrap_err();
    assert!(
        chain(&error).contains("https://192.0.2.1:5000"),
        "{}",
        chain(&error)
    );
}

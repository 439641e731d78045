//! Where layers are mounted from, and what becomes of the sessions that are opened by asking.

use oci_image::{Digest, Reference};
use oci_registry::{Client, Options, PushError, PushOptions, push};

use crate::images::{self, chain, client, image, manifest, reference, store};
use test_support::registry::{Fault, Mount, Profile, Registry, Response};

/// What it takes to push an image whose layer could be mounted.
struct Asked {
    mounted: usize,
    /// Repositories that were asked for the layer.
    from: Vec<String>,
    open: usize,
}

/// The images of these names are known to have the layer; the repository `held_by` does, if any.
fn ask(profile: Profile, names: &[&str], held_by: Option<&str>) -> Asked {
    let (registry, store) = (Registry::start(profile), store());
    let image = image(&store.blobs, &[5000]);
    let layer = manifest(&store.blobs, &image).layers[0].digest;
    if let Some(repository) = held_by {
        registry.put_blob(repository, &store.blobs.read(&layer).unwrap());
    }
    let from: Vec<Reference> = names
        .iter()
        .map(|name| reference(&registry.host(), name))
        .collect();
    let knows = |_: &Reference, blob: &Digest| *blob == layer;
    let options = PushOptions {
        mount_from: &from,
        knows: Some(&knows),
        ..PushOptions::default()
    };
    let target = reference(&registry.host(), "app");
    let pushed = push(
        &client(&registry.host()),
        &store.blobs,
        &image,
        &target,
        &options,
    )
    .unwrap();
    let of_layer = layer.to_string();
    let asked = registry.requests("POST", "mount=").into_iter();
    let asked = asked.filter(|request| request.query("mount").as_ref() == Some(&of_layer));
    Asked {
        mounted: pushed.mounted,
        from: asked.filter_map(|request| request.query("from")).collect(),
        open: registry.open_uploads(),
    }
}

#[test]
fn each_repository_is_asked_once_whatever_its_tags() {
    let asked = ask(
        Profile::default(),
        &["a:1", "a:2", "a:3", "b:1", "a:4"],
        Some("b"),
    );
    assert_eq!(asked.from, ["a", "b"]);
    assert_eq!((asked.mounted, asked.open), (1, 0));
}

#[test]
fn sessions_that_mounts_opened_are_used_or_given_up() {
    let asked = ask(Profile::default(), &["a:1", "b:1", "c:1"], Some("c"));
    assert_eq!((asked.mounted, asked.open), (1, 0));
    let sessions = Profile {
        mount: Mount::Session,
        ..Profile::default()
    };
    let asked = ask(sessions, &["a:1", "b:1", "c:1", "d:1"], Some("d"));
    assert_eq!(asked.from, ["a", "b", "c"]);
    assert_eq!((asked.mounted, asked.open), (0, 0));
}

/// What pushing an image ends with whose one layer is neither here nor where it may be mounted from.
fn without_the_layer(profile: Profile, from: &[&str]) -> (PushError, usize) {
    let (registry, store) = (Registry::start(profile), store());
    let image = image(&store.blobs, &[5000]);
    let layer = manifest(&store.blobs, &image).layers[0].digest;
    store.blobs.remove(&layer).unwrap();
    let from: Vec<Reference> = from
        .iter()
        .map(|name| reference(&registry.host(), name))
        .collect();
    let options = PushOptions {
        mount_from: &from,
        remote_layers: true,
        ..PushOptions::default()
    };
    let target = reference(&registry.host(), "app");
    // The layer first, as it is longer: what else is under way would be given up in the middle.
    let one_by_one = Options {
        parallel: 1,
        ..images::options()
    };
    let client = Client::new(&registry.host(), None, &one_by_one).unwrap();
    let error = push(&client, &store.blobs, &image, &target, &options).unwrap_err();
    (error, registry.open_uploads())
}

#[test]
fn a_layer_that_is_nowhere_leaves_no_session() {
    for from in [&[][..], &["a:1", "b:1"]] {
        let (error, open) = without_the_layer(Profile::default(), from);
        assert!(
            matches!(error, PushError::Incomplete { .. }),
            "{}",
            chain(&error)
        );
        assert_eq!(open, 0);
    }
}

/// Before anybody brings the layer for it.
#[test]
fn a_layer_that_is_nowhere_does_not_hide_a_refusal() {
    let refuses = Profile {
        faults: vec![
            Fault::answer("HEAD", "/blobs/", Response::new(403)),
            Fault::answer("POST", "/uploads/", Response::new(403).body("not yours")),
        ],
        ..Profile::default()
    };
    let (error, _) = without_the_layer(refuses, &["a:1"]);
    let said = chain(&error);
    assert!(said.contains("403 Forbidden: not yours"), "{said}");
}

//! Images to push and pull, and clients that do not wait long.

use std::time::Duration;

use oci_image::{BlobStore, Descriptor, Image, Manifest, Reference, media_type};
use oci_registry::{
    Client, Credentials, Found, Options, PullOptions, RetryPolicy, Timeouts, Wanted,
};
use test_support::noise;

pub(crate) struct Store {
    pub(crate) blobs: BlobStore,
    _folder: tempfile::TempDir,
}

pub(crate) fn store() -> Store {
    let folder = tempfile::tempdir().unwrap();
    Store {
        blobs: BlobStore::open(folder.path()).unwrap(),
        _folder: folder,
    }
}

/// An image for linux/amd64 with one layer for each length. The layers' contents do not matter to a registry.
pub(crate) fn image(store: &BlobStore, lengths: &[usize]) -> Descriptor {
    image_for(store, "amd64", lengths)
}

pub(crate) fn image_for(store: &BlobStore, architecture: &str, lengths: &[usize]) -> Descriptor {
    let mut image = Image::empty("linux", architecture);
    for (position, length) in lengths.iter().enumerate() {
        let (digest, size) = store.put(&noise(position as u64 + 1, *length)).unwrap();
        image
            .manifest
            .layers
            .push(Descriptor::new(media_type::OCI_LAYER, digest, size));
        // Not compressed: the blob is what it unpacks to.
        image.config.rootfs.diff_ids.push(digest);
    }
    image.save(store).unwrap()
}

pub(crate) fn manifest(store: &BlobStore, descriptor: &Descriptor) -> Manifest {
    serde_json::from_slice(&store.read(&descriptor.digest).unwrap()).unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        retry: RetryPolicy {
            tries: 3,
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(20),
            patience: Duration::from_secs(5),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(5),
            answer: Duration::from_secs(20),
        },
        ..Options::default()
    }
}

pub(crate) fn client(host: &str) -> Client {
    Client::new(host, None, &options()).unwrap()
}

pub(crate) fn client_as(host: &str, credentials: Credentials) -> Client {
    let found = Found {
        credentials,
        origin: "the test's own file".to_owned(),
    };
    Client::new(host, Some(found), &options()).unwrap()
}

pub(crate) fn ann() -> Credentials {
    Credentials::Basic {
        username: "ann".to_owned(),
        password: "pw".to_owned(),
    }
}

pub(crate) fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

pub(crate) fn for_amd64() -> PullOptions<'static> {
    let platform = Wanted {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: None,
    };
    PullOptions {
        platform,
        watch: None,
    }
}

/// An error with all its reasons.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

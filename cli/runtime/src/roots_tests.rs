#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use oci_image::{Compression, LayerBlob, LayerError, Owner, write_layer};
use rustix::io::Errno;

struct Store {
    folder: tempfile::TempDir,
    blobs: BlobStore,
    roots: Roots,
}

fn store() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(folder.path().join("blobs")).unwrap();
    let roots = Roots::open(folder.path().join("roots")).unwrap();
    Store {
        folder,
        blobs,
        roots,
    }
}

fn layer(store: &Store, name: &str) -> LayerBlob {
    let layer = write_layer::<LayerError>(&store.blobs, Compression::default(), |tar| {
        tar.directory("/app", 0o755, Owner::ROOT)?;
        let path = format!("/app/{name}");
        tar.file(path, 0o644, Owner::ROOT, 5, &b"hello"[..])
    });
    layer.unwrap()
}

fn image(layers: &[&LayerBlob]) -> Image {
    let mut image = Image::empty("linux", "amd64");
    for layer in layers {
        image.manifest.layers.push(layer.descriptor());
        image.config.rootfs.diff_ids.push(layer.diff_id);
    }
    image
}

#[test]
fn layers_come_topmost_first_and_each_once() {
    let store = store();
    let [a, b, c] = ["a", "b", "c"].map(|name| layer(&store, name));
    let image = image(&[&a, &b, &a, &c]);
    assert_eq!(store.roots.missing(&image), 3);
    let lowers = store.roots.lowers(&image, &store.blobs).unwrap();
    let expected = [&c, &a, &b].map(|layer| store.roots.path(&layer.diff_id));
    assert_eq!(lowers, expected);
    assert_eq!(
        fs::read_to_string(lowers[0].join("app/c")).unwrap(),
        "hello"
    );
    let mode = fs::metadata(&lowers[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert_eq!(store.roots.missing(&image), 0);
}

#[test]
fn many_at_once_unpack_it_once() {
    let store = store();
    let layer = layer(&store, "a");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let path = store
                    .roots
                    .ensure(&layer.diff_id, &layer.digest, &store.blobs);
                assert!(path.unwrap().join("app/a").is_file());
            });
        }
    });
    let staging = store.folder.path().join("roots/.staging");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn what_a_killed_process_left_does_no_harm() {
    let store = store();
    let layer = layer(&store, "a");
    let half = store.roots.staged(&layer.diff_id);
    fs::create_dir_all(half.join("app")).unwrap();
    fs::write(half.join("app/a"), "hel").unwrap();
    fs::write(half.join("stray"), "").unwrap();
    let path = store
        .roots
        .ensure(&layer.diff_id, &layer.digest, &store.blobs)
        .unwrap();
    assert_eq!(fs::read_to_string(path.join("app/a")).unwrap(), "hello");
    assert!(!path.join("stray").exists());

    fs::create_dir_all(half.join("app")).unwrap();
    store.roots.sweep().unwrap();
    assert!(!half.exists());
}

#[test]
fn a_layer_that_is_not_what_the_image_says_is_refused() {
    let store = store();
    let [honest, other] = ["a", "b"].map(|name| layer(&store, name));
    let error = store
        .roots
        .ensure(&honest.diff_id, &other.digest, &store.blobs)
        .unwrap_err();
    assert!(matches!(error, RootsError::WrongLayer { .. }), "{error}");
    assert!(!store.roots.path(&honest.diff_id).exists());
    assert!(!store.roots.staged(&honest.diff_id).exists());

    let missing = Digest::of(b"nothing");
    let error = store.roots.ensure(&missing, &missing, &store.blobs);
    assert!(matches!(error, Err(RootsError::Blob { .. })));
}

#[test]
fn use_is_noted_and_removal_is_complete() {
    let store = store();
    let layer = layer(&store, "a");
    let path = store
        .roots
        .ensure(&layer.diff_id, &layer.digest, &store.blobs)
        .unwrap();
    let all = store.roots.all().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].path, path);
    assert!(all[0].last_used.unwrap().elapsed().unwrap().as_secs() < 60);
    store.roots.remove(&layer.diff_id).unwrap();
    assert!(store.roots.all().unwrap().is_empty());
    assert!(!path.exists());
    store.roots.remove(&layer.diff_id).unwrap();
}

/// A disk that fails is not what an image is blamed for.
#[test]
fn errors_of_the_image_and_of_this_machine() {
    let read = |source| UnpackError::Read { source };
    let write = |source| UnpackError::Write {
        path: "a".into(),
        source,
    };
    let of_the_system = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
    for (source, expected) in [
        (read(ErrorKind::InvalidData.into()), true),
        (read(ErrorKind::UnexpectedEof.into()), true),
        (read(of_the_system(Errno::IO)), false),
        (read(of_the_system(Errno::NOMEM)), false),
        (write(of_the_system(Errno::NOTDIR)), true),
        (write(of_the_system(Errno::NOSPC)), false),
        (write(of_the_system(Errno::IO)), false),
    ] {
        let error = RootsError::Unpack {
            diff_id: Digest::of(b""),
            source,
        };
        assert_eq!(error.is_of_the_image(), expected, "{error:?}");
    }
}

//! Manifests, indexes, configurations, layouts.

use oci_image::{
    BlobStore, Compression, Descriptor, Image, ImageConfig, Index, LayerError, Manifest, Owner,
    layout, media_type, write_layer,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::fs;
use test_support::{Seeds, fuzz};

const WORDS: [&str; 22] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e400",
    "true",
    "\"schemaVersion\":1,",
    "\"schemaVersion\":2",
    "\"layers\":[],",
    "\"manifests\":[],",
    "\"config\":{},",
    "\"digest\":\"sha256:../x\",",
    "\"size\":99999999999999999999,",
    "\"size\":-1,",
    "\"urls\":null,",
    "\"annotations\":null,",
    "\\u0000",
    "\\ud800",
    "é",
    "[[[[[[[[[[[[[[[[[[[[",
    "\"diff_ids\":[],",
];

/// An image as slugc makes them, with most of what documents can say.
pub(crate) fn image(store: &BlobStore) -> Descriptor {
    let mut image = Image::empty("linux", "amd64");
    for content in ["first", "second"] {
        let layer = write_layer::<LayerError>(store, Compression::default(), |tar| {
            let size = content.len() as u64;
            tar.file("/file", 0o644, Owner::ROOT, size, content.as_bytes())
        })
        .unwrap();
        image.manifest.layers.push(layer.descriptor());
        image.config.rootfs.diff_ids.push(layer.diff_id);
        image.config.history.push(oci_image::History::default());
    }
    let annotations = &mut image.manifest.annotations;
    annotations.insert("org.opencontainers.image.title".to_owned(), "é".to_owned());
    image.config.created = Some("1980-01-01T00:00:01Z".to_owned());
    let config = &mut image.config.config;
    config.set_env("PATH", "/usr/bin");
    config
        .labels
        .insert("io.buildpacks.stack.id".to_owned(), "x".to_owned());
    image.save(store).unwrap()
}

/// What is there of an image is what the image says. Layers and images of an index may be left out, as layouts may.
pub(crate) fn is_as_it_says(store: &BlobStore, manifest: &Descriptor) {
    let bytes = store.read(&manifest.digest).unwrap();
    assert_eq!(bytes.len() as u64, manifest.size);
    if media_type::is_index(&manifest.media_type) {
        let index: Index = serde_json::from_slice(&bytes).unwrap();
        let there = |entry: &&Descriptor| store.contains(&entry.digest).unwrap();
        for entry in index.manifests.iter().filter(there) {
            is_as_it_says(store, entry);
        }
        return;
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
    assert!(store.contains(&manifest.config.digest).unwrap());
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        if let Some(size) = store.size(&blob.digest).unwrap() {
            assert_eq!(size, blob.size, "{}", blob.digest);
        }
    }
}

/// What is read is what is written again: nobody's field is lost on the way.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&document).unwrap();
    let again: T = serde_json::from_slice(&written).unwrap();
    assert_eq!(again, document);
    assert_eq!(serde_json::to_vec(&again).unwrap(), written);
}

#[test]
fn documents() {
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open_scratch(scratch.path()).unwrap();
    let descriptor = image(&store);
    let image = Image::load(&store, &descriptor.digest).unwrap();
    let index = Index::new(vec![descriptor.clone(), image.manifest.config.clone()]);
    let inputs = vec![
        store.read(&descriptor.digest).unwrap(),
        store.read(&image.manifest.config.digest).unwrap(),
        serde_json::to_vec(&index).unwrap(),
        serde_json::to_vec_pretty(&index).unwrap(),
    ];
    let seeds = Seeds {
        inputs: &inputs,
        words: &WORDS,
    };
    fuzz("documents", seeds, |bytes| {
        comes_back::<Manifest>(bytes);
        comes_back::<Index>(bytes);
        comes_back::<ImageConfig>(bytes);
        if let Ok(index) = serde_json::from_slice::<Index>(bytes)
            && let Some(chosen) = index.for_platform("linux", "amd64", None)
        {
            assert!(index.manifests.contains(chosen));
        }
    });
}

/// A layout with one file changed: what is imported is whole, or refused.
#[test]
fn layouts() {
    let scratch = tempfile::tempdir().unwrap();
    let source = BlobStore::open_scratch(scratch.path().join("source")).unwrap();
    let descriptor = image(&source);
    let image = Image::load(&source, &descriptor.digest).unwrap();
    let folder = scratch.path().join("layout");
    layout::write(&folder, &source, &descriptor, Some("1")).unwrap();
    let files: Vec<_> = [
        folder.join("index.json"),
        folder.join("oci-layout"),
        folder.join("blobs/sha256").join(descriptor.digest.hex()),
        folder
            .join("blobs/sha256")
            .join(image.manifest.config.digest.hex()),
        folder
            .join("blobs/sha256")
            .join(image.manifest.layers[0].digest.hex()),
    ]
    .into_iter()
    .map(|path| (fs::read(&path).unwrap(), path))
    .collect();
    let inputs: Vec<Vec<u8>> = files.iter().map(|(bytes, _)| bytes.clone()).collect();
    let seeds = Seeds {
        inputs: &inputs,
        words: &WORDS,
    };
    fuzz("layouts", seeds, |bytes| {
        // Any of the files, the same one for the same bytes.
        let (usual, path) = &files[bytes.len() % files.len()];
        let put = |bytes: &[u8]| {
            // Blobs are read-only, and may be linked to the store that they came from.
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put(bytes);
        let target = tempfile::tempdir().unwrap();
        let store = BlobStore::open_scratch(target.path()).unwrap();
        for name in [None, Some("1")] {
            if let Ok(imported) = layout::import(&folder, &store, name) {
                is_as_it_says(&store, &imported);
                drop(Image::load(&store, &imported.digest));
            }
        }
        put(usual);
    });
}

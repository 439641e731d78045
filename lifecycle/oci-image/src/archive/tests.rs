#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{Compression, Image, LayerTar, Owner, write_layer};
use std::fs;

fn image(store: &BlobStore, contents: &[&str]) -> Descriptor {
    let mut image = Image::empty("linux", "amd64");
    for content in contents {
        let layer = write_layer::<LayerError>(store, Compression::default(), |tar| {
            let size = content.len() as u64;
            tar.file("/file", 0o644, Owner::ROOT, size, content.as_bytes())
        })
        .unwrap();
        image.manifest.layers.push(layer.descriptor());
        image.config.rootfs.diff_ids.push(layer.diff_id);
    }
    image.save(store).unwrap()
}

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

fn docker(names: &[&str]) -> Format {
    Format::Docker {
        names: names.iter().map(|name| reference(name)).collect(),
    }
}

struct World {
    scratch: tempfile::TempDir,
    store: BlobStore,
    other: BlobStore,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self {
            store: BlobStore::open(scratch.path().join("store")).unwrap(),
            other: BlobStore::open(scratch.path().join("other")).unwrap(),
            scratch,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A tar of these files.
    fn tar(&self, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let mut bytes = Vec::new();
        let mut tar = LayerTar::new(&mut bytes);
        for (name, content) in files {
            tar.file(name, 0o644, Owner::ROOT, content.len() as u64, *content)
                .unwrap();
        }
        tar.finish().unwrap();
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

#[test]
fn images_go_out_and_come_back() {
    let world = World::new();
    let manifest = image(&world.store, &["one", "two", "one"]);
    for (format, name, names) in [
        (Format::Oci { ref_name: None }, None, vec![]),
        (
            Format::Oci {
                ref_name: Some("v1".to_owned()),
            },
            Some("v1"),
            vec!["v1"],
        ),
        (
            docker(&["shop:1.4", "r.example/team/shop"]),
            Some("r.example/team/shop:latest"),
            vec!["docker.io/library/shop:1.4", "r.example/team/shop:latest"],
        ),
        (docker(&[]), None, vec![]),
    ] {
        let path = world.path("image.tar");
        let archive = Archive::new(&world.store, &manifest, &format).unwrap();
        let length = archive.length();
        archive.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), length);
        let again = world.path("again.tar");
        let archive = Archive::new(&world.store, &manifest, &format).unwrap();
        archive.write(&again).unwrap();
        assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
        let imported = import(&path, &world.other, name).unwrap();
        assert_eq!(imported.manifest.digest, manifest.digest);
        assert_eq!(imported.names, names);
        let loaded = Image::load(&world.other, &manifest.digest).unwrap();
        for layer in &loaded.manifest.layers {
            assert!(world.other.contains(&layer.digest).unwrap());
        }
    }
}

#[test]
fn docker_before_25_wrote_plain_layers_and_links() {
    let world = World::new();
    let manifest = image(&world.store, &["one"]);
    let image = Image::load(&world.store, &manifest.digest).unwrap();
    let config = world.store.read(&image.manifest.config.digest).unwrap();
    let mut layer = Vec::new();
    let blob = world
        .store
        .open_blob(&image.manifest.layers[0].digest)
        .unwrap();
    flate2::read::MultiGzDecoder::new(blob)
        .read_to_end(&mut layer)
        .unwrap();
    let mut bytes = Vec::new();
    let mut tar = LayerTar::new(&mut bytes);
    let listed = br#"[{"Config":"c.json","RepoTags":["shop:1"],"Layers":["b/layer.tar"]}]"#;
    for (name, content) in [
        ("a/layer.tar", layer.as_slice()),
        ("c.json", &config),
        ("manifest.json", listed),
    ] {
        tar.file(name, 0o644, Owner::ROOT, content.len() as u64, content)
            .unwrap();
    }
    tar.symlink("b/layer.tar", "../a/layer.tar", Owner::ROOT)
        .unwrap();
    tar.finish().unwrap();
    let path = world.path("old.tar");
    fs::write(&path, &bytes).unwrap();
    let imported = import(&path, &world.other, Some("shop:1")).unwrap();
    assert_eq!(imported.names, ["shop:1"]);
    let loaded = Image::load(&world.other, &imported.manifest.digest).unwrap();
    assert_eq!(loaded.manifest.config.digest, image.manifest.config.digest);
    assert_eq!(loaded.manifest.layers, image.manifest.layers);

    // `docker save | gzip`
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    fs::write(&path, gzip.finish().unwrap()).unwrap();
    assert_eq!(import(&path, &world.other, None).unwrap(), imported);

    let refused = import(&path, &world.other, Some("shop:2")).unwrap_err();
    assert!(refused.to_string().contains("shop:1"), "{refused}");
}

#[test]
fn wrong_archives_are_refused() {
    let world = World::new();
    let manifest = image(&world.store, &["one"]);
    let image = Image::load(&world.store, &manifest.digest).unwrap();
    let config = world.store.read(&image.manifest.config.digest).unwrap();
    let listed: &[u8] = br#"[{"Config":"c","Layers":["l"]}]"#;
    let list = |layers: &str| format!(r#"[{{"Config":"c","Layers":[{layers}]}}]"#).into_bytes();
    for (files, says) in [
        (vec![], "neither"),
        (vec![("manifest.json", b"[" as &[u8])], "manifest.json"),
        (vec![("manifest.json", b"[]")], "no image at all"),
        (vec![("manifest.json", listed)], "\"c\""),
        (vec![("manifest.json", listed), ("c", b"{}")], "not valid"),
        (vec![("manifest.json", listed), ("c", &config)], "\"l\""),
        (
            vec![
                ("manifest.json", listed),
                ("c", &config),
                ("l", b"no layer"),
            ],
            "diffID",
        ),
        (
            vec![("manifest.json", list(r#""l","l""#).leak()), ("c", &config)],
            "2 layers but 1 diffIDs",
        ),
        (vec![("c", b"1"), ("./c", b"2")], "twice"),
        (
            vec![("oci-layout", b"{}"), ("index.json", b"[1]")],
            "index.json",
        ),
        (
            vec![
                ("oci-layout", b"{}"),
                ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
            ],
            "no image",
        ),
    ] {
        let path = world.tar("bad.tar", &files);
        let error = import(&path, &world.other, None).unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    fs::write(world.path("bad.tar"), b"no tar at all").unwrap();
    assert!(import(&world.path("bad.tar"), &world.other, None).is_err());
    assert!(import(&world.path("none.tar"), &world.other, None).is_err());
    assert!(import(world.scratch.path(), &world.other, None).is_err());
}

#[test]
fn a_damaged_blob_leaves_no_archive() {
    let world = World::new();
    let manifest = image(&world.store, &["one"]);
    let layer = Image::load(&world.store, &manifest.digest)
        .unwrap()
        .manifest
        .layers[0]
        .digest;
    let mut content = fs::read(world.store.path(&layer)).unwrap();
    content[12] ^= 1;
    fs::remove_file(world.store.path(&layer)).unwrap();
    fs::write(world.store.path(&layer), content).unwrap();
    let archive = Archive::new(&world.store, &manifest, &docker(&["shop"])).unwrap();
    assert!(archive.write(&world.path("image.tar")).is_err());
    assert!(!world.path("image.tar").exists());
    world.store.remove(&layer).unwrap();
    let missing = Archive::new(&world.store, &manifest, &docker(&["shop"]));
    assert!(matches!(missing, Err(ArchiveError::Store(_))));
}

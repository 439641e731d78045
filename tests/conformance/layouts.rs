//! Images as folders of the OCI layout.

use crate::flow::{self, Flow};
use crate::lifecycle::Which;
use crate::registry;
use crate::world::{World, turn};
use oci_image::{BlobStore, Image, layout};
use std::path::Path;

/// A world with a run image in its layout folder.
fn world() -> (World, Flow) {
    let world = World::new();
    flow::lay_out(&world, "echo run > file");
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open(scratch.path()).unwrap();
    let manifest = registry::run_image(&store, "one");
    let folder = world.path("images/index.docker.io/library/base/latest");
    layout::write(&folder, &store, &manifest, Some("latest")).unwrap();
    world.hand_over();
    let flow = Flow {
        app: "registry.example/team/app:1".to_owned(),
        run_image: "base".to_owned(),
        flags: vec![
            "-layout".to_owned(),
            "-layout-dir".to_owned(),
            world.path("images").display().to_string(),
        ],
        cache: vec![
            "-cache-dir".to_owned(),
            world.path("cache").display().to_string(),
        ],
        env: [("CNB_EXPERIMENTAL_MODE".to_owned(), "warn".to_owned())].into(),
    };
    (world, flow)
}

fn app(world: &World, store: &BlobStore) -> Image {
    let folder = world.path("images/registry.example/team/app/1");
    let index = layout::read(&folder).unwrap();
    assert_eq!(index.manifests.len(), 1);
    let name = &index.manifests[0].annotations["org.opencontainers.image.ref.name"];
    assert_eq!(name, "1");
    let manifest = layout::import(&folder, store, None).unwrap();
    let image = Image::load(store, &manifest.digest).unwrap();
    for layer in &image.manifest.layers {
        assert!(layout::blob_path(&folder, &layer.digest).exists());
    }
    image
}

fn reference(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let analyzed: toml::Table = text.parse().unwrap();
    analyzed["run-image"]["reference"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn either_lifecycle_builds_on_what_either_left() {
    let _turn = turn();
    let mut seen = Vec::new();
    for first in Which::all() {
        for second in Which::all() {
            let (world, flow) = world();
            let log = flow::five_phases(&world, first, &flow);
            assert!(
                log.contains(
                    "Warning: Platform requested experimental feature 'export to OCI layout format'"
                ),
                "{log}"
            );
            let folder = world.path("images/index.docker.io/library/base/latest");
            let found = reference(&world.path("layers/analyzed.toml"));
            assert!(
                found.starts_with(&format!("{}@sha256:", folder.display())),
                "{found}"
            );
            let scratch = tempfile::tempdir().unwrap();
            let store = BlobStore::open(scratch.path()).unwrap();
            let one = app(&world, &store);
            flow::next_build(&world);
            let log = flow::five_phases(&world, second, &flow);
            assert!(
                log.contains("Reusing layer 'test/one:run'"),
                "{second:?} after {first:?}: {log}"
            );
            assert!(
                log.contains("Reusing layer 'test/one:both'"),
                "{second:?} after {first:?}: {log}"
            );
            let two = app(&world, &store);
            assert_eq!(one.config.rootfs.diff_ids, two.config.rootfs.diff_ids);
            seen.push(two.config.rootfs.diff_ids.len());
        }
    }
    assert!(seen.iter().all(|layers| *layers == seen[0]), "{seen:?}");
}

#[test]
fn the_creator_writes_all_names() {
    let _turn = turn();
    let (world, mut flow) = world();
    flow.env
        .insert("CNB_USE_LAYOUT".to_owned(), "true".to_owned());
    let images = world.path("images").display().to_string();
    flow.env.insert("CNB_LAYOUT_DIR".to_owned(), images);
    let args = [
        "-tag",
        "registry.example/team/app:2",
        "-run-image",
        "base",
        "registry.example/team/app:1",
    ]
    .map(str::to_owned);
    let ended = world.run(Which::Ours, "creator", &args, &flow.env, false);
    assert_eq!(ended.code, 0, "{}", ended.log);
    for tag in ["1", "2"] {
        let folder = world.path(&format!("images/registry.example/team/app/{tag}"));
        assert_eq!(layout::read(&folder).unwrap().manifests.len(), 1);
        assert!(
            ended.log.contains(&folder.display().to_string()),
            "{}",
            ended.log
        );
    }
}

/// A base whose layers stay in a registry, as `pack` writes it with `--sparse`.
#[test]
fn a_sparse_run_image_gives_a_sparse_image() {
    let _turn = turn();
    for which in Which::all() {
        let (world, flow) = world();
        let folder = world.path("images/index.docker.io/library/base/latest");
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let manifest = layout::import(&folder, &store, None).unwrap();
        let base = Image::load(&store, &manifest.digest)
            .unwrap()
            .manifest
            .layers[0]
            .digest;
        std::fs::remove_file(layout::blob_path(&folder, &base)).unwrap();
        flow::five_phases(&world, which, &flow);
        let app = world.path("images/registry.example/team/app/1");
        let index = layout::read(&app).unwrap();
        assert_eq!(index.manifests.len(), 1, "{which:?}");
        assert!(!layout::blob_path(&app, &base).exists(), "{which:?}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let _turn = turn();
    let (world, flow) = world();
    let args = [
        &flow.flags[..],
        &["-run-image", "none", "app"].map(str::to_owned),
    ]
    .concat();
    let ended = world.run(Which::Ours, "analyzer", &args, &flow.env, false);
    assert_eq!(ended.code, 32, "{}", ended.log);
    assert!(
        ended.log.contains("there is no run image none"),
        "{}",
        ended.log
    );
    let index = "images/index.docker.io/library/base/latest/index.json";
    world.write(index, "{");
    let args = [
        &flow.flags[..],
        &["-run-image", "base", "app"].map(str::to_owned),
    ]
    .concat();
    let ended = world.run(Which::Ours, "analyzer", &args, &flow.env, false);
    assert_eq!(ended.code, 32, "{}", ended.log);
    assert!(
        ended.log.contains("library/base/latest/index.json"),
        "{}",
        ended.log
    );
}

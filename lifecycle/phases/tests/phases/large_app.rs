//! An app that is cut into several layers.

use crate::world::{World, buildpack};
use cnb_phases::export::{Exported, LayerState};
use std::collections::BTreeSet;

const FILES: usize = 400;

/// What was changed just now may change once more without showing it, and is read again.
const REST: std::time::Duration = std::time::Duration::from_millis(100);

fn content(number: usize) -> String {
    format!("{number}\n").repeat(200 + number)
}

fn large_world() -> World {
    let mut world = World::new();
    world.add(
        &buildpack("test/app", "1.0.0").build(
            "printf '[[slices]]\\npaths = [\"static\"]\\n' > \"$CNB_LAYERS_DIR/launch.toml\"",
        ),
    );
    world.order("test/app");
    world.app("static/style.css", "body {}\n");
    for number in 0..FILES {
        world.app(
            &format!("package{}/module{number}.py", number / 20),
            &content(number),
        );
    }
    world.cut_app_above = Some(256 << 10);
    std::thread::sleep(REST);
    world
}

fn app_layers(exported: &Exported) -> Vec<(&str, LayerState)> {
    let layers = exported.layers.iter();
    layers
        .filter(|layer| layer.name.starts_with("slice-"))
        .map(|layer| (layer.name.as_str(), layer.state))
        .collect()
}

#[test]
fn a_file_that_changes_costs_one_layer() {
    let mut world = large_world();
    let first = world.whole_build().unwrap();
    let names: Vec<String> = app_layers(&first)
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert!(names.len() > 5, "{names:?}");
    assert_eq!(
        world.entries(&first, "slice-1")[2],
        "-644 1000:1000 /workspace/static/style.css"
    );
    // Together they have what one layer would have.
    let together: BTreeSet<String> = names
        .iter()
        .flat_map(|name| world.entries(&first, name))
        .collect();
    assert_eq!(together.len(), 1 + 2 + 20 + FILES, "{together:?}");

    let blobs = |exported: &Exported| {
        exported
            .layers
            .iter()
            .map(|layer| layer.blob.digest)
            .collect::<BTreeSet<_>>()
    };
    world.app("package7/module150.py", "changed\n");
    let second = world.whole_build().unwrap();
    let new = blobs(&second).difference(&blobs(&first)).count();
    assert!((1..=2).contains(&new), "{new} of {}", names.len());
    let all = app_layers(&second);
    let reused = all
        .iter()
        .filter(|(_, state)| *state == LayerState::Reused)
        .count();
    assert_eq!(all.len() - reused, new);
    assert!(
        world
            .log()
            .contains(&format!("Reused {reused}/{} app layer(s)", all.len()))
    );

    // What changes back is the first image.
    world.app("package7/module150.py", &content(150));
    let third = world.whole_build().unwrap();
    assert_eq!(third.manifest.digest, first.manifest.digest);
}

#[test]
fn what_did_not_change_is_not_read() {
    let mut world = large_world();
    let first = world.whole_build().unwrap();
    let all = first.stats.app_bytes_read;
    assert!(all > 256 << 10);
    let second = world.whole_build().unwrap();
    assert_eq!(second.manifest.digest, first.manifest.digest);
    assert_eq!(second.stats.app_bytes_read, 0);
    world.app("package7/module150.py", "changed\n");
    std::thread::sleep(REST);
    let third = world.whole_build().unwrap();
    assert!((1..all / 2).contains(&third.stats.app_bytes_read));
    assert_ne!(third.manifest.digest, first.manifest.digest);
}

#[test]
fn a_blob_that_is_gone_is_made_again() {
    let mut world = large_world();
    let first = world.whole_build().unwrap();
    let lost = first
        .layers
        .iter()
        .find(|layer| layer.name == "slice-3")
        .unwrap();
    world.blobs.remove(&lost.blob.digest).unwrap();
    let second = world.whole_build().unwrap();
    assert_eq!(second.manifest.digest, first.manifest.digest);
    assert!(world.blobs.contains(&lost.blob.digest).unwrap());
}

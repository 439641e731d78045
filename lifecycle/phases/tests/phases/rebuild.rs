//! Builds again: after nothing, after a change, after a failure.

use crate::app::{APP, python_world};
use crate::world::{self, World, buildpack};
use cnb_phases::build::BuildError;
use cnb_phases::export::{self, Exported, LayerState};
use cnb_phases::restore::LastBuild;
use oci_image::{Compression, Owner};

fn names(exported: &Exported) -> Vec<&str> {
    exported
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect()
}

#[test]
fn a_rebuild_reads_no_byte_of_its_layers_and_gives_the_same_image() {
    let mut world = python_world();
    let first = world.whole_build().unwrap();
    assert_eq!(
        names(&first),
        [
            "test/deps:assets",
            "test/deps:venv",
            "buildpacksio/lifecycle:launch.sbom",
            "slice-1",
            "slice-2",
            "buildpacksio/lifecycle:launcher",
            "buildpacksio/lifecycle:config",
            "buildpacksio/lifecycle:process-types",
        ]
    );
    assert!(
        first
            .layers
            .iter()
            .all(|layer| layer.state == LayerState::Added)
    );
    assert_eq!(first.stats.layers_read, 2);
    assert!(first.stats.layer_bytes_read > 8 << 20);

    world.restore(LastBuild::Committed);
    world.detect().unwrap();
    world.build().unwrap();
    let before = world::bytes_read();
    let second = world.export().unwrap();
    let read = world::bytes_read() - before;
    assert_eq!(second.manifest.digest, first.manifest.digest);
    assert_eq!(second.stats.layers_read, 0);
    assert_eq!(second.stats.layer_bytes_read, 0);
    assert_eq!(second.stats.layers_unread, 2);
    assert_eq!(first.stats.folders_walked, 3);
    assert_eq!(second.stats.folders_walked, 1, "tools is only cached");
    assert!(
        second
            .layers
            .iter()
            .all(|layer| layer.state == LayerState::Reused)
    );
    // App, launcher, TOML files and the manifest: nothing near the size of a layer.
    assert!(read < 200_000, "{read} bytes were read");
    let venv = |exported: &Exported| {
        exported.record.buildpacks["test/deps"].layers["venv"]
            .fingerprint
            .clone()
    };
    assert_eq!(venv(&second), venv(&first));

    world.platform_env("BP_CHANGE", "1");
    let third = world.whole_build().unwrap();
    assert_ne!(third.manifest.digest, first.manifest.digest);
    let added: Vec<_> = third
        .layers
        .iter()
        .filter(|layer| layer.state == LayerState::Added)
        .collect();
    assert_eq!(added.len(), 1);
    assert_eq!(added[0].name, "test/deps:venv");
    assert_eq!(third.stats.layers_read, 1);
    assert_eq!(third.stats.folders_walked, 2);
}

/// The buildpack writes its tools again in each build, as its metadata does not tell.
#[test]
fn a_cache_that_changed_unseen_is_dropped_after_a_build_that_was_cut_short() {
    let mut world = python_world();
    world.whole_build().unwrap();
    let restoration = world.restore(LastBuild::Interrupted);
    assert_eq!(restoration.kept, ["test/deps:tools", "test/deps:venv"]);

    let mut world = python_world();
    world.whole_build().unwrap();
    assert_eq!(world.whole_build().unwrap().stats.folders_walked, 1);
    let restoration = world.restore(LastBuild::Interrupted);
    assert_eq!(restoration.kept, ["test/deps:venv"]);
    assert_eq!(restoration.dropped, ["test/deps:tools"]);
}

#[test]
fn the_same_app_elsewhere_gives_the_same_image() {
    let (mut here, mut there) = (python_world(), python_world());
    let here = here.whole_build().unwrap();
    assert_eq!(there.whole_build().unwrap().manifest, here.manifest);
}

#[test]
fn a_failing_build_has_its_exit_code_and_costs_no_cache() {
    let mut world = python_world();
    let first = world.whole_build().unwrap();
    world.add(
        &buildpack("test/app", "1.0.0")
            .detect("+app -app -deps")
            .build("exit 9"),
    );
    world.platform_env("BP_CHANGE", "broken");
    world.restore(LastBuild::Committed);
    world.detect().unwrap();
    let error = world.build().unwrap_err();
    assert_eq!(error.exit_code(), 51);
    assert!(
        matches!(&error, BuildError::Buildpack { buildpack, .. } if buildpack == "test/app@1.0.0")
    );
    assert!(error.to_string().contains("exit status: 9"), "{error}");

    // venv was rewritten before the failure, and must not be taken for what it was.
    world.add(
        &buildpack("test/app", "1.0.0")
            .detect("+app -app -deps")
            .build(APP),
    );
    world.platform_env("BP_CHANGE", "");
    let restoration = world.restore(LastBuild::BuildpackFailed);
    assert_eq!(restoration.dropped, ["test/deps:venv"]);
    assert_eq!(restoration.kept, ["test/deps:tools"]);
    assert_eq!(restoration.metadata_only, ["test/deps:assets"]);
    world.detect().unwrap();
    world.build().unwrap();
    assert_eq!(world.export().unwrap().manifest, first.manifest);
}

/// Writes the environment before the export, if it is at rest.
fn write_early(world: &mut World) -> bool {
    let layers = world.root().join("layers");
    let early = export::write_early(
        &export::EarlyInputs {
            layers_dir: &layers,
            layers_path: "/layers",
            owner: Owner {
                uid: 1000,
                gid: 1000,
            },
            compression: Compression::default(),
            blobs: &world.blobs,
        },
        "test/deps",
        "venv",
    );
    let written = early.is_some();
    world.early.extend(early);
    written
}

/// What was written while the build ran gives the image that writing it afterwards gives, and no file of it is read
/// again; a layer that changed since is written as it is.
#[test]
fn a_layer_written_early_counts_while_it_stays_the_same() {
    let mut world = python_world();
    let expected = world.whole_build().unwrap().manifest.digest;

    let mut world = python_world();
    world.detect().unwrap();
    world.restore(LastBuild::Committed);
    assert!(!write_early(&mut world), "not there yet");
    world.build().unwrap();
    // Build code still runs when a layer is written early, and may put a link anywhere.
    let folder = world.root().join("layers/test_deps");
    let aside = world.root().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &folder).unwrap();
    assert!(!write_early(&mut world), "it leads out of the layers");
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    assert!(write_early(&mut world));
    let before = world::bytes_read();
    let exported = world.export().unwrap();
    let read = world::bytes_read() - before;
    assert_eq!(exported.manifest.digest, expected);
    assert!(read < 2 << 20, "{read} bytes were read");

    let mut world = python_world();
    world.detect().unwrap();
    world.restore(LastBuild::Committed);
    world.build().unwrap();
    assert!(write_early(&mut world));
    let added = world.root().join("layers/test_deps/venv/added-later");
    std::fs::write(&added, "x").unwrap();
    let exported = world.export().unwrap();
    assert_ne!(exported.manifest.digest, expected);
    let entries = world.entries(&exported, "test/deps:venv");
    assert!(
        entries.iter().any(|entry| entry.ends_with("/added-later")),
        "{entries:?}"
    );
}

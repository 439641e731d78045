//! What is exported.

use crate::app::python_world;
use crate::world::{World, buildpack};
use cnb_spec::labels::{self, LayersMetadata};
use oci_image::Image;
use std::fs;

#[test]
fn the_image_is_what_the_reference_lifecycle_makes() {
    let mut world = python_world();
    let exported = world.whole_build().unwrap();
    let config = &exported.image.config;
    assert_eq!(config.config.entrypoint, ["/cnb/process/web"]);
    assert!(config.config.cmd.is_empty());
    assert_eq!(config.config.working_dir, "/workspace");
    assert_eq!(
        config.config.env,
        [
            "PATH=/cnb/process:/cnb/lifecycle:/usr/bin:/bin",
            "CNB_LAYERS_DIR=/layers",
            "CNB_APP_DIR=/workspace",
            "CNB_PLATFORM_API=0.12",
            "CNB_DEPRECATION_MODE=quiet",
        ]
    );
    assert_eq!(config.created.as_deref(), Some("1980-01-01T00:00:01Z"));
    let history: Vec<_> = config
        .history
        .iter()
        .map(|entry| entry.created_by.as_deref().unwrap_or(""))
        .collect();
    assert_eq!(
        history,
        [
            "base",
            "Layer: 'assets', Created by buildpack: test/deps@1.0.0",
            "Layer: 'venv', Created by buildpack: test/deps@1.0.0",
            "Software Bill-of-Materials",
            "Application Slice: 1",
            "Application Slice: 2",
            "Buildpacks Application Launcher",
            "Buildpacks Launcher Config",
            "Buildpacks Process Types",
        ]
    );
    let label = |name: &str| config.config.labels[name].as_str();
    assert_eq!(label("some.label"), "some value");
    assert_eq!(label(labels::PROJECT_METADATA), "{}");
    assert_eq!(
        label(labels::BUILD_METADATA),
        r#"{"buildpacks":[{"id":"test/deps","version":"1.0.0"},{"id":"test/app","version":"1.0.0"}],"launcher":{"version":"0.1.0","source":{"git":{"repository":"","commit":""}}},"processes":[{"type":"web","command":["serve","--bind"],"args":["app:app"],"direct":true,"buildpackID":"test/app"},{"type":"worker","command":["work"],"args":null,"direct":true,"buildpackID":"test/app"}],"buildpack-default-process-type":"web"}"#
    );
    let layers: LayersMetadata = serde_json::from_str(label(labels::LIFECYCLE_METADATA)).unwrap();
    let deps = &layers.buildpacks[0];
    assert_eq!(deps.layers.keys().collect::<Vec<_>>(), ["assets", "venv"]);
    let venv = exported
        .layers
        .iter()
        .find(|layer| layer.name == "test/deps:venv")
        .unwrap();
    assert_eq!(deps.layers["venv"].sha, venv.blob.diff_id.to_string());
    assert_eq!(
        deps.store.as_ref().unwrap().metadata["count"].as_integer(),
        Some(1)
    );
    assert_eq!(
        layers.run_image.top_layer,
        config.rootfs.diff_ids[0].to_string()
    );

    let saved = Image::load(&world.blobs, &exported.manifest.digest).unwrap();
    assert_eq!(saved, exported.image);
    let report = world.root().join("report.toml");
    exported.write_report(&report).unwrap();
    let report = fs::read_to_string(report).unwrap();
    assert!(
        report.contains(&exported.manifest.digest.to_string()),
        "{report}"
    );
}

#[test]
fn the_layers_are_what_the_reference_lifecycle_makes() {
    let mut world = python_world();
    let exported = world.whole_build().unwrap();
    assert_eq!(
        world.entries(&exported, "test/deps:venv"),
        [
            "d755 1000:1000 /layers",
            "d755 1000:1000 /layers/test_deps",
            "d755 1000:1000 /layers/test_deps/venv",
            "-644 1000:1000 /layers/test_deps/venv/big",
            "d755 1000:1000 /layers/test_deps/venv/bin",
            "l777 1000:1000 /layers/test_deps/venv/bin/link -> ../big",
            "-644 1000:1000 /layers/test_deps/venv/changing",
            "d755 1000:1000 /layers/test_deps/venv/env.launch",
            "-644 1000:1000 /layers/test_deps/venv/env.launch/PYTHONPATH.prepend",
        ]
    );
    assert_eq!(
        world.entries(&exported, "slice-1"),
        [
            "d755 1000:1000 /workspace",
            "d755 1000:1000 /workspace/static",
            "-644 1000:1000 /workspace/static/style.css"
        ]
    );
    assert_eq!(
        world.entries(&exported, "slice-2"),
        [
            "d755 1000:1000 /workspace",
            "-644 1000:1000 /workspace/main.py"
        ]
    );
    assert_eq!(
        world.entries(&exported, "buildpacksio/lifecycle:launcher"),
        [
            "d755 0:0 /cnb",
            "d755 0:0 /cnb/lifecycle",
            "-755 0:0 /cnb/lifecycle/launcher"
        ]
    );
    assert_eq!(
        world.entries(&exported, "buildpacksio/lifecycle:process-types"),
        [
            "d755 0:0 /cnb",
            "d755 0:0 /cnb/process",
            "l755 0:0 /cnb/process/web -> /cnb/lifecycle/launcher",
            "l755 0:0 /cnb/process/worker -> /cnb/lifecycle/launcher",
        ]
    );
    assert_eq!(
        world.entries(&exported, "buildpacksio/lifecycle:launch.sbom"),
        [
            "d755 1000:1000 /layers",
            "d755 1000:1000 /layers/sbom",
            "d755 1000:1000 /layers/sbom/launch",
            "-644 1000:1000 /layers/sbom/launch/sbom.legacy.json",
            "d755 1000:1000 /layers/sbom/launch/test_deps",
            "d755 1000:1000 /layers/sbom/launch/test_deps/venv",
            "-644 1000:1000 /layers/sbom/launch/test_deps/venv/sbom.cdx.json",
        ]
    );
}

#[test]
fn a_launch_layer_without_folder_or_record_cannot_be_exported() {
    let mut world = World::new();
    world.add(
        &buildpack("a", "1.0.0")
            .build("printf '[types]\\nlaunch = true\\n' > $CNB_LAYERS_DIR/x.toml"),
    );
    world.order("a");
    let error = world.whole_build().unwrap_err().to_string();
    assert!(
        error.contains("a:x") && error.contains("no such layer to reuse"),
        "{error}"
    );

    let mut world = World::new();
    let build = "printf '[types]\\nlaunch = true\\ncache = true\\n' > $CNB_LAYERS_DIR/x.toml";
    world.add(&buildpack("a", "1.0.0").build(build));
    world.order("a");
    let error = world.whole_build().unwrap_err().to_string();
    assert!(
        error.contains("a:x says cache = true but has no folder"),
        "{error}"
    );
}

#[test]
fn processes_the_user_asks_for_have_to_exist() {
    let mut world = python_world();
    world.process_type = Some("worker");
    let exported = world.whole_build().unwrap();
    assert_eq!(
        exported.image.config.config.entrypoint,
        ["/cnb/process/worker"]
    );
    world.process_type = Some("cron");
    let error = world.whole_build().unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no process \"cron\"; the image has web, worker"
    );
}

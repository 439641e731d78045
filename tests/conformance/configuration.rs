//! What an image, its report and the cache say, where no table can see it.

use crate::flow::{self, Flow};
use crate::lifecycle::Which;
use crate::registry::{self, Registry};
use crate::world::{World, turn};
use oci_image::{BlobStore, Image};
use serde_json::Value;
use std::fs;
use test_support::{Need, requires};

fn image(registry: &Registry, name: &str) -> Image {
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open(scratch.path()).unwrap();
    registry.image(&store, name).unwrap().1
}

/// Two buildpacks with the same label and without a default process.
fn two_labels(world: &World) {
    for (name, value) in [("a@1", "first"), ("b@1", "last")] {
        let launch = format!(
            "[[labels]]\\nkey = \"both\"\\nvalue = \"{value}\"\\n[[processes]]\\ntype = \"{value}\"\\ncommand = [\"x\"]\\n"
        );
        let build = format!("printf '{launch}' > \"$CNB_LAYERS_DIR/launch.toml\"");
        world.buildpack(name, "", "0.10", ["exit 0", &build]);
    }
    world.order(&["a@1 b@1"]);
    world.hand_over();
}

#[test]
fn the_last_of_several_labels_counts_and_without_a_default_the_launcher_is_the_entrypoint() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    for which in Which::all() {
        let world = World::new();
        two_labels(&world);
        let flow = Flow::in_registry(registry);
        flow::five_phases(&world, which, &flow);
        let config = image(registry, &flow.app).config.config;
        assert_eq!(config.labels["both"], "last", "{which:?}");
        assert_eq!(config.entrypoint, ["/cnb/lifecycle/launcher"], "{which:?}");
    }
}

/// Only ours: the reference lifecycle 0.20 does not have Platform API 0.15.
#[test]
fn the_execution_environment_is_a_label() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    for (name, expected) in [("test", Some("test")), ("", Some("production"))] {
        let world = World::new();
        two_labels(&world);
        let mut flow = Flow::in_registry(registry);
        flow.env
            .insert("CNB_PLATFORM_API".to_owned(), "0.15".to_owned());
        if !name.is_empty() {
            flow.env.insert("CNB_EXEC_ENV".to_owned(), name.to_owned());
        }
        flow::five_phases(&world, Which::Ours, &flow);
        let labels = image(registry, &flow.app).config.config.labels;
        let found = labels.get("io.buildpacks.exec-env").map(String::as_str);
        assert_eq!(found, expected, "{name:?}");
    }
}

#[test]
fn the_report_has_digest_and_size_of_the_manifest() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open(scratch.path()).unwrap();
    for which in Which::all() {
        let world = World::new();
        two_labels(&world);
        let flow = Flow::in_registry(registry);
        flow::five_phases(&world, which, &flow);
        let (digest, _) = registry.image(&store, &flow.app).unwrap();
        let size = store.open_blob(&digest).unwrap().metadata().unwrap().len();
        let text = fs::read_to_string(world.path("layers/report.toml")).unwrap();
        let report: toml::Table = text.parse().unwrap();
        let told = &report["image"];
        assert_eq!(
            told["digest"].as_str(),
            Some(&*digest.to_string()),
            "{which:?}"
        );
        let told = told["manifest-size"].as_integer();
        assert_eq!(told, i64::try_from(size).ok(), "{which:?}");
    }
}

/// The analyzer brings the SBOM files of the previous image, unless it is told not to.
#[test]
fn sbom_files_of_the_previous_image_are_left_out_on_request() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    for which in Which::all() {
        let world = World::new();
        flow::lay_out(&world, "echo run > file");
        let flow = Flow::in_registry(registry);
        flow::five_phases(&world, which, &flow);
        for (flags, there) in [(&["-skip-layers"][..], false), (&[], true)] {
            flow::next_build(&world);
            let rest = ["-run-image", &flow.run_image, &flow.app];
            let args: Vec<String> = flags
                .iter()
                .chain(&rest)
                .map(|it| (*it).to_owned())
                .collect();
            let ended = world.run(which, "analyzer", &args, &flow.env, false);
            assert_eq!(ended.code, 0, "{which:?}: {}", ended.log);
            let file = world.path("layers/sbom/launch/test_one/run/sbom.cdx.json");
            assert_eq!(file.exists(), there, "{which:?} {flags:?}: {}", ended.log);
        }
    }
}

/// Each cached layer is a tar by its diffID, and so are the SBOM files of the layers that are only cached.
#[test]
fn cached_layers_and_their_sbom_files_are_in_the_cache() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    let mut seen = Vec::new();
    // Paths are part of the layers: all of them in one folder.
    let world = World::new();
    for which in Which::all() {
        world.clear();
        flow::lay_out(&world, "echo run > file");
        let mut flow = Flow::in_registry(registry);
        flow.cache = vec![
            "-cache-dir".to_owned(),
            world.path("cache").display().to_string(),
        ];
        flow::five_phases(&world, which, &flow);
        let committed = world.path("cache/committed");
        let metadata = committed.join("io.buildpacks.lifecycle.cache.metadata");
        let metadata: Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
        let layers = &metadata["buildpacks"][0]["layers"];
        for (sha, name) in [
            (&layers["both"]["sha"], "/layers/test_one/both/file"),
            (&layers["kept"]["sha"], "/layers/test_one/kept/file"),
            (
                &metadata["sbom"]["sha"],
                "/layers/sbom/cache/test_one/kept/sbom.cdx.json",
            ),
        ] {
            let tar = fs::read(committed.join(format!("{}.tar", sha.as_str().unwrap()))).unwrap();
            let name = name.as_bytes();
            assert!(
                tar.windows(name.len()).any(|it| it == name),
                "{which:?}: {metadata}"
            );
        }
        seen.push(metadata);
    }
    assert!(seen.iter().all(|other| *other == seen[0]), "{seen:#?}");
}

//! The build cache as an image in a registry.

use crate::flow::{self, Flow};
use crate::lifecycle::Which;
use crate::registry::{self, Registry};
use crate::world::{World, turn};
use oci_image::BlobStore;
use oci_registry::{PushOptions, push};
use std::collections::BTreeSet;
use test_support::{Need, requires};

const LABEL: &str = "io.buildpacks.lifecycle.cache.metadata";

fn with_cache(registry: &Registry) -> (Flow, String) {
    let cache = format!("{}/{}/cache", registry.host, registry.folder());
    let flow = Flow {
        cache: vec!["-cache-image".to_owned(), cache.clone()],
        ..Flow::in_registry(registry)
    };
    (flow, cache)
}

/// What a test of one build after the other begins with.
struct Begun {
    registry: &'static Registry,
    store: BlobStore,
    world: World,
    flow: Flow,
    cache: String,
    /// The store's folder, which goes with it.
    scratch: tempfile::TempDir,
}

fn begin() -> Begun {
    let registry = registry::started().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open(scratch.path()).unwrap();
    let world = World::new();
    flow::lay_out(&world, "echo run > file");
    let (flow, cache) = with_cache(registry);
    Begun {
        registry,
        store,
        world,
        flow,
        cache,
        scratch,
    }
}

/// The diffIDs of an image's layers, sorted: the reference lifecycle adds a layer that it reuses once more.
fn diff_ids(registry: &Registry, store: &BlobStore, name: &str) -> Vec<String> {
    let (_, image) = registry.image(store, name).unwrap();
    let ids = image.config.rootfs.diff_ids.iter();
    let ids: BTreeSet<String> = ids.map(ToString::to_string).collect();
    ids.into_iter().collect()
}

#[test]
fn either_lifecycle_restores_what_either_saved() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open(scratch.path()).unwrap();
    let all = Which::all();
    let mut saved = Vec::new();
    let world = World::new();
    for first in &all {
        for second in &all {
            world.clear();
            flow::lay_out(&world, "echo run > file");
            let (flow, cache) = with_cache(registry);
            let log = flow::five_phases(&world, *first, &flow);
            assert!(log.contains("Adding cache layer 'test/one:kept'"), "{log}");
            let (_, image) = registry.image(&store, &cache).unwrap();
            let label: serde_json::Value =
                serde_json::from_str(&image.config.config.labels[LABEL]).unwrap();
            let ids = diff_ids(registry, &store, &cache);
            for name in ["both", "kept"] {
                let sha = &label["buildpacks"][0]["layers"][name]["sha"];
                assert!(ids.iter().any(|id| id == sha), "{name} of {label}");
            }
            saved.push(label);

            flow::next_build(&world);
            let log = flow::five_phases(&world, *second, &flow);
            for line in [
                r#"Restoring data for "test/one:both" from cache"#,
                r#"Restoring data for "test/one:kept" from cache"#,
                "Reusing layer 'test/one:both'",
                "Reusing cache layer 'test/one:kept'",
            ] {
                assert!(
                    log.contains(line),
                    "{second:?} after {first:?}: {line}: {log}"
                );
            }
            assert_eq!(diff_ids(registry, &store, &cache), ids);
        }
    }
    for other in &saved {
        assert_eq!(other, &saved[0], "the labels of both lifecycles");
    }
}

#[test]
fn the_creator_takes_it_from_the_environment() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    for which in Which::all() {
        let world = World::new();
        flow::lay_out(&world, "echo run > file");
        let (mut flow, cache) = with_cache(registry);
        flow.env.insert("CNB_CACHE_IMAGE".to_owned(), cache);
        let args = [
            "-run-image".to_owned(),
            flow.run_image.clone(),
            flow.app.clone(),
        ];
        for parallel in ["false", "true"] {
            flow.env
                .insert("CNB_PARALLEL_EXPORT".to_owned(), parallel.to_owned());
            flow::next_build(&world);
            let ended = world.run(which, "creator", &args, &flow.env, false);
            assert_eq!(ended.code, 0, "{which:?}: {}", ended.log);
            let line = if parallel == "true" {
                r#"Restoring data for "test/one:kept" from cache"#
            } else {
                "Adding cache layer 'test/one:kept'"
            };
            assert!(ended.log.contains(line), "{which:?}: {}", ended.log);
        }
    }
}

/// Builds that find a cache image they cannot use go on without it, and leave a good one.
#[test]
fn a_damaged_image_is_an_empty_cache() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let Begun {
        registry,
        store,
        world,
        flow,
        cache,
        scratch: _scratch,
    } = begin();

    // An image that is none of a lifecycle's.
    registry.push_run_image(&cache, "no cache");
    flow::five_phases(&world, Which::Ours, &flow);
    let good = diff_ids(registry, &store, &cache);

    // One whose label promises layers that it does not have, and one whose label is broken.
    for label in [
        Some(format!(
            "{{\"buildpacks\":[{{\"key\":\"test/one\",\"version\":\"1.0\",\"layers\":{{\"kept\":{{\"sha\":\"sha256:{:064}\",\"data\":null,\"cache\":true}}}}}}]}}",
            7
        )),
        Some("{".to_owned()),
        None,
    ] {
        let (_, mut image) = registry.image(&store, &cache).unwrap();
        let warns = label.as_ref().is_some_and(|label| label.len() > 1);
        match label {
            Some(label) => image.config.config.labels.insert(LABEL.to_owned(), label),
            None => image.config.config.labels.remove(LABEL),
        };
        registry.pull(&store, &cache);
        let manifest = image.save(&store).unwrap();
        let reference = cache.parse().unwrap();
        push(
            &registry.client(),
            &store,
            &manifest,
            &reference,
            &PushOptions::default(),
        )
        .unwrap();
        flow::next_build(&world);
        let log = flow::five_phases(&world, Which::Ours, &flow);
        assert_eq!(
            log.contains("Skipping restore for layer test/one:kept: "),
            warns,
            "{log}"
        );
        assert_eq!(diff_ids(registry, &store, &cache), good, "{log}");
    }
}

/// A blob that the registry lost is made and sent again.
#[test]
fn a_lost_layer_comes_back() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let Begun {
        registry,
        store,
        world,
        flow,
        cache,
        scratch: _scratch,
    } = begin();
    flow::five_phases(&world, Which::Ours, &flow);
    let (_, image) = registry.image(&store, &cache).unwrap();
    for layer in &image.manifest.layers {
        registry.lose(&cache, &layer.digest);
    }
    flow::next_build(&world);
    let log = flow::five_phases(&world, Which::Ours, &flow);
    assert!(
        log.contains("Skipping restore for layer test/one:kept: "),
        "{log}"
    );
    flow::next_build(&world);
    let log = flow::five_phases(&world, Which::Ours, &flow);
    assert!(
        log.contains(r#"Restoring data for "test/one:kept" from cache"#),
        "{log}"
    );
    assert!(!log.contains("Skipping restore"), "{log}");
}

#[test]
fn a_registry_that_is_not_there_costs_the_cache_only() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let Begun {
        world, mut flow, ..
    } = begin();
    flow.cache = Vec::new();
    flow.env
        .insert("CNB_CACHE_IMAGE".to_owned(), "127.0.0.1:1/cache".to_owned());
    let analyzer = [
        "-run-image".to_owned(),
        flow.run_image.clone(),
        flow.app.clone(),
    ];
    // The analyzer says it before anything is built.
    for which in Which::all() {
        let ended = world.run(which, "analyzer", &analyzer, &flow.env, false);
        // 0.20.11 loses the code on its way out.
        let code = if which == Which::Upstream { 1 } else { 32 };
        assert_eq!(ended.code, code, "{}", ended.log);
        assert!(
            ended
                .log
                .contains("registry read/write access to 127.0.0.1:1/cache"),
            "{}",
            ended.log
        );
    }
    let without = std::collections::BTreeMap::new();
    for (phase, args) in [
        ("analyzer", &analyzer[..]),
        ("detector", &[]),
        ("restorer", &[]),
        ("builder", &[]),
        ("exporter", std::slice::from_ref(&flow.app)),
    ] {
        let env = if phase == "analyzer" {
            &without
        } else {
            &flow.env
        };
        let ended = world.run(Which::Ours, phase, args, env, false);
        assert_eq!(ended.code, 0, "{phase}: {}", ended.log);
        if ["restorer", "exporter"].contains(&phase) {
            assert!(
                ended
                    .log
                    .contains("Warning: Not using the cache image 127.0.0.1:1/cache: "),
                "{phase}: {}",
                ended.log
            );
        }
    }
}

//! Images of both lifecycles, compared document by document and layer by layer.

use crate::flow::{self, Flow};
use crate::lifecycle::Which;
use crate::registry;
use crate::world::{World, turn};
use oci_image::{BlobStore, Digest, Image};
use serde_json::Value;
use std::io::Read;
use test_support::{Need, requires};

/// Files of every kind that a layer may have, with names that tars find hard. Without those that only root can make.
const NASTY: &str = r#"
    long=$(printf 'n%.0s' $(seq 1 120)); mkdir -p "$long/$long"; echo 1 > "$long/$long/$long"
    name=$(printf 'x%.0s' $(seq 1 99)); echo 1 > "$name"; echo 1 > "${name}y"; echo 1 > "${name}yz"
    mkdir -p "ünï/çödé"; echo 1 > "ünï/çödé/文字 😀"; echo 1 > "with space"; printf x > "$(printf 'new\nline')"
    printf x > "$(printf '\377not-utf8')"
    mkdir empty; mkdir -p modes; for m in 0000 0400 0644 0755 0777; do echo $m > modes/$m; chmod $m modes/$m; done
    chmod 0644 modes/0000; chmod 0000 modes/0000 || true; chmod 0400 modes/0000
    echo s > modes/setuid; chmod 4755 modes/setuid; echo s > modes/setgid; chmod 2755 modes/setgid
    mkdir modes/sticky; chmod 1777 modes/sticky; mkdir modes/setgid-folder; chmod 2775 modes/setgid-folder
    ln -s /etc/passwd absolute; ln -s ../outside relative; ln -s nowhere broken; ln -s empty to-folder
    ln -s "$long" to-long; ln -s "ünï" to-ünï
    echo hard > hard; ln hard harder; ln hard empty-not; truncate -s 3M sparse; printf end >> sparse
    truncate -s 0 nothing; mkdir a; echo 1 > a/b; echo 1 > a-b; echo 1 > a.b; echo 1 > ab
    mkfifo pipe 2>/dev/null && rm pipe; touch -d 2031-01-01 future; touch -d 1960-01-01 past
    { setfattr -n user.test -v value hard; } 2>/dev/null || true
    seq 1 200000 > big"#;

/// What an image says, without what may differ.
fn told(image: &Image) -> Value {
    let mut config = serde_json::to_value(&image.config).unwrap();
    let labels = &mut config["config"]["Labels"];
    let documents = [
        "io.buildpacks.build.metadata",
        "io.buildpacks.lifecycle.metadata",
        "io.buildpacks.project.metadata",
    ];
    for name in documents {
        let text = labels[name].as_str().unwrap_or("null").to_owned();
        labels[name] = serde_json::from_str(&text).unwrap();
    }
    // Each says who it is.
    labels["io.buildpacks.build.metadata"]["launcher"] = Value::Null;
    config
}

fn layer(store: &BlobStore, image: &Image, index: usize) -> Vec<u8> {
    let blob = store
        .open_blob(&image.manifest.layers[index].digest)
        .unwrap();
    let mut tar = Vec::new();
    oci_image::decompress(blob, &oci_image::UnpackRules::default())
        .unwrap()
        .read_to_end(&mut tar)
        .unwrap();
    tar
}

/// Builds with each lifecycle and compares configuration, labels, diffIDs, history, and the layers byte for byte.
fn compare(api: &str) {
    let registry = registry::started().unwrap();
    let world = World::new();
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open(scratch.path()).unwrap();
    let mut images = Vec::new();
    for which in Which::all() {
        world.clear();
        flow::lay_out(&world, NASTY);
        world.write(
            "run.toml",
            &format!("[[images]]\nimage = \"{}\"\n", registry.run_image),
        );
        world.write(
            "stack.toml",
            &format!("[run-image]\nimage = \"{}\"\n", registry.run_image),
        );
        let mut flow = Flow::in_registry(registry);
        flow.env
            .insert("CNB_PLATFORM_API".to_owned(), api.to_owned());
        flow::five_phases(&world, which, &flow);
        images.push(registry.pull(&store, &flow.app));
    }
    let ours = &images[0];
    let labels = &told(ours)["config"]["Labels"];
    let layers = &labels["io.buildpacks.lifecycle.metadata"]["buildpacks"][0]["layers"];
    assert_eq!(layers["run"]["data"]["version"], "1", "{layers}");
    // Base, both, run, SBOM from 0.8 on, two slices, launcher, configuration, process types.
    let layers = if api == "0.7" { 8 } else { 9 };
    assert_eq!(ours.config.rootfs.diff_ids.len(), layers);
    let Some(theirs) = images.get(1) else {
        return;
    };
    for index in 0..ours.manifest.layers.len().min(theirs.manifest.layers.len()) {
        let (one, other) = (layer(&store, ours, index), layer(&store, theirs, index));
        assert!(
            one == other,
            "API {api}: layer {index} differs at byte {:?} of {} and {}:\n{}\n{}",
            one.iter().zip(&other).position(|(one, other)| one != other),
            one.len(),
            other.len(),
            String::from_utf8_lossy(&one).replace('\0', ""),
            String::from_utf8_lossy(&other).replace('\0', "")
        );
        assert_eq!(Digest::of(&one), ours.config.rootfs.diff_ids[index]);
    }
    let (ours, theirs) = (told(ours), told(theirs));
    for key in [
        "config",
        "rootfs",
        "created",
        "history",
        "os",
        "architecture",
    ] {
        assert_eq!(
            pretty(&ours[key]),
            pretty(&theirs[key]),
            "API {api}: {key} of ours and of the reference lifecycle's"
        );
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// A layer with files of every kind, the app's slices, SBOM files, launcher and configuration: the same bytes.
#[test]
fn layers_of_a_nasty_tree_are_the_same_bytes() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    compare("0.12");
}

/// Labels, history and configuration differ between versions of the Platform API.
#[test]
fn images_of_every_platform_api_are_the_same() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    for api in ["0.7", "0.8", "0.9", "0.10", "0.11", "0.13", "0.14"] {
        compare(api);
    }
}

/// What one lifecycle built and cached, the other takes over: no layer is made again.
#[test]
fn each_takes_over_what_the_other_left() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    let all = Which::all();
    let world = World::new();
    for first in &all {
        for second in &all {
            world.clear();
            flow::lay_out(&world, "echo run > file");
            let mut flow = Flow::in_registry(registry);
            flow.cache = vec![
                "-cache-dir".to_owned(),
                world.path("cache").display().to_string(),
            ];
            flow::five_phases(&world, *first, &flow);
            flow::next_build(&world);
            let log = flow::five_phases(&world, *second, &flow);
            let what = format!("{second:?} after {first:?}: {log}");
            for line in [
                r#"Restoring metadata for "test/one:run" from app image"#,
                r#"Restoring metadata for "test/one:both" from app image"#,
                r#"Restoring metadata for "test/one:kept" from cache"#,
                r#"Restoring data for "test/one:both" from cache"#,
                r#"Restoring data for "test/one:kept" from cache"#,
                "Reusing layer 'test/one:run'",
                "Reusing layer 'test/one:both'",
                "Reusing layer 'buildpacksio/lifecycle:launch.sbom'",
                "Reused 2/2 app layer(s)",
                "Reusing layer 'buildpacksio/lifecycle:launcher'",
                "Reusing cache layer 'test/one:both'",
                "Reusing cache layer 'test/one:kept'",
                "*** Images (sha256:",
                "Adding label 'io.buildpacks.lifecycle.metadata'",
                "Setting default process type 'web'",
            ] {
                assert!(log.contains(line), "no {line:?}: {what}");
            }
            assert!(!log.contains("Adding layer"), "{what}");
        }
    }
}

/// A rebase by either of an image of either is the same image.
#[test]
fn each_rebases_what_the_other_built() {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    let registry = registry::started().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let store = BlobStore::open(scratch.path()).unwrap();
    let base = format!("{}/bases/rebase:1", registry.host);
    let mut seen: Vec<String> = Vec::new();
    let world = World::new();
    for first in Which::all() {
        for second in Which::all() {
            registry.push_run_image(&base, "before");
            world.clear();
            flow::lay_out(&world, "echo run > file");
            world.write("run.toml", &format!("[[images]]\nimage = \"{base}\"\n"));
            let mut flow = Flow::in_registry(registry);
            flow.run_image.clone_from(&base);
            flow::five_phases(&world, first, &flow);
            registry.push_run_image(&base, "after");
            let report = world.path("layers/report.toml").display().to_string();
            let args = ["-report", &report, "-run-image", &base, &flow.app].map(str::to_owned);
            let ended = world.run(second, "rebaser", &args, &flow.env, false);
            assert_eq!(ended.code, 0, "{second:?} after {first:?}: {}", ended.log);
            let image = registry.pull(&store, &flow.app);
            assert_eq!(
                layer(&store, &image, 0)
                    .windows(5)
                    .filter(|it| it == b"after")
                    .count(),
                1
            );
            let mut told = told(&image);
            // The reference lifecycle forgets who made which layer when it rebases; we keep it, as nothing changed.
            told["history"] = Value::Null;
            seen.push(pretty(&told));
        }
    }
    for other in &seen[1..] {
        let lines = seen[0].lines().zip(other.lines());
        let differ: Vec<_> = lines.filter(|(one, other)| one != other).collect();
        assert!(differ.is_empty(), "{differ:#?}");
    }
}

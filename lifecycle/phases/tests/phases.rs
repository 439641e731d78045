//! Detection, build, restoration and export with real buildpacks, written in bash by the tests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod world;

use cnb_phases::build::BuildError;
use cnb_phases::export::{Exported, LayerState};
use cnb_phases::restore::LastBuild;
use cnb_spec::labels::{self, LayersMetadata};
use oci_image::Image;
use std::fs;
use world::{World, buildpack};

/// Makes a launch and cache layer of 8 MiB, a launch layer, and a build and cache layer with a tool.
const DEPS: &str = r#"
cd "$CNB_LAYERS_DIR"
if ! grep -q 'version = 1' venv.toml 2>/dev/null || [ ! -d venv ] || [ -n "$BP_CHANGE" ]; then
    mkdir -p venv/bin venv/env.launch
    head -c 8388608 /dev/zero > venv/big
    echo "x$BP_CHANGE" > venv/changing
    ln -sf ../big venv/bin/link
    printf '/somewhere' > venv/env.launch/PYTHONPATH.prepend
fi
printf '[types]\nlaunch = true\ncache = true\n[metadata]\nversion = 1\n' > venv.toml
echo '{"bomFormat": "CycloneDX"}' > venv.sbom.cdx.json
if ! grep -q 'version = 1' assets.toml 2>/dev/null; then mkdir -p assets; echo asset > assets/file; fi
printf '[types]\nlaunch = true\n[metadata]\nversion = 1\n' > assets.toml
mkdir -p tools/bin tools/env
printf '#!/bin/sh\necho tool\n' > tools/bin/some-tool; chmod 755 tools/bin/some-tool
printf 'from deps' > tools/env/FROM_DEPS
printf '[types]\nbuild = true\ncache = true\n' > tools.toml
mkdir -p scratch; echo '' > scratch.toml
printf '[metadata]\ncount = 1\n' > store.toml
"#;

/// Needs the tool and the plan, and defines processes.
const APP: &str = r#"
[ "$(some-tool)" = tool ] || exit 3
[ "$FROM_DEPS" = "from deps" ] || exit 4
[ ! -e "$CNB_LAYERS_DIR/../test_deps/scratch" ] || exit 5
[ -d "$CNB_LAYERS_DIR/../test_deps/scratch.ignore" ] || exit 6
grep -q 'name = "app"' "$CNB_BP_PLAN_PATH" || exit 7
[ "$1" = "$CNB_LAYERS_DIR" ] && [ "$2" = "$CNB_PLATFORM_DIR" ] && [ "$3" = "$CNB_BP_PLAN_PATH" ] || exit 8
cat > "$CNB_LAYERS_DIR/launch.toml" <<TOML
[[labels]]
key = "some.label"
value = "some value"
[[processes]]
type = "worker"
command = ["work"]
[[processes]]
type = "web"
command = ["serve", "--bind"]
args = ["app:app"]
default = true
[[slices]]
paths = ["static"]
TOML
"#;

fn python_world() -> World {
    let world = World::new();
    world.add(
        &buildpack("test/deps", "1.0.0")
            .detect("+deps -deps")
            .build(DEPS)
            .sboms(true),
    );
    world.add(
        &buildpack("test/app", "1.0.0")
            .detect("+app -app -deps")
            .build(APP),
    );
    world.add(&buildpack("test/never", "1.0.0").detect("exit 100"));
    world.app("main.py", "print('hello')\n");
    world.app("static/style.css", "body {}\n");
    world.order("test/never? test/deps test/app");
    world
}

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
}

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
fn the_same_app_elsewhere_gives_the_same_image() {
    let (mut here, mut there) = (python_world(), python_world());
    let here = here.whole_build().unwrap();
    assert_eq!(there.whole_build().unwrap().manifest, here.manifest);
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

#[test]
fn broken_outputs_are_named() {
    for (build, expected) in [
        ("printf 'a = \\n' > $CNB_LAYERS_DIR/x.toml", "x.toml:1:"),
        (
            "printf 'launch = true\\n' > $CNB_LAYERS_DIR/x.toml",
            "belong into the [types] table",
        ),
        (
            "printf '[[unmet]]\\nname = \"x\"\\n' > $CNB_LAYERS_DIR/build.toml",
            "unmet.name \"x\" is not in",
        ),
        (
            "printf '[[processes]]\\ntype = \"web\"\\n' > $CNB_LAYERS_DIR/launch.toml",
            "missing field `command`",
        ),
        (
            "echo {} > $CNB_LAYERS_DIR/launch.sbom.cdx.json",
            "its sbom-formats do not list",
        ),
        (
            "echo {} > $CNB_LAYERS_DIR/launch.sbom.what.json",
            "none of the formats",
        ),
    ] {
        let world = World::new();
        world.add(&buildpack("a/b", "1.0.0").build(build));
        world.order("a/b");
        world.detect().unwrap();
        let error = world.build().unwrap_err();
        assert_eq!(error.exit_code(), 52, "{build}");
        let text = world::chain(&error);
        assert!(
            text.contains("a/b@1.0.0") && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn environments_follow_the_specification() {
    let dump = |name: &str| format!("env | sort > $OUT/{name}; echo \"$PWD\" > $OUT/{name}.pwd");
    let world = World::new();
    let out = world.root().join("out");
    fs::create_dir(&out).unwrap();
    let build = format!("OUT={}; {}", out.display(), dump("first"));
    let make_layer = "\nmkdir -p $CNB_LAYERS_DIR/l/bin $CNB_LAYERS_DIR/l/env.build; printf '[types]\\nbuild = true\\n' > $CNB_LAYERS_DIR/l.toml; printf layer > $CNB_LAYERS_DIR/l/env.build/BP_USER; printf layer > $CNB_LAYERS_DIR/l/env.build/OPERATED";
    world.add(&buildpack("first", "1.0.0").build(&(build + make_layer)));
    let out_dir = format!("OUT={}; ", out.display());
    world.add(&buildpack("second", "1.0.0").build(&(out_dir.clone() + &dump("second"))));
    world.add(
        &buildpack("clear", "1.0.0")
            .build(&(out_dir.clone() + &dump("clear")))
            .clear_env(),
    );
    world.add(
        &buildpack("old", "1.0.0")
            .api("0.7")
            .build(&(out_dir + &dump("old"))),
    );
    world.order("first second clear old");
    world.platform_env("BP_USER", "user");
    world.platform_env("PATH", "/users");
    world.operator_env("OPERATED", "operator");
    world.operator_env("ONLY_OPERATED", "operator");
    world.detect().unwrap();
    world.build().unwrap();
    let value = |who: &str, name: &str| {
        let text = fs::read_to_string(out.join(who)).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let layer = world.root().join("layers/first/l/bin");
    for (who, name, expected) in [
        ("first", "BP_USER", some("user")),
        ("second", "BP_USER", some("user")),
        ("clear", "BP_USER", some("layer")),
        ("second", "OPERATED", some("layer")),
        ("second", "ONLY_OPERATED", some("operator")),
        ("clear", "ONLY_OPERATED", some("operator")),
        (
            "second",
            "PATH",
            Some(format!("/users:{}:/usr/bin:/bin", layer.display())),
        ),
        (
            "clear",
            "PATH",
            Some(format!("{}:/usr/bin:/bin", layer.display())),
        ),
        ("first", "HOME", some("/home/cnb")),
        ("first", "SECRET", None),
        ("first", "CNB_PLATFORM_API", None),
        ("first", "CNB_TARGET_OS", some("linux")),
        ("first", "CNB_TARGET_DISTRO_NAME", some("debian")),
        ("first", "CNB_TARGET_ARCH_VARIANT", None),
        ("first", "CNB_EXEC_ENV", None),
        (
            "first",
            "CNB_BUILDPACK_DIR",
            Some(world.buildpack_dir("first").display().to_string()),
        ),
        (
            "first",
            "CNB_PLATFORM_DIR",
            Some(world.root().join("platform").display().to_string()),
        ),
        ("old", "CNB_PLATFORM_DIR", None),
        ("old", "CNB_TARGET_OS", None),
    ] {
        assert_eq!(value(who, name), expected, "{who} {name}");
    }
    let pwd = fs::read_to_string(out.join("first.pwd")).unwrap();
    assert_eq!(pwd.trim(), world.root().join("app").to_str().unwrap());
}

#[test]
fn unmet_entries_go_to_the_next_provider() {
    let world = World::new();
    let plan = |name: &str| {
        format!(
            "cp $CNB_BP_PLAN_PATH {}/{name}.plan\n",
            world.root().display()
        )
    };
    let unmet = "printf '[[unmet]]\\nname = \"y\"\\n' > $CNB_LAYERS_DIR/build.toml";
    world.add(
        &buildpack("one", "1.0.0")
            .detect("+x +y")
            .build(&(plan("one") + unmet)),
    );
    world.add(
        &buildpack("two", "1.0.0")
            .detect("+x +y -x -y")
            .build(&plan("two")),
    );
    world.order("one two");
    world.detect().unwrap();
    world.build().unwrap();
    let names = |name: &str| {
        let text = fs::read_to_string(world.root().join(format!("{name}.plan"))).unwrap();
        let plan: cnb_spec::plan::BuildpackPlan = toml::from_str(&text).unwrap();
        plan.entries
            .into_iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("one"), ["x", "y"]);
    assert_eq!(names("two"), ["y"]);
}

#[test]
fn detection_goes_through_orders_and_composites() {
    let world = World::new();
    for (id, detect) in [
        ("yes", ""),
        ("also", ""),
        ("no", "exit 100"),
        ("broken", "exit 3"),
        ("needy", "-nothing"),
    ] {
        world.add(&buildpack(id, "1.0.0").detect(detect));
    }
    world.composite("inner", "no | yes also");
    world.composite("outer", "inner also");
    world.composite("never", "no | needy");
    world.composite("cycle", "yes cycle");
    world.add(&buildpack("future", "1.0.0").api("0.99"));
    world.add(&buildpack("elsewhere", "1.0.0").target("windows"));
    for (order, expected) in [
        ("yes", Ok("yes")),
        ("no | yes", Ok("yes")),
        ("yes no?", Ok("yes")),
        ("yes no", Err(20)),
        ("no", Err(20)),
        ("no? no?", Err(20)),
        ("needy", Err(20)),
        ("yes needy?", Ok("yes")),
        ("broken", Err(21)),
        ("broken | yes", Ok("yes")),
        ("broken? yes", Ok("yes")),
        ("outer", Ok("yes,also")),
        ("inner yes", Ok("yes,also")),
        ("also inner", Ok("also,yes")),
        ("yes never?", Ok("yes")),
        ("yes never", Err(20)),
        ("never? yes", Ok("yes")),
        ("missing", Err(22)),
        ("cycle", Err(22)),
        ("future", Err(12)),
        ("elsewhere", Err(21)),
    ] {
        world.order(order);
        let found = world.detect();
        let found = match &found {
            Ok(detected) => {
                let ids: Vec<_> = detected
                    .group
                    .group
                    .iter()
                    .map(|element| element.id.as_str())
                    .collect();
                Ok(ids.join(","))
            }
            Err(error) => Err(error.exit_code()),
        };
        assert_eq!(found, expected.map(str::to_owned), "{order}");
    }
}

#[test]
fn a_buildpack_is_asked_once_and_its_words_are_shown_when_nothing_passes() {
    let world = World::new();
    let count = world.root().join("count");
    let detect = format!(
        "echo once >> {}; echo 'my words'; exit 100",
        count.display()
    );
    world.add(&buildpack("a", "1.0.0").detect(&detect));
    world.add(&buildpack("b", "1.0.0").detect("exit 100"));
    world.order("a | a b | b a");
    assert_eq!(world.detect().unwrap_err().exit_code(), 20);
    assert_eq!(fs::read_to_string(count).unwrap(), "once\n");
    let log = world.log();
    assert!(
        log.contains("Info ======== Output: a@1.0.0 ========\nInfo my words\n"),
        "{log}"
    );
    assert!(log.contains("Info fail: a@1.0.0"), "{log}");
}

#[test]
fn a_broken_build_plan_is_an_error_with_its_place() {
    let world = World::new();
    world.add(
        &buildpack("a", "1.0.0")
            .detect("printf '[[requires]]\\nname = 1\\n' > $CNB_BUILD_PLAN_PATH"),
    );
    world.order("a");
    assert_eq!(world.detect().unwrap_err().exit_code(), 21);
    assert!(
        world.log().contains("plan.toml:2:8: requires.name: "),
        "{}",
        world.log()
    );
}

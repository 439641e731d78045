//! What buildpacks get and what they may leave.

use crate::world::{self, World, buildpack};
use std::fs;

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

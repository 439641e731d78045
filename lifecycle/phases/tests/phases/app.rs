//! An app of two files, a buildpack with layers of several types, and one that uses them.

use crate::world::{World, buildpack};

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
pub(crate) const APP: &str = r#"
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

pub(crate) fn python_world() -> World {
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

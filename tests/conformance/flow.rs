//! A whole build of an app whose buildpacks make every kind of layer.

use crate::lifecycle::Which;
use crate::registry::Registry;
use crate::world::{Ended, World};
use std::collections::BTreeMap;

/// What the phases get besides their folders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    /// The name of the image.
    pub(crate) app: String,
    pub(crate) run_image: String,
    /// Flags of the phases that read and write images.
    pub(crate) flags: Vec<String>,
    /// Flags of the phases that read and write the cache; the analyzer gets those that begin with `-cache-image`.
    pub(crate) cache: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Flow {
    /// An app in the registry that no other case has.
    pub(crate) fn in_registry(registry: &Registry) -> Self {
        Self {
            app: format!("{}/{}/app", registry.host, registry.folder()),
            run_image: registry.run_image.clone(),
            ..Self::default()
        }
    }
}

/// Two buildpacks; `tree` is a script that fills the launch layer.
pub(crate) fn lay_out(world: &World, tree: &str) {
    let one = format!(
        r#"cd "$CNB_LAYERS_DIR"
# What comes back is left as it is, which is what most buildpacks do.
if [ ! -e both/file ]; then
    mkdir -p both/bin; echo both > both/file; printf '#!/bin/sh\n' > both/bin/tool; chmod 755 both/bin/tool
fi
printf '[types]\nlaunch = true\ncache = true\nbuild = true\n[metadata]\nversion = "1"\n' > both.toml
[ -e kept/file ] || {{ mkdir -p kept; echo kept > kept/file; }}
printf '[types]\ncache = true\n' > kept.toml
if [ ! -e run.toml ]; then
    mkdir -p run; cd run
{tree}
    cd ..
fi
printf '[types]\nlaunch = true\n[metadata]\nversion = "1"\n' > run.toml
mkdir -p none; echo none > none/file
printf '[types]\nbuild = true\n' > none.toml
printf '[metadata]\nruns = 1\n' > store.toml
printf '{{"bomFormat": "CycloneDX"}}' > run.sbom.cdx.json
printf '{{"bomFormat": "CycloneDX"}}' > kept.sbom.cdx.json
printf '{{"bomFormat": "CycloneDX"}}' > launch.sbom.cdx.json
printf '[[labels]]\nkey = "one.label"\nvalue = "text"\n[[processes]]\ntype = "web"\ncommand = ["run"]\nargs = ["it"]\ndefault = true\n[[slices]]\npaths = ["assets/*"]\n' > launch.toml"#
    );
    world.buildpack(
        "test/one@1.0",
        "sbom-formats = [\"application/vnd.cyclonedx+json\"]\nhomepage = \"https://one.example\"",
        "0.10",
        ["exit 0", &one],
    );
    let two = r#"command -v tool >/dev/null || exit 9
printf '[[processes]]\ntype = "worker"\ncommand = ["work"]\n' > "$CNB_LAYERS_DIR/launch.toml""#;
    world.buildpack("test/two@2.0", "", "0.10", ["exit 0", two]);
    world.order(&["test/one@1.0 test/two@2.0"]);
    world.write("app/code", "the app\n");
    world.write("app/assets/picture", "a picture\n");
    world.write(
        "layers/project-metadata.toml",
        "[source]\ntype = \"git\"\n[source.version]\ncommit = \"0\"\n",
    );
    world.hand_over();
}

/// Runs the five phases; panics when one fails. Returns their logs together.
pub(crate) fn five_phases(world: &World, which: Which, flow: &Flow) -> String {
    let run_image = ["-run-image".to_owned(), flow.run_image.clone()];
    let app = std::slice::from_ref(&flow.app);
    let of_analyzer: &[String] = match flow.cache.first() {
        Some(flag) if flag == "-cache-image" => &flow.cache,
        _ => &[],
    };
    let mut log = String::new();
    for (phase, args) in [
        (
            "analyzer",
            [&flow.flags, of_analyzer, &run_image, app].concat(),
        ),
        ("detector", Vec::new()),
        ("restorer", [&flow.flags[..], &flow.cache].concat()),
        ("builder", Vec::new()),
        ("exporter", [&flow.flags[..], &flow.cache, app].concat()),
    ] {
        let Ended { code, log: text } = world.run(which, phase, &args, &flow.env, false);
        assert_eq!(code, 0, "{which:?} {phase}: {text}");
        log.extend(["===> ", phase, "\n", &text]);
    }
    log
}

/// Empties the layers folder, as platforms do between builds.
pub(crate) fn next_build(world: &World) {
    let layers = world.path("layers");
    let project = std::fs::read(layers.join("project-metadata.toml")).unwrap();
    std::fs::remove_dir_all(&layers).unwrap();
    std::fs::create_dir(&layers).unwrap();
    std::fs::write(layers.join("project-metadata.toml"), project).unwrap();
    world.hand_over();
}

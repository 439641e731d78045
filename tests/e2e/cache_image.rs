//! `slugc build --cache-image`: machines share their caches through a registry.

use crate::as_each_user;
use crate::registry::Registry;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use test_support::{Need, TestContext, requires};

/// A buildpack with a layer for the next build, which says whether it found it.
fn buildpack(t: &TestContext) -> PathBuf {
    let folder = t.scratch().join("buildpack");
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::write(
        folder.join("buildpack.toml"),
        "api = \"0.10\"\n[buildpack]\nid = \"test/caching\"\nversion = \"1.0.0\"\nname = \"Caching\"\n[[targets]]\nos = \"linux\"\n",
    )
    .unwrap();
    let build = r#"#!/bin/bash
layer=$CNB_LAYERS_DIR/downloads
if [ -e "$layer/file" ]; then echo "the cache has $(cat "$layer/file")"; else echo "the cache is empty"; fi
mkdir -p "$layer"; [ -e "$layer/file" ] || echo "what was downloaded" > "$layer/file"
# What is deep in it belongs to the build's user, too.
mkdir -p "$layer/deep/er"; echo more >> "$layer/deep/er/file" || exit 1
printf '[types]\ncache = true\n' > "$layer.toml"
mkdir -p "$CNB_LAYERS_DIR/both"; echo both > "$CNB_LAYERS_DIR/both/file"
printf '[types]\ncache = true\nlaunch = true\n' > "$CNB_LAYERS_DIR/both.toml"
printf '[[processes]]\ntype = "web"\ncommand = ["true"]\n' > "$CNB_LAYERS_DIR/launch.toml"
"#;
    for (name, script) in [("detect", "#!/bin/bash\nexit 0\n"), ("build", build)] {
        let path = folder.join("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

as_each_user! {
    /// An app that this machine did not build before stands for a machine that starts with nothing.
    fn an_app_that_is_built_for_the_first_time_has_what_others_cached(t: &TestContext) {
        requires!(Need::Program("docker-registry"));
        let registry = Registry::start(t);
        let buildpack = buildpack(t).display().to_string();
        let app = t.fixture("worker-only");
        let cache = format!("{}/team/cache", registry.host);
        let build = |name: &str, cache: &str| {
            // The store lives on from run to run, and the apps in it.
            let name = &format!("{name}-{}", std::process::id());
            let arguments = ["build", ".", "-v", "-a", name, "-b", &buildpack, "--cache-image", cache];
            t.slugc_in(&app).args(arguments).run().success()
        };
        build("one", &cache).says(&["the cache is empty", "Adding cache layer 'test/caching:downloads'"]);
        build("two", &cache).says(&[
            "the cache has what was downloaded",
            "cache layer 'test/caching:downloads'",
            "cache layer 'test/caching:both'",
        ]);
        // A cache that nobody can read costs the cache only.
        let nobody = format!("127.0.0.1:{}/team/cache", test_support::free_port());
        build("three", &nobody).says(&["the cache is empty", "cannot read the cache 127.0.0.1", "cannot save 127.0.0.1"]);
        t.slugc_in(&app)
            .args(["build", ".", "--cache-image", "No/Name:@"])
            .run()
            .failure(3)
            .says(&["No/Name:@"]);
    }
}

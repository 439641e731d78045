//! `slugc build --cache-image` and `--cache`: machines and apps share their caches through a registry or a folder.

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
        // A build that changes nothing asks nobody.
        build("three", &nobody).says(&["is left as it is"]).never_says(&["cannot read the cache"]);
        t.slugc_in(&app)
            .args(["build", ".", "--cache-image", "No/Name:@"])
            .run()
            .failure(3)
            .says(&["No/Name:@"]);
    }
}

as_each_user! {
    /// `--cache` in pack's words: a folder, a name, an image.
    fn a_folder_can_be_the_cache(t: &TestContext) {
        requires!(Need::Program("docker-registry"));
        let registry = Registry::start(t);
        let buildpack = buildpack(t).display().to_string();
        let app = t.fixture("worker-only");
        let build = |name: &str, cache: &str| {
            let name = &format!("{name}-{}", std::process::id());
            t.slugc_in(&app)
                .args(["build", ".", "-v", "-a", name, "-b", &buildpack, "--cache", cache])
                .run()
        };
        let folder = t.scratch().join("cache");
        fs::create_dir(&folder).unwrap();
        t.give(&folder);
        let volume = format!("test-{}", std::process::id());
        for (number, cache) in [
            format!("type=build;format=bind;source={}", folder.display()),
            format!("type=build;format=volume;name={volume}"),
            format!("type=build;format=image;name={}/team/cache", registry.host),
        ]
        .iter()
        .enumerate()
        {
            build(&format!("first{number}"), cache).success().says(&["the cache is empty", "Adding cache layer 'test/caching:downloads'"]);
            build(&format!("second{number}"), cache).success().says(&["the cache has what was downloaded"]);
        }
        assert!(folder.join("committed/io.buildpacks.lifecycle.cache.metadata").is_file());
        assert!(t.store().join("volumes").join(&volume).join("committed").is_dir());
        // The store is such a cache itself.
        build("own", "type=launch;format=volume").success().says(&["the cache is empty"]).never_says(&["Caching in"]);
        for (wrong, code, said) in [
            ("type=build;format=tar", 2, "its format is \"tar\""),
            ("type=build;format=bind;source=/there/is/none", 3, "cannot find the cache's folder"),
            ("type=launch;format=image;name=x", 2, "launch caches are no images"),
        ] {
            build("wrong", wrong).failure(code).says(&[said]);
        }
        // One that cannot be read costs the cache only.
        fs::write(folder.join("committed/io.buildpacks.lifecycle.cache.metadata"), "{").unwrap();
        let cache = format!("type=build;format=bind;source={}", folder.display());
        build("third", &cache).success().says(&["the cache is empty", "Not using the cache"]);
    }
}

//! The environment's SBOM files: what they tell, and that they come and go with the environment.

use crate::context::Context;
use crate::packages;
use std::fs;

fn bills(context: &Context) -> Option<(Vec<u8>, Vec<u8>)> {
    let read = |name: &str| fs::read(context.layers().join(name)).ok();
    Some((read("venv.sbom.cdx.json")?, read("venv.sbom.spdx.json")?))
}

/// Names and versions in both of them, which agree.
fn listed(context: &Context) -> Vec<(String, String)> {
    let (cyclonedx, spdx) = bills(context).unwrap();
    let pairs = |text: &[u8], list: &str, version: &str| -> Vec<(String, String)> {
        let document: serde_json::Value = serde_json::from_slice(text).unwrap();
        let entries = document[list].as_array().unwrap().iter();
        entries
            .map(|entry| {
                let field = |name: &str| entry[name].as_str().unwrap().to_owned();
                (field("name"), field(version))
            })
            .filter(|(name, _)| name != "python")
            .collect()
    };
    let listed = pairs(&cyclonedx, "components", "version");
    assert_eq!(listed, pairs(&spdx, "packages", "versionInfo"));
    listed
}

fn pair(name: &str, version: &str) -> (String, String) {
    (name.to_owned(), version.to_owned())
}

#[test]
fn describes_what_is_installed() {
    let packages = tempfile::tempdir().unwrap();
    packages::wheel(packages.path(), "one", "1.0", &[], &[]);
    packages::wheel(packages.path(), "one", "2.0", &[], &[]);
    packages::wheel(packages.path(), "two", "1.0", &[], &[]);
    let files = [("requirements.txt", "one==1.0\ntwo\n")];
    let Some(context) = Context::with_uv(&files, packages.path()) else {
        return;
    };
    context.build().success();
    assert_eq!(listed(&context), [pair("one", "1.0"), pair("two", "1.0")]);
    let first = bills(&context).unwrap();
    let of_build = fs::read_to_string(context.layers().join("build.sbom.cdx.json")).unwrap();
    assert!(of_build.contains("\"purl\": \"pkg:pypi/uv@"), "{of_build}");

    // Nothing changed: they are not written again, unless they are lost.
    let inode = || {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(context.layers().join("venv.sbom.cdx.json"))
            .unwrap()
            .ino()
    };
    let before = inode();
    context.build().success();
    assert_eq!(inode(), before);
    fs::remove_file(context.layers().join("venv.sbom.spdx.json")).unwrap();
    context.build().success();
    assert_eq!(bills(&context).unwrap(), first);

    // What is removed is gone, and the way back gives the same bytes.
    context.write("requirements.txt", "one==2.0\n");
    context.build().success();
    assert_eq!(listed(&context), [pair("one", "2.0")]);
    context.write("requirements.txt", "one==1.0\ntwo\n");
    context.build().success();
    assert_eq!(bills(&context).unwrap(), first);
}

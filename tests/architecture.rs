//! What the compiler does not check: who imports whom, how files are called and how long they
//! are, what stands at the top, and that no package registry is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate of ours and those of ours that it may depend on.
const IMPORTS: [(&str, &[&str]); 14] = [
    (
        "slugc",
        &[
            "slug-runtime",
            "cnb-phases",
            "sandbox",
            "oci-registry",
            "oci-image",
            "debian-stack",
            "cnb-spec",
        ],
    ),
    ("slug-runtime", &["sandbox", "oci-image", "cnb-spec"]),
    (
        "cnb-lifecycle",
        &["cnb-phases", "oci-registry", "oci-image", "cnb-spec"],
    ),
    ("cnb-phases", &["oci-registry", "oci-image", "cnb-spec"]),
    ("cnb-launcher", &["cnb-spec"]),
    ("oci-registry", &["oci-image"]),
    ("debian-stack", &["oci-image"]),
    ("cnb-spec", &[]),
    ("oci-image", &[]),
    ("sandbox", &[]),
    ("python-buildpack", &[]),
    ("procfile-buildpack", &[]),
    ("aptfile-buildpack", &[]),
    ("test-support", &["oci-image"]),
];

/// Everything that may stand at the top of the repository and does not begin with a dot.
const TOP: [&str; 11] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "buildpacks",
    "cli",
    "fixtures",
    "lifecycle",
    "stack-images",
    "tests",
];

const MOST_LINES: usize = 600;

/// Names that say nothing about what is in the file.
const EMPTY_NAMES: [&str; 7] = [
    "common", "helper", "helpers", "misc", "shared", "util", "utils",
];

/// Hosts of package registries, in two halves so that this file does not name them either.
const REGISTRIES: [(&str, &str); 11] = [
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("deb.debian", ".org"),
    ("security.debian", ".org"),
    ("snapshot.debian", ".org"),
    ("archive.ubuntu", ".com"),
    ("registry-1.docker", ".io"),
    ("crates", ".io"),
    ("registry.npmjs", ".org"),
    ("repo1.maven", ".org"),
    ("ghcr", ".io"),
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the repository but what git, cargo and other tools keep in dot folders of theirs.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut waiting = vec![top()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && name != ".git" && name != "target" && name != "__pycache__" {
                waiting.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                files.push(entry.path());
            }
        }
    }
    assert!(
        files.len() > 100,
        "the repository is not where it should be"
    );
    files.sort();
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(top())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn manifests() -> BTreeMap<String, toml::Table> {
    files()
        .into_iter()
        .filter(|file| file.ends_with("Cargo.toml"))
        .filter_map(|file| fs::read_to_string(file).ok()?.parse::<toml::Table>().ok())
        .filter_map(|manifest| {
            let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
            Some((name, manifest))
        })
        .collect()
}

#[test]
fn imports_go_one_way() {
    let manifests = manifests();
    let ours: BTreeSet<&str> = manifests.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = IMPORTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, known, "every crate has its line in the matrix");
    let mut wrong = Vec::new();
    for (name, allowed) in IMPORTS {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let dependencies = manifests[name].get(section).and_then(toml::Value::as_table);
            for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
                let for_tests = section == "dev-dependencies" && dependency == "test-support";
                if ours.contains(dependency.as_str())
                    && !allowed.contains(&dependency.as_str())
                    && !for_tests
                {
                    wrong.push(format!("{name} → {dependency} ({section})"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn versions_stand_in_one_place() {
    let mut wrong = Vec::new();
    for (name, manifest) in manifests() {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (dependency, value) in manifest
                .get(section)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten()
            {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    wrong.push(format!(
                        "{name}: {dependency} does not come from the workspace"
                    ));
                }
            }
        }
        if manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .is_none()
        {
            wrong.push(format!("{name}: lints are not the workspace's"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_short_and_well_named() {
    let mut wrong = Vec::new();
    for file in files() {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let lines = fs::read_to_string(&file).map_or(0, |text| text.lines().count());
        if lines > MOST_LINES {
            wrong.push(format!(
                "{} has {lines} lines; {MOST_LINES} are the most",
                shown(&file)
            ));
        }
        let parts = file.strip_prefix(top()).into_iter().flat_map(Path::iter);
        let has = |name: &str| {
            parts
                .clone()
                .any(|part| part.to_string_lossy().trim_end_matches(".rs") == name)
        };
        if let Some(name) = EMPTY_NAMES.into_iter().find(|name| has(name)) {
            wrong.push(format!(
                "{}: {name} says nothing about what is in it",
                shown(&file)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_top_level_is_fixed() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(top()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "target" && !TOP.contains(&name.as_str()) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not in the layout: {wrong:?}");
    let missing: Vec<_> = TOP
        .into_iter()
        .filter(|name| !top().join(name).exists())
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}

/// pip, uv and apt know their registries and honour the user's settings; we write none down.
#[test]
fn no_registry_is_named() {
    let mut wrong = Vec::new();
    for file in files() {
        // Cargo writes its own registry into every lock file.
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let text = text.to_lowercase();
        for (first, second) in REGISTRIES {
            if text.contains(&format!("{first}{second}")) {
                wrong.push(format!("{} names {first}{second}", shown(&file)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Phases and libraries get everything by their inputs.
#[test]
fn libraries_do_not_read_the_environment() {
    let libraries = [
        "lifecycle/spec/src",
        "lifecycle/oci-image/src",
        "lifecycle/oci-registry/src",
        "lifecycle/sandbox/src",
        "lifecycle/phases/src",
        "stack-images/bootstrap/src",
        "cli/runtime/src",
    ];
    let mut wrong = Vec::new();
    for file in files() {
        let name = shown(&file);
        let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
        let is_ours = libraries.iter().any(|library| name.starts_with(library));
        let Some(text) = fs::read_to_string(&file)
            .ok()
            .filter(|_| is_ours && !is_test)
        else {
            continue;
        };
        let production = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for call in [
            "env::var",
            "env::current_dir",
            "env::args",
            "env::set_current_dir",
            "process::exit(",
        ] {
            if production.contains(call) {
                wrong.push(format!("{name}: {call}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

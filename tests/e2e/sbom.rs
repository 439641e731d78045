//! `slugc sbom`, and what `slugc push` attaches to an image.

use crate::places::built;
use crate::registry::Registry;
use crate::{BINARY, as_each_user};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use test_support::{App, Need, TestContext, Who, met, output_of, requires};

/// Validators of both formats, as their makers publish them for Python: the folder's `bin/python`; `None` where no
/// package index is reachable.
fn validators() -> Option<&'static PathBuf> {
    static VALIDATORS: OnceLock<Option<PathBuf>> = OnceLock::new();
    VALIDATORS
        .get_or_init(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sbom-validators");
            let python = folder.join("bin/python");
            let check =
                "import cyclonedx.validation.json, spdx_tools.spdx.validation.document_validator";
            let works = || {
                let imported = Command::new(&python).args(["-c", check]).output();
                imported.is_ok_and(|output| output.status.success())
            };
            if works() {
                return Some(python);
            }
            let run = |program: &Path, words: &[&str]| {
                let output = Command::new(program).args(words).output();
                output.is_ok_and(|output| output.status.success())
            };
            run(
                Path::new("python3"),
                &["-m", "venv", folder.to_str().unwrap()],
            );
            run(
                &python,
                &[
                    "-m",
                    "pip",
                    "install",
                    "-q",
                    "cyclonedx-python-lib[json-validation]",
                    "spdx-tools",
                ],
            );
            works().then_some(python)
        })
        .as_ref()
}

const VALIDATE: &str = r"
import sys
kind, path = sys.argv[1:]
if kind == 'cdx':
    from cyclonedx.validation.json import JsonStrictValidator
    from cyclonedx.schema import SchemaVersion
    problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(path).read())
    problems = [problem] if problem else []
else:
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
    problems = validate_full_spdx_document(parse_file(path))
for problem in problems:
    print(problem)
sys.exit(bool(problems))
";

/// Asserts that both documents in a folder are what their formats say; skips that, saying so, where the validators
/// cannot be had.
fn validate(folder: &Path) {
    let Some(python) = validators() else {
        println!("skipped: needs cyclonedx-python-lib and spdx-tools from a package index");
        return;
    };
    for kind in ["cdx", "spdx"] {
        let file = folder.join(format!("sbom.{kind}.json"));
        let output = Command::new(python)
            .args(["-c", VALIDATE, kind])
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}{}",
            file.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The package URLs of a `CycloneDX` document, without qualifiers and versions.
fn packages(document: &Value) -> BTreeSet<String> {
    let components = document["components"].as_array().unwrap().iter();
    components
        .filter_map(|it| it["purl"].as_str()?.split('@').next().map(str::to_owned))
        .collect()
}

/// An app with one real package.
fn app_with_packages(t: &TestContext) -> App {
    let app = t.fixture("worker-only");
    app.write("requirements.txt", "idna==3.10\n");
    app
}

as_each_user! {
    /// From the packages' metadata through the image's SBOM layer to the merged document, and the same from every
    /// place.
    fn tells_what_is_in_an_image(t: &TestContext) {
        let app = app_with_packages(t);
        let archive = format!("docker-archive:{}", t.scratch().join("app.tar").display());
        let copied = t.scratch().join("copied");
        t.slugc_in(&app)
            .args(["build", ".", "-o", &archive, "--sbom-output-dir"])
            .arg(&copied)
            .run()
            .success();
        let printed = t.slugc_in(&app).arg("sbom").run().success().json();
        let found = packages(&printed);
        for package in ["pkg:pypi/idna", "pkg:deb/debian/libc6", "pkg:generic/python"] {
            assert!(found.contains(package), "{package} in {found:?}");
        }
        let components = printed["components"].as_array().unwrap();
        let of = |name: &str| components.iter().find(|it| it["name"] == name).unwrap();
        assert_eq!(of("idna")["licenses"][0]["license"]["name"], "BSD License");
        assert_eq!(of("debian")["type"], "operating-system");
        let again = t.slugc_in(&app).arg("sbom").run().success().json();
        assert_eq!(printed, again);

        // Files: ours, and the buildpacks' own under pack's names.
        let folder = t.scratch().join("files");
        t.slugc_in(&app).args(["sbom", "--output-dir"]).arg(&folder).run().success();
        assert_eq!(document(&folder.join("sbom.cdx.json")), printed);
        validate(&folder);
        let below = "slugc_python/venv";
        validate(&folder.join("layers/sbom/launch").join(below));
        for name in ["sbom.cdx.json", "sbom.spdx.json"] {
            let launch = fs::read(copied.join("launch").join(below).join(name)).unwrap();
            assert_eq!(launch, fs::read(folder.join("layers/sbom/launch").join(below).join(name)).unwrap());
        }
        let spdx = t.slugc_in(&app).args(["sbom", "--format", "spdx"]).run().success().json();
        assert_eq!(spdx, document(&folder.join("sbom.spdx.json")));

        // An archive has no name for the app, but the same contents.
        let of_archive = t.slugc().args(["sbom", &archive]).run().success().json();
        assert_eq!(of_archive["components"], printed["components"]);

        // What only the build used is known of apps.
        let of_build = t.slugc_in(&app).args(["sbom", "--layer", "build"]).run().success().json();
        assert_eq!(packages(&of_build), BTreeSet::from(["pkg:pypi/uv".to_owned()]));
        validate(&copied.join("build/slugc_python"));
        t.slugc().args(["sbom", &archive, "--layer", "build"]).run().failure(2).says(&["last build"]);
        t.slugc().args(["sbom", "oci:/nowhere"]).run().failure(3).says(&["oci:/nowhere"]);
    }
}

/// The files below `layers/sbom` in the image are the environment's, build after build.
#[test]
fn follows_the_requirements() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let app = app_with_packages(&t);
    let build = || {
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .digest()
    };
    let found = || packages(&t.slugc_in(&app).arg("sbom").run().success().json());
    let first = build();
    assert!(found().contains("pkg:pypi/idna"));
    app.append("worker.py", "\n# changed\n");
    assert_ne!(build(), first);
    assert!(
        found().contains("pkg:pypi/idna"),
        "the layer was reused, its SBOM too"
    );
    app.write("requirements.txt", "six==1.17.0\n");
    build();
    let after = found();
    assert!(
        after.contains("pkg:pypi/six") && !after.contains("pkg:pypi/idna"),
        "{after:?}"
    );
}

fn get(registry: &Registry, path: &str, scratch: &Path) -> Value {
    let url = format!("http://{}/v2/team/shop/{path}", registry.host);
    let accept = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    let text = output_of("curl", &["-sS", "-H", accept, &url], scratch);
    serde_json::from_str(&text).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one push and all that it left")]
fn goes_with_the_image_to_a_registry() {
    requires!(Need::Program("docker-registry"), Need::Program("curl"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let app = app_with_packages(&t);
    if met(&Need::Program("git")) {
        app.git(&["init", "--quiet"]);
        let origin = "https://ann:s3cret@git.example/team/shop.git";
        app.git(&["remote", "add", "origin", origin]);
        app.git(&["add", "."]);
        app.git(&["commit", "--quiet", "--message", "One"]);
        t.give(app.path());
    }
    t.slugc_in(&app)
        .args(["build", ".", "-e", "API_TOKEN=hunter2"])
        .run()
        .success();
    let target = format!("{}/team/shop:1", registry.host);
    let push = || {
        t.slugc_in(&app)
            .args(["push", &target, "--sbom", "--provenance"])
            .run()
            .success()
            .says(&[
                "Attached the SBOM as CycloneDX",
                "Attached the SBOM as SPDX",
                "Attached the provenance",
            ])
            .digest()
    };
    let digest = push();
    // Debian's registry has no referrers API: the list is a tag, and the second push adds nothing to it.
    push();
    let tag = digest.replace(':', "-");
    let listed = get(&registry, &format!("manifests/{tag}"), t.scratch());
    let entries = listed["manifests"].as_array().unwrap();
    let kinds: Vec<&str> = entries
        .iter()
        .map(|it| it["artifactType"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "application/vnd.cyclonedx+json",
            "application/spdx+json",
            "application/vnd.in-toto+json"
        ]
    );
    let manifest = |at: usize| {
        let digest = entries[at]["digest"].as_str().unwrap();
        get(&registry, &format!("manifests/{digest}"), t.scratch())
    };
    assert_eq!(manifest(0)["subject"]["digest"], digest);

    // Another machine reads what is attached, without the image's layers.
    let other = TestContext::bare(BINARY, Who::Plain).unwrap();
    let read = other.slugc().args(["sbom", &target]).run().success().json();
    assert!(packages(&read).contains("pkg:pypi/idna"));
    assert!(
        !other
            .store()
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
            .exists()
    );

    let blob = manifest(2)["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let statement = get(&registry, &format!("blobs/{blob}"), t.scratch());
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(
        format!(
            "sha256:{}",
            statement["subject"][0]["digest"]["sha256"]
                .as_str()
                .unwrap()
        ),
        digest
    );
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(
        definition["externalParameters"]["variables"][0],
        "API_TOKEN"
    );
    assert_eq!(
        definition["internalParameters"]["buildpacks"][0]["id"],
        "slugc/python"
    );
    let text = statement.to_string();
    assert!(
        text.contains("pkg:pypi/idna@3.10") && text.contains("slug-13 run image"),
        "{text}"
    );
    assert!(
        !text.contains("hunter2") && !text.contains("s3cret"),
        "{text}"
    );
    if met(&Need::Program("git")) {
        assert!(
            text.contains("git+https://git.example/team/shop.git@"),
            "{text}"
        );
    }
}

/// pack looks for the SBOM layer by the label and finds the buildpacks' files in it.
#[test]
fn pack_downloads_the_same_files() {
    requires!(Need::Program("docker-registry"), Need::Program("pack"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::start(&t);
    let app = app_with_packages(&t);
    t.slugc_in(&app).args(["build", "."]).run().success();
    let target = format!("{}/team/shop:1", registry.host);
    t.slugc_in(&app).args(["push", &target]).run().success();
    let (ours, packs) = (t.scratch().join("ours"), t.scratch().join("packs"));
    t.slugc()
        .args(["sbom", &target, "--output-dir"])
        .arg(&ours)
        .run()
        .success();
    let home = format!("PACK_HOME={}", t.scratch().join("pack").display());
    let words = [
        home.as_str(),
        "DO_NOT_TRACK=1",
        "pack",
        "sbom",
        "download",
        &target,
        "--remote",
        "-o",
    ];
    output_of(
        "env",
        &[&words[..], &[packs.to_str().unwrap()]].concat(),
        t.scratch(),
    );
    for name in ["sbom.cdx.json", "sbom.spdx.json"] {
        let file = format!("layers/sbom/launch/slugc_python/venv/{name}");
        assert_eq!(
            fs::read(ours.join(&file)).unwrap(),
            fs::read(packs.join(&file)).unwrap()
        );
    }
}

#[test]
fn nothing_is_attached_to_files() {
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let (app, _) = built(&t, &[]);
    let archive = format!("docker-archive:{}", t.scratch().join("x.tar").display());
    t.slugc_in(&app)
        .args(["push", &archive, "--sbom"])
        .run()
        .failure(2)
        .says(&["--sbom", "registries only"]);
    assert!(!t.scratch().join("x.tar").exists());
}

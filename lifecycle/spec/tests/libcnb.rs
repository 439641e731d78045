//! The formats against those of libcnb: what its buildpacks write is read, what is written its buildpacks read.

#![expect(clippy::unwrap_used, reason = "tests")]

use cnb_spec::api::ApiVersion;
use cnb_spec::build_plan::{BuildPlan, Require};
use cnb_spec::buildpack::Buildpack;
use cnb_spec::launch_toml::LaunchToml;
use cnb_spec::layer::LayerContentMetadata;
use cnb_spec::plan::{BuildpackPlan, Plan, PlanEntry, Provider};
use cnb_spec::sbom::SbomFormat;
use cnb_spec::store::Store;
use libcnb_data::build_plan::BuildPlanBuilder;
use libcnb_data::launch::{LaunchBuilder, ProcessBuilder, WorkingDirectory};
use libcnb_data::process_type;
use std::path::Path;

fn table(text: &str) -> toml::Table {
    toml::from_str(text).unwrap()
}

#[test]
fn a_build_plan() {
    let written = BuildPlanBuilder::new()
        .provides("python")
        .requires("python")
        .or()
        .provides("pip")
        .build();
    let read: BuildPlan = toml::from_str(&toml::to_string(&written).unwrap()).unwrap();
    let alternatives = read.alternatives();
    assert_eq!(alternatives.len(), 2);
    assert_eq!(alternatives[0].provides[0].name, "python");
    assert_eq!(alternatives[0].requires[0].name, "python");
    assert_eq!(alternatives[1].provides[0].name, "pip");
    assert!(alternatives[1].requires.is_empty());
}

#[test]
fn a_buildpack_plan() {
    let plan = Plan {
        entries: vec![PlanEntry {
            providers: vec![Provider {
                id: "x".into(),
                version: "1".into(),
                extension: false,
            }],
            requires: vec![
                Require {
                    name: "python".into(),
                    version: None,
                    metadata: table("launch = true\n[nested]\nversions = [\"3.13\"]\n"),
                },
                Require {
                    name: "python".into(),
                    version: None,
                    metadata: toml::Table::new(),
                },
            ],
        }],
    };
    let part: BuildpackPlan = plan.for_buildpack("x");
    let read: libcnb_data::buildpack_plan::BuildpackPlan =
        toml::from_str(&toml::to_string(&part).unwrap()).unwrap();
    assert_eq!(read.entries.len(), 2);
    assert_eq!(read.entries[0].metadata, part.entries[0].metadata);
    assert!(plan.for_buildpack("y").entries.is_empty());
    assert_eq!(
        toml::from_str::<Plan>(&toml::to_string(&plan).unwrap()).unwrap(),
        plan
    );
}

#[test]
fn launch_toml() {
    let written = LaunchBuilder::new()
        .process(
            ProcessBuilder::new(process_type!("web"), ["gunicorn", "--bind"])
                .arg("app:app")
                .default(true)
                .working_directory(WorkingDirectory::Directory("src".into()))
                .build(),
        )
        .label(libcnb_data::launch::Label {
            key: "k".into(),
            value: "v".into(),
        })
        .slice(libcnb_data::launch::Slice {
            path_globs: vec!["static/*".into()],
        })
        .build();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("launch.toml");
    std::fs::write(&path, toml::to_string(&written).unwrap()).unwrap();
    let read = LaunchToml::read(&path, ApiVersion::new(0, 10), "a/b")
        .unwrap()
        .unwrap();
    let process = &read.processes[0];
    assert_eq!(process.command.entries(), ["gunicorn", "--bind"]);
    assert_eq!(process.args, ["app:app"]);
    assert_eq!(process.working_dir.as_deref(), Some("src"));
    assert!(process.default && process.direct);
    assert_eq!(read.labels[0].value, "v");
    assert_eq!(read.slices[0].paths, ["static/*"]);
    assert_eq!(
        LaunchToml::read(&dir.path().join("none.toml"), ApiVersion::new(0, 10), "a/b").unwrap(),
        None
    );
}

#[test]
fn layer_content_metadata() {
    type Theirs = libcnb_data::layer_content_metadata::LayerContentMetadata<toml::Table>;
    let written = Theirs {
        types: Some(libcnb_data::layer_content_metadata::LayerTypes {
            launch: true,
            build: false,
            cache: true,
        }),
        metadata: table("version = \"3.13\"\n"),
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("venv.toml");
    std::fs::write(&path, toml::to_string(&written).unwrap()).unwrap();
    let read = LayerContentMetadata::read(&path).unwrap();
    assert!(read.types.launch && read.types.cache && !read.types.build);

    let restored: Theirs = toml::from_str(&read.restored_text().unwrap()).unwrap();
    assert!(restored.types.is_none());
    assert_eq!(restored.metadata, written.metadata);

    std::fs::write(&path, "launch = true\n").unwrap();
    let error = LayerContentMetadata::read(&path).unwrap_err().to_string();
    assert!(error.contains("[types]"), "{error}");
    assert_eq!(
        LayerContentMetadata::read(&dir.path().join("none.toml")).unwrap(),
        LayerContentMetadata::default()
    );
}

#[test]
fn store_toml() {
    let written = libcnb_data::store::Store {
        metadata: table("[pip]\nseen = 2024-01-02\n"),
    };
    let read: Store = toml::from_str(&toml::to_string(&written).unwrap()).unwrap();
    assert_eq!(read.metadata, written.metadata);
    let back: libcnb_data::store::Store = toml::from_str(&toml::to_string(&read).unwrap()).unwrap();
    assert_eq!(back.metadata, written.metadata);
}

/// Both read the same buildpack.toml to the same end.
#[test]
fn buildpack_toml() {
    let component = r#"
api = "0.10"
[buildpack]
id = "slugc/python"
version = "1.2.3"
name = "Python"
homepage = "https://example.com"
clear-env = true
keywords = ["python"]
sbom-formats = ["application/vnd.cyclonedx+json"]
[[buildpack.licenses]]
type = "MIT"
[[targets]]
os = "linux"
arch = "arm64"
variant = "v8"
[[targets.distros]]
name = "debian"
version = "13"
[metadata]
anything = 1
"#;
    let theirs: libcnb_data::buildpack::ComponentBuildpackDescriptor =
        toml::from_str(component).unwrap();
    let ours = read_buildpack(component);
    assert_eq!(ours.info.id.as_str(), theirs.buildpack.id.as_str());
    assert_eq!(ours.info.version, theirs.buildpack.version.to_string());
    assert_eq!(ours.info.clear_env, theirs.buildpack.clear_env);
    assert_eq!(
        ours.targets[0].variant,
        theirs.targets[0].variant.clone().unwrap()
    );
    assert_eq!(
        ours.targets[0].distros[0].version,
        theirs.targets[0].distros[0].version
    );
    assert!(!ours.is_composite());
    for (format, declared) in [
        (SbomFormat::CycloneDx, true),
        (SbomFormat::Spdx, false),
        (SbomFormat::Syft, false),
    ] {
        assert_eq!(format.is_declared(&ours.info.sbom_formats), declared);
    }
    assert!(
        theirs
            .buildpack
            .sbom_formats
            .contains(&libcnb_data::sbom::SbomFormat::CycloneDxJson)
    );

    let composite = r#"
api = "0.10"
[buildpack]
id = "slugc/all"
version = "1.0.0"
[[order]]
[[order.group]]
id = "slugc/python"
version = "1.2.3"
[[order.group]]
id = "slugc/procfile"
version = "1.0.0"
optional = true
"#;
    let theirs: libcnb_data::buildpack::CompositeBuildpackDescriptor =
        toml::from_str(composite).unwrap();
    let ours = read_buildpack(composite);
    assert!(ours.is_composite());
    for (our, their) in ours.order[0].group.iter().zip(&theirs.order[0].group) {
        assert_eq!(our.id, their.id.as_str());
        assert_eq!(our.version, their.version.to_string());
        assert_eq!(our.optional, their.optional);
    }
}

#[test]
fn targets_are_inferred() {
    let base = "api = \"0.10\"\n[buildpack]\nid = \"x\"\nversion = \"1.0.0\"\n";
    assert!(read_buildpack(base).targets.is_empty());
    let any = read_buildpack(&format!("{base}[[stacks]]\nid = \"*\"\n"));
    assert_eq!(any.targets, [cnb_spec::target::BuildpackTarget::default()]);
    let bionic = read_buildpack(&format!(
        "{base}[[stacks]]\nid = \"io.buildpacks.stacks.bionic\"\n"
    ));
    assert_eq!(bionic.targets[0].distros[0].version, "18.04");

    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    std::fs::write(dir.path().join("bin/build"), "").unwrap();
    std::fs::write(dir.path().join("buildpack.toml"), base).unwrap();
    assert_eq!(Buildpack::read(dir.path()).unwrap().targets[0].os, "linux");
}

#[test]
fn a_broken_descriptor_names_file_line_and_key() {
    for (text, expected) in [
        (
            "api = \"0.10\"\n[buildpack]\nid = \"a b\"\n",
            "buildpack.toml:3:6: buildpack.id: \"a b\" is not a valid buildpack ID",
        ),
        (
            "api = \"zero\"\n[buildpack]\nid = \"a\"\n",
            "buildpack.toml: api: \"zero\" is not an API version",
        ),
        ("[buildpack]\nid = \"a\"\n", "missing field `api`"),
        (
            "api = \"0.10\"\n[buildpack]\nid = \"a\"\n[[order]]\n[[order.group]]\nid = \"b\"\n[[stacks]]\nid = \"*\"\n",
            "order and stacks exclude each other",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("buildpack.toml"), text).unwrap();
        let failed = Buildpack::read(dir.path()).unwrap_err();
        let cause = std::error::Error::source(&failed).map(|cause| format!(": {cause}"));
        let error = failed.to_string() + &cause.unwrap_or_default();
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with(dir.path().to_str().unwrap()), "{error}");
    }
    assert!(
        Buildpack::read(Path::new("/nonexistent"))
            .unwrap_err()
            .is_not_found()
    );
}

fn read_buildpack(text: &str) -> Buildpack {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("buildpack.toml"), text).unwrap();
    Buildpack::read(dir.path()).unwrap()
}

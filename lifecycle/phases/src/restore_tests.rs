#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::record::LayerSettings;
use cnb_spec::group::GroupElement;
use cnb_spec::layer::LayerContentMetadata;
use oci_image::{Compression, LayerError, Owner, write_layer};
use std::fs;

const ID: &str = "some/python";

/// A layers folder after a committed build, with one layer of every combination of types, named by them.
struct Fixture {
    root: tempfile::TempDir,
    record: CacheRecord,
    blobs: BlobStore,
    group: Group,
}

fn names() -> Vec<(String, LayerTypes)> {
    (0..8)
        .map(|bits| {
            let types = LayerTypes {
                launch: bits & 4 > 0,
                build: bits & 2 > 0,
                cache: bits & 1 > 0,
            };
            let flags = [(types.launch, 'l'), (types.build, 'b'), (types.cache, 'c')];
            let name = flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, letter)| letter);
            (name.collect::<String>() + "-layer", types)
        })
        .collect()
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(root.path().join("blobs")).unwrap();
        let dir = root.path().join("layers/some_python");
        fs::create_dir_all(&dir).unwrap();
        let mut layers = BTreeMap::new();
        for (name, types) in names() {
            let layer = Layer::new(&dir, &name);
            fs::create_dir(&layer.dir).unwrap();
            fs::write(layer.dir.join("data"), &name).unwrap();
            let content = LayerContentMetadata {
                types,
                metadata: Some(toml::from_str("key = 1").unwrap()),
            };
            fs::write(&layer.toml, toml::to_string(&content).unwrap()).unwrap();
            let sbom = dir.join(format!("{name}.sbom.cdx.json"));
            fs::write(&sbom, "{}").unwrap();
            let blob = types.launch.then(|| {
                write_layer::<LayerError>(&blobs, Compression::default(), |tar| {
                    tar.directory(format!("/layers/{name}"), 0o755, Owner::ROOT)
                })
                .unwrap()
            });
            if types.launch || types.cache {
                let record = LayerRecord {
                    types,
                    metadata: content.restored_text().unwrap(),
                    fingerprint: Some(fingerprint::tree(&layer.dir).unwrap()),
                    blob,
                    sboms: BTreeMap::from([(
                        format!("{name}.sbom.cdx.json"),
                        fingerprint::tree(&sbom).unwrap(),
                    )]),
                };
                layers.insert(name, record);
            }
        }
        for file in [
            "launch.toml",
            "build.toml",
            "store.toml",
            "launch.sbom.cdx.json",
            "build.sbom.cdx.json",
        ] {
            fs::write(dir.join(file), "").unwrap();
        }
        fs::create_dir_all(dir.join("old.ignore/x")).unwrap();
        for other in ["gone_buildpack/layer", "config", "sbom/launch"] {
            fs::create_dir_all(root.path().join("layers").join(other)).unwrap();
        }
        fs::write(root.path().join("layers/group.toml"), "").unwrap();
        let record = CacheRecord {
            settings: LayerSettings::new("/layers", Owner::ROOT, Compression::default()),
            buildpacks: BTreeMap::from([(
                ID.to_owned(),
                BuildpackRecord {
                    version: "1".into(),
                    store: Some("[metadata]\nkept = true\n".into()),
                    layers,
                },
            )]),
            launcher: None,
            app: None,
        };
        let group = Group {
            group: vec![GroupElement::new(ID, "1")],
            ..Group::default()
        };
        Self {
            root,
            record,
            blobs,
            group,
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("layers/some_python")
    }

    fn restore(&self, last_build: LastBuild) -> Restoration {
        self.restore_with(Some(&self.record), last_build)
    }

    fn restore_with(&self, record: Option<&CacheRecord>, last_build: LastBuild) -> Restoration {
        restore(&Inputs {
            layers_dir: &self.root.path().join("layers"),
            group: &self.group,
            record,
            last_build,
            blobs: &self.blobs,
            log: Logger::new(&|_, _| {}),
        })
        .unwrap()
    }

    fn listing(&self) -> Vec<String> {
        layers_dir::entries(&self.dir())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }
}

#[test]
fn every_combination_of_types_is_restored_as_specified() {
    let fixture = Fixture::new();
    let restoration = fixture.restore(LastBuild::Committed);
    let full = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("{ID}:{name}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        restoration.kept,
        full(&["bc-layer", "c-layer", "lbc-layer", "lc-layer"])
    );
    assert_eq!(restoration.metadata_only, full(&["l-layer"]));
    assert!(restoration.dropped.is_empty());

    let mut expected: Vec<String> = vec!["store.toml".into()];
    for name in ["bc-layer", "c-layer", "lbc-layer", "lc-layer", "l-layer"] {
        if name != "l-layer" {
            expected.push(name.into());
        }
        expected.extend([format!("{name}.toml"), format!("{name}.sbom.cdx.json")]);
        let toml = fs::read_to_string(fixture.dir().join(format!("{name}.toml"))).unwrap();
        assert_eq!(toml, "[metadata]\nkey = 1\n", "{name}");
    }
    expected.sort();
    assert_eq!(fixture.listing(), expected);
    assert_eq!(
        fs::read_to_string(fixture.dir().join("store.toml")).unwrap(),
        "[metadata]\nkept = true\n"
    );
    let top = layers_dir::entries(&fixture.root.path().join("layers")).unwrap();
    assert_eq!(
        top,
        [
            ("group.toml".to_owned(), false),
            ("some_python".to_owned(), true)
        ]
    );
}

#[test]
fn restoring_twice_changes_nothing() {
    let fixture = Fixture::new();
    fixture.restore(LastBuild::Committed);
    let (listing, before) = (
        fixture.listing(),
        fingerprint::tree(&fixture.dir().join("lc-layer")).unwrap(),
    );
    let again = fixture.restore(LastBuild::Interrupted);
    assert!(again.dropped.is_empty(), "{again:?}");
    assert_eq!(fixture.listing(), listing);
    assert_eq!(
        fingerprint::tree(&fixture.dir().join("lc-layer")).unwrap(),
        before
    );
}

#[test]
fn nothing_is_restored_without_a_record() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.restore_with(None, LastBuild::Committed),
        Restoration::default()
    );
    assert!(fixture.listing().is_empty());
}

#[test]
fn what_a_build_changed_before_it_ended_badly_is_dropped() {
    // (last build, what it changed, whether metadata was changed too, the layer, does it stay)
    for (last_build, metadata_too, layer, stays) in [
        (LastBuild::Interrupted, false, "lc-layer", false),
        (LastBuild::Interrupted, false, "c-layer", false),
        (LastBuild::BuildpackFailed, false, "lc-layer", false),
        (LastBuild::BuildpackFailed, false, "c-layer", true),
        (LastBuild::BuildpackFailed, false, "bc-layer", true),
        (LastBuild::BuildpackFailed, true, "c-layer", false),
        (LastBuild::Committed, false, "lc-layer", true),
    ] {
        let fixture = Fixture::new();
        let on_disk = Layer::new(&fixture.dir(), layer);
        fs::write(on_disk.dir.join("half"), "written").unwrap();
        if metadata_too {
            fs::write(
                &on_disk.toml,
                "[types]\ncache = true\n[metadata]\nkey = 2\n",
            )
            .unwrap();
        }
        let restoration = fixture.restore(last_build);
        let dropped = restoration.dropped == [format!("{ID}:{layer}")];
        assert_eq!(
            !dropped, stays,
            "{last_build:?} {metadata_too} {layer} {restoration:?}"
        );
        assert_eq!(on_disk.dir.exists(), stays);
        assert_eq!(on_disk.toml.exists(), stays);
        assert_eq!(
            restoration.kept.len() + usize::from(dropped),
            4,
            "the others stay"
        );
    }
}

#[test]
fn metadata_overwritten_by_a_failed_build_comes_back() {
    let fixture = Fixture::new();
    for layer in ["lc-layer", "l-layer"] {
        fs::write(
            fixture.dir().join(format!("{layer}.toml")),
            "[metadata]\nkey = 2\n",
        )
        .unwrap();
    }
    fs::write(
        fixture.dir().join("lc-layer.sbom.cdx.json"),
        "{\"changed\": 1}",
    )
    .unwrap();
    fs::write(fixture.dir().join("store.toml"), "[metadata]\n").unwrap();
    let restoration = fixture.restore(LastBuild::Interrupted);
    assert!(restoration.dropped.is_empty());
    for layer in ["lc-layer", "l-layer"] {
        let toml = fs::read_to_string(fixture.dir().join(format!("{layer}.toml"))).unwrap();
        assert_eq!(toml, "[metadata]\nkey = 1\n");
    }
    assert!(!fixture.dir().join("lc-layer.sbom.cdx.json").exists());
    assert!(
        fs::read_to_string(fixture.dir().join("store.toml"))
            .unwrap()
            .contains("kept")
    );
}

#[test]
fn a_launch_layer_without_its_blob_is_dropped() {
    let fixture = Fixture::new();
    let blob = fixture.record.buildpacks[ID].layers["l-layer"]
        .blob
        .clone()
        .unwrap();
    fixture.blobs.remove(&blob.digest).unwrap();
    let restoration = fixture.restore(LastBuild::Committed);
    assert_eq!(restoration.dropped, [format!("{ID}:l-layer")]);
    assert!(!fixture.dir().join("l-layer.toml").exists());
}

#[test]
fn symlinks_are_removed_and_not_followed() {
    let fixture = Fixture::new();
    let outside = fixture.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    fs::remove_dir_all(fixture.dir().join("c-layer")).unwrap();
    std::os::unix::fs::symlink(&outside, fixture.dir().join("c-layer")).unwrap();
    let restoration = fixture.restore(LastBuild::Committed);
    assert_eq!(restoration.dropped, [format!("{ID}:c-layer")]);
    assert!(outside.join("file").exists());
}

/// Of a build that has no record because it failed, only what its buildpack vouched for stays.
#[test]
fn caches_of_a_first_build_that_failed() {
    let names: BTreeSet<String> = names()
        .into_iter()
        .map(|(name, _)| name)
        .chain(["../some_python/c-layer".to_owned(), "nowhere".to_owned()])
        .collect();
    let caches = BTreeMap::from([(ID.to_owned(), names)]);
    let of = |fixture: &Fixture| {
        let layers = fixture.root.path().join("layers");
        let settings = fixture.record.settings.clone();
        CacheRecord::of_caches(&layers, &fixture.group, &caches, settings)
    };
    let both = ["bc-layer", "c-layer"].map(|name| format!("{ID}:{name}"));
    for (ended, kept) in [
        (LastBuild::BuildpackFailed, &both[..]),
        (LastBuild::Interrupted, &[]),
    ] {
        let mut fixture = Fixture::new();
        fixture.record = of(&fixture);
        assert_eq!(fixture.restore(ended).kept, kept, "{ended:?}");
        assert_eq!(
            fixture.dir().join("c-layer/data").exists(),
            !kept.is_empty()
        );
    }
    // What a committed build knows stands.
    let mut fixture = Fixture::new();
    let before = fixture.record.clone();
    fixture.record.complete(of(&fixture));
    assert_eq!(fixture.record, before);
    std::os::unix::fs::symlink("/etc/passwd", fixture.dir().join("bc-layer.sbom.json")).unwrap();
    assert!(of(&fixture).buildpacks.is_empty());
}

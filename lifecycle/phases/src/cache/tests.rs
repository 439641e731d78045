#![expect(clippy::unwrap_used, reason = "tests")]

use super::folder::CacheFolder;
use super::restored::Restored;
use super::{LayerCache, restore, save};
use crate::log::{Level, Logger};
use crate::record::{BuildpackRecord, CacheRecord, LayerRecord, LayerSettings};
use cnb_spec::api::ApiVersion;
use cnb_spec::group::{Group, GroupElement};
use cnb_spec::labels::LayersMetadata;
use cnb_spec::layer::LayerTypes;
use oci_image::{Compression, Owner, fingerprint};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const OWNER: Owner = Owner {
    uid: 1234,
    gid: 5678,
};

/// A layers folder with one buildpack, and a cache beside it.
struct World {
    scratch: tempfile::TempDir,
    group: Group,
    lines: Mutex<Vec<(Level, String)>>,
}

impl World {
    fn new() -> Self {
        let world = Self {
            scratch: tempfile::tempdir().unwrap(),
            group: Group {
                group: vec![GroupElement::new("a/b", "1.0")],
                group_extensions: Vec::new(),
            },
            lines: Mutex::default(),
        };
        for folder in ["cache", "layers"] {
            fs::create_dir(world.scratch.path().join(folder)).unwrap();
        }
        world
    }

    fn layers(&self) -> PathBuf {
        self.scratch.path().join("layers")
    }

    fn cache(&self) -> CacheFolder {
        CacheFolder::open(&self.scratch.path().join("cache")).unwrap()
    }

    /// Makes a cached layer with a file in it.
    fn layer(&self, name: &str, content: &str) {
        let dir = self.layers().join("a_b").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file"), content).unwrap();
        let toml = format!("[types]\ncache = true\n[metadata]\nname = \"{name}\"\n");
        fs::write(dir.with_extension("toml"), toml).unwrap();
    }

    /// Saves as after an export that recorded what is there.
    fn save(&self) {
        let layers_dir = self.layers();
        let layers_path = layers_dir.to_str().unwrap();
        let mut layers = BTreeMap::new();
        for entry in fs::read_dir(layers_dir.join("a_b")).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                continue;
            }
            let types = LayerTypes {
                cache: true,
                ..LayerTypes::default()
            };
            let record = LayerRecord {
                types,
                metadata: String::new(),
                fingerprint: Some(fingerprint::tree(&path).unwrap()),
                blob: None,
                sboms: BTreeMap::new(),
            };
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            layers.insert(name, record);
        }
        let record = BuildpackRecord {
            version: "1.0".to_owned(),
            store: None,
            layers,
        };
        let record = CacheRecord {
            settings: LayerSettings::new(layers_path, OWNER, Compression::default()),
            buildpacks: BTreeMap::from([("a/b".to_owned(), record)]),
            launcher: None,
            app: None,
        };
        let sink = |level: Level, line: &str| self.lines.lock().unwrap().push((level, line.into()));
        let inputs = save::Inputs {
            platform_api: ApiVersion::new(0, 12),
            layers_dir: &layers_dir,
            layers_path,
            group: &self.group,
            owner: OWNER,
            record: &record,
            restored: &Restored::read(&layers_dir),
            log: Logger::new(&sink),
        };
        save::save(&inputs, &self.cache()).unwrap();
    }

    /// Restores into an empty layers folder; returns the warnings.
    fn restore(&self) -> Vec<String> {
        fs::remove_dir_all(self.layers()).unwrap();
        fs::create_dir(self.layers()).unwrap();
        self.lines.lock().unwrap().clear();
        let sink = |level: Level, line: &str| self.lines.lock().unwrap().push((level, line.into()));
        restore::restore(&restore::Inputs {
            platform_api: ApiVersion::new(0, 12),
            layers_dir: &self.layers(),
            layers_path: &self.layers(),
            group: &self.group,
            previous: &LayersMetadata::default(),
            cache: Some(&self.cache()),
            skip_layers: false,
            owner: OWNER,
            log: Logger::new(&sink),
        })
        .unwrap();
        let lines = self.lines.lock().unwrap();
        let warnings = lines.iter().filter(|(level, _)| *level == Level::Warn);
        warnings.map(|(_, line)| line.clone()).collect()
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.layers().join("a_b").join(path)).ok()
    }

    fn committed(&self) -> PathBuf {
        self.scratch.path().join("cache/committed")
    }

    /// The cache's tars by name, with their inodes.
    fn tars(&self) -> BTreeMap<String, u64> {
        let entries = fs::read_dir(self.committed()).unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    entry.metadata().unwrap().ino(),
                )
            })
            .filter(|(name, _)| name.starts_with("sha256:"))
            .collect()
    }
}

#[test]
fn what_was_saved_is_restored_and_taken_over_unread() {
    let world = World::new();
    world.layer("one", "1");
    world.layer("two", "2");
    world.save();
    let before = world.tars();
    assert_eq!(before.len(), 2);

    assert_eq!(world.restore(), Vec::<String>::new());
    assert_eq!(world.read("one/file").as_deref(), Some("1"));
    assert_eq!(
        world.read("two.toml").as_deref(),
        Some("[metadata]\nname = \"two\"\n")
    );
    // The buildpack takes one layer as it is and changes the other.
    world.layer("two", "other");
    let toml = world.layers().join("a_b/one.toml");
    fs::write(&toml, "[types]\ncache = true\n").unwrap();
    world.save();
    let after = world.tars();
    let same: Vec<_> = after
        .iter()
        .filter(|tar| before.get(tar.0) == Some(tar.1))
        .collect();
    assert_eq!((after.len(), same.len()), (2, 1), "{before:?} {after:?}");
    assert_eq!(world.restore(), Vec::<String>::new());
    assert_eq!(world.read("two/file").as_deref(), Some("other"));
}

#[test]
fn damaged_layers_are_passed_over_with_their_metadata() {
    let world = World::new();
    for name in ["fine", "cut", "gone", "changed"] {
        world.layer(name, name);
    }
    world.save();
    let metadata = world.cache().metadata().unwrap();
    let tar = |name: &str| {
        let sha = &metadata.buildpacks[0].layers[name].sha;
        world.committed().join(format!("{sha}.tar"))
    };
    let cut = fs::read(tar("cut")).unwrap();
    fs::write(tar("cut"), &cut[..700]).unwrap();
    fs::remove_file(tar("gone")).unwrap();
    let mut changed = fs::read(tar("changed")).unwrap();
    let at = changed
        .windows(7)
        .rposition(|window| window == b"changed")
        .unwrap();
    changed[at] = b'C';
    fs::write(tar("changed"), changed).unwrap();

    let warnings = world.restore();
    for name in ["cut", "gone", "changed"] {
        let skipped = format!("Skipping restore for layer a/b:{name}: ");
        assert!(
            warnings.iter().any(|line| line.starts_with(&skipped)),
            "{warnings:?}"
        );
        assert_eq!(world.read(&format!("{name}/file")), None);
        assert_eq!(world.read(&format!("{name}.toml")), None);
    }
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!(world.read("fine/file").as_deref(), Some("fine"));
    for name in ["cut", "changed"] {
        assert!(!tar(name).exists(), "{name}");
    }
    let left: Vec<_> = fs::read_dir(world.layers())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("cnb-"))
        .collect();
    assert_eq!(left, Vec::<String>::new());

    // Made again, with the same content and so the same names.
    for name in ["cut", "gone", "changed"] {
        world.layer(name, name);
    }
    let toml = world.layers().join("a_b/fine.toml");
    fs::write(&toml, "[types]\ncache = true\n").unwrap();
    world.save();
    assert_eq!(world.restore(), Vec::<String>::new());
    assert_eq!(world.read("changed/file").as_deref(), Some("changed"));
}

#[test]
fn a_commit_that_was_killed_half_way_is_put_back() {
    let world = World::new();
    world.layer("one", "1");
    world.save();
    let backup = world.committed().with_file_name("committed-backup");
    fs::rename(world.committed(), &backup).unwrap();
    fs::create_dir(world.committed().with_file_name("staging")).unwrap();
    assert_eq!(world.restore(), Vec::<String>::new());
    assert_eq!(world.read("one/file").as_deref(), Some("1"));
    assert!(!backup.exists());
}

#[test]
fn broken_metadata_is_an_empty_cache_and_said_so() {
    let world = World::new();
    let path = world.committed();
    drop(world.cache());
    fs::write(path.join("io.buildpacks.lifecycle.cache.metadata"), "{").unwrap();
    let warnings = world.restore();
    assert!(
        warnings[0].starts_with("Not using the cache: could not understand "),
        "{warnings:?}"
    );
    assert!(!Path::new(&world.layers().join("a_b")).exists());
}

/// What a cache calls a layer comes from somebody else: it leads nowhere but into the layers folder.
#[test]
fn names_that_lead_out_of_the_layers_are_passed_over() {
    let world = World::new();
    world.layer("kept", "one");
    world.save();
    let victim = world.scratch.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "mine").unwrap();
    let label = world
        .committed()
        .join("io.buildpacks.lifecycle.cache.metadata");
    let text = fs::read_to_string(&label).unwrap();
    let led_out = text.replace("\"kept\"", &format!("{:?}", victim.to_str().unwrap()));
    assert_ne!(text, led_out);
    for other in [led_out, text.replace("\"kept\"", "\"../../victim\"")] {
        fs::write(&label, other).unwrap();
        let warnings = world.restore();
        assert!(
            warnings[0].contains("which is no name of a layer"),
            "{warnings:?}"
        );
        assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "mine");
        assert!(!victim.with_extension("toml").exists());
    }
}

/// Links in a cache's layer do not lead to folders of this machine.
#[test]
fn links_on_the_way_to_a_layer() {
    let world = World::new();
    let unpacked = world.layers();
    fs::create_dir_all(unpacked.join("layers/a_b/kept")).unwrap();
    std::os::unix::fs::symlink(world.scratch.path(), unpacked.join("layers/other")).unwrap();
    let found = |path: &str| restore::folder_below(&unpacked, Path::new(path));
    assert!(found("/layers/a_b/kept").is_some());
    assert!(found("/layers/other/cache").is_none());
    assert!(found("/layers/other").is_none());
    assert!(found("/layers/../layers").is_none());
    assert!(found("/layers/none").is_none());
}

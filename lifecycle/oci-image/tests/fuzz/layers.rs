//! Unpacking layers: whatever they say, nothing is written outside.

use crate::tars::{WORDS, layers};
use oci_image::{
    BlobStore, Descriptor, Digest, Existing, UnpackRules, archive, contents, decompress,
    media_type, unpack_layer,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use test_support::{Seeds, fuzz, seal_headers};

const KEPT: &str = "untouched";

/// A folder, at the same place each time, with something at each step of the way to where layers are unpacked.
struct Surroundings {
    folder: tempfile::TempDir,
    /// Whether it is as it was made.
    untouched: Cell<bool>,
}

impl Surroundings {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            untouched: Cell::new(false),
        }
    }

    /// Where `../../..` from the layer leads.
    fn path(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// Whatever the layer says, all of it stays as it was.
    fn hold(&self, layer: &[u8], existing: Existing) {
        let into = self.path().join("a/b/into");
        if !self.untouched.replace(false) {
            self.make(&into);
        }
        fs::create_dir(&into).unwrap();
        let before = (self.around(&into), at_the_root());
        unpack(layer, &into, existing);
        assert_eq!((self.around(&into), at_the_root()), before);
        // What a layer locked, the folder's owner can still remove.
        open(&into);
        fs::remove_dir_all(&into).unwrap();
        self.untouched.set(true);
    }

    /// Anew, after a layer that failed the test.
    fn make(&self, into: &Path) {
        let scratch = self.path();
        if scratch.exists() {
            open(&scratch);
            fs::remove_dir_all(&scratch).unwrap();
        }
        fs::create_dir_all(into.parent().unwrap()).unwrap();
        for place in ["", "a", "a/b"] {
            fs::write(scratch.join(place).join("outside"), KEPT).unwrap();
        }
    }

    /// Everything but what is in `into`, with what it is.
    fn around(&self, into: &Path) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.folder.path().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                if path != into && metadata.is_dir() {
                    waiting.push(path.clone());
                }
                let content = if metadata.is_file() {
                    fs::read_to_string(&path).unwrap()
                } else {
                    String::new()
                };
                let kind = (metadata.file_type(), metadata.nlink(), content);
                // Its own mode is the layer's to say.
                let shown = if path == into {
                    String::new()
                } else {
                    format!("{kind:?} {:o}", metadata.mode())
                };
                found.insert(path, shown);
            }
        }
        found
    }
}

fn at_the_root() -> bool {
    Path::new("/outside").exists()
}

fn unpack(layer: &[u8], into: &Path, existing: Existing) {
    let rules = UnpackRules {
        existing,
        max_bytes: 4 << 20,
        max_entries: 5000,
        ..UnpackRules::default()
    };
    if let Ok(report) = unpack_layer(layer, into, &rules) {
        let mut tar = Vec::new();
        let mut decoded = decompress(layer, &rules).unwrap();
        decoded.read_to_end(&mut tar).unwrap();
        assert_eq!(report.diff_id, Digest::of(&tar));
        assert_eq!(report.bytes, tar.len() as u64);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            open(&entry.path());
        }
    }
}

fn sealed(layer: &[u8]) -> Vec<u8> {
    let mut layer = layer.to_vec();
    seal_headers(&mut layer);
    layer
}

#[test]
fn plain_layers() {
    let around = Surroundings::new();
    let inputs = layers(&around.path());
    let seeds = Seeds {
        inputs: &inputs,
        words: &WORDS,
    };
    fuzz("layers", seeds, |layer| {
        for layer in [layer, &sealed(layer)] {
            for existing in [Existing::Refuse, Existing::Replace] {
                around.hold(layer, existing);
            }
        }
    });
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_layers() {
    let around = Surroundings::new();
    let inputs: Vec<Vec<u8>> = layers(&around.path())
        .iter()
        .flat_map(|tar| {
            let (first, second) = tar.split_at(700);
            [
                gzip(tar),
                [gzip(first), gzip(second)].concat(),
                zstd::encode_all(tar.as_slice(), 3).unwrap(),
                [first, second]
                    .map(|part| zstd::encode_all(part, 1).unwrap())
                    .concat(),
            ]
        })
        .collect();
    let seeds = Seeds {
        inputs: &inputs,
        words: &["\u{1f}", "\u{8}\0", "(\u{b5}/", "\0\0\0\0"],
    };
    fuzz("compressed layers", seeds, |layer| {
        around.hold(layer, Existing::Refuse);
    });
}

/// Single files of a layer that is not unpacked, and the diffID of what a store has.
#[test]
fn layers_in_a_store() {
    let inputs = layers(Path::new("/tmp"));
    let seeds = Seeds {
        inputs: &inputs,
        words: &WORDS,
    };
    fuzz("files of layers", seeds, |layer| {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open_scratch(scratch.path()).unwrap();
        let layers: Vec<Descriptor> = [&inputs[0], &sealed(layer)]
            .into_iter()
            .map(|layer| {
                let (digest, size) = store.put(layer).unwrap();
                Descriptor::new(media_type::OCI_LAYER, digest, size)
            })
            .collect();
        if let Ok(found) = contents::files_of(&store, &layers, 1 << 20, &|_| true) {
            let climbs = |path: &str| path.split('/').any(|part| matches!(part, "" | "." | ".."));
            assert!(found.keys().all(|path| !climbs(path)), "{found:?}");
        }
        if let Ok(diff_id) = store.diff_id(&layers[1].digest) {
            assert_eq!(diff_id, layers[1].digest, "it is not compressed");
        }
    });
}

/// What `docker save` and OCI archives hold.
#[test]
fn archives() {
    let scratch = tempfile::tempdir().unwrap();
    let source = BlobStore::open_scratch(scratch.path().join("source")).unwrap();
    let image = crate::documents::image(&source);
    let names = vec!["team/app:1".parse().unwrap()];
    let formats = [
        oci_image::Format::Docker { names },
        oci_image::Format::Oci {
            ref_name: Some("1".to_owned()),
        },
    ];
    let inputs: Vec<Vec<u8>> = formats
        .iter()
        .map(|format| {
            let file = scratch.path().join("archive.tar");
            let archive = oci_image::Archive::new(&source, &image, format).unwrap();
            archive.write(&file).unwrap();
            fs::read(file).unwrap()
        })
        .collect();
    let seeds = Seeds {
        inputs: &inputs,
        words: &[
            "../",
            "/",
            "manifest.json",
            "index.json",
            "blobs/sha256/",
            "\"Layers\":",
            "null",
        ],
    };
    fuzz("archives", seeds, |bytes| {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open_scratch(folder.path().join("store")).unwrap();
        let file = folder.path().join("archive.tar");
        for bytes in [bytes, &sealed(bytes)] {
            fs::write(&file, bytes).unwrap();
            if let Ok(imported) = archive::import(&file, &store, None) {
                crate::documents::is_as_it_says(&store, &imported.manifest);
            }
        }
        for blob in names_of_blobs(&folder.path().join("store")) {
            let content = store.read(&Digest::from_hex(&blob).unwrap()).unwrap();
            assert_eq!(Digest::of(&content).hex(), blob);
        }
        assert_eq!(self::names(folder.path()), ["archive.tar", "store"]);
    });
}

fn names_of_blobs(store: &Path) -> Vec<String> {
    let folder = store.join("sha256");
    if folder.exists() {
        names(&folder)
    } else {
        Vec::new()
    }
}

//! Single files out of an image, without unpacking it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use crate::blob_store::{BlobStore, StoreError};
use crate::image::Image;
use crate::manifest::Descriptor;
use crate::unpack::decode::Decoded;
use crate::unpack::entry::{EntryKind, TarReader};
use crate::unpack::{UnpackError, UnpackRules, components};

/// The most that files may have together, in bytes.
const MOST_BYTES: u64 = 128 << 20;

/// What stands at a path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file's bytes.
    File(Vec<u8>),
    /// A link's target, as it is written.
    Symlink(String),
}

/// Why an image could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// A layer is not in the store.
    #[error("could not read the layer {layer}")]
    Store {
        /// The layer's digest.
        layer: String,
        #[source]
        source: StoreError,
    },
    /// A layer is no tar, or not one that can be trusted.
    #[error("could not read the layer {layer}")]
    Layer {
        /// The layer's digest.
        layer: String,
        #[source]
        source: UnpackError,
    },
    /// A file is larger than any of its kind.
    #[error("the file {} in the layer {layer} has {size} bytes, more than {most}", path.display())]
    TooLong {
        /// The layer's digest.
        layer: String,
        /// The file.
        path: PathBuf,
        /// Its length.
        size: u64,
        /// The longest allowed.
        most: u64,
    },
    /// The files are larger together than an image's files of such a kind.
    #[error(
        "the files that were looked for in the layer {layer} have more than {MOST_BYTES} bytes together"
    )]
    TooMuch {
        /// The layer's digest.
        layer: String,
    },
}

/// The files and links of an image whose paths are `wanted`, by path: without a leading slash, upper layers over lower
/// ones. Names that are no UTF-8 are passed over; a file with more than `most` bytes is an error.
///
/// Hard links are not followed.
pub fn files(
    store: &BlobStore,
    image: &Image,
    most: u64,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Content>, ContentsError> {
    files_of(store, &image.manifest.layers, most, wanted)
}

/// As [`files`], of some layers only, the lowest first.
pub fn files_of(
    store: &BlobStore,
    layers: &[Descriptor],
    most: u64,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Content>, ContentsError> {
    let mut found = BTreeMap::new();
    let mut bytes = 0;
    for layer in layers {
        let blob = store
            .open_blob(&layer.digest)
            .map_err(|source| ContentsError::Store {
                layer: layer.digest.to_string(),
                source,
            })?;
        let name = layer.digest.to_string();
        apply(blob, &name, most, wanted, &mut bytes, &mut found)?;
    }
    Ok(found)
}

/// Puts what one layer says over what is known.
fn apply(
    blob: impl Read,
    layer: &str,
    most: u64,
    wanted: &dyn Fn(&str) -> bool,
    bytes: &mut u64,
    found: &mut BTreeMap<String, Content>,
) -> Result<(), ContentsError> {
    let failed = |source| ContentsError::Layer {
        layer: layer.to_owned(),
        source,
    };
    let rules = UnpackRules::default();
    let decoded =
        Decoded::new(blob, &rules).map_err(|source| failed(UnpackError::Read { source }))?;
    let mut tar = TarReader::new(decoded);
    let mut entries = 0;
    // A whiteout hides what is below its layer, wherever in the layer it stands.
    let mut own = BTreeMap::new();
    while let Some(entry) = tar.next().map_err(failed)? {
        entries += 1;
        if entries > rules.max_entries {
            return Err(failed(UnpackError::TooManyEntries {
                limit: rules.max_entries,
            }));
        }
        let components = components(&entry.path).map_err(failed)?;
        let Ok(path) = String::from_utf8(components.join(&b'/')) else {
            continue;
        };
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if let Some(hidden) = name.strip_prefix(".wh.") {
            if hidden == ".wh..opq" {
                hide_below(found, parent);
            } else {
                let hidden = join(parent, hidden);
                found.remove(&hidden);
                hide_below(found, &hidden);
            }
            continue;
        }
        if entry.kind != EntryKind::Directory {
            // A file in the place of a folder.
            hide_below(found, &path);
        }
        found.remove(&path);
        own.remove(&path);
        if !wanted(&path) {
            continue;
        }
        match entry.kind {
            EntryKind::File => {
                let path_shown = || PathBuf::from(format!("/{path}"));
                if entry.size > most {
                    return Err(ContentsError::TooLong {
                        layer: layer.to_owned(),
                        path: path_shown(),
                        size: entry.size,
                        most,
                    });
                }
                *bytes += entry.size;
                if *bytes > MOST_BYTES {
                    return Err(ContentsError::TooMuch {
                        layer: layer.to_owned(),
                    });
                }
                let mut content = Vec::new();
                tar.read_to_end(&mut content)
                    .map_err(|source| failed(UnpackError::Read { source }))?;
                own.insert(path, Content::File(content));
            }
            EntryKind::Symlink => {
                if let Ok(target) = String::from_utf8(entry.link) {
                    *bytes += u64::try_from(path.len() + target.len()).unwrap_or(u64::MAX);
                    if *bytes > MOST_BYTES {
                        return Err(ContentsError::TooMuch {
                            layer: layer.to_owned(),
                        });
                    }
                    own.insert(path, Content::Symlink(target));
                }
            }
            _ => {}
        }
    }
    found.append(&mut own);
    Ok(())
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    }
}

fn hide_below(found: &mut BTreeMap<String, Content>, folder: &str) {
    if folder.is_empty() {
        found.clear();
        return;
    }
    let first = format!("{folder}/");
    // The character after the slash, so that the range ends where the folder does.
    let last = format!("{folder}0");
    let hidden: Vec<String> = found
        .range(first..last)
        .map(|(path, _)| path.clone())
        .collect();
    for path in hidden {
        found.remove(&path);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::layer_blob::{Compression, write_layer};
    use crate::layer_tar::{LayerError, LayerTar, Owner};

    fn layer(
        store: &BlobStore,
        entries: impl Fn(&mut LayerTar<'_>) -> Result<(), LayerError>,
    ) -> Descriptor {
        let blob = write_layer(store, Compression::default(), entries).unwrap();
        Descriptor::new("", blob.digest, blob.size)
    }

    fn put(tar: &mut LayerTar<'_>, path: &str, content: &str) -> Result<(), LayerError> {
        tar.file(
            path,
            0o644,
            Owner::ROOT,
            content.len() as u64,
            content.as_bytes(),
        )
    }

    #[test]
    fn upper_layers_change_replace_and_hide() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let lower = layer(&store, |tar| {
            put(tar, "/etc/a", "1")?;
            put(tar, "/etc/b", "1")?;
            put(tar, "/etc/c/d", "1")?;
            put(tar, "/etc/c0", "1")?;
            put(tar, "/opt/x", "1")?;
            tar.symlink("/etc/link", "a", Owner::ROOT)
        });
        let upper = layer(&store, |tar| {
            put(tar, "/etc/.wh.b", "")?;
            put(tar, "/etc/a", "2")?;
            put(tar, "/etc/c", "a file")?;
            put(tar, "/opt/y", "2")?;
            put(tar, "/opt/.wh..wh..opq", "")?;
            put(tar, "/other", "2")
        });
        let wanted = |path: &str| path != "other";
        let found = files_of(&store, &[lower.clone(), upper], 16, &wanted).unwrap();
        let file = |text: &str| Content::File(text.as_bytes().to_vec());
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [
                ("etc/a".to_owned(), file("2")),
                ("etc/c".to_owned(), file("a file")),
                ("etc/c0".to_owned(), file("1")),
                ("etc/link".to_owned(), Content::Symlink("a".to_owned())),
                ("opt/y".to_owned(), file("2")),
            ]
        );
        assert!(matches!(
            files_of(&store, &[lower], 0, &wanted),
            Err(ContentsError::TooLong { .. })
        ));
    }

    #[test]
    fn what_is_no_layer_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let (digest, size) = store.put(&[b'x'; 2048]).unwrap();
        let layer = Descriptor::new("", digest, size);
        assert!(matches!(
            files_of(&store, &[layer], 16, &|_| true),
            Err(ContentsError::Layer { .. })
        ));
        let missing = Descriptor::new("", crate::digest::Digest::of(b"?"), 1);
        assert!(matches!(
            files_of(&store, &[missing], 16, &|_| true),
            Err(ContentsError::Store { .. })
        ));
    }
}

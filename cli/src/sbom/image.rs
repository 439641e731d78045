//! What is in an image of the store.

use super::{Bill, Component, Subject, debian, documents};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use cnb_phases::rebase;
use cnb_spec::labels::{self, LayersMetadata};
use cnb_spec::sbom::SbomFormat;
use oci_image::contents::{self, Content};
use oci_image::{Descriptor, Image, Reference};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// No SBOM and no copyright file is longer.
const LONGEST_FILE: u64 = 64 << 20;
/// Buildpacks' SBOM files stand below this folder in the layers folder.
const LAUNCH: &str = "sbom/launch/";

/// The SBOM of an image: its operating system and Debian packages, then what its buildpacks say, with the buildpacks'
/// files as they are.
pub(crate) fn of_image(
    store: &Store,
    manifest: &Descriptor,
    name: &str,
    repository: Option<&Reference>,
) -> Result<(Bill, Documents), Failure> {
    let image = load(store, manifest)?;
    let files = read(store, manifest, &image, &|path| {
        debian::is_wanted(path) || sbom_path(path).is_some()
    })?;
    let mut components = debian::components(&files);
    let documents = of_sbom_layer(files);
    components.extend(of_buildpacks(&documents)?);
    let bill = Bill {
        subject: Subject {
            name: name.to_owned(),
            repository: repository.cloned(),
            digest: Some(manifest.digest),
            created: created(&image),
        },
        components: once_each(components),
    };
    Ok((bill, documents))
}

/// The SBOM of what an app's last build used and its image has not: of build layers and tools.
pub(crate) fn of_build(
    store: &Store,
    manifest: &Descriptor,
    name: &str,
    layers: &Path,
) -> Result<Bill, Failure> {
    let image = load(store, manifest)?;
    let documents = written(&layers.join("sbom/build"))?;
    Ok(Bill {
        subject: Subject {
            name: name.to_owned(),
            repository: None,
            digest: Some(manifest.digest),
            created: created(&image),
        },
        components: once_each(of_buildpacks(&documents)?),
    })
}

fn once_each(mut components: Vec<Component>) -> Vec<Component> {
    let mut seen = BTreeSet::new();
    components.retain(|it| {
        seen.insert((
            it.kind,
            it.name.clone(),
            it.version.clone(),
            it.purl.clone(),
            it.layer.clone(),
        ))
    });
    components
}

/// SBOM files by their paths below `sbom/launch` or `sbom/build`.
pub(crate) type Documents = BTreeMap<String, Vec<u8>>;

fn of_sbom_layer(files: BTreeMap<String, Content>) -> Documents {
    let documents = files
        .into_iter()
        .filter_map(|(path, content)| match content {
            Content::File(bytes) => Some((sbom_path(&path)?.to_owned(), bytes)),
            Content::Symlink(_) => None,
        });
    documents.collect()
}

/// The SBOM files that a build gathered in a folder. Buildpacks ran where it lies: no link is followed.
pub(crate) fn written(folder: &Path) -> Result<Documents, Failure> {
    let mut documents = Documents::new();
    let reading = || format!("cannot read the SBOM files in {}", folder.display());
    let mut waiting = vec![(folder.to_owned(), String::new())];
    while let Some((dir, below)) = waiting.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::new(Exit::Store, reading()).because(error)),
        };
        for entry in entries {
            let entry = entry.or_fail(Exit::Store, reading)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let kind = entry.file_type().or_fail(Exit::Store, reading)?;
            let path = format!("{below}{name}");
            if kind.is_dir() {
                waiting.push((entry.path(), format!("{path}/")));
            } else if kind.is_file() && is_document(&path) {
                let bytes = std::fs::read(entry.path()).or_fail(Exit::Store, reading)?;
                documents.insert(path, bytes);
            }
        }
    }
    Ok(documents)
}

fn load(store: &Store, manifest: &Descriptor) -> Result<Image, Failure> {
    Image::load(store.blobs(), &manifest.digest)
        .or_fail(Exit::Store, || {
            format!("cannot read the image {}", manifest.digest)
        })
        .map_err(|failure| failure.hint("build or pull the image again"))
}

/// Of an image that a lifecycle exported, only the base and the layer of SBOM files can hold what is wanted: all other
/// layers are below the layers folder and the app's.
fn read(
    store: &Store,
    manifest: &Descriptor,
    image: &Image,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Content>, Failure> {
    let label = image.config.config.labels.get(labels::LIFECYCLE_METADATA);
    let metadata = label.and_then(|text| serde_json::from_str::<LayersMetadata>(text).ok());
    let diff_ids = &image.config.rootfs.diff_ids;
    let position = |sha: &str| diff_ids.iter().position(|it| it.to_string() == sha);
    let base = metadata
        .as_ref()
        .and_then(|_| rebase::layers_of_base(image)?.checked_sub(1));
    let layers: Vec<Descriptor> = match (metadata, base) {
        (Some(metadata), Some(base)) => {
            let sbom = metadata.sbom.and_then(|it| position(&it.sha));
            let chosen = (0..=base).chain(sbom.filter(|at| *at > base));
            chosen
                .filter_map(|at| image.manifest.layers.get(at).cloned())
                .collect()
        }
        _ => image.manifest.layers.clone(),
    };
    contents::files_of(store.blobs(), &layers, LONGEST_FILE, wanted)
        .or_fail(Exit::Store, || {
            format!("cannot look into the image {}", manifest.digest)
        })
        .map_err(|failure| failure.hint("build or pull the image again"))
}

/// The part of a path below `<layers>/sbom/launch/`, of files in a format of the specification.
fn sbom_path(path: &str) -> Option<&str> {
    let (layers, below) = path.split_once(LAUNCH)?;
    // `<layers>/`: wherever the builder has it.
    (layers.ends_with('/') && is_document(below)).then_some(below)
}

fn is_document(path: &str) -> bool {
    let name = path.rsplit('/').next();
    SbomFormat::ALL
        .iter()
        .any(|format| name == Some(format.file_name()))
}

/// Of the formats in which a buildpack describes the same layer, the first one counts.
fn of_buildpacks(documents: &Documents) -> Result<Vec<Component>, Failure> {
    let mut components = Vec::new();
    let mut done = BTreeSet::new();
    for format in SbomFormat::ALL {
        for (path, bytes) in documents {
            let Some((folder, file)) = path.rsplit_once('/') else {
                continue;
            };
            if file != format.file_name() || !done.insert(folder) {
                continue;
            }
            // `slugc_python/venv` is the layer venv of slugc/python.
            let layer = match folder.split_once('/') {
                Some((buildpack, layer)) => format!("{}:{layer}", buildpack.replace('_', "/")),
                None => folder.replace('_', "/"),
            };
            let found = documents::components(format, bytes, &layer)
                .or_fail(Exit::Input, || format!("cannot understand the SBOM {path}"))
                .map_err(|failure| {
                    failure.hint("the buildpack that wrote it has to be corrected")
                })?;
            components.extend(found);
        }
    }
    components
        .sort_by(|a, b| (&a.layer, &a.name, &a.version).cmp(&(&b.layer, &b.name, &b.version)));
    Ok(components)
}

/// The image's time of creation to the second, as SPDX wants it.
fn created(image: &Image) -> String {
    let stated = image.config.created.as_deref();
    let instant = stated.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    instant
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

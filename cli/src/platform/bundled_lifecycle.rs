//! The lifecycle that goes into a builder: slugc's own, or one in an archive.

use super::builder::{ApiLists, LifecycleMetadata};
use super::create::{Lifecycle, Making};
use super::image::{self, add_layer};
use super::locator::Locator;
use crate::failure::{Exit, Failure, OrFail};
use crate::package;
use crate::store::Store;
use cnb_spec::api;
use cnb_spec::toml_file;
use oci_image::{Image, Owner, TreeRules};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What archives of lifecycles have, for hints.
const ARCHIVE: &str = "name an archive as lifecycles are published, a tar with lifecycle.toml and the folder lifecycle; slugc lifecycle package writes one";

/// slugc's lifecycle, or the one in the archive that the description names.
pub(super) fn add(
    making: &Making<'_>,
    wanted: &Lifecycle,
    base: &Path,
    image: &mut Image,
) -> Result<LifecycleMetadata, Failure> {
    let Lifecycle { uri, version } = wanted;
    if uri.is_empty() {
        if !version.is_empty() && version != api::LIFECYCLE {
            return Err(Failure::new(
                Exit::Input,
                format!(
                    "slugc brings the lifecycle {}, not {version}",
                    api::LIFECYCLE
                ),
            )
            .hint("leave out lifecycle.version, or name an archive with lifecycle.uri"));
        }
        let layer = package::lifecycle_layer(making.store, making.parts)?;
        image::push(image, &layer, "Lifecycle");
        let list = |versions: &[api::ApiVersion]| ApiLists {
            deprecated: Vec::new(),
            supported: versions.iter().map(ToString::to_string).collect(),
        };
        return Ok(LifecycleMetadata {
            version: api::LIFECYCLE.to_owned(),
            api: oldest(
                &api::BUILDPACK[0].to_string(),
                &api::PLATFORM[0].to_string(),
            ),
            apis: BTreeMap::from([
                ("buildpack".to_owned(), list(&api::BUILDPACK)),
                ("platform".to_owned(), list(&api::PLATFORM)),
            ]),
        });
    }
    let Ok(Locator::Path(archive)) = Locator::parse(uri, base, |_| false) else {
        return Err(Failure::new(
            Exit::Input,
            format!("the lifecycle {uri} is no file here"),
        )
        .hint("lifecycle.uri names an archive on this machine; without it, slugc's lifecycle is taken"));
    };
    lifecycle_of_archive(making.store, &archive, image)
}

/// An archive of a lifecycle, as it is published: `lifecycle.toml` and the folder `lifecycle`.
fn lifecycle_of_archive(
    store: &Store,
    archive: &Path,
    image: &mut Image,
) -> Result<LifecycleMetadata, Failure> {
    #[derive(Deserialize)]
    struct Descriptor {
        lifecycle: Version,
        #[serde(default)]
        api: BTreeMap<String, String>,
        #[serde(default)]
        apis: BTreeMap<String, ApiLists>,
    }
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let reading = || format!("cannot read the lifecycle {}", archive.display());
    let folder = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempdir_in(store.root())
        .or_fail(Exit::Store, reading)?;
    let rules = oci_image::UnpackRules {
        whiteouts: oci_image::Whiteouts::Refuse,
        max_bytes: 2 << 30,
        ..oci_image::UnpackRules::default()
    };
    let file = File::open(archive).or_fail(Exit::Input, reading)?;
    oci_image::unpack_layer(file, folder.path(), &rules).or_fail(Exit::Input, reading)?;
    let descriptor: PathBuf = folder.path().join("lifecycle.toml");
    if !fs::symlink_metadata(&descriptor).is_ok_and(|meta| meta.is_file()) {
        return Err(Failure::new(
            Exit::Input,
            format!("{} has no lifecycle.toml", archive.display()),
        )
        .hint(ARCHIVE));
    }
    let read: Descriptor = toml_file::read(&descriptor).or_fail(Exit::Input, reading)?;
    let programs = folder.path().join("lifecycle");
    for program in ["detector", "builder", "launcher", "creator"] {
        if fs::symlink_metadata(programs.join(program)).is_err() {
            return Err(Failure::new(
                Exit::Input,
                format!("{} has no lifecycle/{program}", archive.display()),
            )
            .hint(ARCHIVE));
        }
    }
    add_layer(store, image, "Lifecycle", |tar| {
        tar.tree(
            &programs,
            "/cnb/lifecycle",
            &TreeRules::owned_by(Owner::ROOT),
        )
    })?;
    Ok(LifecycleMetadata {
        version: read.lifecycle.version,
        api: read.api,
        apis: read.apis,
    })
}

fn oldest(buildpack: &str, platform: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("buildpack".to_owned(), buildpack.to_owned()),
        ("platform".to_owned(), platform.to_owned()),
    ])
}

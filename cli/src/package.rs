//! What other platforms take of slugc: its lifecycle and its buildpacks as archives.

use crate::failure::{Exit, Failure, OrFail};
use crate::parts::{PHASES, Parts};
use crate::platform::image::COMPRESSION;
use crate::platform::module::{Module, Package};
use crate::store::{self, Store};
use cnb_spec::api;
use cnb_spec::group::GroupElement;
use cnb_spec::names::escape_id;
use oci_image::{Digest, LayerBlob, LayerError, LayerTar, Owner, TreeRules, write_layer};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Puts the lifecycle into the store, as a blob that is an archive for pack.
pub(crate) fn lifecycle(store: &Store, parts: &Parts) -> Result<LayerBlob, Failure> {
    write(store, "lifecycle", |tar| {
        let text = descriptor();
        let size = text.len() as u64;
        tar.file("lifecycle.toml", 0o644, Owner::ROOT, size, text.as_bytes())?;
        lifecycle_entries(tar, parts, "lifecycle")
    })
}

/// Puts the lifecycle into the store, as a layer of an image.
pub(crate) fn lifecycle_layer(store: &Store, parts: &Parts) -> Result<LayerBlob, Failure> {
    write(store, "lifecycle", |tar| {
        tar.directory("/cnb", 0o755, Owner::ROOT)?;
        lifecycle_entries(tar, parts, "/cnb/lifecycle")
    })
}

/// Both of our buildpacks as one.
pub(crate) const COMPOSITE: &str = "python-procfile";
const COMPOSITE_TOML: &str = include_str!("../../buildpacks/python-procfile/buildpack.toml");

/// Puts a buildpack into the store, as a blob that is an archive for pack.
pub(crate) fn buildpack(store: &Store, module: &Module) -> Result<LayerBlob, Failure> {
    write(store, &module.element.id, |tar| {
        tar.tree(module.folder(), "", &TreeRules::owned_by(Owner::ROOT))
    })
}

/// The composite buildpack of ours, laid out in the store like an unpacked one.
pub(crate) fn composite(store: &Store) -> Result<Module, Failure> {
    let key = Digest::of(COMPOSITE_TOML.as_bytes());
    let folder = store.buildpacks().join(key.hex());
    let writing = || format!("cannot write {}", folder.display());
    fs::create_dir_all(&folder).or_fail(Exit::Store, writing)?;
    store::write_file(&folder.join("buildpack.toml"), COMPOSITE_TOML.as_bytes())?;
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(folder.join("buildpack.toml"), readable).or_fail(Exit::Store, writing)?;
    Module::read(&folder)
}

/// Writes a package as folders: of one buildpack its own, of several one for each, with a package.toml that names the
/// others.
pub(crate) fn folder(package: &Package, to: &Path) -> Result<(), Failure> {
    let writing = || format!("cannot write the buildpack to {}", to.display());
    if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::new(Exit::Input, writing())
            .because("the folder is not empty")
            .hint("name another folder, or empty this one"));
    }
    let name = |element: &GroupElement| escape_id(&element.id);
    let several = package.modules.len() > 1;
    for module in &package.modules {
        let target = if several {
            to.join(name(&module.element))
        } else {
            to.to_owned()
        };
        if several && target.symlink_metadata().is_ok() {
            return Err(Failure::new(Exit::Input, writing())
                .because(format!(
                    "it has several versions of {}, whose folders would have one name",
                    module.element.id
                ))
                .hint("write it as FILE.tgz or FILE.cnb"));
        }
        copy_tree(module.folder(), &target).or_fail(Exit::General, writing)?;
        if module.buildpack.is_composite() {
            let mut text = "[buildpack]\nuri = \".\"\n".to_owned();
            for element in module.buildpack.order.iter().flat_map(|group| &group.group) {
                text = format!("{text}\n[[dependencies]]\nuri = \"../{}\"\n", name(element));
            }
            fs::write(target.join("package.toml"), text).or_fail(Exit::General, writing)?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Copies an archive out of the store; it appears whole or not at all.
pub(crate) fn copy_out(store: &Store, archive: &LayerBlob, to: &Path) -> Result<(), Failure> {
    let copy = || -> io::Result<()> {
        let folder = match to.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut staged = tempfile::Builder::new()
            .prefix(".slugc-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        let mut blob = File::open(store.blobs().path(&archive.digest))?;
        io::copy(&mut blob, &mut staged)?;
        staged.as_file().sync_data()?;
        staged.persist(to).map_err(|error| error.error)?;
        Ok(())
    };
    copy().or_fail(Exit::General, || format!("cannot write {}", to.display()))
}

/// The lifecycle's APIs as JSON, for labels of images with it.
pub(crate) fn apis() -> serde_json::Value {
    let list = |versions: &[api::ApiVersion]| -> Vec<String> {
        versions.iter().map(ToString::to_string).collect()
    };
    let side = |versions: &[api::ApiVersion]| serde_json::json!({"deprecated": [], "supported": list(versions)});
    serde_json::json!({"buildpack": side(&api::BUILDPACK), "platform": side(&api::PLATFORM)})
}

/// `lifecycle.toml`, which pack reads.
fn descriptor() -> String {
    let list = |versions: &[api::ApiVersion]| -> String {
        let quoted: Vec<String> = versions.iter().map(|it| format!("\"{it}\"")).collect();
        quoted.join(", ")
    };
    format!(
        "[lifecycle]\nversion = \"{}\"\n\n[apis.buildpack]\ndeprecated = []\nsupported = [{}]\n\n\
         [apis.platform]\ndeprecated = []\nsupported = [{}]\n\n[api]\nbuildpack = \"{}\"\nplatform = \"{}\"\n",
        api::LIFECYCLE,
        list(&api::BUILDPACK),
        list(&api::PLATFORM),
        api::BUILDPACK[0],
        api::PLATFORM[0],
    )
}

fn lifecycle_entries(tar: &mut LayerTar<'_>, parts: &Parts, at: &str) -> Result<(), LayerError> {
    let folder = parts.lifecycle();
    tar.directory(at, 0o755, Owner::ROOT)?;
    for phase in PHASES {
        tar.symlink(format!("{at}/{phase}"), "lifecycle", Owner::ROOT)?;
    }
    for program in ["launcher", "lifecycle"] {
        let source = folder.join(program);
        tar.file_from(format!("{at}/{program}"), 0o755, Owner::ROOT, &source)?;
    }
    Ok(())
}

fn write(
    store: &Store,
    what: &str,
    add: impl FnOnce(&mut LayerTar<'_>) -> Result<(), LayerError>,
) -> Result<LayerBlob, Failure> {
    write_layer(store.blobs(), COMPRESSION, add)
        .or_fail(Exit::Store, || format!("cannot package {what}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_composite_buildpack_names_the_versions_that_travel_along() {
        let version = |text: &str| {
            let table: toml::Table = text.parse().unwrap();
            table["buildpack"]["version"].as_str().unwrap().to_owned()
        };
        let table: toml::Table = COMPOSITE_TOML.parse().unwrap();
        let group = &table["order"][0]["group"];
        for (index, own) in [
            include_str!("../../buildpacks/aptfile/buildpack.toml"),
            include_str!("../../buildpacks/python/buildpack.toml"),
            include_str!("../../buildpacks/procfile/buildpack.toml"),
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(
                group[index]["version"].as_str(),
                Some(version(own).as_str())
            );
        }
    }

    #[test]
    fn the_descriptor_is_what_pack_reads() {
        let table: toml::Table = descriptor().parse().unwrap();
        assert_eq!(table["lifecycle"]["version"].as_str(), Some("0.20.1000"));
        let supported = &table["apis"]["platform"]["supported"];
        assert_eq!(supported[0].as_str(), Some("0.7"));
        assert_eq!(table["api"]["buildpack"].as_str(), Some("0.7"));
        assert_eq!(apis()["platform"]["supported"][8], "0.15");
    }
}

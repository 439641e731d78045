//! What other platforms take of slugc: its lifecycle and its buildpacks as archives.

use crate::failure::{Exit, Failure, OrFail};
use crate::parts::{PHASES, Parts};
use crate::store::Store;
use cnb_spec::api;
use oci_image::{Compression, LayerBlob, LayerError, LayerTar, Owner, write_layer};
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Archives are made once and fetched often.
const COMPRESSION: Compression = Compression { level: 6 };

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

/// Puts one of our buildpacks into the store, as a blob that is an archive for pack.
pub(crate) fn buildpack(store: &Store, parts: &Parts, name: &str) -> Result<LayerBlob, Failure> {
    let folder = parts.buildpack(name);
    write(store, name, |tar| {
        tar.file_from(
            "buildpack.toml",
            0o644,
            Owner::ROOT,
            &folder.join("buildpack.toml"),
        )?;
        tar.directory("bin", 0o755, Owner::ROOT)?;
        tar.file_from("bin/build", 0o755, Owner::ROOT, &folder.join("bin/build"))?;
        tar.symlink("bin/detect", "build", Owner::ROOT)
    })
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
    fn the_descriptor_is_what_pack_reads() {
        let table: toml::Table = descriptor().parse().unwrap();
        assert_eq!(table["lifecycle"]["version"].as_str(), Some("0.20.1000"));
        let supported = &table["apis"]["platform"]["supported"];
        assert_eq!(supported[0].as_str(), Some("0.7"));
        assert_eq!(table["api"]["buildpack"].as_str(), Some("0.7"));
        assert_eq!(apis()["platform"]["supported"][8], "0.15");
    }
}

//! Tools that all apps share: fetched by the build of one app, offered read-only to the builds of all.
//!
//! A buildpack's descriptor lists them under `[[metadata.tools]]` with the sha256 of the file itself. What a build left
//! in that place is taken over only when it has that sha256; build code never gets to write to what is kept here.

use crate::failure::{Exit, Failure, OrFail};
use crate::parts::{self, Parts};
use crate::store::Store;
use cnb_spec::names::escape_id;
use cnb_spec::toml_file;
use oci_image::{Digest, VerifyingReader};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::Deserialize;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where builds see the tools, as `<sha256>/<name>`.
pub(crate) const INSIDE: &str = "/cnb/tools";
/// Tells a build where.
pub(crate) const VARIABLE: &str = "BP_TOOLS_DIR";

/// The part of a buildpack's descriptor that tells of its tools.
#[derive(Debug, Deserialize)]
struct Descriptor {
    buildpack: Id,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct Id {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    tools: Vec<Tool>,
}

/// A program, and the layer that a build leaves it in.
#[derive(Debug, Deserialize)]
struct Tool {
    name: String,
    sha256: String,
    layer: String,
    path: PathBuf,
}

/// A tool of a buildpack of ours.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Below the layers folder.
    source: PathBuf,
    digest: Digest,
    name: String,
}

impl Listed {
    /// The folder's name in the store.
    pub(crate) fn hex(&self) -> String {
        self.digest.hex()
    }
}

/// The tools of slugc's own buildpacks. Others' are not asked: their descriptors are not slugc's word.
pub(crate) fn listed(parts: &Parts) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    for name in parts::BUILDPACKS {
        let path = parts.buildpack(name).join("buildpack.toml");
        let unusable = || format!("cannot use the list of tools in {}", path.display());
        let descriptor: Descriptor = toml_file::read(&path).or_fail(Exit::Store, unusable)?;
        let layers = PathBuf::from(escape_id(&descriptor.buildpack.id));
        for tool in descriptor.metadata.tools {
            listed.push(Listed {
                source: layers.join(&tool.layer).join(&tool.path),
                digest: Digest::from_hex(&tool.sha256).or_fail(Exit::Store, unusable)?,
                name: tool.name,
            });
        }
    }
    Ok(listed)
}

/// Takes over what a build fetched, where it is not here yet and is what its sha256 says.
pub(crate) fn keep(store: &Store, parts: &Parts, layers: &Path) -> Result<(), Failure> {
    for tool in listed(parts)? {
        let folder = store.tools().join(tool.hex());
        let place = folder.join(&tool.name);
        if place.exists() {
            continue;
        }
        let Some(file) = fetched(layers, &tool.source) else {
            continue;
        };
        take(&store.tools(), file, tool.digest, &folder, &place)
            .or_fail(Exit::Store, || format!("cannot keep {}", place.display()))?;
    }
    Ok(())
}

/// The file that a build left, opened without following any of its links.
fn fetched(layers: &Path, source: &Path) -> Option<File> {
    let layers = File::open(layers).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(openat2(&layers, source, flags, Mode::empty(), resolve).ok()?);
    file.metadata().ok()?.is_file().then_some(file)
}

/// Copies the file to its place, if it is the right one. Two builds may do this at once: both bring the same.
fn take(tools: &Path, file: File, digest: Digest, folder: &Path, place: &Path) -> io::Result<()> {
    let mut staged = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(tools)?;
    let size = file.metadata()?.len();
    match io::copy(
        &mut VerifyingReader::new(file, digest, Some(size)),
        &mut staged,
    ) {
        Ok(_) => {}
        // Build code changed it, or it is another version: the next build fetches its own again.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(()),
        Err(error) => return Err(error),
    }
    staged
        .as_file()
        .set_permissions(Permissions::from_mode(0o555))?;
    staged.as_file().sync_data()?;
    fs::create_dir_all(folder)?;
    // The build's user reads it through a bind mount, whatever the umask.
    for folder in [tools, folder] {
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    staged.persist(place).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;

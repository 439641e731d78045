//! The folders above what a layer holds.

use oci_image::{LayerError, LayerTar, Owner};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Adds every folder above `at`, a path of the image, whose content is in `on_disk`.
///
/// Where the two are the same, as in a platform's container, the folders have the modes and owners that the disk gives
/// them: the reference lifecycle's do, and its layers have to be ours. Elsewhere the disk's say nothing.
pub(crate) fn add(
    tar: &mut LayerTar<'_>,
    at: &str,
    on_disk: &Path,
    owner: Owner,
) -> Result<(), LayerError> {
    let at = Path::new(at);
    if at != on_disk {
        return tar.parents(at, 0o755, owner);
    }
    let mut parents: Vec<&Path> = at.ancestors().skip(1).collect();
    parents.retain(|parent| parent.parent().is_some());
    for parent in parents.into_iter().rev() {
        let found = parent.metadata().map(|folder| {
            let owner = Owner {
                uid: folder.uid(),
                gid: folder.gid(),
            };
            (folder.mode() & 0o7777, owner)
        });
        let (mode, owner) = found.unwrap_or((0o755, owner));
        tar.directory(parent, mode, owner)?;
    }
    Ok(())
}

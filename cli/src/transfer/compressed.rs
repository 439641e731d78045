//! Images whose layers are compressed with zstd instead of gzip: the same diffIDs under other digests.

use super::{Fetched, Transfer};
use crate::args::Zstd;
use crate::failure::{Exit, Failure, OrFail};
use crate::place::Place;
use crate::ui::size;
use cnb_phases::rebase;

impl Transfer<'_> {
    /// The image with the app's layers as zstd. Those of its base stay as they are, since the target shares them with
    /// other images. The types are OCI's: Docker's have no zstd.
    pub(crate) fn with_zstd(
        &self,
        image: Fetched,
        zstd: Zstd,
        target: &Place,
    ) -> Result<Fetched, Failure> {
        if matches!(target, Place::DockerArchive { .. } | Place::Engine { .. }) {
            return Err(Failure::new(
                Exit::Usage,
                format!("{target} takes Docker's format, which has no zstd"),
            )
            .hint("leave out --compression, or write to a registry, a layout, an oci-archive or containerd"));
        }
        let mut loaded = self.stored(image.manifest.clone(), None)?.image;
        loaded.manifest = loaded.manifest.into_oci();
        // Where nobody can tell, all layers are the app's.
        let of_base = rebase::layers_of_base(&loaded).unwrap_or(0);
        let (mut before, mut after) = (0, 0);
        let diff_ids = loaded.config.rootfs.diff_ids.iter();
        let layers = loaded.manifest.layers.iter_mut().zip(diff_ids);
        for (layer, diff_id) in layers.skip(of_base) {
            let compressed = self
                .store
                .blobs()
                .to_zstd(layer, diff_id, zstd.level)
                .or_fail(Exit::Store, || {
                    format!("cannot compress the layer {} with zstd", layer.digest)
                })?;
            before += layer.size;
            after += compressed.size;
            *layer = compressed;
        }
        self.printer.line(&format!(
            "zstd     {} instead of {}, over the base's layers as they are",
            size::bytes(after),
            size::bytes(before)
        ));
        let manifest = loaded
            .save(self.store.blobs())
            .or_fail(Exit::Store, || "cannot save the image".to_owned())?;
        Ok(Fetched { manifest, ..image })
    }
}

//! Images in folders of the OCI layout, one folder per image: `<layout-dir>/<registry>/<repository>/<tag>`
//! (Platform API, "Map an image reference to a path in the layout directory").

use crate::Failure;
use crate::registries;
use cnb_spec::target::oci_architecture;
use oci_image::layout::{self, LayoutError};
use oci_image::{BlobStore, Descriptor, Digest, Image, Index, Manifest, media_type};
use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Go's name for the registry of names without one, which the reference lifecycle makes folders of.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// Deeper than indexes are nested.
const DEPTH: usize = 4;

/// The folder of all images.
pub(crate) struct Layouts {
    dir: PathBuf,
}

impl Layouts {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The folder of an image.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let reference = registries::parse(name)?;
        let registry = match reference.registry() {
            "docker.io" => DEFAULT_REGISTRY,
            registry => registry,
        };
        let folder = self.dir.join(registry).join(reference.repository());
        Ok(match reference.digest() {
            Some(digest) => folder.join("sha256").join(digest.hex()),
            None => folder.join(reference.identifier()),
        })
    }

    /// An image by its name, or by the identifier that this gave it: its folder, identifier and documents.
    pub(crate) fn find(
        &self,
        store: &BlobStore,
        name: &str,
        code: u8,
    ) -> Result<Option<(PathBuf, String, Image)>, Failure> {
        let failed = |error: &dyn Error| {
            Failure::from_error(code, &format!("read the image {name} of a layout"), error)
        };
        let (folder, wanted) = match identifier(name) {
            Some((folder, digest)) if folder.starts_with(&self.dir) => (folder, Some(digest)),
            _ => (self.folder(name)?, None),
        };
        let index = match layout::read(&folder) {
            Err(LayoutError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            index => index.map_err(|error| failed(&error))?,
        };
        let import = |digest: &Digest, size: Option<u64>| -> Result<(), Box<dyn Error>> {
            let blob = File::open(layout::blob_path(&folder, digest))?;
            store.import(blob, *digest, size)?;
            Ok(())
        };
        let load = || -> Result<(Digest, Image), Box<dyn Error>> {
            let digest = match wanted {
                Some(digest) => digest,
                None => choose(index, store, &import)?.digest,
            };
            import(&digest, None)?;
            let manifest: Manifest = serde_json::from_slice(&store.read(&digest)?)?;
            import(&manifest.config.digest, Some(manifest.config.size))?;
            Ok((digest, Image::load(store, &digest)?))
        };
        let (digest, image) = load().map_err(|error| failed(&*error))?;
        let identifier = format!("{}@{digest}", folder.display());
        Ok(Some((folder, identifier, image)))
    }

    /// Writes an image under all `names`, each in its own folder; layers that the store lacks are those of the
    /// layouts `bases`. Returns the folders.
    pub(crate) fn publish(
        &self,
        store: &BlobStore,
        manifest: &Descriptor,
        names: &[String],
        bases: &[&Path],
        code: u8,
    ) -> Result<Vec<PathBuf>, Failure> {
        let mut folders = Vec::new();
        for name in names {
            let folder = self.folder(name)?;
            let tag = registries::parse(name)?.identifier();
            layout::write_only(&folder, store, manifest, &tag, bases)
                .map_err(|error| Failure::from_error(code, &format!("save {name}"), &error))?;
            folders.push(folder);
        }
        Ok(folders)
    }
}

/// `<folder>@<digest>`
fn identifier(text: &str) -> Option<(PathBuf, Digest)> {
    let (folder, digest) = text.rsplit_once('@')?;
    let digest = digest.parse().ok()?;
    folder
        .starts_with('/')
        .then(|| (PathBuf::from(folder), digest))
}

type Import<'a> = dyn Fn(&Digest, Option<u64>) -> Result<(), Box<dyn Error>> + 'a;

/// The only image of an index, or the one for this machine.
fn choose(
    mut index: Index,
    store: &BlobStore,
    import: &Import<'_>,
) -> Result<Descriptor, Box<dyn Error>> {
    for _ in 0..DEPTH {
        let architecture = oci_architecture(std::env::consts::ARCH);
        let entry = match index.manifests.as_slice() {
            [only] => Some(only),
            _ => index.for_platform("linux", architecture, None),
        };
        let entry = entry
            .ok_or_else(|| format!("it has no image for linux/{architecture}"))?
            .clone();
        if !media_type::is_index(&entry.media_type) {
            return Ok(entry);
        }
        import(&entry.digest, Some(entry.size))?;
        index = serde_json::from_slice(&store.read(&entry.digest)?)?;
    }
    Err("its indexes are nested too deep".into())
}

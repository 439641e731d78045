//! Images of a Docker engine, at its socket.
//!
//! An engine keeps layers unpacked and knows them by the diffIDs below them. What it has is not sent: the archive
//! that it loads names all layers and holds those that are new. Engines that want all of them (those with containerd's
//! image store, and those that refuse such an archive) get the rest out of their own archives.

use crate::Failure;
use crate::socket_keeper::Keeper;
use cnb_phases::cache::folder::CacheFolder;
use cnb_spec::exit_code;
use oci_image::archive;
use oci_image::{
    BlobStore, Descriptor, Digest, Image, ImageConfig, LayerTar, Owner, Reference, RootFs,
    media_type,
};
use oci_registry::{Engine, EngineError};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const SOCKET: &str = "/var/run/docker.sock";

/// The engine, and the launch cache that spares it being asked for layers.
pub(crate) struct Daemon {
    engine: Engine,
    launch_cache: Option<PathBuf>,
}

/// Layers that an image is made on top of, and where they can be had.
struct Sources<'a> {
    store: &'a BlobStore,
    cache: Option<&'a CacheFolder>,
    /// The compressed blobs of layers that an engine gave out, by diffID.
    fetched: BTreeMap<Digest, Digest>,
}

impl Daemon {
    /// Connects to the engine of `DOCKER_HOST`, with this process's rights for as long as the phase runs.
    pub(crate) fn open(launch_cache: Option<&Path>) -> Result<Self, Failure> {
        let failed = |message: String| {
            Failure::new(
                exit_code::FAILED,
                format!("failed to initialize docker client: {message}"),
            )
        };
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None if host.is_empty() => PathBuf::from(SOCKET),
            None => {
                return Err(failed(format!(
                    "DOCKER_HOST is {host}, but only unix:// sockets are supported"
                )));
            }
        };
        let is_roots = socket.metadata().is_ok_and(|metadata| metadata.uid() == 0);
        let engine = if is_roots && rustix::process::geteuid().is_root() {
            let keeper = Keeper::start(&socket).map_err(|error| failed(error.to_string()))?;
            Engine::with_connect(&socket, move || keeper.connect())
        } else {
            Engine::new(&socket)
        };
        Ok(Self {
            engine,
            launch_cache: launch_cache.map(Path::to_owned),
        })
    }

    /// An image's ID and what can be told of it. Its layers' descriptors have diffIDs for digests.
    pub(crate) fn find(&self, name: &str, code: u8) -> Result<Option<(String, Image)>, Failure> {
        let failed =
            |error: &dyn Error| Failure::from_error(code, &format!("find the image {name}"), error);
        let Some(document) = self.engine.inspect(name).map_err(|error| failed(&error))? else {
            return Ok(None);
        };
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        let layers: Vec<Digest> = serde_json::from_value(document["RootFS"]["Layers"].clone())
            .or_else(|error| match &document["RootFS"]["Layers"] {
                serde_json::Value::Null => Ok(Vec::new()),
                _ => Err(failed(&error)),
            })?;
        let mut config = ImageConfig {
            os: text("Os"),
            architecture: text("Architecture"),
            variant: Some(text("Variant")).filter(|variant| !variant.is_empty()),
            created: Some(text("Created")).filter(|created| !created.is_empty()),
            config: serde_json::from_value(document["Config"].clone())
                .map_err(|error| failed(&error))?,
            rootfs: RootFs {
                diff_ids: layers.clone(),
                ..RootFs::default()
            },
            ..ImageConfig::default()
        };
        // Of a container's configuration, these belong to images too.
        let of_images = ["ArgsEscaped", "Healthcheck", "OnBuild", "Shell"];
        config
            .config
            .extra
            .retain(|key, value| of_images.contains(&key.as_str()) && !value.is_null());
        let mut image = Image::empty(&config.os, &config.architecture);
        image.manifest.layers = layers
            .into_iter()
            .map(|diff_id| Descriptor::new(media_type::OCI_LAYER_GZIP, diff_id, 0))
            .collect();
        image.config = config;
        let id = text("Id");
        let id = id.strip_prefix("sha256:").unwrap_or(&id).to_owned();
        Ok(Some((id, image)))
    }

    /// A layer of an image, from the launch cache or else from the engine.
    pub(crate) fn open_layer(
        &self,
        store: &BlobStore,
        id: &str,
        diff_id: &str,
    ) -> Result<Option<File>, Box<dyn Error>> {
        if let Some(cache) = self.cache()?
            && let Ok(file) = cache.open_layer(diff_id)
        {
            return Ok(Some(file));
        }
        let fetched = self.fetch(store, id)?;
        let Some(blob) = fetched.get(&diff_id.parse()?) else {
            return Ok(None);
        };
        Ok(Some(store.open_blob(blob)?))
    }

    fn cache(&self) -> Result<Option<CacheFolder>, Box<dyn Error>> {
        let folder = self.launch_cache.as_deref().map(CacheFolder::open);
        Ok(folder.transpose()?)
    }

    /// All layers of an image, out of the engine's archive of it.
    fn fetch(
        &self,
        store: &BlobStore,
        id: &str,
    ) -> Result<BTreeMap<Digest, Digest>, Box<dyn Error>> {
        let mut file = tempfile::NamedTempFile::new_in(store.root())?;
        self.engine.save(id, &mut file)?;
        let imported = archive::import(file.path(), store, None)?;
        let image = Image::load(store, &imported.manifest.digest)?;
        let diff_ids = image.config.rootfs.diff_ids;
        let blobs = image.manifest.layers.iter().map(|layer| layer.digest);
        Ok(diff_ids.into_iter().zip(blobs).collect())
    }

    /// Loads an image under all `names`. `bases` are the images that it shares layers with, by ID. Returns its own ID.
    /// Hands to `warn` what goes wrong once the engine has the image.
    pub(crate) fn publish(
        &self,
        store: &BlobStore,
        manifest: &Descriptor,
        names: &[String],
        bases: &[(&str, &Image)],
        code: u8,
        warn: &dyn Fn(&str),
    ) -> Result<String, Failure> {
        let failed = |error: &dyn Error| {
            Failure::from_error(code, &format!("save {}", names.join(", ")), error)
        };
        let load = || -> Result<String, Box<dyn Error>> {
            let image = Image::load(store, &manifest.digest)?;
            let cache = self.cache()?;
            let mut sources = Sources {
                store,
                cache: cache.as_ref(),
                fetched: BTreeMap::new(),
            };
            let known = bases
                .iter()
                .map(|(_, base)| shared(&image, base))
                .max()
                .unwrap_or_default();
            // An engine that keeps what it is sent would keep layers without content, and one that does not say may.
            let keeps_blobs = self.engine.keeps_blobs().unwrap_or(true);
            if keeps_blobs || self.load(&image, names, known, &sources).is_err() {
                // It wants all of them, or does not have what it is taken to have, or has it in another place.
                for (id, _) in bases {
                    sources.fetched.extend(self.fetch(store, id)?);
                }
                self.load(&image, names, 0, &sources)?;
            }
            if let Some(cache) = &cache {
                let run_image = bases.first().map_or(0, |(_, base)| shared(&image, base));
                if let Err(error) = fill(cache, &image, run_image, &sources) {
                    let failure = Failure::from_error(code, "fill the launch cache", &*error);
                    warn(&failure.message);
                }
            }
            let loaded = self.engine.inspect(&names[0])?;
            let id = loaded.and_then(|document| document["Id"].as_str().map(str::to_owned));
            Ok(id.ok_or("the engine took the image and does not have it")?)
        };
        load().map_err(|error| failed(&*error))
    }

    /// Sends the image without the content of the first `known` layers.
    fn load(
        &self,
        image: &Image,
        names: &[String],
        known: usize,
        sources: &Sources<'_>,
    ) -> Result<(), Box<dyn Error>> {
        let file = tempfile::tempfile_in(sources.store.root())?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut tar = LayerTar::new(&mut out);
        let config = sources.store.read(&image.manifest.config.digest)?;
        let config_name = format!("{}.json", image.manifest.config.digest.hex());
        let document = |tar: &mut LayerTar<'_>, name: &str, bytes: &[u8]| {
            tar.file(name, 0o644, Owner::ROOT, bytes.len() as u64, bytes)
        };
        document(&mut tar, &config_name, &config)?;
        let mut layers = Vec::new();
        for (position, diff_id) in image.config.rootfs.diff_ids.iter().enumerate() {
            let name = format!("{}.tar", diff_id.hex());
            if position < known {
                // An engine asks for its content only when it does not have it after all.
                document(&mut tar, &name, b"")?;
            } else if !layers.contains(&name) {
                let (file, size) = sources.open(image, position, diff_id)?;
                tar.file(&name, 0o644, Owner::ROOT, size, file)?;
            }
            layers.push(name);
        }
        let tags: Vec<String> = names
            .iter()
            .map(|name| Ok(name.parse::<Reference>()?.or_latest().familiar()))
            .collect::<Result<_, Box<dyn Error>>>()?;
        let manifest = serde_json::json!([{
            "Config": config_name,
            "RepoTags": tags,
            "Layers": layers,
        }]);
        document(&mut tar, "manifest.json", manifest.to_string().as_bytes())?;
        tar.finish()?;
        let mut file = out.into_inner()?;
        let length = file.stream_position()?;
        file.rewind()?;
        self.engine
            .load(file, length)
            .map(drop)
            .map_err(|error: EngineError| error.into())
    }
}

impl Sources<'_> {
    /// A layer of `image` with its length: made by this export, in the launch cache, or fetched.
    fn open(
        &self,
        image: &Image,
        position: usize,
        diff_id: &Digest,
    ) -> Result<(File, u64), Box<dyn Error>> {
        let made = image
            .manifest
            .layers
            .get(position)
            .map(|layer| layer.digest);
        let in_store = made.into_iter().chain(self.fetched.get(diff_id).copied());
        for blob in in_store {
            if let Ok(file) = self.store.open_blob(&blob) {
                let size = file.metadata()?.len();
                return Ok((file, size));
            }
        }
        let file = self
            .cache
            .ok_or_else(|| format!("the layer {diff_id} is not there"))?
            .open_layer(&diff_id.to_string())?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }
}

/// How many layers from the bottom up both images have.
fn shared(image: &Image, base: &Image) -> usize {
    let own = &image.config.rootfs.diff_ids;
    let of_base = &base.config.rootfs.diff_ids;
    own.iter()
        .zip(of_base)
        .take_while(|(one, other)| one == other)
        .count()
}

/// Puts all layers above the run image's into the launch cache, for the next build.
fn fill(
    cache: &CacheFolder,
    image: &Image,
    run_image: usize,
    sources: &Sources<'_>,
) -> Result<(), Box<dyn Error>> {
    let staging = cache.begin()?;
    let own = image
        .config
        .rootfs
        .diff_ids
        .iter()
        .enumerate()
        .skip(run_image);
    for (position, diff_id) in own {
        if staging.reuse(&diff_id.to_string())? {
            continue;
        }
        // One that neither this export nor an earlier one made is the engine's alone.
        if let Ok((file, _)) = sources.open(image, position, diff_id) {
            staging.add_layer(file)?;
        }
    }
    Ok(staging.commit_layers()?)
}

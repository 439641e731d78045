//! The empty layers folder before a build becomes what the build may see of the last one.

use super::restored::{Restored, RestoredError};
use super::{LayerCache, content, layers_of};
use crate::layers_dir::{self, Layer, ListError};
use crate::log::{Logger, chain};
use crate::scratch::Scratch;
use cnb_spec::api::ApiVersion;
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::labels::{CacheMetadata, LayerMetadata, LayersMetadata};
use cnb_spec::names::{LayerName, escape_id};
use cnb_spec::sbom::SbomFile;
use cnb_spec::toml_file::{self, FileError};
use oci_image::{
    Fingerprint, Owner, UnpackError, UnpackRules, Whiteouts, fingerprint, unpack_layer,
};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What restoration out of a cache needs.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The Platform API version that the platform speaks.
    pub platform_api: ApiVersion,
    /// The layers folder.
    pub layers_dir: &'a Path,
    /// Where the layers folder is inside the image.
    pub layers_path: &'a Path,
    /// The buildpacks of the next build, from detection.
    pub group: &'a Group,
    /// The layers of the last image, from its label.
    pub previous: &'a LayersMetadata,
    /// The cache, when there is one.
    pub cache: Option<&'a dyn LayerCache>,
    /// Whether buildpacks get no metadata of layers.
    pub skip_layers: bool,
    /// Whom layers' files belong to in images.
    pub owner: Owner,
    /// Where lines go.
    pub log: Logger<'a>,
}

/// Why the layers folder could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A folder could not be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A metadata file could not be written.
    #[error(transparent)]
    Write(#[from] FileError),
    /// What was restored could not be noted.
    #[error(transparent)]
    Note(#[from] RestoredError),
    /// Something could not be removed.
    #[error("could not remove {}", path.display())]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be put in its place.
    #[error("could not put {} in its place", path.display())]
    Place {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl RestoreError {
    /// The exit code that the Platform API gives to it.
    pub fn exit_code(&self) -> u8 {
        exit_code::RESTORE_ERROR
    }
}

/// A layer whose metadata is restored.
struct Candidate<'a> {
    buildpack: &'a str,
    layer: Layer,
    sha: &'a str,
    /// The cache has its content.
    data: bool,
}

impl Candidate<'_> {
    fn name(&self) -> String {
        format!("{}:{}", self.buildpack, self.layer.name)
    }
}

/// Restores `store.toml`, `<layer>.toml` without types, the content of cached layers, and SBOM files of layers.
///
/// A cached layer whose tar is missing, damaged or somebody else's is passed over with a warning, and its metadata
/// too: the buildpack makes it again.
pub fn restore(inputs: &Inputs<'_>) -> Result<(), RestoreError> {
    let log = inputs.log;
    for buildpack in &inputs.previous.buildpacks {
        let in_group = inputs.group.group.iter().any(|it| it.id == buildpack.key);
        if let Some(store) = buildpack.store.as_ref().filter(|_| in_group) {
            let dir = inputs.layers_dir.join(escape_id(&buildpack.key));
            toml_file::write(&dir.join("store.toml"), store)?;
        }
    }
    let cached = match inputs.cache {
        Some(cache) => cache.metadata().unwrap_or_else(|error| {
            // Without it the build takes longer, nothing else.
            log.warn(format_args!("Not using the cache: {}", chain(&error)));
            CacheMetadata::default()
        }),
        None => CacheMetadata::default(),
    };
    let mut candidates = Vec::new();
    if inputs.skip_layers {
        log.info("Skipping buildpack layer analysis");
    } else {
        for element in &inputs.group.group {
            find(inputs, &element.id, &cached, &mut candidates);
        }
    }
    for candidate in &candidates {
        let known = layers_of(&inputs.previous.buildpacks, candidate.buildpack)
            .and_then(|layers| layers.get(&candidate.layer.name));
        let from_cache = layers_of(&cached.buildpacks, candidate.buildpack)
            .and_then(|layers| layers.get(&candidate.layer.name));
        let Some(metadata) = known.filter(|it| it.sha == candidate.sha).or(from_cache) else {
            continue;
        };
        let text = content(metadata)
            .restored_text()
            .map_err(|source| FileError::Serialize {
                path: candidate.layer.toml.clone(),
                source,
            })?;
        toml_file::write_text(&candidate.layer.toml, &text)?;
    }
    let mut restored = Restored::default();
    if let Some(cache) = inputs.cache {
        let kept = restore_data(inputs, cache, &candidates)?;
        for (candidate, fingerprint) in kept {
            restored.insert(
                candidate.buildpack,
                &candidate.layer.name,
                candidate.sha,
                fingerprint,
            );
        }
    }
    restored.write(inputs.layers_dir)?;
    if inputs.platform_api.at_least(8) && !inputs.skip_layers {
        restore_sboms(inputs, &cached)?;
    }
    Ok(())
}

/// The layers of a buildpack that the next build may see.
fn find<'a>(
    inputs: &Inputs<'a>,
    id: &'a str,
    cached: &'a CacheMetadata,
    candidates: &mut Vec<Candidate<'a>>,
) {
    let in_app = layers_of(&inputs.previous.buildpacks, id);
    let in_cache = layers_of(&cached.buildpacks, id);
    let is_cached = |name: &str| -> Option<&'a LayerMetadata> {
        in_cache?.get(name).filter(|layer| layer.types.cache)
    };
    let dir = inputs.layers_dir.join(escape_id(id));
    let log = inputs.log;
    // Labels come from a registry: what is no layer's name would lead out of the layers folder.
    let is_layer = |name: &str| {
        let is_it = name.parse::<LayerName>().is_ok();
        if !is_it {
            log.warn(format_args!(
                "Not restoring {name:?} of {id}, which is no name of a layer"
            ));
        }
        is_it
    };
    for (name, layer) in in_app.into_iter().flatten() {
        if !is_layer(name) {
            continue;
        }
        let types = layer.types;
        // A layer for build has to have its content there, and a cached one is its content.
        if !types.launch || (types.build && !types.cache) {
            log.debug(format_args!("Not restoring metadata for '{id}:{name}'"));
            continue;
        }
        let from_cache = is_cached(name);
        if types.cache && from_cache.is_none() {
            log.debug(format_args!(
                "Not restoring metadata for '{id}:{name}', marked as cache=true, but not found in cache"
            ));
            continue;
        }
        log.info(format_args!(
            "Restoring metadata for \"{id}:{name}\" from app image"
        ));
        if let Some(from_cache) = from_cache
            && from_cache.sha != layer.sha
        {
            log.info(format_args!("Removing \"{id}:{name}\", wrong sha"));
            continue;
        }
        candidates.push(Candidate {
            buildpack: id,
            layer: Layer::new(&dir, name),
            sha: &layer.sha,
            data: from_cache.is_some(),
        });
    }
    for (name, layer) in in_cache.into_iter().flatten() {
        // Before 0.14, a layer of an image counts only together with the image.
        let with_image = layer.types.launch
            && (in_app.is_some_and(|layers| layers.contains_key(name))
                || !inputs.platform_api.at_least(14));
        if !layer.types.cache || with_image || !is_layer(name) {
            continue;
        }
        log.info(format_args!(
            "Restoring metadata for \"{id}:{name}\" from cache"
        ));
        candidates.push(Candidate {
            buildpack: id,
            layer: Layer::new(&dir, name),
            sha: &layer.sha,
            data: true,
        });
    }
}

/// Unpacks cached layers, several at a time, and looks at those that can be told apart from changed ones.
fn restore_data<'c, 'a>(
    inputs: &Inputs<'_>,
    cache: &dyn LayerCache,
    candidates: &'c [Candidate<'a>],
) -> Result<Vec<(&'c Candidate<'a>, Fingerprint)>, RestoreError> {
    let waiting = Mutex::new(candidates.iter().filter(|candidate| candidate.data));
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let work = || -> Result<Vec<&'c Candidate<'a>>, RestoreError> {
        let mut done = Vec::new();
        while let Some(candidate) = next() {
            let name = candidate.name();
            inputs
                .log
                .info(format_args!("Restoring data for \"{name}\" from cache"));
            match unpack(inputs, cache, candidate) {
                Ok(true) => done.push(candidate),
                Ok(false) => {}
                Err(Unusable(reason)) => {
                    inputs
                        .log
                        .warn(format_args!("Skipping restore for layer {name}: {reason}"));
                    remove(&candidate.layer.toml)?;
                    remove(&candidate.layer.dir)?;
                }
            }
        }
        Ok(done)
    };
    let threads = thread::available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(candidates.len());
    let done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?
    .concat();
    if done.is_empty() {
        return Ok(Vec::new());
    }
    let looks = thread::scope(|scope| {
        let workers: Vec<_> = done
            .into_iter()
            .map(|candidate| (candidate, scope.spawn(|| at_rest(&candidate.layer.dir))))
            .collect();
        workers
            .into_iter()
            .map(|(candidate, worker)| (candidate, join(worker)))
            .collect::<Vec<_>>()
    });
    // A layer that cannot be looked at is read again by the export, which says what is wrong.
    Ok(looks
        .into_iter()
        .filter_map(|(candidate, look)| Some((candidate, look?)))
        .collect())
}

fn join<T>(worker: thread::ScopedJoinHandle<'_, T>) -> T {
    worker
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a layer looks like once the clock of its file system has moved on.
fn at_rest(dir: &Path) -> Option<Fingerprint> {
    const PATIENCE: Duration = Duration::from_millis(500);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(fingerprint) = fingerprint::tree_at_rest(dir).ok()? {
            return Some(fingerprint);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Why a cached layer is of no use.
struct Unusable(String);

/// Unpacks one layer beside its place and moves it there. Returns whether the export would make the same tar of it.
fn unpack(
    inputs: &Inputs<'_>,
    cache: &dyn LayerCache,
    candidate: &Candidate<'_>,
) -> Result<bool, Unusable> {
    let sha = candidate.sha;
    let unusable = |what: String| move |error: io::Error| Unusable(format!("{what}: {error}"));
    let tar = cache
        .open_layer(sha)
        .map_err(unusable(format!("the cache has no readable layer {sha}")))?;
    let scratch =
        Scratch::new(inputs.layers_dir).map_err(unusable("it cannot be unpacked".to_owned()))?;
    let rules = UnpackRules {
        whiteouts: Whiteouts::Refuse,
        ..UnpackRules::default()
    };
    let damaged = |problem: String| {
        let problem = discard(cache, sha, problem);
        Unusable(format!("the cache's layer {sha} is damaged: {problem}"))
    };
    let report = unpack_layer(tar, scratch.path(), &rules).map_err(|error| match &error {
        // A disk that is full says nothing about the cache.
        UnpackError::Into { .. } => Unusable(chain(&error)),
        UnpackError::Write { source, .. } if is_full(source) => Unusable(chain(&error)),
        _ => damaged(chain(&error)),
    })?;
    if report.diff_id.to_string() != sha {
        let problem = format!("its content has the digest {}", report.diff_id);
        return Err(damaged(problem));
    }
    let place = &candidate.layer.dir;
    let in_tar = inputs
        .layers_path
        .join(escape_id(candidate.buildpack))
        .join(&candidate.layer.name);
    let Some(unpacked) = folder_below(scratch.path(), &in_tar) else {
        return Err(Unusable(format!(
            "the cache's layer {sha} does not hold {}",
            in_tar.display()
        )));
    };
    remove(place)
        .map_err(|error| Unusable(chain(&error)))
        .and_then(|()| {
            std::fs::rename(&unpacked, place).map_err(unusable("it cannot be moved".to_owned()))
        })?;
    let owner = report.owners.get(&in_tar).copied().unwrap_or(Owner::ROOT);
    Ok(owner == inputs.owner)
}

/// Removes a damaged layer from the cache, which would take it over by its name when it is saved. Returns the problem
/// with what went wrong with that.
fn discard(cache: &dyn LayerCache, sha: &str, problem: String) -> String {
    match cache.discard(sha) {
        Ok(()) => problem,
        Err(error) => format!("{problem}; it cannot be removed: {error}"),
    }
}

/// Moves SBOM files of layers from where analysis and cache have them all to the layers.
fn restore_sboms(inputs: &Inputs<'_>, cached: &CacheMetadata) -> Result<(), RestoreError> {
    let all = inputs.layers_dir.join("sbom");
    if let Some(cache) = inputs.cache.filter(|_| !cached.sbom.sha.is_empty()) {
        inputs.log.info("Restoring data for SBOM from cache");
        if let Err(Unusable(reason)) = unpack_sboms(inputs, &all, cache, &cached.sbom.sha) {
            inputs
                .log
                .warn(format_args!("Skipping restore for SBOM: {reason}"));
        }
    }
    for kind in ["cache", "launch"] {
        for element in &inputs.group.group {
            let escaped = escape_id(&element.id);
            let of_buildpack = all.join(kind).join(&escaped);
            let to = inputs.layers_dir.join(&escaped);
            if !to.is_dir() {
                continue;
            }
            for (layer, _) in layers_dir::entries(&of_buildpack)?
                .into_iter()
                .filter(|it| it.1)
            {
                for (file, is_dir) in layers_dir::entries(&of_buildpack.join(&layer))? {
                    let of_layer = format!("{layer}.{file}");
                    if is_dir || SbomFile::parse(&of_layer).is_none() {
                        continue;
                    }
                    let from = of_buildpack.join(&layer).join(&file);
                    let to = to.join(of_layer);
                    std::fs::rename(&from, &to)
                        .map_err(|source| RestoreError::Place { path: to, source })?;
                }
            }
        }
    }
    remove(&all)
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Unpacks a layer of SBOM files into the layers folder; `all` is its `sbom`.
fn unpack_sboms(
    inputs: &Inputs<'_>,
    all: &Path,
    cache: &dyn LayerCache,
    sha: &str,
) -> Result<(), Unusable> {
    let tar = cache
        .open_layer(sha)
        .map_err(|error| Unusable(error.to_string()))?;
    // It is written anew with every build, so there is nothing to discard.
    sboms_from(tar, inputs.layers_dir, inputs.layers_path, all, Some(sha)).map_err(Unusable)
}

/// Unpacks a layer of SBOM files, compressed or not, and moves what is in its `sbom` to that of the layers folder.
fn sboms_from(
    tar: impl io::Read + Send,
    layers_dir: &Path,
    layers_path: &Path,
    all: &Path,
    sha: Option<&str>,
) -> Result<(), String> {
    let scratch = Scratch::new(layers_dir).map_err(|error| chain(&error))?;
    let rules = UnpackRules {
        whiteouts: Whiteouts::Refuse,
        ..UnpackRules::default()
    };
    let report = unpack_layer(tar, scratch.path(), &rules).map_err(|error| chain(&error))?;
    if sha.is_some_and(|sha| report.diff_id.to_string() != sha) {
        return Err(format!("its content has the digest {}", report.diff_id));
    }
    std::fs::create_dir_all(all).map_err(|error| chain(&error))?;
    for kind in ["cache", "launch"] {
        let inside = layers_path.join("sbom").join(kind);
        if let Some(from) = folder_below(scratch.path(), &inside) {
            let to = all.join(kind);
            remove(&to).map_err(|error| chain(&error))?;
            std::fs::rename(&from, &to).map_err(|error| chain(&error))?;
        }
    }
    Ok(())
}

/// Puts the SBOM files of the last image, in the layer that `blob` reads, to where [`restore`] finds them. What cannot
/// be used is passed over with a warning: SBOM files can be made again.
pub fn launch_sboms(layers_dir: &Path, blob: impl io::Read + Send, log: Logger<'_>) {
    log.info("Restoring data for SBOM from previous image");
    let all = layers_dir.join("sbom");
    if let Err(reason) = sboms_from(blob, layers_dir, layers_dir, &all, None) {
        log.warn(format_args!("Skipping restore for SBOM: {reason}"));
    }
}

/// The folder of an unpacked layer that an absolute path of the image is; `None` where a link or anything else stands on
/// the way, which could lead out of the layer.
pub(super) fn folder_below(unpacked: &Path, path: &Path) -> Option<PathBuf> {
    let mut at = unpacked.to_owned();
    for part in path.strip_prefix("/").unwrap_or(path).components() {
        let Component::Normal(name) = part else {
            return None;
        };
        at.push(name);
        let found = at.symlink_metadata().ok()?;
        found.is_dir().then_some(())?;
    }
    Some(at)
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    layers_dir::remove(path).map_err(|source| RestoreError::Remove {
        path: path.to_owned(),
        source,
    })
}

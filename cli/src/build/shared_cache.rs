//! The cache that builds share besides the store, in the lifecycle's format: an image in a registry, or a folder.
//!
//! `--cache` has pack's words for it (pack's RFC 0085). What pack keeps in volumes for each app slugc keeps in its store
//! anyway, so only what is named is a cache besides that.

use crate::args::{BuildCacheArgs, RegistryArgs};
use crate::build::cache_image::CacheRepository;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::{self, Store};
use crate::ui::printer::Printer;
use cnb_phases::cache::LayerCache;
use cnb_phases::cache::folder::CacheFolder;
use cnb_spec::labels::CACHE_METADATA;
use rustix::fs::FlockOperation;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

const SPELLING: &str = "write type=build;format=image;name=REF, type=build;format=bind;source=DIR or type=build;format=volume;name=NAME";

/// Who holds it is the one build that uses the folder.
const LOCK: &str = ".slugc-lock";

/// Where it is.
pub(crate) enum SharedCache<'a> {
    Image(Box<CacheRepository<'a>>),
    Folder {
        folder: PathBuf,
        /// What the user calls it.
        shown: String,
    },
}

/// What one `--cache` says.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Image(String),
    Bind(PathBuf),
    Volume(String),
    /// The store is such a cache.
    Own,
}

impl<'a> SharedCache<'a> {
    /// The cache that the command line names, if it names one.
    pub(crate) fn open(
        store: &'a Store,
        printer: &'a Printer,
        args: &BuildCacheArgs,
        registry: &RegistryArgs,
        app: &Path,
    ) -> Result<Option<Self>, Failure> {
        let image = |name: &str| {
            CacheRepository::open(store, printer, name, registry)
                .map(|cache| Some(Self::Image(Box::new(cache))))
        };
        if let Some(name) = &args.cache_image {
            return image(name);
        }
        let mut named = Vec::new();
        for text in &args.caches {
            match parse(text)? {
                Wanted::Own => {}
                wanted => named.push(wanted),
            }
        }
        if named.len() > 1 {
            return Err(Failure::new(
                Exit::Usage,
                "a build can have one cache besides the store, and several are named",
            )
            .hint("leave out all but one --cache"));
        }
        match named.pop() {
            None | Some(Wanted::Own) => Ok(None),
            Some(Wanted::Image(name)) => image(&name),
            Some(Wanted::Bind(path)) => {
                let finding = || format!("cannot find the cache's folder {}", path.display());
                let folder = path.canonicalize().map_err(|error| {
                    Failure::new(Exit::Input, finding())
                        .because(error)
                        .hint("make the folder first, or correct its path after source=")
                })?;
                let shown = path.display().to_string();
                refuse_other_folders(&folder, &shown, app)?;
                Ok(Some(Self::Folder { folder, shown }))
            }
            Some(Wanted::Volume(name)) => {
                let folder = store.volumes().join(&name);
                fs::create_dir_all(&folder)
                    .or_fail(Exit::Store, || format!("cannot make the volume {name}"))?;
                let shown = format!("the volume {name}");
                Ok(Some(Self::Folder { folder, shown }))
            }
        }
    }

    /// Does something with the cache's layers. Of a folder, only one build at a time does.
    pub(super) fn with_layers<T>(
        &self,
        attempt: impl FnOnce(&dyn LayerCache) -> T,
    ) -> Result<T, Failure> {
        match self {
            Self::Image(image) => Ok(attempt(&image.layers())),
            Self::Folder { folder, .. } => {
                let _lock = store::lock(&folder.join(LOCK), FlockOperation::LockExclusive)?;
                let cache = CacheFolder::open(folder)
                    .or_fail(Exit::Store, || format!("cannot use {self}"))?;
                Ok(attempt(&cache))
            }
        }
    }
}

impl fmt::Display for SharedCache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => image.fmt(f),
            Self::Folder { shown, .. } => f.write_str(shown),
        }
    }
}

/// What a cache does not know in its folder it removes, and what is in the app's folder is source.
fn refuse_other_folders(folder: &Path, shown: &str, app: &Path) -> Result<(), Failure> {
    if app.canonicalize().is_ok_and(|app| folder.starts_with(app)) {
        return Err(Failure::new(
            Exit::Usage,
            format!("the cache {shown} is in the app's folder, and would be part of the image"),
        )
        .hint("name a folder outside of the app"));
    }
    let is_ours =
        folder.join(LOCK).is_file() || folder.join("committed").join(CACHE_METADATA).is_file();
    let is_empty = fs::read_dir(folder)
        .or_fail(Exit::Input, || format!("cannot read the cache {shown}"))?
        .next()
        .is_none();
    if is_ours || is_empty {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        format!("the folder {shown} is not empty, and no cache"),
    )
    .hint("name an empty folder: a cache replaces what is in its folder"))
}

/// `key=value` pairs between semicolons, in any order but for `type`, which comes first in pack's manual.
fn parse(text: &str) -> Result<Wanted, Failure> {
    let refused = |why: &str| {
        Failure::new(Exit::Usage, format!("{text:?} names no cache: {why}")).hint(SPELLING)
    };
    let (mut kind, mut format, mut name, mut source) = (None, None, None, None);
    for field in text.split(';').filter(|field| !field.trim().is_empty()) {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| refused(&format!("{field:?} is no key=value")))?;
        let known = match key.trim() {
            "type" => &mut kind,
            "format" => &mut format,
            "name" => &mut name,
            "source" => &mut source,
            other => return Err(refused(&format!("it has no key {other:?}"))),
        };
        if known.replace(value.trim().to_owned()).is_some() {
            return Err(refused(&format!("it says {key} twice")));
        }
    }
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let (name, source) = (given(name), given(source));
    let is_launch = match kind.as_deref() {
        None | Some("build") => false,
        Some("launch") => true,
        Some(other) => return Err(refused(&format!("its type is {other:?}"))),
    };
    let is_bind = format.as_deref() == Some("bind");
    if source.is_some() && !is_bind {
        return Err(refused("only a bind has a source"));
    }
    if name.is_some() && is_bind {
        return Err(refused("a bind has a source and no name"));
    }
    match (format.as_deref(), is_launch) {
        (Some("image"), true) => Err(refused("launch caches are no images, in pack neither")),
        // Layers of images are in the store, whatever becomes of them.
        (Some("volume" | "bind") | None, true) => Ok(Wanted::Own),
        (Some("image"), false) => name
            .map(Wanted::Image)
            .ok_or_else(|| refused("an image has a name")),
        (Some("bind"), false) => source
            .map(|source| Wanted::Bind(source.into()))
            .ok_or_else(|| refused("a folder has a source")),
        (Some("volume") | None, false) => match name {
            None => Ok(Wanted::Own),
            Some(name) if is_volume(&name) => Ok(Wanted::Volume(name)),
            Some(_) => Err(refused("names of volumes have letters, digits, _ . and -")),
        },
        (Some(other), _) => Err(refused(&format!("its format is {other:?}"))),
    }
}

/// Docker's rule for names of volumes.
fn is_volume(name: &str) -> bool {
    name.len() <= 128
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, expected) in [
            (
                "type=build;format=image;name=r.example/cache",
                Wanted::Image("r.example/cache".to_owned()),
            ),
            (
                "type=build;format=bind;source=/var/cache;",
                Wanted::Bind("/var/cache".into()),
            ),
            ("name=mine", Wanted::Volume("mine".to_owned())),
            ("type=build;format=volume", Wanted::Own),
            ("type=launch;format=volume;name=x", Wanted::Own),
            ("type=launch;format=bind;source=/x", Wanted::Own),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "build",
            "type=other",
            "type=launch;format=image;name=x",
            "format=image",
            "format=bind",
            "format=tar;name=x",
            "type=build;source=/x",
            "format=volume;source=/x",
            "format=bind;source=/x;name=x",
            "name=../x",
            "name=a;name=b",
            "size=1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

//! The suites of a recipe as a mirror has them now.

use std::io::Read;
use std::path::Path;

use oci_image::Digest;

use crate::bootstrap::Error;
use crate::fetch::{Client, FetchError};
use crate::lock::{Layer, Lock, LockedPackage, LockedSuite};
use crate::mirrors::Mirrors;
use crate::packages::Packages;
use crate::recipe::{Archive, Recipe, Suite};
use crate::release::Release;
use crate::resolve::{ResolveError, Selection};

/// Release files are some hundred kilobytes.
const RELEASE_LIMIT: u64 = 16 << 20;

/// The mirror a suite's packages come from.
pub(crate) fn base<'m>(mirrors: &'m Mirrors, suite: &Suite) -> &'m str {
    match suite.archive {
        Archive::Main => &mirrors.base,
        Archive::Security => &mirrors.security,
    }
}

/// Fetches and verifies the Release files of all suites, at the same time.
pub(crate) fn releases(
    client: &Client<'_>,
    recipe: &Recipe,
    mirrors: &Mirrors,
    now: i64,
) -> Result<Vec<Release>, Error> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = recipe
            .suites
            .iter()
            .map(|suite| {
                scope.spawn(move || {
                    let url = format!("{}/dists/{}/InRelease", base(mirrors, suite), suite.name);
                    let bytes = client.signed_text(&url, RELEASE_LIMIT)?;
                    let shown = crate::fetch::redacted(&url);
                    Ok(Release::verify(
                        &shown,
                        &bytes,
                        suite,
                        &recipe.keyring,
                        now,
                    )?)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// Chooses the packages of a recipe out of what the suites have now.
pub(crate) fn lock(
    client: &Client<'_>,
    recipe: &Recipe,
    mirrors: &Mirrors,
    architecture: &str,
    downloads: &Path,
    now: i64,
) -> Result<Lock, Error> {
    let releases = releases(client, recipe, mirrors, now)?;
    let indexes = indexes(client, recipe, &releases, mirrors, architecture, downloads)?;
    let texts = indexes.iter().map(|(suite, text)| (*suite, text.as_str()));
    let packages = Packages::new(texts, architecture);
    let names = |content: &crate::recipe::Content| content.packages.clone();
    let mut run = Selection::default();
    let minimal = packages.minimal();
    let wanted = names(&recipe.run);
    run.add(
        &packages,
        minimal.into_iter().chain(wanted.iter().map(String::as_str)),
    )?;
    let mut locked = Vec::new();
    for package in run.packages() {
        locked.push(locked_package(package, recipe, Layer::Run)?);
    }
    if let Some(build) = &recipe.build {
        let mut all = Selection::default();
        let wanted = names(build);
        let chosen: Vec<&str> = run.packages().map(|package| package.name).collect();
        all.add(
            &packages,
            chosen.into_iter().chain(wanted.iter().map(String::as_str)),
        )?;
        for package in all.packages().filter(|package| !run.contains(package.name)) {
            locked.push(locked_package(package, recipe, Layer::Build)?);
        }
    }
    let suites = recipe
        .suites
        .iter()
        .zip(&releases)
        .map(|(suite, release)| LockedSuite {
            name: suite.name.clone(),
            date: release.date,
        })
        .collect();
    Ok(Lock::new(recipe, architecture, suites, locked))
}

fn locked_package(
    package: &crate::packages::Package<'_>,
    recipe: &Recipe,
    layer: Layer,
) -> Result<LockedPackage, ResolveError> {
    let malformed = || ResolveError::Malformed {
        name: package.name.to_owned(),
    };
    Ok(LockedPackage {
        name: package.name.to_owned(),
        version: package.version.to_owned(),
        architecture: package.architecture.to_owned(),
        suite: recipe.suites[package.suite].name.clone(),
        layer,
        filename: package.filename.to_owned(),
        size: package.size.parse().map_err(|_| malformed())?,
        digest: package.digest().ok_or_else(malformed)?,
    })
}

/// Downloads and unpacks the package indexes of all suites, at the same time.
fn indexes(
    client: &Client<'_>,
    recipe: &Recipe,
    releases: &[Release],
    mirrors: &Mirrors,
    architecture: &str,
    downloads: &Path,
) -> Result<Vec<(usize, String)>, Error> {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (number, (suite, release)) in recipe.suites.iter().zip(releases).enumerate() {
            for component in &suite.components {
                threads.push(scope.spawn(move || {
                    let folder = format!("{component}/binary-{architecture}");
                    let (digest, size) = release.index(&format!("{folder}/Packages.xz"))?;
                    let dists = format!("{}/dists/{}/{folder}", base(mirrors, suite), suite.name);
                    let path =
                        index_file(client, release.by_hash, &dists, digest, size, downloads)?;
                    let text = decompress(&path).map_err(|source| Error::Index {
                        path: path.clone(),
                        source,
                    })?;
                    std::fs::remove_file(&path).map_err(|source| Error::Folder { path, source })?;
                    Ok((number, text))
                }));
            }
        }
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// By its digest where the mirror keeps it so, since a mirror that is being updated has a moment
/// where the Release file and the plain name don't fit together.
fn index_file(
    client: &Client<'_>,
    by_hash: bool,
    dists: &str,
    digest: Digest,
    size: u64,
    downloads: &Path,
) -> Result<std::path::PathBuf, FetchError> {
    if by_hash {
        let url = format!("{dists}/by-hash/SHA256/{}", digest.hex());
        match client.file(&url, digest, size, downloads, &|_| {}) {
            Err(FetchError::Missing { .. }) => {}
            result => return result,
        }
    }
    client.file(
        &format!("{dists}/Packages.xz"),
        digest,
        size,
        downloads,
        &|_| {},
    )
}

fn decompress(path: &Path) -> std::io::Result<String> {
    let file = std::io::BufReader::with_capacity(128 * 1024, std::fs::File::open(path)?);
    let mut text = String::new();
    liblzma::bufread::XzDecoder::new_multi_decoder(file).read_to_string(&mut text)?;
    Ok(text)
}

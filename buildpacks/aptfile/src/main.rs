//! The Aptfile buildpack: Debian packages in a layer, for apps that need libraries or programs of the system.
//!
//! apt finds out what they need and fetches it, signatures checked; it is unpacked beside the system, not into it, so
//! that no rights are needed and the image's own packages stay as they are. What the image that runs the app has anyway is
//! left out; headers and compilers' files are in a layer of their own that only the build sees.

#![forbid(unsafe_code)]

mod apt;
mod aptfile;
mod base;
mod errors;
mod fault;
mod layer_env;
mod mirror;
mod refresh;
mod sbom;
mod unpack;

use crate::apt::{Apt, AptError, Chosen, Fetched};
use crate::aptfile::{APTFILE, AptfileError, Wanted};
use crate::errors::BuildpackError;
use crate::refresh::Refresh;
use crate::unpack::UnpackError;
use libcnb::build::{BuildContext, BuildResult, BuildResultBuilder};
use libcnb::data::build_plan::BuildPlanBuilder;
use libcnb::data::layer::LayerName;
use libcnb::data::layer_name;
use libcnb::detect::{DetectContext, DetectResult, DetectResultBuilder};
use libcnb::generic::{GenericMetadata, GenericPlatform};
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerRef, LayerState, RestoredLayerAction,
};
use libcnb::{Buildpack, Env, Platform};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const STACK_VARIABLE: &str = "CNB_STACK_ID";
const OWN_STACK: &str = "slug-13";
/// dpkg's list of what the build image has.
const STATUS: &str = "/var/lib/dpkg/status";

/// The C library and the program that loads it belong together, and the latter is the image's.
const NEVER: [&str; 2] = ["libc6", "libc-bin"];

/// What a layer was made of.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    /// Of the Aptfile and of what the image has.
    key: String,
    /// `name=version`.
    packages: Vec<String>,
    /// In which the archives were asked last, if the user names periods.
    #[serde(default)]
    period: String,
}

/// What a cache was filled on.
#[derive(Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct System {
    arch: String,
    distro: String,
}

struct AptfileBuildpack;

type Layer = LayerRef<AptfileBuildpack, (), Metadata>;

impl Buildpack for AptfileBuildpack {
    type Platform = GenericPlatform;
    type Metadata = GenericMetadata;
    type Error = BuildpackError;

    fn detect(&self, context: DetectContext<Self>) -> libcnb::Result<DetectResult, BuildpackError> {
        // A link that leads nowhere counts: the build then says what is wrong with it.
        if fs::symlink_metadata(context.app_dir.join(APTFILE)).is_err() {
            println!("No {APTFILE} found.");
            return DetectResultBuilder::fail().build();
        }
        let plan = BuildPlanBuilder::new()
            .provides("aptfile")
            .requires("aptfile")
            .build();
        DetectResultBuilder::pass().build_plan(plan).build()
    }

    fn build(&self, context: BuildContext<Self>) -> libcnb::Result<BuildResult, BuildpackError> {
        println!("\n[Debian packages]");
        let wanted = aptfile::read(&context.app_dir).map_err(BuildpackError::Aptfile)?;
        if wanted.is_empty() {
            println!("{APTFILE} names no packages.");
            return BuildResultBuilder::new().build();
        }
        warn_of_python_packages(&wanted);
        let mut env = Env::from_current();
        for (name, value) in context.platform.env() {
            env.insert(name, value);
        }
        let of_build_image = match fs::read_to_string(STATUS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|source| {
                BuildpackError::Apt(AptError::File {
                    path: STATUS.into(),
                    source,
                })
            })?,
        };
        let is_own = env.get(STACK_VARIABLE).is_none_or(|id| id == OWN_STACK)
            && !env.contains_key(base::OTHER_RUN_IMAGE_VARIABLE);
        let status = base::status(&of_build_image, is_own);
        let key = key(&context, &wanted, &status);

        let packages = layer(&context, &layer_name!("packages"), true, &key)?;
        let headers = layer(&context, &layer_name!("headers"), false, &key)?;
        let last = match (&packages.state, &headers.state) {
            (LayerState::Restored { cause: one }, LayerState::Restored { cause: other }) => {
                Some((one.clone(), other.clone()))
            }
            _ => None,
        };
        let refresh = Refresh::of(&env);
        if let Some((one, other)) = &last
            && !refresh.is_due(&one.period)
        {
            println!(
                "Reusing the packages of the last build ({}).",
                one.packages.len() + other.packages.len()
            );
            return BuildResultBuilder::new().build();
        }
        let asked = Asked {
            wanted: &wanted,
            status: &status,
            of_build_image: base::installed(&of_build_image),
        };
        match bring(&context, &env, &asked, last.as_ref()) {
            Ok(Found::Same) => {
                println!("The packages of the last build are the newest ones.");
                if let Some((one, other)) = last {
                    for (layer, metadata) in [(&packages, one), (&headers, other)] {
                        layer.write_metadata(Metadata {
                            period: refresh.period().to_owned(),
                            ..metadata
                        })?;
                    }
                }
            }
            Ok(Found::New(found)) => {
                fill(
                    &context,
                    (&key, refresh.period()),
                    &packages,
                    &headers,
                    &found,
                )?;
            }
            // Without a network the app builds as it did.
            Err(libcnb::Error::BuildpackError(BuildpackError::Apt(error)))
                if last.is_some() && error.is_of_network() =>
            {
                println!(
                    "\n[Warning: It is not known whether there are newer Debian packages]\n{error}. Those of the last build are used.\n"
                );
            }
            Err(error) => return Err(error),
        }
        BuildResultBuilder::new().build()
    }

    fn on_error(&self, error: libcnb::Error<BuildpackError>) {
        errors::explain(&error);
    }
}

/// What is asked for, and what is there.
struct Asked<'a> {
    wanted: &'a [Wanted],
    /// dpkg's list of what the image that runs the app has.
    status: &'a str,
    /// The names of what the build image has.
    of_build_image: BTreeSet<&'a str>,
}

/// What the archives have.
enum Found {
    /// Just the last build's packages.
    Same,
    New(Packages),
}

/// What was fetched: packages with their files.
struct Packages {
    for_app: Vec<(Chosen, PathBuf)>,
    for_build: Vec<(Chosen, PathBuf)>,
    /// Has the files.
    _fetched: Option<Fetched>,
}

/// Finds out what is needed and fetches it.
fn bring(
    context: &BuildContext<AptfileBuildpack>,
    env: &Env,
    asked: &Asked<'_>,
    last: Option<&(Metadata, Metadata)>,
) -> libcnb::Result<Found, BuildpackError> {
    let wanted = asked.wanted;
    let cache = cache(context)?;
    let apt =
        Apt::new(&cache, &context.layers_dir, asked.status, env).map_err(BuildpackError::Apt)?;
    println!("Asking {} for the newest lists.", apt.mirror());
    apt.update().map_err(BuildpackError::Apt)?;
    let mut chosen = apt.resolve(wanted).map_err(BuildpackError::Apt)?;
    chosen.retain(|package| !NEVER.contains(&package.name.as_str()));
    if chosen.is_empty() {
        println!("The stack has all of it: {}.", names(wanted));
    }
    if let Some((one, other)) = last {
        let known: BTreeSet<&String> = one.packages.iter().chain(&other.packages).collect();
        let now: Vec<String> = chosen.iter().map(described).collect();
        // Of those that only the build needs, what the build image has was left out.
        let same = now.iter().zip(&chosen).all(|(text, package)| {
            known.contains(text) || asked.of_build_image.contains(package.name.as_str())
        }) && known.iter().all(|text| now.contains(text));
        if same {
            return Ok(Found::Same);
        }
    }
    tell_of_replaced(&chosen);
    let fetched = if chosen.is_empty() {
        None
    } else {
        println!("Fetching {} packages.", chosen.len());
        Some(apt.fetch(&chosen).map_err(BuildpackError::Apt)?)
    };
    let files = fetched
        .as_ref()
        .map_or_else(Vec::new, |fetched| fetched.files.clone());
    let named: BTreeSet<&str> = wanted.iter().map(|package| package.name.as_str()).collect();
    let (mut for_app, mut for_build) = (Vec::new(), Vec::new());
    for (package, file) in chosen.into_iter().zip(files) {
        if !is_for_build(&package, &file, &named).map_err(BuildpackError::Unpack)? {
            for_app.push((package, file));
        } else if !asked.of_build_image.contains(package.name.as_str()) {
            for_build.push((package, file));
        }
    }
    Ok(Found::New(Packages {
        for_app,
        for_build,
        _fetched: fetched,
    }))
}

/// The layer's libraries are found before the image's.
fn tell_of_replaced(chosen: &[Chosen]) {
    for package in chosen {
        if let Some(version) = &package.replaces {
            println!(
                "{} {} is used in place of the stack's {version}.",
                package.name, package.version
            );
        }
    }
}

/// Whether a package is of use to compilers alone.
fn is_for_build(
    package: &Chosen,
    file: &Path,
    asked: &BTreeSet<&str>,
) -> Result<bool, UnpackError> {
    if package.name.ends_with("-dev") {
        return Ok(true);
    }
    if asked.contains(package.name.as_str()) {
        return Ok(false);
    }
    let section = unpack::field(file, "Section")?;
    Ok(matches!(
        section.rsplit('/').next(),
        Some("libdevel" | "devel" | "doc")
    ))
}

fn fill(
    context: &BuildContext<AptfileBuildpack>,
    (key, period): (&str, &str),
    packages: &Layer,
    headers: &Layer,
    found: &Packages,
) -> libcnb::Result<(), BuildpackError> {
    for (layer, files) in [(packages, &found.for_app), (headers, &found.for_build)] {
        // A build that ends here leaves nothing that the next one would believe.
        layer.write_metadata(Metadata::default())?;
        clear(&layer.path()).map_err(BuildpackError::Clear)?;
        for (_, file) in files {
            unpack::unpack(file, &layer.path()).map_err(BuildpackError::Unpack)?;
        }
    }
    let (own, other) = (packages.path(), headers.path());
    unpack::settle(&own, None).map_err(BuildpackError::Unpack)?;
    unpack::settle(&other, Some(&own)).map_err(BuildpackError::Unpack)?;
    packages.write_env(layer_env::of_packages(&own))?;
    headers.write_env(layer_env::of_headers(&other))?;
    for (layer, files) in [(packages, &found.for_app), (headers, &found.for_build)] {
        let chosen: Vec<Chosen> = files.iter().map(|(package, _)| package.clone()).collect();
        let sbom = sbom::of(&chosen, &context.target).map_err(BuildpackError::Sbom)?;
        layer.write_sboms(&[sbom])?;
        layer.write_metadata(Metadata {
            key: key.to_owned(),
            packages: chosen.iter().map(described).collect(),
            period: period.to_owned(),
        })?;
    }
    tell("For the app", &found.for_app);
    tell("For the build alone", &found.for_build);
    Ok(())
}

fn tell(whom: &str, packages: &[(Chosen, PathBuf)]) {
    let names: Vec<String> = packages
        .iter()
        .map(|(package, _)| format!("{} {}", package.name, package.version))
        .collect();
    if !names.is_empty() {
        println!("{whom}: {}.", names.join(", "));
    }
}

fn layer(
    context: &BuildContext<AptfileBuildpack>,
    name: &LayerName,
    launch: bool,
    key: &str,
) -> libcnb::Result<LayerRef<AptfileBuildpack, (), Metadata>, BuildpackError> {
    context.cached_layer(
        name,
        CachedLayerDefinition {
            build: true,
            launch,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, _| {
                let action = if cached.key == key {
                    RestoredLayerAction::KeepLayer
                } else {
                    RestoredLayerAction::DeleteLayer
                };
                (action, cached.clone())
            },
        },
    )
}

/// The archives' lists for the next build.
fn cache(context: &BuildContext<AptfileBuildpack>) -> libcnb::Result<PathBuf, BuildpackError> {
    let system = System {
        arch: context.target.arch.clone(),
        distro: distro(context),
    };
    let layer = context.cached_layer(
        layer_name!("apt"),
        CachedLayerDefinition {
            build: false,
            launch: false,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &System, _| {
                if *cached == system {
                    RestoredLayerAction::KeepLayer
                } else {
                    RestoredLayerAction::DeleteLayer
                }
            },
        },
    )?;
    if let LayerState::Empty { .. } = layer.state {
        layer.write_metadata(system)?;
    }
    Ok(layer.path())
}

fn distro(context: &BuildContext<AptfileBuildpack>) -> String {
    format!(
        "{} {}",
        context.target.distro_name, context.target.distro_version
    )
}

/// Equal keys mean that the same was asked for, on the same system. Versions of the image's packages do not count: its
/// updates keep what others rely on.
fn key(context: &BuildContext<AptfileBuildpack>, wanted: &[Wanted], status: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{} {}\n", context.target.arch, distro(context)));
    hash.update(names(wanted));
    for name in base::installed(status) {
        hash.update(format!("\n{name}"));
    }
    let mut hex = String::new();
    for byte in hash.finalize() {
        // Writing into a String can't fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn names(wanted: &[Wanted]) -> String {
    let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    names.join(" ")
}

fn described(package: &Chosen) -> String {
    format!("{}={}", package.name, package.version)
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn warn_of_python_packages(wanted: &[Wanted]) {
    let python: Vec<&str> = wanted
        .iter()
        .map(|package| package.name.as_str())
        .filter(|name| name.starts_with("python3-") && !name.ends_with("-dev"))
        .collect();
    if let Some(first) = python.first() {
        println!(
            "\n[Warning: The app will not see Debian's Python packages]\n\
             {}: the app has a virtual environment of its own. Ask for {} in its requirements instead.\n",
            python.join(", "),
            first.trim_start_matches("python3-")
        );
    }
}

/// Looks at an app's Aptfile and does nothing else: `doctor <app>`.
fn doctor() -> ExitCode {
    let Some(app_dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: doctor <app>");
        return ExitCode::from(2);
    };
    match aptfile::read(Path::new(&app_dir)) {
        Ok(wanted) => {
            warn_of_python_packages(&wanted);
            println!("{}", names(&wanted));
        }
        Err(AptfileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => errors::explain(&BuildpackError::Aptfile(error).into()),
    }
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    // A platform that looks at projects without building them starts the program by this name.
    if std::env::args_os()
        .next()
        .is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new("doctor")))
    {
        return doctor();
    }
    phases::run();
    ExitCode::SUCCESS
}

/// What a lifecycle starts the program for.
mod phases {
    libcnb::buildpack_main!(crate::AptfileBuildpack);

    /// Runs the phase that the program was started as; it does not return from a failed one.
    pub(crate) fn run() {
        main();
    }
}

//! Generation: image extensions write Dockerfiles for the images that are built in and on (Image Extension API,
//! "Phase: Generation").
//!
//! A `run.Dockerfile` that only names another image changes what the app is built on, and takes nothing to apply. All
//! others are left in the folder for generated files and said to be needed: to apply them takes an engine, which an
//! extender has and these phases do not.

mod dockerfile;

use crate::api_check::{self, UnsupportedApi};
use crate::log::Logger;
use crate::platform::Platform;
use crate::scratch::Scratch;
use cnb_spec::analyzed::{Analyzed, RunImage};
use cnb_spec::buildpack::Buildpack;
use cnb_spec::env_delta::{EnvError, build_environment};
use cnb_spec::group::GroupElement;
use cnb_spec::names::escape_id;
use cnb_spec::plan::{BuildpackPlan, Plan};
use cnb_spec::run::RunImageNames;
use cnb_spec::toml_file::{self, FileError};
use cnb_spec::{env_vars, exit_code};
use dockerfile::{Base, Dockerfile};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What generation needs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What the platform gives.
    pub platform: Platform<'a>,
    /// Each extension's files go to `<generated>/<escaped id>`.
    pub generated_dir: &'a Path,
    /// The extensions, from detection.
    pub extensions: &'a [GroupElement],
    /// What is required of them and of buildpacks, from detection.
    pub plan: &'a Plan,
    /// What is known of images.
    pub analyzed: &'a Analyzed,
    /// The run images that the platform offers.
    pub run_images: &'a [RunImageNames],
    /// Where lines go. Extensions print to this process's own output and error.
    pub log: Logger<'a>,
}

/// What generation changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// With the run image that extensions chose, and whether it is to be extended.
    pub analyzed: Analyzed,
    /// Without what extensions provide.
    pub plan: Plan,
}

/// Why generation failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// `bin/generate` said so.
    #[error("extension {extension} failed to generate ({status}); its own output above says why")]
    Extension {
        /// `<id>@<version>`.
        extension: String,
        /// Such as "exit status: 1".
        status: String,
    },
    /// Before Platform API 0.13 generated files have another layout.
    #[error("image extensions need Platform API 0.13 or later, and the platform speaks {api}")]
    Platform {
        /// The platform's version.
        api: cnb_spec::api::ApiVersion,
    },
    /// An extension speaks an unknown API.
    #[error(transparent)]
    Api(#[from] UnsupportedApi),
    /// A file of the specification is missing or broken.
    #[error("looking at extension {extension}")]
    File {
        /// `<id>@<version>`.
        extension: String,
        /// What is wrong.
        #[source]
        source: FileError,
    },
    /// A Dockerfile breaks the rules for those of extensions.
    #[error("{}: {problem}", path.display())]
    Dockerfile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// `bin/generate` could not be started, or its folder not be made.
    #[error("could not {operation} {}", path.display())]
    Io {
        /// Completes "could not …".
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The environment could not be put together.
    #[error(transparent)]
    Environment(#[from] EnvError),
}

impl GenerateError {
    /// The exit code that the Platform API gives to it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Extension { .. } => exit_code::GENERATE_EXTENSION_FAILED,
            Self::Api(_) => exit_code::BUILDPACK_API_INCOMPATIBLE,
            _ => exit_code::GENERATE_ERROR,
        }
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GenerateError {
    let path = path.to_owned();
    move |source| GenerateError::Io {
        operation,
        path,
        source,
    }
}

/// A `run.Dockerfile` and where it is.
struct OfRun {
    path: PathBuf,
    file: Dockerfile,
}

/// Runs the extensions, one after the other.
pub fn generate(inputs: &Inputs<'_>) -> Result<Generated, GenerateError> {
    let platform = &inputs.platform;
    if !platform.api.at_least(13) {
        return Err(GenerateError::Platform { api: platform.api });
    }
    let mut plan = inputs.plan.clone();
    let mut of_run = Vec::new();
    for element in inputs.extensions {
        let of_extension = plan.for_extension(&element.id);
        let folder = inputs.generated_dir.join(escape_id(&element.id));
        run(inputs, element, &folder, &of_extension)?;
        let provided: Vec<String> = of_extension.entries.into_iter().map(|it| it.name).collect();
        plan = plan.without(&provided);
        let path = folder.join("build.Dockerfile");
        if let Some(file) = read(&path, Dockerfile::parse_build)?
            && file.extends
        {
            inputs.log.warn(format_args!(
                "extension {element} extends the build image: {} takes an extender with an engine to be applied",
                path.display()
            ));
        }
        let path = folder.join("run.Dockerfile");
        if let Some(file) = read(&path, Dockerfile::parse)? {
            of_run.push(OfRun { path, file });
        }
    }
    let analyzed = choose_run_image(inputs, &of_run)?;
    Ok(Generated { analyzed, plan })
}

/// The last image that a `run.Dockerfile` names; those before it are set aside, those after it extend it.
fn choose_run_image(inputs: &Inputs<'_>, of_run: &[OfRun]) -> Result<Analyzed, GenerateError> {
    let mut analyzed = inputs.analyzed.clone();
    let named = of_run
        .iter()
        .rposition(|it| matches!(it.file.base, Base::Image(_)));
    let first = named.unwrap_or_default();
    for OfRun { path, .. } in &of_run[..first] {
        let mut ignored = path.clone().into_os_string();
        ignored.push(".ignore");
        std::fs::rename(path, &ignored).map_err(failed("set aside", path))?;
    }
    let extend = of_run[first..].iter().any(|it| it.file.extends);
    if let Some(Base::Image(name)) = named.map(|at| &of_run[at].file.base) {
        if !inputs
            .run_images
            .iter()
            .any(|it| it.all().any(|it| it == name))
        {
            inputs.log.warn(format_args!(
                "new runtime base image '{name}' not found in run metadata"
            ));
        }
        // What is known of the old one says nothing of it.
        analyzed.run_image = Some(RunImage {
            reference: name.clone(),
            image: Some(name.clone()),
            ..RunImage::default()
        });
    }
    if extend {
        inputs.log.warn(
            "extensions extend the run image: their Dockerfiles take an extender with an engine to be applied",
        );
        analyzed.run_image.get_or_insert_default().extend = true;
    }
    Ok(analyzed)
}

fn read(
    path: &Path,
    parse: fn(&str) -> Result<Dockerfile, String>,
) -> Result<Option<Dockerfile>, GenerateError> {
    if !path.exists() {
        return Ok(None);
    }
    let broken = |problem: String| GenerateError::Dockerfile {
        path: path.to_owned(),
        problem,
    };
    let text = toml_file::read_text(path).map_err(|error| broken(crate::log::chain(&error)))?;
    parse(&text).map(Some).map_err(broken)
}

/// Runs `bin/generate`, or takes what stands in for what it would write.
fn run(
    inputs: &Inputs<'_>,
    element: &GroupElement,
    folder: &Path,
    plan: &BuildpackPlan,
) -> Result<(), GenerateError> {
    let platform = &inputs.platform;
    let name = element.to_string();
    let broken = |source| GenerateError::File {
        extension: name.clone(),
        source,
    };
    let found = Buildpack::find_extension(platform.extensions_dir, &element.id, &element.version);
    let extension = found.map_err(broken)?;
    api_check::check(&name, extension.api)?;
    std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let path = extension.dir.join("bin/generate");
    if !path.exists() {
        return copy(&extension.dir.join("generate"), folder);
    }
    let scratch =
        Scratch::new(platform.temp_dir).map_err(failed("make a folder in", platform.temp_dir))?;
    let plan_path = scratch.path().join("plan.toml");
    toml_file::write(&plan_path, plan).map_err(broken)?;
    let own = [
        (env_vars::BP_PLAN_PATH, plan_path.as_os_str()),
        (env_vars::OUTPUT_DIR, folder.as_os_str()),
    ];
    let base = build_environment(platform.env.iter().cloned());
    let env = platform.environment(&extension, &base, &own)?;
    let status = Command::new(&path)
        .arg(folder)
        .arg(platform.platform_dir)
        .arg(&plan_path)
        .current_dir(platform.app_dir)
        .env_clear()
        .envs(&env)
        .stdin(Stdio::null())
        .status()
        .map_err(failed("start", &path))?;
    if status.success() {
        return Ok(());
    }
    Err(GenerateError::Extension {
        extension: name,
        status: status.to_string(),
    })
}

/// Copies files and folders; other things have no place in a build's context.
fn copy(from: &Path, to: &Path) -> Result<(), GenerateError> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed("list", from))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("list", from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed("look at", &from))?;
        if kind.is_dir() {
            std::fs::create_dir_all(&to).map_err(failed("make", &to))?;
            copy(&from, &to)?;
        } else if kind.is_file() {
            std::fs::copy(&from, &to).map_err(failed("copy", &from))?;
        }
    }
    Ok(())
}

//! The build: `bin/build` of each buildpack of the group (Platform API, "builder"; Buildpack API, "Phase #5").

mod executable;
mod outputs;
mod processes;
mod sbom;

use crate::api_check::{self, UnsupportedApi};
use crate::layers_dir::ListError;
use crate::log::Logger;
use crate::platform::Platform;
use cnb_spec::build_toml::UnmetError;
use cnb_spec::buildpack::Buildpack;
use cnb_spec::env_delta::{EnvError, build_environment};
use cnb_spec::exit_code;
use cnb_spec::group::{Group, GroupElement};
use cnb_spec::metadata::BuildMetadata;
use cnb_spec::names::escape_id;
use cnb_spec::paths;
use cnb_spec::plan::Plan;
use cnb_spec::toml_file::{self, FileError};
use std::io;
use std::path::{Path, PathBuf};

/// What the build needs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What the platform gives.
    pub platform: Platform<'a>,
    /// Where buildpacks put layers.
    pub layers_dir: &'a Path,
    /// The buildpacks, from detection.
    pub group: &'a Group,
    /// What they require of each other, from detection.
    pub plan: &'a Plan,
    /// Where lines go. Buildpacks print to this process's own output and error.
    pub log: Logger<'a>,
}

/// Why the build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `bin/build` said so.
    #[error(
        "buildpack {buildpack} failed to build the app ({status}); its own output above says why"
    )]
    Buildpack {
        /// `<id>@<version>`.
        buildpack: String,
        /// Such as "exit status: 1" or "signal: 9 (SIGKILL)".
        status: String,
    },
    /// A buildpack speaks an unknown API.
    #[error(transparent)]
    Api(#[from] UnsupportedApi),
    /// A buildpack of the group is missing, or its descriptor is broken.
    #[error("looking up buildpack {buildpack}")]
    Descriptor {
        /// `<id>@<version>`.
        buildpack: String,
        /// What is wrong.
        #[source]
        source: FileError,
    },
    /// `bin/build` could not be started.
    #[error("starting {}", path.display())]
    Spawn {
        /// The executable.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder for the buildpack could not be made.
    #[error("making {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What an earlier build left could not be removed, or a layer not be set aside.
    #[error("removing or renaming {}", path.display())]
    Remove {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The environment could not be put together.
    #[error(transparent)]
    Environment(#[from] EnvError),
    /// A folder of layers could not be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A buildpack wrote a broken file.
    #[error("buildpack {buildpack} left a file that cannot be used")]
    Output {
        /// `<id>@<version>`.
        buildpack: String,
        /// Which file, where, and what is wrong.
        #[source]
        source: FileError,
    },
    /// A buildpack wrote a wrong `unmet`.
    #[error("buildpack {buildpack} left a build.toml that cannot be used")]
    Unmet {
        /// `<id>@<version>`.
        buildpack: String,
        /// What is wrong.
        #[source]
        source: UnmetError,
    },
    /// A buildpack wrote an SBOM file that it may not.
    #[error(
        "buildpack {buildpack} wrote {}, {problem}",
        path.display()
    )]
    Sbom {
        /// `<id>@<version>`.
        buildpack: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// An SBOM file could not be copied.
    #[error("copying {} to {}", from.display(), to.display())]
    CopySbom {
        /// The file.
        from: PathBuf,
        /// Its place among all SBOM files.
        to: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A plan or the metadata could not be written.
    #[error(transparent)]
    Write(FileError),
}

impl BuildError {
    /// The exit code that the Platform API gives to it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Buildpack { .. } => exit_code::BUILD_BUILDPACK_FAILED,
            Self::Api(_) => exit_code::BUILDPACK_API_INCOMPATIBLE,
            Self::Descriptor { source, .. } if source.is_api() => {
                exit_code::BUILDPACK_API_INCOMPATIBLE
            }
            _ => exit_code::BUILD_ERROR,
        }
    }
}

/// Runs the buildpacks of the group, one after the other, and writes `<layers>/config/metadata.toml` and
/// `<layers>/sbom`.
///
/// Each finds the environment that the build layers of those before it make, and what is left of the plan.
pub fn build(inputs: &Inputs<'_>) -> Result<BuildMetadata, BuildError> {
    let Inputs { platform, log, .. } = inputs;
    api_check::check_group(inputs.group)?;
    for stale in ["sbom", "config"] {
        remove_tree(&inputs.layers_dir.join(stale))?;
    }
    let mut env = build_environment(platform.env.iter().cloned());
    let mut plan = inputs.plan.clone();
    let mut processes = processes::Processes::default();
    let (mut labels, mut slices, mut sboms) = (Vec::new(), Vec::new(), Vec::new());

    for element in &inputs.group.group {
        let name = element.to_string();
        log.debug(format_args!("Running build for buildpack {name}"));
        let buildpack = find(platform, element)?;
        let buildpack_plan = plan.for_buildpack(&element.id);
        let dir = inputs.layers_dir.join(escape_id(&element.id));
        executable::run(inputs, &buildpack, &name, &dir, &buildpack_plan, &env)?;

        let outputs = outputs::collect(&buildpack, &name, &dir, &buildpack_plan, &mut env)?;
        for warning in outputs.warnings {
            log.warn(format_args!("{name}: {warning}"));
        }
        plan = plan.without(&outputs.met);
        labels.extend(outputs.launch.labels);
        slices.extend(outputs.launch.slices);
        sboms.extend(outputs.sboms);
        if let Some(warning) = processes.add(outputs.launch.processes) {
            log.warn(format_args!("{name}: {warning}"));
        }
        log.debug(format_args!("Finished running build for buildpack {name}"));
    }

    sbom::gather(inputs.layers_dir, &sboms, platform.api)?;
    let (processes, default_process_type) = processes.finish();
    let metadata = BuildMetadata {
        default_process_type,
        buildpacks: inputs.group.group.iter().map(without_optional).collect(),
        extensions: inputs
            .group
            .group_extensions
            .iter()
            .map(without_optional)
            .collect(),
        labels,
        processes,
        slices,
    }
    .for_platform(platform.api);
    let path = paths::build_metadata(inputs.layers_dir);
    toml_file::write_text(&path, &metadata.to_text()).map_err(BuildError::Write)?;
    Ok(metadata)
}

fn find(platform: &Platform<'_>, element: &GroupElement) -> Result<Buildpack, BuildError> {
    let name = element.to_string();
    let buildpack = Buildpack::find(platform.buildpacks_dir, &element.id, &element.version)
        .map_err(|source| BuildError::Descriptor {
            buildpack: name.clone(),
            source,
        })?;
    api_check::check(&name, buildpack.api)?;
    Ok(buildpack)
}

fn without_optional(element: &GroupElement) -> GroupElement {
    GroupElement {
        optional: false,
        ..element.clone()
    }
}

fn remove_tree(path: &Path) -> Result<(), BuildError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(BuildError::Remove {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

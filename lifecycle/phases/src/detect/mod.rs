//! Detection: which buildpacks build this app (Platform API, "detector"; Buildpack API, "Phase #1").

mod executable;
mod order;
mod resolve;

use crate::api_check::UnsupportedApi;
use crate::log::{Level, Logger};
use crate::platform::Platform;
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::order::Order;
use cnb_spec::plan::Plan;
use cnb_spec::toml_file::{self, FileError};
use std::path::{Path, PathBuf};

/// What detection needs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What the platform gives.
    pub platform: Platform<'a>,
    /// The groups to try.
    pub order: &'a Order,
    /// Where lines go.
    pub log: Logger<'a>,
}

/// The chosen group and its plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detected {
    /// The buildpacks.
    pub group: Group,
    /// What they require of each other.
    pub plan: Plan,
}

impl Detected {
    /// Writes `group.toml` and `plan.toml`.
    pub fn write(&self, group: &Path, plan: &Path) -> Result<(), FileError> {
        toml_file::write(group, &self.group)?;
        toml_file::write(plan, &self.plan)
    }
}

/// Why no group was chosen.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// Every group was refused by its own buildpacks.
    #[error("no group of buildpacks is for the app in {}; check that this is the app's folder", app_dir.display())]
    NoGroup {
        /// The app.
        app_dir: PathBuf,
    },
    /// Every group was refused, and a buildpack failed in another way than by saying no.
    #[error(
        "no group of buildpacks is for the app in {}, and a buildpack failed while it looked: see its output above",
        app_dir.display()
    )]
    NoGroupWithErrors {
        /// The app.
        app_dir: PathBuf,
    },
    /// A buildpack of the order is missing, or its descriptor is broken.
    #[error("looking up buildpack {buildpack}")]
    Descriptor {
        /// `<id>@<version>`.
        buildpack: String,
        /// What is wrong.
        #[source]
        source: FileError,
    },
    /// A buildpack speaks an unknown API.
    #[error(transparent)]
    Api(#[from] UnsupportedApi),
    /// A composite buildpack contains itself.
    #[error("composite buildpack {buildpack} contains itself: {}", path.join(" → "))]
    Cycle {
        /// `<id>@<version>`.
        buildpack: String,
        /// The way from the outermost composite to it.
        path: Vec<String>,
    },
    /// The order has no group.
    #[error("the order names no group of buildpacks")]
    EmptyOrder,
}

impl DetectError {
    /// The exit code that the Platform API gives to it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoGroup { .. } => exit_code::DETECT_NO_GROUP,
            Self::NoGroupWithErrors { .. } => exit_code::DETECT_NO_GROUP_WITH_ERRORS,
            Self::Api(_) => exit_code::BUILDPACK_API_INCOMPATIBLE,
            Self::Descriptor { source, .. } if source.is_api() => {
                exit_code::BUILDPACK_API_INCOMPATIBLE
            }
            Self::Descriptor { .. } | Self::Cycle { .. } | Self::EmptyOrder => {
                exit_code::DETECT_ERROR
            }
        }
    }
}

/// Tries the groups of the order and returns the first that passes, with its plan.
///
/// What buildpacks print and why groups are refused is logged at debug level; when nothing passes, all of it is
/// logged again as information, because it is then what the user needs.
pub fn detect(inputs: &Inputs<'_>) -> Result<Detected, DetectError> {
    if inputs.order.order.is_empty() {
        return Err(DetectError::EmptyOrder);
    }
    let mut detector = order::Detector::new(inputs);
    let result = detector.detect();
    for (level, line) in detector.into_lines() {
        let level = if result.is_err() {
            level.max(Level::Info)
        } else {
            level
        };
        inputs.log.line(level, line);
    }
    if let Err(error @ (DetectError::NoGroup { .. } | DetectError::NoGroupWithErrors { .. })) =
        &result
    {
        // Platforms and people know the reference lifecycle's words.
        let log = |line| inputs.log.line(Level::Error, line);
        log("No buildpack groups passed detection.");
        if matches!(error, DetectError::NoGroup { .. }) {
            log("Please check that you are running against the correct path.");
        }
    }
    result
}

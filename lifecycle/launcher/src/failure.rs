//! What can keep the launcher from becoming a process, in upstream's words, and the exit codes.

use crate::exec_d::ExecDError;
use crate::layers::LayersError;
use crate::process::SelectError;
use crate::start::StartError;
use cnb_spec::env_delta::EnvError;
use cnb_spec::exit_code;
use cnb_spec::toml_file::FileError;
use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why the launcher gave up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version"
    )]
    NoPlatformApi,
    #[error("failed to parse platform API '{0}'")]
    PlatformApiSyntax(String),
    #[error(
        "failed to set platform API: platform API version '{0}' is incompatible with the lifecycle"
    )]
    PlatformApi(String),
    #[error("failed to parse buildpack API '{requested}' for buildpack '{id}'")]
    BuildpackApiSyntax { id: String, requested: String },
    #[error(
        "failed to set API for buildpack '{id}': buildpack API version '{requested}' is incompatible with the lifecycle"
    )]
    BuildpackApi { id: String, requested: String },
    #[error("failed to read metadata")]
    Metadata(#[source] FileError),
    #[error("failed to launch")]
    Launch(#[source] LaunchError),
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("determine start command")]
    Select(#[source] SelectError),
    #[error("change to app directory {}", path.display())]
    AppDir { path: PathBuf, source: io::Error },
    #[error("find launch layers")]
    Layers(#[source] LayersError),
    #[error("modify env")]
    Environment(#[source] EnvError),
    #[error("exec.d")]
    ExecD(#[source] ExecDError),
    #[error(transparent)]
    Start(StartError),
}

impl Failure {
    /// The Platform API's exit code for it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoPlatformApi | Self::PlatformApiSyntax(_) | Self::PlatformApi(_) => {
                exit_code::PLATFORM_API_INCOMPATIBLE
            }
            Self::BuildpackApiSyntax { .. } | Self::BuildpackApi { .. } => {
                exit_code::BUILDPACK_API_INCOMPATIBLE
            }
            Self::Metadata(_) => exit_code::FAILED,
            Self::Launch(_) => exit_code::LAUNCH_ERROR,
        }
    }

    /// The message with all its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

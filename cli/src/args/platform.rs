//! What `slugc build` may be told about buildpacks, builders and what a build sees; the names are pack's.

use crate::platform::settings::Settings;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Buildpacks and builder")]
pub(crate) struct PlatformArgs {
    /// A buildpack to use: a folder, FILE.tgz, FILE.cnb, a URL, `docker://IMAGE`, ID[@VERSION],
    /// urn:cnb:builder:ID, from=builder; may be repeated, in order
    #[arg(short = 'b', long = "buildpack", value_name = "BUILDPACK")]
    pub(crate) buildpacks: Vec<String>,
    /// A buildpack to put in front of every group of the order; may be repeated
    #[arg(long = "pre-buildpack", value_name = "BUILDPACK")]
    pub(crate) pre: Vec<String>,
    /// A buildpack to put behind every group of the order; may be repeated
    #[arg(long = "post-buildpack", value_name = "BUILDPACK")]
    pub(crate) post: Vec<String>,
    /// Take build environment, buildpacks, order and run image from this builder: a name in the store, a registry's
    /// image or another place
    #[arg(short = 'B', long, value_name = "IMAGE")]
    pub(crate) builder: Option<String>,
    /// Whose lifecycle runs the buildpacks
    #[arg(long, value_enum, default_value_t, requires = "builder")]
    pub(crate) lifecycle: LifecycleChoice,
    /// When to ask registries for builders, run images and buildpacks [default: if-not-present, with --refresh always]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) pull_policy: Option<PullPolicy>,
    /// The project descriptor [default: project.toml in the app's folder]
    #[arg(short = 'd', long, value_name = "FILE")]
    pub(crate) descriptor: Option<PathBuf>,
    // Nothing that runs in a sandbox ever gets credentials, so there is no trust to give; scripts for pack give it.
    #[arg(long, hide = true)]
    pub(crate) trust_builder: bool,
    #[arg(long, hide = true)]
    pub(crate) trust_extra_buildpacks: bool,
}

impl PlatformArgs {
    /// The policy that holds, where `refresh` asks for newer versions.
    pub(crate) fn policy(&self, refresh: bool, settings: &Settings) -> PullPolicy {
        self.pull_policy
            .or(refresh.then_some(PullPolicy::Always))
            .or(settings.pull_policy)
            .unwrap_or_default()
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What the build sees and writes")]
pub(crate) struct SurroundingsArgs {
    /// Whether the build reaches the network
    #[arg(long, value_enum, default_value_t)]
    pub(crate) network: NetworkChoice,
    /// A file or folder of this machine for the build to see, read-only unless it ends with :rw; may be repeated
    #[arg(long = "volume", value_name = "SRC:DST[:ro|rw]")]
    pub(crate) volumes: Vec<String>,
    /// A service binding for the build: its folder has a file `type` and one for each secret; may be repeated
    #[arg(long = "binding", value_name = "NAME=DIR")]
    pub(crate) bindings: Vec<String>,
    /// The image of the last build, for layers that this machine does not have: a name in the store, a registry's
    /// image or another place
    #[arg(long, value_name = "IMAGE")]
    pub(crate) previous_image: Option<String>,
    /// When the image says that it was made: seconds since 1970, or now [default: 1980, the same in each build]
    #[arg(long, value_name = "SECONDS|now")]
    pub(crate) creation_time: Option<String>,
    /// Write report.toml (tags, digest, size) into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) report_output_dir: Option<PathBuf>,
    /// The execution environment, such as production or test
    #[arg(
        long,
        value_name = "NAME",
        env = "CNB_EXEC_ENV",
        default_value = "production"
    )]
    pub(crate) exec_env: String,
    /// Where the app is inside the build and the image
    #[arg(long, value_name = "PATH", default_value = "/workspace")]
    pub(crate) workspace: String,
}

impl Default for SurroundingsArgs {
    fn default() -> Self {
        Self {
            network: NetworkChoice::default(),
            volumes: Vec::new(),
            bindings: Vec::new(),
            previous_image: None,
            creation_time: None,
            report_output_dir: None,
            exec_env: "production".to_owned(),
            workspace: "/workspace".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LifecycleChoice {
    /// slugc's own, mounted over the builder's
    #[default]
    Slugc,
    /// The builder's detector and builder, and its launcher in the image
    Builder,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkChoice {
    /// The machine's
    #[default]
    Host,
    /// Loopback only
    None,
}

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PullPolicy {
    /// Each time
    Always,
    /// When the store has no image of that name
    #[default]
    IfNotPresent,
    /// Only what the store has is used
    Never,
}

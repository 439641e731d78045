//! What can be typed. Only types: nothing is resolved or read here.

mod addons;
mod apps;
mod bases;
mod build_cache;
mod builder;
mod compression;
mod config;
mod doctor;
mod dynos;
mod image;
mod manifest;
mod one_offs;
mod package;
mod platform;
mod releases;
mod sbom;
mod signing;

use crate::ui::printer::Detail;
pub(crate) use addons::*;
pub(crate) use apps::{AppsArgs, AppsCreateArgs, AppsDestroyArgs, AppsSetupArgs};
pub(crate) use bases::{BaseArgs, OutdatedArgs, RebaseArgs, StackPullArgs, StackPushArgs};
pub(crate) use build_cache::BuildCacheArgs;
pub(crate) use builder::{BuilderAction, BuilderArgs, MirrorAction, SettingsAction, SettingsArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use compression::{CompressionArgs, Zstd};
pub(crate) use config::{
    ConfigArgs, ConfigEditArgs, ConfigGetArgs, ConfigSetArgs, ConfigUnsetArgs,
};
pub(crate) use doctor::DoctorArgs;
pub(crate) use dynos::{
    FeatureArgs, FeaturesArgs, LaunchArgs, MaintenanceArgs, PsArgs, PsRestartArgs, PsScaleArgs,
    PsStopArgs, PsTypeArgs, StatusArgs,
};
pub(crate) use image::{
    CopyArgs, ImagesArgs, LoginArgs, LogoutArgs, PullArgs, PushArgs, RegistryArgs, RmiArgs, TagArgs,
};
pub(crate) use manifest::{ManifestAction, ManifestArgs};
pub(crate) use one_offs::{OneOffArgs, RunArgs, RunDetachedArgs, RunInsideArgs, TerminalArgs};
pub(crate) use package::{BuildpackAction, BuildpackArgs, LifecycleAction, LifecycleArgs};
pub(crate) use platform::{
    LifecycleChoice, NetworkChoice, PlatformArgs, PullPolicy, SurroundingsArgs,
};
pub(crate) use releases::{ReleasesArgs, ReleasesCreateArgs, ReleasesInfoArgs, RollbackArgs};
pub(crate) use sbom::{AttachmentArgs, SbomArgs, SbomLayer, SbomOutputArgs};
pub(crate) use signing::{SignArgs, VerifyArgs};
use std::path::PathBuf;

/// Heroku for Python on one Linux machine: no Docker, no root, no account.
#[derive(Debug, Parser)]
#[command(
    name = "slugc",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  slugc build .                       turn this folder's app into an image
  slugc launch web                    run its web process on http://127.0.0.1:5000
  slugc run python manage.py migrate  run a command in it
  slugc build . -o oci:image          write the image where skopeo, podman or Docker can take it

State is kept under $XDG_DATA_HOME/slugc (~/.local/share/slugc).")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an app's image: detect, install, export
    Build(Box<BuildArgs>),
    /// Look at a project as a build would, and build nothing
    Doctor(DoctorArgs),
    /// Run the app: its dynos, behind one port; ^C ends everything
    Launch(LaunchArgs),
    /// List the app's dynos
    Ps(PsArgs),
    /// Change how many dynos of each type run
    #[command(name = "ps:scale", alias = "scale")]
    PsScale(PsScaleArgs),
    /// Show or change how large the dynos of each type are
    #[command(name = "ps:type", aliases = ["ps:resize", "dyno:type", "dyno:resize"])]
    PsType(PsTypeArgs),
    /// Restart a dyno, the dynos of a type, or all
    #[command(name = "ps:restart", alias = "restart")]
    PsRestart(PsRestartArgs),
    /// Stop a dyno, the dynos of a type, or the whole app
    #[command(name = "ps:stop", alias = "stop")]
    PsStop(PsStopArgs),
    /// Answer every request with a page that says so
    #[command(name = "maintenance:on")]
    MaintenanceOn(MaintenanceArgs),
    /// Serve requests again
    #[command(name = "maintenance:off")]
    MaintenanceOff(MaintenanceArgs),
    /// List what can be switched on and off
    Features(FeaturesArgs),
    /// Switch a feature on
    #[command(name = "features:enable")]
    FeaturesEnable(FeatureArgs),
    /// Switch a feature off
    #[command(name = "features:disable")]
    FeaturesDisable(FeatureArgs),
    /// List the apps
    Apps(AppsArgs),
    /// Make an app that has no image yet
    #[command(name = "apps:create", alias = "create")]
    AppsCreate(AppsCreateArgs),
    /// Make an app of a folder with an app.json: config vars, add-ons, image, script
    #[command(name = "apps:setup")]
    AppsSetup(AppsSetupArgs),
    /// Remove an app: releases, config vars, logs, add-ons with their data
    #[command(name = "apps:destroy", alias = "destroy")]
    AppsDestroy(AppsDestroyArgs),
    /// Show on one screen what runs, from which image, with which add-ons, on which port
    #[command(alias = "apps:info")]
    Status(StatusArgs),
    /// Run a one-off command in the image; its exit code passes through
    Run(RunArgs),
    /// Run a one-off command in the background; its output goes to the app's logs
    #[command(name = "run:detached")]
    RunDetached(RunDetachedArgs),
    /// Run a command inside a dyno that runs
    #[command(name = "run:inside")]
    RunInside(RunInsideArgs),
    /// Show the app's logs, or follow them with --tail
    Logs(LogsArgs),
    /// Show the app's config vars
    Config(ConfigArgs),
    /// Print config vars' values
    #[command(name = "config:get")]
    ConfigGet(ConfigGetArgs),
    /// Set config vars; every change is a release
    #[command(name = "config:set", alias = "config:add")]
    ConfigSet(ConfigSetArgs),
    /// Remove config vars
    #[command(name = "config:unset", alias = "config:remove")]
    ConfigUnset(ConfigUnsetArgs),
    /// Edit config vars in $VISUAL or $EDITOR
    #[command(name = "config:edit")]
    ConfigEdit(ConfigEditArgs),
    /// List the app's releases
    Releases(ReleasesArgs),
    /// Make an image that was built elsewhere the app's next release
    #[command(name = "releases:create")]
    ReleasesCreate(ReleasesCreateArgs),
    /// Show one release
    #[command(name = "releases:info")]
    ReleasesInfo(ReleasesInfoArgs),
    /// Go back to an earlier release, code and config vars
    #[command(alias = "releases:rollback")]
    Rollback(RollbackArgs),
    /// Push the app's image to a registry or another place
    Push(PushArgs),
    /// Pull an image into the store
    Pull(PullArgs),
    /// Copy an image: registries, layouts, archives, Docker, podman
    Copy(CopyArgs),
    /// Put an image on another base, without building it again
    Rebase(RebaseArgs),
    /// List images whose base has a newer version, and what to do
    Outdated(OutdatedArgs),
    /// List the images in the store
    Images(ImagesArgs),
    /// Give an image of the store another name
    Tag(TagArgs),
    /// Remove names of images from the store
    Rmi(RmiArgs),
    /// Put images for several platforms under one name
    Manifest(ManifestArgs),
    /// Log in to a registry
    Login(LoginArgs),
    /// Forget the login for a registry
    Logout(LogoutArgs),
    /// Show an image: processes, buildpacks, layers, base
    Inspect(InspectArgs),
    /// Print what is in an image, for scanners: Python and Debian packages, licences
    Sbom(SbomArgs),
    /// Sign an image in its registry with a key, as cosign does
    Sign(SignArgs),
    /// Verify that an image in its registry was signed with a key
    Verify(VerifyArgs),
    /// Show what the store holds, or prune it
    Cache(CacheArgs),
    /// Make, list, inspect, export or remove stacks
    Stack(StackArgs),
    /// Package slugc's lifecycle for pack's builders
    Lifecycle(LifecycleArgs),
    /// Write, package, inspect or pull buildpacks
    Buildpack(BuildpackArgs),
    /// Make or inspect builders
    Builder(BuilderArgs),
    /// Show or change defaults for builds: builder, mirrors, pull policy
    Settings(SettingsArgs),
    /// Print a completion script for a shell
    Completions(CompletionArgs),
    #[command(flatten)]
    Addons(AddonCommand),
}

/// How a value of an option is typed.
pub(crate) fn spelled(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

/// Which app a command is about.
#[derive(Debug, Args)]
pub(crate) struct AppArgs {
    /// The app [default: project.toml's id, else this folder's name]
    #[arg(short = 'a', long = "app", value_name = "NAME")]
    pub(crate) app: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc build .
  slugc build ~/src/shop -a shop -t shop:1.4
  slugc build . -e DISABLE_COLLECTSTATIC=1 --env-file build.env
  slugc build . -o docker-daemon:shop
  slugc build . -t registry.example/shop:1.4 --publish
  slugc build . --builder registry.example/builder
  slugc build . -b ./my-buildpack -b slugc/python -b slugc/procfile")]
pub(crate) struct BuildArgs {
    /// The app's folder
    #[arg(default_value = ".", value_name = "PATH")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Name the image, and give its name in what -o writes; may be repeated
    #[arg(short = 't', long = "tag", value_name = "NAME[:TAG]")]
    pub(crate) tags: Vec<String>,
    /// A variable for the build only; KEY alone takes this shell's value; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// An .env file with variables for the build only; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Forget the app's cached layers first
    #[arg(long)]
    pub(crate) clear_cache: bool,
    /// Build even if nothing changed, and look again for newer versions of unpinned requirements
    #[arg(long)]
    pub(crate) refresh: bool,
    /// Also write the image there, to any place that slugc copy takes; may be repeated
    #[arg(short = 'o', long = "output", value_name = "PLACE")]
    pub(crate) outputs: Vec<String>,
    /// Also push the image to the registries that its names, given with -t, are in
    #[arg(long, requires = "tags")]
    pub(crate) publish: bool,
    #[command(flatten)]
    pub(crate) attach: AttachmentArgs,
    #[command(flatten)]
    pub(crate) base: BaseArgs,
    #[command(flatten)]
    pub(crate) sbom: SbomOutputArgs,
    #[command(flatten)]
    pub(crate) platform: PlatformArgs,
    #[command(flatten)]
    pub(crate) surroundings: SurroundingsArgs,
    #[command(flatten)]
    pub(crate) cache: BuildCacheArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
    #[command(flatten)]
    pub(crate) mirror: MirrorArgs,
    #[command(flatten)]
    pub(crate) detail: DetailArgs,
}

/// Where Debian's packages come from.
#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// The Debian mirror [default: the one that this machine's apt uses]
    #[arg(long, value_name = "URL", env = "SLUGC_DEBIAN_MIRROR")]
    pub(crate) mirror: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DetailArgs {
    /// Print the result only
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more about what is done and why
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

impl From<&DetailArgs> for Detail {
    fn from(args: &DetailArgs) -> Self {
        if args.quiet {
            Self::Quiet
        } else if args.verbose {
            Self::Verbose
        } else {
            Self::Normal
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc logs --tail
  slugc logs -n 500 -s heroku
  slugc logs -d web.1
  slugc logs -p worker --json | jq -r .text

Where Heroku gives at most 1500 lines, slugc gives as many as it keeps: the last 8 MiB of an app.")]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// How many lines, the newest ones
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(crate) num: usize,
    /// Go on printing what is logged; ^C ends it
    #[arg(short, long)]
    pub(crate) tail: bool,
    /// Only what the app printed, or only what the platform said
    #[arg(short, long, value_enum)]
    pub(crate) source: Option<LogSource>,
    /// Only this dyno: web.1, router
    #[arg(
        short,
        long = "dyno-name",
        visible_alias = "dyno",
        value_name = "DYNO",
        conflicts_with = "process_type"
    )]
    pub(crate) dyno: Option<String>,
    /// Only the dynos of this process type: web
    #[arg(short, long, visible_alias = "ps", value_name = "TYPE")]
    pub(crate) process_type: Option<String>,
    /// One JSON object a line, with at, source, dyno and text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who speaks in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogSource {
    App,
    Heroku,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// An app, a name in the store, oci:DIR or another place [default: this folder's app]
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) action: Option<CacheAction>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Remove what no app and no stack needs
    Prune {
        /// Also forget this app: image, cached layers, config vars, releases; may be repeated
        #[arg(short = 'a', long = "app", value_name = "NAME")]
        apps: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StackArgs {
    #[command(subcommand)]
    pub(crate) action: StackAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StackAction {
    /// Bootstrap a stack from signed Debian packages
    Create {
        /// The stack
        #[arg(default_value = debian_stack::DEFAULT)]
        name: String,
        /// Make it again even if it is there
        #[arg(long)]
        force: bool,
        /// Take today's packages instead of the locked ones
        #[arg(long)]
        update: bool,
        /// Write the lock of what was installed to this file
        #[arg(long, value_name = "FILE")]
        lock_out: Option<PathBuf>,
        #[command(flatten)]
        mirror: MirrorArgs,
        #[command(flatten)]
        detail: DetailArgs,
    },
    /// List the stacks in the store
    List,
    /// Show a stack: images, packages
    Inspect {
        #[arg(default_value = debian_stack::DEFAULT)]
        name: String,
        /// How to print it
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Write a stack's images where other tools take them, as bases of builders
    Export {
        #[arg(default_value = debian_stack::DEFAULT)]
        name: String,
        /// Where the run image goes: a place as for slugc copy
        #[arg(long, value_name = "PLACE")]
        run: Option<String>,
        /// Where the build image goes
        #[arg(long, value_name = "PLACE", required_unless_present = "run")]
        build: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        mirror: MirrorArgs,
    },
    /// Write a stack to a registry or a layout: NAME:TAG is its run image, NAME:TAG-build its build image
    Push(StackPushArgs),
    /// Bring a stack that stack push wrote, instead of making it from packages
    Pull(StackPullArgs),
    /// Remove a stack from the store
    Rm {
        #[arg(default_value = debian_stack::DEFAULT)]
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

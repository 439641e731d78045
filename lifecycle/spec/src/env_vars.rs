//! Names of environment variables.

/// The Platform API version that the platform speaks.
pub const PLATFORM_API: &str = "CNB_PLATFORM_API";
/// What to do about deprecated APIs: quiet, warn or error.
pub const DEPRECATION_MODE: &str = "CNB_DEPRECATION_MODE";
/// debug, info, warn or error.
pub const LOG_LEVEL: &str = "CNB_LOG_LEVEL";
/// Whether to leave colours out.
pub const NO_COLOR: &str = "CNB_NO_COLOR";
/// The application folder.
pub const APP_DIR: &str = "CNB_APP_DIR";
/// The layers folder; for a buildpack, its own folder in there.
pub const LAYERS_DIR: &str = "CNB_LAYERS_DIR";
/// The platform folder.
pub const PLATFORM_DIR: &str = "CNB_PLATFORM_DIR";
/// The folder of all buildpacks.
pub const BUILDPACKS_DIR: &str = "CNB_BUILDPACKS_DIR";
/// The folder of all image extensions.
pub const EXTENSIONS_DIR: &str = "CNB_EXTENSIONS_DIR";
/// Where image extensions' Dockerfiles go.
pub const GENERATED_DIR: &str = "CNB_GENERATED_DIR";
/// To an image extension: its own folder.
pub const EXTENSION_DIR: &str = "CNB_EXTENSION_DIR";
/// To `bin/generate`: where to write.
pub const OUTPUT_DIR: &str = "CNB_OUTPUT_DIR";
/// The operator's folder.
pub const BUILD_CONFIG_DIR: &str = "CNB_BUILD_CONFIG_DIR";
/// analyzed.toml.
pub const ANALYZED_PATH: &str = "CNB_ANALYZED_PATH";
/// group.toml.
pub const GROUP_PATH: &str = "CNB_GROUP_PATH";
/// plan.toml.
pub const PLAN_PATH: &str = "CNB_PLAN_PATH";
/// order.toml.
pub const ORDER_PATH: &str = "CNB_ORDER_PATH";
/// run.toml.
pub const RUN_PATH: &str = "CNB_RUN_PATH";
/// system.toml.
pub const SYSTEM_PATH: &str = "CNB_SYSTEM_PATH";
/// report.toml.
pub const REPORT_PATH: &str = "CNB_REPORT_PATH";
/// project-metadata.toml.
pub const PROJECT_METADATA_PATH: &str = "CNB_PROJECT_METADATA_PATH";
/// Deprecated: stack.toml.
pub const STACK_PATH: &str = "CNB_STACK_PATH";
/// The folder of the layer cache.
pub const CACHE_DIR: &str = "CNB_CACHE_DIR";
/// The image of the layer cache.
pub const CACHE_IMAGE: &str = "CNB_CACHE_IMAGE";
/// The folder of launch layers for exports to a daemon.
pub const LAUNCH_CACHE_DIR: &str = "CNB_LAUNCH_CACHE_DIR";
/// The image of the last build.
pub const PREVIOUS_IMAGE: &str = "CNB_PREVIOUS_IMAGE";
/// The base of the image to be.
pub const RUN_IMAGE: &str = "CNB_RUN_IMAGE";
/// Whether buildpacks get no metadata of the last build's layers.
pub const SKIP_LAYERS: &str = "CNB_SKIP_LAYERS";
/// To the creator: the same.
pub const SKIP_RESTORE: &str = "CNB_SKIP_RESTORE";
/// Whether images are a Docker daemon's.
pub const USE_DAEMON: &str = "CNB_USE_DAEMON";
/// Whether images are folders in the OCI layout.
pub const USE_LAYOUT: &str = "CNB_USE_LAYOUT";
/// The folder of those.
pub const LAYOUT_DIR: &str = "CNB_LAYOUT_DIR";
/// What to do about experimental features: quiet, warn or error.
pub const EXPERIMENTAL_MODE: &str = "CNB_EXPERIMENTAL_MODE";
/// Registries that may be spoken to without encryption, separated by commas.
pub const INSECURE_REGISTRIES: &str = "CNB_INSECURE_REGISTRIES";
/// Whether image and cache are exported at the same time.
pub const PARALLEL_EXPORT: &str = "CNB_PARALLEL_EXPORT";
/// Whether a base may be swapped for one that it is not known to fit.
pub const FORCE_REBASE: &str = "CNB_FORCE_REBASE";
/// Credentials for registries, as a JSON object of headers.
pub const REGISTRY_AUTH: &str = "CNB_REGISTRY_AUTH";
/// The execution environment: production, test, development.
pub const EXEC_ENV: &str = "CNB_EXEC_ENV";
/// The process type that an image starts.
pub const PROCESS_TYPE: &str = "CNB_PROCESS_TYPE";
/// The build user's id, in a build image.
pub const USER_ID: &str = "CNB_USER_ID";
/// The build user's group, in a build image.
pub const GROUP_ID: &str = "CNB_GROUP_ID";
/// Deprecated: the stack of a build image.
pub const STACK_ID: &str = "CNB_STACK_ID";
/// The instant that an image says it was made at, in seconds since 1970.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// To a buildpack: its own folder.
pub const BUILDPACK_DIR: &str = "CNB_BUILDPACK_DIR";
/// To `bin/detect`: where to write the build plan.
pub const BUILD_PLAN_PATH: &str = "CNB_BUILD_PLAN_PATH";
/// To `bin/build`: its part of the plan.
pub const BP_PLAN_PATH: &str = "CNB_BP_PLAN_PATH";
/// To a buildpack: the run image's system.
pub const TARGET_OS: &str = "CNB_TARGET_OS";
/// To a buildpack: the run image's architecture.
pub const TARGET_ARCH: &str = "CNB_TARGET_ARCH";
/// To a buildpack: the architecture's variant.
pub const TARGET_ARCH_VARIANT: &str = "CNB_TARGET_ARCH_VARIANT";
/// To a buildpack: the run image's distribution.
pub const TARGET_DISTRO_NAME: &str = "CNB_TARGET_DISTRO_NAME";
/// To a buildpack: the distribution's version.
pub const TARGET_DISTRO_VERSION: &str = "CNB_TARGET_DISTRO_VERSION";

/// What a buildpack inherits of the lifecycle's environment besides the path variables, and nothing else.
pub const BUILD_INHERITED: [&str; 9] = [
    STACK_ID,
    "HOSTNAME",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Folders of a build layer and the variables whose front they join (Buildpack API, "Layer Paths").
pub const BUILD_LAYER_PATHS: [(&str, &str); 5] = [
    ("bin", "PATH"),
    ("lib", "LD_LIBRARY_PATH"),
    ("lib", "LIBRARY_PATH"),
    ("include", "CPATH"),
    ("pkgconfig", "PKG_CONFIG_PATH"),
];

//! Inputs of a phase: flag, else variable, else default (Platform API, "Inputs" of each phase).

use crate::flags::Flags;
use cnb_phases::log::Level;
use cnb_spec::api::ApiVersion;
use cnb_spec::{env_vars, paths};
use std::ffi::OsString;
use std::path::PathBuf;

/// Everything that detection and build take; paths are absolute.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) api: ApiVersion,
    pub(crate) analyzed: PathBuf,
    pub(crate) app: PathBuf,
    pub(crate) build_config: PathBuf,
    pub(crate) buildpacks: PathBuf,
    pub(crate) exec_env: String,
    pub(crate) group: PathBuf,
    pub(crate) layers: PathBuf,
    pub(crate) log_level: Level,
    pub(crate) order: PathBuf,
    pub(crate) plan: PathBuf,
    pub(crate) platform: PathBuf,
    pub(crate) system: PathBuf,
    /// The environment, of which buildpacks get what the specification lists.
    pub(crate) env: Vec<(OsString, OsString)>,
}

impl Inputs {
    pub(crate) fn resolve(flags: &Flags, api: ApiVersion) -> Result<Self, String> {
        // An empty variable is one that is not set, as everywhere in the reference lifecycle.
        let given = |flag: &str, variable: &str| {
            let variable = || std::env::var_os(variable).filter(|value| !value.is_empty());
            flags.value(flag).cloned().or_else(variable)
        };
        let absolute = |path: PathBuf| {
            std::path::absolute(&path)
                .map_err(|error| format!("{} cannot be made absolute: {error}", path.display()))
        };
        let path = |flag: &str, variable: &str, default: PathBuf| {
            absolute(given(flag, variable).map_or(default, PathBuf::from))
        };
        let text = |flag: &str, variable: &str, default: &str| {
            given(flag, variable).map_or(default.to_owned(), |value| {
                value.to_string_lossy().into_owned()
            })
        };

        let layers = path("layers", env_vars::LAYERS_DIR, paths::LAYERS_DIR.into())?;
        let own_order = layers.join("order.toml");
        let default_order = if own_order.exists() {
            own_order
        } else {
            paths::ORDER.into()
        };
        let exec_env = text("exec-env", env_vars::EXEC_ENV, "production");
        if exec_env.contains('/') {
            return Err(format!(
                "the execution environment {exec_env:?} must not contain a slash"
            ));
        }
        Ok(Self {
            api,
            analyzed: path(
                "analyzed",
                env_vars::ANALYZED_PATH,
                layers.join("analyzed.toml"),
            )?,
            app: path("app", env_vars::APP_DIR, paths::APP_DIR.into())?,
            build_config: path(
                "build-config",
                env_vars::BUILD_CONFIG_DIR,
                paths::BUILD_CONFIG_DIR.into(),
            )?,
            buildpacks: path(
                "buildpacks",
                env_vars::BUILDPACKS_DIR,
                paths::BUILDPACKS_DIR.into(),
            )?,
            exec_env,
            group: path("group", env_vars::GROUP_PATH, layers.join("group.toml"))?,
            log_level: log_level(&text("log-level", env_vars::LOG_LEVEL, "info"))?,
            order: path("order", env_vars::ORDER_PATH, default_order)?,
            plan: path("plan", env_vars::PLAN_PATH, layers.join("plan.toml"))?,
            platform: path(
                "platform",
                env_vars::PLATFORM_DIR,
                paths::PLATFORM_DIR.into(),
            )?,
            system: path("system", env_vars::SYSTEM_PATH, paths::SYSTEM.into())?,
            layers,
            env: std::env::vars_os().collect(),
        })
    }
}

fn log_level(name: &str) -> Result<Level, String> {
    match name.to_ascii_lowercase().as_str() {
        "debug" => Ok(Level::Debug),
        "info" => Ok(Level::Info),
        "warn" | "warning" => Ok(Level::Warn),
        "error" | "fatal" => Ok(Level::Error),
        _ => Err(format!(
            "there is no log level {name:?}; there are debug, info, warn and error"
        )),
    }
}

//! Inputs of a phase: flag, else variable, else default (Platform API, "Inputs" of each phase).

use crate::flags::{self, Flags};
use cnb_phases::log::Level;
use cnb_spec::api::ApiVersion;
use cnb_spec::{env_vars, paths};
use oci_image::Owner;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Everything that the phases take; paths are absolute. Not `Debug`: the environment may hold credentials.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Inputs {
    pub(crate) api: ApiVersion,
    pub(crate) analyzed: PathBuf,
    pub(crate) app: PathBuf,
    pub(crate) build_config: PathBuf,
    pub(crate) buildpacks: PathBuf,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) cache_image: Option<String>,
    pub(crate) daemon: bool,
    /// What `-run-image` was called before Platform API 0.7.
    pub(crate) deprecated_image: Option<String>,
    pub(crate) exec_env: String,
    pub(crate) extensions: PathBuf,
    /// Rebase although it is not known to be safe.
    pub(crate) force: bool,
    pub(crate) generated: PathBuf,
    pub(crate) group: PathBuf,
    pub(crate) insecure_registries: Vec<String>,
    pub(crate) launch_cache: Option<PathBuf>,
    pub(crate) launcher: PathBuf,
    pub(crate) layers: PathBuf,
    /// Where images are folders of the OCI layout, when they are.
    pub(crate) layout: Option<PathBuf>,
    pub(crate) log_level: Level,
    pub(crate) order: PathBuf,
    /// Whom the build's files belong to, and as whom phases run that need no rights.
    pub(crate) owner: Owner,
    pub(crate) parallel: bool,
    pub(crate) plan: PathBuf,
    pub(crate) platform: PathBuf,
    pub(crate) previous_image: Option<String>,
    pub(crate) process_type: Option<String>,
    pub(crate) project_metadata: PathBuf,
    pub(crate) report: PathBuf,
    pub(crate) run: PathBuf,
    /// Given by flag or variable.
    pub(crate) run_image: Option<String>,
    /// Given by flag.
    pub(crate) run_image_flag: bool,
    pub(crate) skip_layers: bool,
    pub(crate) stack: PathBuf,
    pub(crate) system: PathBuf,
    pub(crate) tags: Vec<String>,
    /// The arguments after the flags.
    pub(crate) images: Vec<String>,
    /// The environment, of which buildpacks get what the specification lists.
    pub(crate) env: Vec<(OsString, OsString)>,
}

/// Flags and variables. An empty variable is one that is not set, as everywhere in the reference lifecycle.
struct Given<'a>(&'a Flags);

impl Given<'_> {
    fn value(&self, flag: &str, variable: &str) -> Option<OsString> {
        let variable = || std::env::var_os(variable);
        let flag = self.0.value(flag).cloned();
        flag.or_else(variable).filter(|value| !value.is_empty())
    }

    fn path(&self, flag: &str, variable: &str, default: PathBuf) -> Result<PathBuf, String> {
        absolute(&self.value(flag, variable).map_or(default, PathBuf::from))
    }

    fn optional_path(&self, flag: &str, variable: &str) -> Result<Option<PathBuf>, String> {
        let given = self.value(flag, variable);
        given.map(|path| absolute(Path::new(&path))).transpose()
    }

    fn optional(&self, flag: &str, variable: &str) -> Option<String> {
        let given = self.value(flag, variable)?;
        Some(given.to_string_lossy().into_owned())
    }

    fn text(&self, flag: &str, variable: &str, default: &str) -> String {
        self.optional(flag, variable)
            .unwrap_or_else(|| default.to_owned())
    }

    fn switch(&self, flag: &str, variable: &str) -> bool {
        let variable = || flags::truth(&std::env::var(variable).unwrap_or_default());
        self.0.switch(flag).or_else(variable).unwrap_or(false)
    }

    fn id(&self, flag: &str, variable: &str) -> Result<u32, String> {
        let text = self.text(flag, variable, "0");
        let id = text.parse();
        id.map_err(|_| format!("{text:?} is no numeric ID, for -{flag} or {variable}"))
    }

    fn all(&self, flag: &str) -> Vec<String> {
        let values = self.0.values(flag).iter();
        values
            .map(|value| value.to_string_lossy().into_owned())
            .collect()
    }

    fn insecure_registries(&self) -> Vec<String> {
        let given = self.all("insecure-registry");
        if !given.is_empty() {
            return given;
        }
        let list = std::env::var(env_vars::INSECURE_REGISTRIES).unwrap_or_default();
        list.split(',')
            .filter(|registry| !registry.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path)
        .map_err(|error| format!("{} cannot be made absolute: {error}", path.display()))
}

impl Inputs {
    /// `knows_layouts`: whether the phase has images that may be folders.
    pub(crate) fn resolve(
        flags: &Flags,
        api: ApiVersion,
        knows_layouts: bool,
    ) -> Result<Self, String> {
        let given = Given(flags);
        let layers = given.path("layers", env_vars::LAYERS_DIR, paths::LAYERS_DIR.into())?;
        let own_order = layers.join("order.toml");
        let default_order = if own_order.exists() {
            own_order
        } else {
            paths::ORDER.into()
        };
        let exec_env = given.text("exec-env", env_vars::EXEC_ENV, "production");
        if exec_env.contains('/') {
            return Err(format!(
                "the execution environment {exec_env:?} must not contain a slash"
            ));
        }
        let in_layers = |name: &str| layers.join(name);
        Ok(Self {
            api,
            analyzed: given.path(
                "analyzed",
                env_vars::ANALYZED_PATH,
                in_layers("analyzed.toml"),
            )?,
            app: given.path("app", env_vars::APP_DIR, paths::APP_DIR.into())?,
            build_config: given.path(
                "build-config",
                env_vars::BUILD_CONFIG_DIR,
                paths::BUILD_CONFIG_DIR.into(),
            )?,
            buildpacks: given.path(
                "buildpacks",
                env_vars::BUILDPACKS_DIR,
                paths::BUILDPACKS_DIR.into(),
            )?,
            cache_dir: given.optional_path("cache-dir", env_vars::CACHE_DIR)?,
            cache_image: given.optional("cache-image", env_vars::CACHE_IMAGE),
            daemon: given.switch("daemon", env_vars::USE_DAEMON),
            deprecated_image: given.optional("image", ""),
            exec_env,
            extensions: given.path(
                "extensions",
                env_vars::EXTENSIONS_DIR,
                paths::EXTENSIONS_DIR.into(),
            )?,
            force: given.switch("force", env_vars::FORCE_REBASE),
            generated: given.path("generated", env_vars::GENERATED_DIR, in_layers("generated"))?,
            group: given.path("group", env_vars::GROUP_PATH, in_layers("group.toml"))?,
            insecure_registries: given.insecure_registries(),
            launch_cache: given.optional_path("launch-cache", env_vars::LAUNCH_CACHE_DIR)?,
            launcher: given.path("launcher", "", paths::LAUNCHER.into())?,
            layout: if knows_layouts {
                layout(&given, api)?
            } else {
                None
            },
            log_level: log_level(&given.text("log-level", env_vars::LOG_LEVEL, "info"))?,
            order: given.path("order", env_vars::ORDER_PATH, default_order)?,
            owner: Owner {
                uid: given.id("uid", env_vars::USER_ID)?,
                gid: given.id("gid", env_vars::GROUP_ID)?,
            },
            parallel: given.switch("parallel", env_vars::PARALLEL_EXPORT),
            plan: given.path("plan", env_vars::PLAN_PATH, in_layers("plan.toml"))?,
            platform: given.path(
                "platform",
                env_vars::PLATFORM_DIR,
                paths::PLATFORM_DIR.into(),
            )?,
            previous_image: given.optional("previous-image", env_vars::PREVIOUS_IMAGE),
            process_type: given.optional("process-type", env_vars::PROCESS_TYPE),
            project_metadata: given.path(
                "project-metadata",
                env_vars::PROJECT_METADATA_PATH,
                in_layers("project-metadata.toml"),
            )?,
            report: given.path("report", env_vars::REPORT_PATH, in_layers("report.toml"))?,
            run: given.path("run", env_vars::RUN_PATH, paths::RUN.into())?,
            run_image: given.optional("run-image", env_vars::RUN_IMAGE),
            run_image_flag: flags.value("run-image").is_some(),
            skip_layers: given.switch("skip-layers", env_vars::SKIP_LAYERS)
                || given.switch("skip-restore", env_vars::SKIP_RESTORE),
            stack: given.path("stack", env_vars::STACK_PATH, paths::STACK.into())?,
            system: given.path("system", env_vars::SYSTEM_PATH, paths::SYSTEM.into())?,
            tags: given.all("tag"),
            images: flags
                .arguments
                .iter()
                .map(|image| image.to_string_lossy().into_owned())
                .collect(),
            layers,
            env: std::env::vars_os().collect(),
        })
    }
}

/// The folder of images, if they are to be folders. The flags exist since Platform API 0.12.
fn layout(given: &Given<'_>, api: ApiVersion) -> Result<Option<PathBuf>, String> {
    if !given.switch("layout", env_vars::USE_LAYOUT) {
        return Ok(None);
    }
    if !api.at_least(12) {
        return Err(format!(
            "-layout exists from Platform API 0.12 on, and the platform speaks {api}"
        ));
    }
    match given.optional_path("layout-dir", env_vars::LAYOUT_DIR)? {
        Some(dir) => Ok(Some(dir)),
        None => Err(format!(
            "-layout needs a folder for images; name it with -layout-dir or {}",
            env_vars::LAYOUT_DIR
        )),
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

//! Runs `bin/build` of one buildpack.

use super::{BuildError, Inputs};
use crate::scratch::Scratch;
use cnb_spec::buildpack::Buildpack;
use cnb_spec::env_delta::Environment;
use cnb_spec::env_vars;
use cnb_spec::plan::BuildpackPlan;
use cnb_spec::toml_file;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs it with its output going where this process's own goes; `dir` is the buildpack's layers folder.
pub(super) fn run(
    inputs: &Inputs<'_>,
    buildpack: &Buildpack,
    name: &str,
    dir: &Path,
    plan: &BuildpackPlan,
    env: &Environment,
) -> Result<(), BuildError> {
    let platform = &inputs.platform;
    std::fs::create_dir_all(dir).map_err(|source| BuildError::Folder {
        path: dir.to_owned(),
        source,
    })?;
    let scratch = Scratch::new(platform.temp_dir).map_err(|source| BuildError::Folder {
        path: platform.temp_dir.to_owned(),
        source,
    })?;
    let plan_path = scratch.path().join("plan.toml");
    toml_file::write(&plan_path, plan).map_err(BuildError::Write)?;
    let env = platform.environment(
        buildpack,
        env,
        &[
            (env_vars::BP_PLAN_PATH, plan_path.as_os_str()),
            (env_vars::LAYERS_DIR, dir.as_os_str()),
        ],
    )?;
    let path = buildpack.dir.join("bin/build");
    let status = Command::new(&path)
        .arg(dir)
        .arg(platform.platform_dir)
        .arg(&plan_path)
        .current_dir(platform.app_dir)
        .env_clear()
        .envs(&env)
        .stdin(Stdio::null())
        .status()
        .map_err(|source| BuildError::Spawn { path, source })?;
    if !status.success() {
        return Err(BuildError::Buildpack {
            buildpack: name.to_owned(),
            status: status.to_string(),
        });
    }
    Ok(())
}

//! `pip install`.

use crate::command::{self, CommandError};
use crate::project::{Plan, Source};
use crate::requirements::REQUIREMENTS_TXT;
use crate::tool_env;
use libcnb::Env;
use std::path::Path;
use std::process::Command;

/// pip runs on the environment's own Python, which makes it install there.
pub(super) fn install(
    program: &Path,
    cache: &Path,
    plan: &Plan,
    venv: &Path,
    app_dir: &Path,
    env: &Env,
) -> Result<(), CommandError> {
    let env = tool_env::for_pip(&tool_env::for_builds_from_source(env));
    let target = if plan.source == Source::Requirements {
        vec!["--requirement".to_owned(), REQUIREMENTS_TXT.to_owned()]
    } else {
        super::uv::of_project(&plan.selection)
    };
    command::stream(
        Command::new(venv.join("bin/python"))
            .arg(program)
            .args(["install", "--no-compile", "--no-warn-script-location"])
            .args(target)
            .current_dir(app_dir)
            .env_clear()
            .envs(&env)
            .env("PIP_CACHE_DIR", cache)
            // Build backends must not leave bytecode with times in what they build.
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

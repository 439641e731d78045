//! Whether the installed packages fit each other: installers that take a lock as it is do not look.

use crate::layers::venv::Venv;
use crate::project::{Plan, Source};
use libcnb::Env;
use std::path::Path;
use std::process::{Command, Stdio};

/// What uv says of packages whose requirements are not met; nothing where all is well, where it has been looked at before,
/// or where nobody can look.
pub(crate) fn check(
    uv: Option<&Path>,
    venv: &Venv,
    plan: Option<&Plan>,
    env: &Env,
) -> Option<String> {
    let uv = uv.filter(|_| venv.is_changed())?;
    // uv's own lock has been resolved as a whole, for all systems.
    plan.filter(|plan| !plan.empty && plan.source != Source::UvLock)?;
    let output = Command::new(uv)
        .args(["pip", "check", "--no-config", "--python"])
        .arg(venv.python())
        .stdin(Stdio::null())
        .env_clear()
        .envs(env)
        .env("UV_NO_PROGRESS", "true")
        .env("UV_PYTHON_DOWNLOADS", "never")
        .output()
        .ok()?;
    if output.status.success() {
        return None;
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let told: Vec<&str> = words
        .lines()
        .filter(|line| line.starts_with("The package "))
        .collect();
    // Failures of another kind say nothing of the packages.
    (!told.is_empty()).then(|| told.join("\n"))
}

//! The app's own scripts around the install, as Heroku's classic buildpack runs them: `bin/pre_compile` before
//! anything is read, `bin/post_compile` when all is in place.

use crate::command::{self, CommandError};
use crate::log;
use libcnb::Env;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// When a script runs; its path in the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Before,
    After,
}

impl Hook {
    /// Where the script lies in the app.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Before => "bin/pre_compile",
            Self::After => "bin/post_compile",
        }
    }

    /// Whether the app has it.
    pub(crate) fn is_there(self, app_dir: &Path) -> bool {
        app_dir.join(self.path()).is_file()
    }
}

/// A script of the app failed.
#[derive(Debug, thiserror::Error)]
#[error("{} failed", hook.path())]
pub(crate) struct HookError {
    pub(crate) hook: Hook,
    #[source]
    pub(crate) source: CommandError,
}

/// Runs a script, if the app has it, in the app's folder.
pub(crate) fn run(hook: Hook, app_dir: &Path, env: &Env) -> Result<(), HookError> {
    if !hook.is_there(app_dir) {
        return Ok(());
    }
    log::section(hook.path());
    let script = app_dir.join(hook.path());
    let is_program =
        std::fs::metadata(&script).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    // A script that was committed on Windows is not executable; Heroku runs it all the same.
    let mut command = if is_program {
        Command::new(&script)
    } else {
        let mut bash = Command::new("bash");
        bash.arg(&script);
        bash
    };
    command::stream(command.current_dir(app_dir).env_clear().envs(env))
        .map_err(|source| HookError { hook, source })
}

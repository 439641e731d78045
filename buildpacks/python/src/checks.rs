//! What is looked at before anything is installed: variables that would break the build, and files
//! that should not be there.

use libcnb::Env;
use std::io;
use std::path::{Path, PathBuf};

/// Variables that a user must not set for the build, and why.
const REFUSED: [(&str, &str); 13] = [
    ("PIP_PREFIX", INSTALL_PLACE),
    ("PIP_ROOT", INSTALL_PLACE),
    ("PIP_TARGET", INSTALL_PLACE),
    ("PIP_USER", INSTALL_PLACE),
    ("PIP_PYTHON", INTERPRETER),
    ("PYTHONHOME", STANDARD_LIBRARY),
    ("PYTHONPATH", MODULE_PATH),
    ("UV_PREFIX", INSTALL_PLACE),
    ("UV_PROJECT_ENVIRONMENT", INSTALL_PLACE),
    ("UV_PYTHON", INTERPRETER),
    ("UV_SYSTEM_PYTHON", INSTALL_PLACE),
    ("UV_TARGET", INSTALL_PLACE),
    ("VIRTUAL_ENV", INSTALL_PLACE),
];
const INSTALL_PLACE: &str =
    "it would install packages somewhere else than in the app's virtual environment";
const INTERPRETER: &str =
    "it would choose another Python than the app's; use a .python-version file for that";
const STANDARD_LIBRARY: &str =
    "it makes every Python of the build look for its standard library in that place";
const MODULE_PATH: &str = concat!(
    "it is searched before installed packages and would change what pip, uv and Django import during the build
",
    "(to add a folder for the app, write it in the command: web: env PYTHONPATH=src gunicorn app:app)",
);

/// Ways to name dependencies that can't be installed, with the way to get a `requirements.txt` from them.
const OTHER_MANAGERS: [(&str, &str, &str); 2] = [
    (
        "environment.yml",
        "conda",
        "pip list --format=freeze > requirements.txt   (in the activated environment)",
    ),
    (
        "requirements.in",
        "pip-tools or uv",
        "uv pip compile requirements.in --output-file requirements.txt",
    ),
];

/// A project or an environment that can't be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("could not look at the app's files")]
    Look(#[source] io::Error),
    #[error("{name} must not be set")]
    RefusedVariable {
        name: &'static str,
        reason: &'static str,
    },
    #[error("{name} is probably meant to be requirements.txt")]
    MisspeltRequirements { name: String },
    #[error("{file} needs {manager}")]
    OtherManager {
        file: &'static str,
        manager: &'static str,
        export: &'static str,
    },
    #[error("BP_PYTHON_INSTALLER={value} is not known")]
    UnknownInstaller { value: String },
}

/// Refuses what the user set and what would break the build in ways that are hard to understand.
pub(crate) fn environment(user: &Env) -> Result<(), CheckError> {
    for (name, reason) in REFUSED {
        if user.get(name).is_some_and(|value| !value.is_empty()) {
            return Err(CheckError::RefusedVariable { name, reason });
        }
    }
    Ok(())
}

/// Refuses a project whose dependencies are named only in a way that can't be installed.
pub(crate) fn other_managers(app_dir: &Path) -> Result<(), CheckError> {
    for (file, manager, export) in OTHER_MANAGERS {
        if app_dir.join(file).is_file() {
            return Err(CheckError::OtherManager {
                file,
                manager,
                export,
            });
        }
    }
    Ok(())
}

/// Virtual environments that were copied along with the app: never used, only weight.
pub(crate) fn stray_venvs(app_dir: &Path) -> Vec<PathBuf> {
    [".venv", "venv", "env"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|name| app_dir.join(name).join("pyvenv.cfg").is_file())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_variables() {
        let mut env = Env::new();
        env.insert("PIP_INDEX_URL", "https://host/simple");
        assert!(environment(&env).is_ok());
        env.insert("PYTHONPATH", "/workspace/src");
        assert!(matches!(
            environment(&env),
            Err(CheckError::RefusedVariable {
                name: "PYTHONPATH",
                ..
            })
        ));
    }
}

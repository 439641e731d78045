//! What is looked at before anything is installed: variables that would break the build, and files
//! that should not be there.

use crate::detect;
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

/// Package managers whose lock file says what to install, with the command that exports
/// `requirements.txt` from it.
const OTHER_MANAGERS: [(&str, &str, &str); 7] = [
    (
        "uv.lock",
        "uv",
        "uv export --no-dev --no-emit-project --output-file requirements.txt",
    ),
    (
        "poetry.lock",
        "Poetry",
        "poetry export --output requirements.txt   (needs: poetry self add poetry-plugin-export)",
    ),
    (
        "Pipfile.lock",
        "Pipenv",
        "pipenv requirements > requirements.txt",
    ),
    (
        "Pipfile",
        "Pipenv",
        "pipenv lock && pipenv requirements > requirements.txt",
    ),
    (
        "pdm.lock",
        "PDM",
        "pdm export --prod --output requirements.txt",
    ),
    (
        "pylock.toml",
        "pylock.toml (PEP 751)",
        "uv pip compile pyproject.toml --output-file requirements.txt",
    ),
    (
        "environment.yml",
        "conda",
        "pip list --format=freeze > requirements.txt   (in the activated environment)",
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
    #[error("pyproject.toml names dependencies, but there is no requirements.txt")]
    ProjectWithoutRequirements,
    #[error("pyproject.toml is not valid TOML")]
    MalformedPyproject(#[source] toml::de::Error),
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

/// Whether there is a `requirements.txt` to install. Other ways to name dependencies are refused,
/// with the way to get a `requirements.txt` from them, so that nothing is silently left out.
pub(crate) fn requirements_file(app_dir: &Path) -> Result<bool, CheckError> {
    if app_dir.join("requirements.txt").is_file() {
        return Ok(true);
    }
    if let Some(name) = detect::look(app_dir).map_err(CheckError::Look)?.misspelt {
        return Err(CheckError::MisspeltRequirements { name });
    }
    for (file, manager, export) in OTHER_MANAGERS {
        if app_dir.join(file).is_file() {
            return Err(CheckError::OtherManager {
                file,
                manager,
                export,
            });
        }
    }
    match std::fs::read_to_string(app_dir.join("pyproject.toml")) {
        Ok(text) => match text.parse::<toml::Table>() {
            Ok(document) if names_dependencies(&document) => {
                Err(CheckError::ProjectWithoutRequirements)
            }
            Ok(_) => Ok(false),
            Err(source) => Err(CheckError::MalformedPyproject(source)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(CheckError::Look(error)),
    }
}

/// Virtual environments that were copied along with the app: never used, only weight.
pub(crate) fn stray_venvs(app_dir: &Path) -> Vec<PathBuf> {
    [".venv", "venv", "env"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|name| app_dir.join(name).join("pyvenv.cfg").is_file())
        .collect()
}

fn names_dependencies(document: &toml::Table) -> bool {
    let listed = document
        .get("project")
        .and_then(|project| project.get("dependencies"))
        .and_then(toml::Value::as_array)
        .is_some_and(|dependencies| !dependencies.is_empty());
    // Poetry lists Python itself among the dependencies.
    let poetry = document
        .get("tool")
        .and_then(|tool| tool.get("poetry"))
        .and_then(|poetry| poetry.get("dependencies"))
        .and_then(toml::Value::as_table)
        .is_some_and(|dependencies| dependencies.keys().any(|name| name != "python"));
    listed || poetry
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
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

    #[test]
    fn a_tool_configuration_alone_needs_no_requirements() {
        let names_dependencies =
            |text: &str| names_dependencies(&text.parse::<toml::Table>().unwrap());
        assert!(!names_dependencies("[tool.black]\nline-length = 100\n"));
        assert!(!names_dependencies(
            "[tool.poetry.dependencies]\npython = \"^3.12\"\n"
        ));
        assert!(names_dependencies(
            "[project]\ndependencies = [\"flask\"]\n"
        ));
        assert!(names_dependencies(
            "[tool.poetry.dependencies]\nflask = \"*\"\n"
        ));
    }

    #[test]
    fn requirements_win_over_other_managers() {
        let app = tempfile::tempdir().unwrap();
        assert!(!requirements_file(app.path()).unwrap());
        std::fs::write(app.path().join("poetry.lock"), "").unwrap();
        assert!(matches!(
            requirements_file(app.path()),
            Err(CheckError::OtherManager {
                file: "poetry.lock",
                ..
            })
        ));
        std::fs::write(app.path().join("requirements.txt"), "").unwrap();
        assert!(requirements_file(app.path()).unwrap());
    }
}

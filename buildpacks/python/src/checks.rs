//! What is looked at before anything is installed: variables that would break the build, and files
//! that should not be there.

use libcnb::Env;
use std::io;
use std::path::{Path, PathBuf};

/// Variables that a user must not set for the build, and why.
const REFUSED: [(&str, &str); 37] = [
    ("CONDA_PREFIX", FOREIGN_ENVIRONMENT),
    ("PDM_CACHE_DIR", CACHE),
    ("PIPENV_CACHE_DIR", CACHE),
    ("PIPENV_IGNORE_VIRTUALENVS", INSTALL_PLACE),
    ("PIPENV_PIPFILE", OTHER_FOLDER),
    ("PIPENV_VENV_IN_PROJECT", INSTALL_PLACE),
    ("PIP_CACHE_DIR", CACHE),
    ("PIP_DRY_RUN", NOTHING),
    ("PIP_PREFIX", INSTALL_PLACE),
    ("PIP_PYTHON", INTERPRETER),
    ("PIP_ROOT", INSTALL_PLACE),
    ("PIP_TARGET", INSTALL_PLACE),
    ("PIP_USER", INSTALL_PLACE),
    ("POETRY_CACHE_DIR", CACHE),
    ("POETRY_HOME", INSTALL_PLACE),
    ("POETRY_VIRTUALENVS_CREATE", INSTALL_PLACE),
    ("POETRY_VIRTUALENVS_IN_PROJECT", INSTALL_PLACE),
    ("POETRY_VIRTUALENVS_PATH", INSTALL_PLACE),
    ("PYTHONEXECUTABLE", STANDARD_LIBRARY),
    ("PYTHONHOME", STANDARD_LIBRARY),
    (
        "PYTHONINSPECT",
        "every Python of the build would wait for somebody who types, for ever",
    ),
    (
        "PYTHONOPTIMIZE",
        "the bytecode of the image would be of another kind than the app looks for; set it for the app (config:set)",
    ),
    ("PYTHONPATH", MODULE_PATH),
    ("PYTHONPLATLIBDIR", STANDARD_LIBRARY),
    (
        "PYTHONPYCACHEPREFIX",
        "bytecode would be written where the app does not look for it",
    ),
    ("PYTHONSTARTUP", MODULE_PATH),
    ("PYTHONUSERBASE", INSTALL_PLACE),
    ("UV_CACHE_DIR", CACHE),
    ("UV_DRY_RUN", NOTHING),
    (
        "UV_NO_CACHE",
        "without its cache uv copies every package, and the next build fetches them all again",
    ),
    ("UV_PREFIX", INSTALL_PLACE),
    ("UV_PROJECT_ENVIRONMENT", INSTALL_PLACE),
    ("UV_PYTHON", INTERPRETER),
    ("UV_SYSTEM_PYTHON", INSTALL_PLACE),
    ("UV_TARGET", INSTALL_PLACE),
    ("UV_WORKING_DIRECTORY", OTHER_FOLDER),
    ("VIRTUAL_ENV", INSTALL_PLACE),
];
const CACHE: &str = "the installers' caches are a layer of the build, which is kept for the next one; elsewhere they are lost";
const FOREIGN_ENVIRONMENT: &str =
    "it tells the installers that another environment than the app's is active";
const NOTHING: &str = "nothing would be installed";
const OTHER_FOLDER: &str =
    "another folder than the app's would be installed; BP_APP_PATH names a folder in the app";
const INSTALL_PLACE: &str =
    "it would install packages somewhere else than in the app's virtual environment";
const INTERPRETER: &str =
    "it would choose another Python than the app's; use a .python-version file for that";
const STANDARD_LIBRARY: &str =
    "it makes every Python of the build look for its standard library in that place";
const MODULE_PATH: &str = "it is searched before installed packages and would change what pip, uv and Django import during the build\n\
     (to add a folder for the app, write it in the command: web: env PYTHONPATH=src gunicorn app:app)";

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
    #[error("{APP_PATH_VARIABLE}={value} is no folder of the app")]
    AppPath { value: String },
    #[error("{word} can't be left out")]
    UnknownWeight { word: String },
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

/// Names the folder of the app in which the Python project lies.
pub(crate) const APP_PATH_VARIABLE: &str = "BP_APP_PATH";

/// The folder with the Python project: the app's root, or the one that the user names in it.
pub(crate) fn project_folder(app_dir: &Path, user: &Env) -> Result<PathBuf, CheckError> {
    let Some(value) = user
        .get(APP_PATH_VARIABLE)
        .filter(|value| !value.is_empty())
    else {
        return Ok(app_dir.to_path_buf());
    };
    let refused = || CheckError::AppPath {
        value: value.to_string_lossy().into_owned(),
    };
    // Links are followed: what they lead to must lie in the app, too.
    let root = app_dir.canonicalize().map_err(CheckError::Look)?;
    let folder = root.join(value).canonicalize().map_err(|_| refused())?;
    if !folder.starts_with(&root) || !folder.is_dir() {
        return Err(refused());
    }
    let inside = folder.strip_prefix(&root).map_err(|_| refused())?;
    Ok(app_dir.join(inside))
}

/// The folder above the project's, in the app, with the lock of a workspace that the project may be a member of; none where
/// the project has a lock of its own. Relative to the root.
pub(crate) fn workspace_above(root: &Path, app_dir: &Path) -> Option<PathBuf> {
    if app_dir.join("uv.lock").is_file() {
        return None;
    }
    let folder = app_dir
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(root))
        .find(|folder| folder.join("uv.lock").is_file())?;
    folder.strip_prefix(root).ok().map(Path::to_path_buf)
}

/// Virtual environments that were copied along with the app: never used, only weight.
pub(crate) fn stray_venvs(app_dir: &Path) -> Vec<PathBuf> {
    [".venv", "venv", "env", ".env", "ENV", "virtualenv"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|name| is_venv(&app_dir.join(name)))
        .collect()
}

/// Whether a folder is a virtual environment, of any system, also one of which a part was committed.
fn is_venv(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).exists();
    has("pyvenv.cfg")
        || has("bin/activate") && has("lib")
        || has("Scripts/activate.bat")
        || has("Lib/site-packages")
}

/// Folders of other tools that were committed: never used, only weight.
pub(crate) fn stray_folders(app_dir: &Path) -> Vec<&'static str> {
    [
        "node_modules",
        "__pycache__",
        "__pypackages__",
        ".tox",
        ".nox",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
        "htmlcov",
    ]
    .into_iter()
    .filter(|name| app_dir.join(name).is_dir())
    // What JavaScript builds need lies beside their description.
    .filter(|name| *name != "node_modules" || !app_dir.join("package.json").is_file())
    .collect()
}

/// Files that are nearly called as a file that is looked for, with the right name: nobody reads them.
pub(crate) fn misspelt_files(app_dir: &Path) -> Vec<(String, &'static str)> {
    const RIGHT: [(&str, &[&str]); 6] = [
        (
            "Procfile",
            &[
                "procfile",
                "procfile.txt",
                "procfile.yml",
                "procfile.yaml",
                "proc file",
                "procfiles",
            ],
        ),
        (
            "runtime.txt",
            &["runtimes.txt", "runtime.text", "runtime.txt.txt"],
        ),
        (
            ".python-version",
            &[
                "python-version",
                ".python_version",
                ".pythonversion",
                ".python-version.txt",
                "python_version.txt",
            ],
        ),
        (
            "pyproject.toml",
            &[
                "pyproject.tml",
                "py-project.toml",
                "pyprojects.toml",
                "pyproject.toml.txt",
            ],
        ),
        ("Pipfile", &["pipfile", "pipfile.txt", "pipefile"]),
        ("manage.py", &["manage.py.txt"]),
    ];
    let Ok(entries) = std::fs::read_dir(app_dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let right_one = |name: &String| {
        RIGHT.iter().find(|(right, wrong)| {
            let lower = name.to_lowercase();
            name != right && (wrong.contains(&lower.as_str()) || lower == right.to_lowercase())
        })
    };
    let found: Vec<_> = names
        .iter()
        .filter_map(|name| Some((name.clone(), right_one(name)?.0)))
        .collect();
    found
        .into_iter()
        .filter(|(_, right)| !names.iter().any(|name| name == right))
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

    #[test]
    fn the_list_has_every_name_once() {
        assert!(REFUSED.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn a_folder_of_the_app_is_in_the_app() -> io::Result<()> {
        let app = tempfile::tempdir()?;
        std::fs::create_dir_all(app.path().join("services/api"))?;
        std::os::unix::fs::symlink("/usr", app.path().join("out"))?;
        let folder = |value: &str| {
            let mut env = Env::new();
            env.insert(APP_PATH_VARIABLE, value);
            project_folder(app.path(), &env).ok()
        };
        assert_eq!(folder(""), Some(app.path().to_path_buf()));
        assert_eq!(
            folder("services/api/"),
            Some(app.path().join("services/api"))
        );
        for value in ["..", "/usr", "out", "nothing", "services/../../x"] {
            assert_eq!(folder(value), None, "{value}");
        }
        Ok(())
    }

    #[test]
    fn names_that_nobody_reads() -> io::Result<()> {
        let app = tempfile::tempdir()?;
        for name in ["Procfile.txt", "pipfile", "Pipfile", "README.md"] {
            std::fs::write(app.path().join(name), "")?;
        }
        assert_eq!(
            misspelt_files(app.path()),
            [("Procfile.txt".to_owned(), "Procfile")]
        );
        Ok(())
    }
}

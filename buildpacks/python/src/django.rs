//! Django's static files: `manage.py collectstatic`, when the project has static files to collect.

use crate::command::{self, CommandError};
use crate::layers::venv::Venv;
use crate::{log, tool_env};
use libcnb::Env;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Switches it off.
pub(crate) const DISABLE_VARIABLE: &str = "DISABLE_COLLECTSTATIC";

/// How many folders below the app's root `manage.py` may lie.
const DEPTH: usize = 3;
/// Folders that hold other people's projects.
const NO_PROJECTS: [&str; 4] = ["env", "node_modules", "site-packages", "venv"];

const COLLECT: &str = concat!(
    include_str!("helpers/bytecode.py"),
    include_str!("helpers/collectstatic.py")
);

/// Static files could not be collected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DjangoError {
    #[error("could not look for manage.py in {}", folder.display())]
    Look {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} collectstatic failed", manage.display())]
    Collect {
        /// Relative to the app.
        manage: PathBuf,
        #[source]
        source: CommandError,
    },
}

/// Collects the static files of a Django project; does nothing in other projects.
pub(crate) fn collect_static(app_dir: &Path, venv: &Venv, env: &Env) -> Result<(), DjangoError> {
    if !venv
        .site_packages
        .join("django/core/management/__init__.py")
        .is_file()
    {
        return Ok(());
    }
    let Some(manage) = find_manage(app_dir)? else {
        return Ok(());
    };
    log::section("Static files");
    if env.get(DISABLE_VARIABLE).is_some_and(tool_env::is_on) {
        log::step(format!(
            "Skipping collectstatic: {DISABLE_VARIABLE} is set."
        ));
        return Ok(());
    }
    log::step(format!("Running {} collectstatic.", manage.display()));
    let mut path = vec![venv.path.join("bin")];
    if let Some(inherited) = env.get("PATH") {
        path.extend(std::env::split_paths(inherited));
    }
    let mut command = Command::new(venv.python());
    command
        .args(["-c", COLLECT])
        .arg(app_dir.join(&manage))
        .arg(&venv.site_packages)
        .current_dir(app_dir)
        .env_clear()
        .envs(env)
        .env("VIRTUAL_ENV", &venv.path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    // A PATH that can't be joined was not usable before either.
    if let Ok(path) = std::env::join_paths(path) {
        command.env("PATH", path);
    }
    command::stream(&mut command).map_err(|source| DjangoError::Collect { manage, source })
}

/// The `manage.py` nearest to the root, in lexical order; its path relative to the app.
fn find_manage(app_dir: &Path) -> Result<Option<PathBuf>, DjangoError> {
    let mut folders = VecDeque::from([(PathBuf::new(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        let manage = folder.join("manage.py");
        if app_dir.join(&manage).is_file() {
            return Ok(Some(manage));
        }
        if depth == DEPTH {
            continue;
        }
        let mut names = Vec::new();
        let failed = |source| DjangoError::Look {
            folder: folder.clone(),
            source,
        };
        for entry in std::fs::read_dir(app_dir.join(&folder)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().first() == Some(&b'.');
            // Links are not followed: they may lead round in a circle.
            if !hidden
                && !NO_PROJECTS.iter().any(|other| name == *other)
                && entry.file_type().map_err(failed)?.is_dir()
            {
                names.push(name);
            }
        }
        names.sort();
        folders.extend(names.into_iter().map(|name| (folder.join(name), depth + 1)));
    }
    Ok(None)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    fn found(files: &[&str]) -> Option<PathBuf> {
        let app = tempfile::tempdir().unwrap();
        for name in files {
            let path = app.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        find_manage(app.path()).unwrap()
    }

    #[test]
    fn the_nearest_manage_py_wins() {
        assert_eq!(
            found(&["manage.py", "a/manage.py"]),
            Some("manage.py".into())
        );
        assert_eq!(
            found(&["a/b/manage.py", "z/manage.py"]),
            Some("z/manage.py".into())
        );
        assert_eq!(found(&["a/b/c/manage.py"]), Some("a/b/c/manage.py".into()));
        assert_eq!(found(&["a/b/c/d/manage.py"]), None);
        assert_eq!(found(&["venv/manage.py", ".x/manage.py"]), None);
    }
}

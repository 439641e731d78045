//! Django's static files: `manage.py collectstatic`, when the project has static files to collect and
//! the last run's are not what it would collect.

use crate::command::{self, CommandError};
use crate::layers::venv::{REFRESH_VARIABLE, Venv};
use crate::layers::{SEALED_VARIABLE, static_files};
use crate::{BuildpackError, PythonBuildpack, fingerprint, log, tool_env};
use libcnb::Env;
use libcnb::build::BuildContext;
use sha2::{Digest, Sha256};
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
    include_str!("helpers/watch.py"),
    include_str!("helpers/collectstatic.py")
);

/// Variables that tell how this build is run, not what it is to make; the last is another one each time.
const OF_THE_BUILD: [&str; 3] = [REFRESH_VARIABLE, SEALED_VARIABLE, "CNB_BP_PLAN_PATH"];

/// Debian's list of installed packages, which changes with every one of the stack's.
const STACK_PACKAGES: &str = "/var/lib/dpkg/status";

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
pub(crate) fn collect_static(
    context: &BuildContext<PythonBuildpack>,
    venv: &Venv,
    env: &Env,
) -> libcnb::Result<(), BuildpackError> {
    if !venv
        .site_packages
        .join("django/core/management/__init__.py")
        .is_file()
    {
        return Ok(());
    }
    let app_dir = &context.app_dir;
    let Some(manage) = find_manage(app_dir).map_err(BuildpackError::Django)? else {
        return Ok(());
    };
    log::section("Static files");
    if env.get(DISABLE_VARIABLE).is_some_and(tool_env::is_on) {
        log::step(format!(
            "Skipping collectstatic: {DISABLE_VARIABLE} is set."
        ));
        return Ok(());
    }
    let run = Run {
        app_dir,
        manage: &manage,
        venv,
        env: environment(venv, env),
    };
    let collected = if let Some(circumstances) = run.circumstances() {
        let Some(before) = static_files::put_back(context, circumstances)? else {
            log::step(
                "Static files are those of the last build: nothing that collectstatic read has changed.",
            );
            return Ok(());
        };
        before.run(|trace| run.collect(Some(trace)))?
    } else {
        run.collect(None)
    };
    Ok(collected
        .map_err(|source| DjangoError::Collect { manage, source })
        .map_err(BuildpackError::Django)?)
}

/// What the project's code sees.
pub(crate) fn environment(venv: &Venv, env: &Env) -> Env {
    let mut env = env.clone();
    tool_env::activate(&mut env, &venv.path);
    env.insert("PYTHONDONTWRITEBYTECODE", "1");
    env.insert("PYTHONUNBUFFERED", "1");
    let mut kept = Env::new();
    for (name, value) in &env {
        if !OF_THE_BUILD.iter().any(|other| name == *other) {
            kept.insert(name, value);
        }
    }
    kept
}

/// One run of `collectstatic`.
struct Run<'a> {
    app_dir: &'a Path,
    manage: &'a Path,
    venv: &'a Venv,
    env: Env,
}

impl Run<'_> {
    /// A digest of everything but the app's files that decides what comes of it; nothing when that can't
    /// be told.
    fn circumstances(&self) -> Option<String> {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(COLLECT.as_bytes());
        add(self.app_dir.as_os_str().as_encoded_bytes());
        add(self.manage.as_os_str().as_encoded_bytes());
        add(self.venv.digest().ok()?.as_bytes());
        add(&std::fs::read(STACK_PACKAGES).ok()?);
        let mut variables: Vec<_> = self.env.iter().collect();
        variables.sort();
        for (name, value) in variables {
            add(name.as_encoded_bytes());
            add(value.as_encoded_bytes());
        }
        Some(fingerprint::hex(&hash.finalize()))
    }

    /// Runs it; `trace` gets the names of the modules that it read.
    fn collect(&self, trace: Option<&Path>) -> Result<(), CommandError> {
        log::step(format!("Running {} collectstatic.", self.manage.display()));
        command::stream(
            Command::new(self.venv.python())
                .args(["-c", COLLECT])
                .arg(self.app_dir.join(self.manage))
                .arg(&self.venv.site_packages)
                .arg(self.app_dir)
                .arg(trace.unwrap_or(Path::new("")))
                .current_dir(self.app_dir)
                .env_clear()
                .envs(&self.env),
        )
    }
}

/// The `manage.py` nearest to the root, in lexical order; its path relative to the app.
pub(crate) fn find_manage(app_dir: &Path) -> Result<Option<PathBuf>, DjangoError> {
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

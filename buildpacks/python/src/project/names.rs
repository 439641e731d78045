//! Which packages a project asks for, and whether its lock has them: what can be told without asking an index.

use super::{PYPROJECT_TOML, ProjectError, Source, pyproject::at, script};
use crate::requirements::{self, RequirementsError, name, normalized};
use libcnb::Env;
use std::collections::BTreeSet;
use std::path::Path;
use toml::{Table, Value};

/// The names of all packages that an install will bring, as far as the files tell, normalized.
pub(crate) fn installed(
    app_dir: &Path,
    source: &Source,
    env: &Env,
) -> Result<BTreeSet<String>, ProjectError> {
    Ok(match source {
        Source::Requirements => {
            let failed = |error: RequirementsError| ProjectError::Requirements(error);
            requirements::read(app_dir, env).map_err(failed)?.names
        }
        Source::UvLock | Source::PoetryLock | Source::PdmLock => {
            of_packages(&toml_of(app_dir, source.file())?, "package")
        }
        Source::Pylock => of_packages(&toml_of(app_dir, source.file())?, "packages"),
        Source::PipfileLock => locked_by_pipenv(app_dir)?,
        Source::Pyproject { .. } => {
            let project = toml_of(app_dir, PYPROJECT_TOML)?;
            listed(at(&project, &["project", "dependencies"]))
        }
        Source::Script(file) => {
            let table = script::table(app_dir, file)?.unwrap_or_default();
            listed(table.get("dependencies"))
        }
        Source::SetupPy => BTreeSet::new(),
    })
}

/// What the project's description asks for and its lock, which has `installed`, does not: the lock is out of date. For files that are no lock,
/// and for what only some systems need, nothing.
pub(crate) fn not_locked(
    app_dir: &Path,
    source: &Source,
    installed: &BTreeSet<String>,
) -> Result<Vec<String>, ProjectError> {
    if !matches!(
        source,
        Source::UvLock | Source::PdmLock | Source::PoetryLock | Source::PipfileLock
    ) {
        return Ok(Vec::new());
    }
    let project = toml_of(app_dir, PYPROJECT_TOML)?;
    let wanted = match source {
        Source::PoetryLock => {
            let mut wanted = listed(at(&project, &["project", "dependencies"]));
            wanted.extend(keys(at(&project, &["tool", "poetry", "dependencies"])));
            wanted.remove("python");
            wanted
        }
        Source::PipfileLock => keys(toml_of(app_dir, "Pipfile")?.get("packages")),
        _ => listed(at(&project, &["project", "dependencies"])),
    };
    // A project may ask for itself with extras; Poetry's lock does not name it.
    let own = [&["project", "name"][..], &["tool", "poetry", "name"]];
    let own: BTreeSet<String> = own
        .into_iter()
        .filter_map(|keys| Some(normalized(at(&project, keys)?.as_str()?)))
        .collect();
    Ok(wanted
        .into_iter()
        .filter(|name| !installed.contains(name) && !own.contains(name))
        .collect())
}

fn toml_of(app_dir: &Path, name: &str) -> Result<Table, ProjectError> {
    Ok(super::toml_file(app_dir, name)?.unwrap_or_default())
}

fn of_packages(lock: &Table, key: &str) -> BTreeSet<String> {
    lock.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|package| Some(normalized(package.get("name")?.as_str()?)))
        .collect()
}

fn listed(requirements: Option<&Value>) -> BTreeSet<String> {
    requirements
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|requirement| name(requirement.as_str()?.trim()))
        .collect()
}

fn keys(table: Option<&Value>) -> BTreeSet<String> {
    table
        .and_then(Value::as_table)
        .into_iter()
        .flatten()
        .map(|(name, _)| normalized(name))
        .collect()
}

fn locked_by_pipenv(app_dir: &Path) -> Result<BTreeSet<String>, ProjectError> {
    let lock = super::json_file(app_dir, Source::PipfileLock.file())?;
    let packages = lock.get("default").and_then(serde_json::Value::as_object);
    Ok(packages
        .into_iter()
        .flatten()
        .map(|(name, _)| normalized(name))
        .collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn app(files: &[(&str, &str)]) -> tempfile::TempDir {
        let app = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(app.path().join(name), text).unwrap();
        }
        app
    }

    fn missing(app_dir: &Path, source: &Source) -> Vec<String> {
        let installed = installed(app_dir, source, &Env::new()).unwrap();
        not_locked(app_dir, source, &installed).unwrap()
    }

    #[test]
    fn a_lock_lacks_what_was_added_since() {
        let project =
            "[project]\ndependencies = [\"Flask>=3\", \"zope.interface ; python_version > '3'\"]\n";
        let lock = "[[package]]\nname = \"flask\"\n";
        for source in [Source::UvLock, Source::PdmLock, Source::PoetryLock] {
            let app = app(&[(PYPROJECT_TOML, project), (source.file(), lock)]);
            assert_eq!(missing(app.path(), &source), ["zope-interface"]);
        }
        let app = app(&[
            ("Pipfile", "[packages]\nDjango = \"*\"\nredis = \"*\"\n"),
            ("Pipfile.lock", "{\"default\": {\"django\": {}}}"),
        ]);
        assert_eq!(missing(app.path(), &Source::PipfileLock), ["redis"]);
    }

    #[test]
    fn names_of_requirements() {
        for (text, expected) in [
            ("Flask[async]>=3", Some("flask")),
            ("zope.interface", Some("zope-interface")),
            ("alpha @ https://host/a.whl", Some("alpha")),
            ("./lib", None),
            ("lib/x.whl", None),
            ("-e .", None),
            ("https://host/x", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
    }
}

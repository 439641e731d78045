//! Which Pythons a project says it runs on, besides the files that name a version.

use super::{PYPROJECT_TOML, ProjectError, Source, pyproject::at, toml_file};
use crate::python_range::Range;
use std::path::Path;
use toml::{Table, Value};

/// Whose range it is, where the name of a script would stand.
const SCRIPT: &str = "the script";

/// The ranges that the project's own files give, the chosen source's first: a script's `requires-python`,
/// the Pipfile's `requires`, `pyproject.toml`'s `requires-python`, Poetry's constraint.
pub(crate) fn ranges(app_dir: &Path, source: Option<&Source>) -> Result<Vec<Range>, ProjectError> {
    let mut ranges = Vec::new();
    let mut add = |file: &'static str, document: &Table, keys: &[&str]| {
        if let Some(text) = at(document, keys).and_then(Value::as_str) {
            match Range::parse(file, text) {
                Some(range) => ranges.push(range),
                None => {
                    return Err(ProjectError::MalformedRange {
                        file,
                        key: keys.join("."),
                        text: text.to_owned(),
                    });
                }
            }
        }
        Ok(())
    };
    match source {
        Some(Source::Script(file)) => {
            let table = super::script::table(app_dir, file)?.unwrap_or_default();
            add(SCRIPT, &table, &["requires-python"])?;
        }
        Some(Source::PipfileLock) => {
            let pipfile = toml_file(app_dir, "Pipfile")?.unwrap_or_default();
            add("Pipfile", &pipfile, &["requires", "python_full_version"])?;
            add("Pipfile", &pipfile, &["requires", "python_version"])?;
        }
        _ => {
            let project = toml_file(app_dir, PYPROJECT_TOML)?.unwrap_or_default();
            add(PYPROJECT_TOML, &project, &["project", "requires-python"])?;
            add(
                PYPROJECT_TOML,
                &project,
                &["tool", "poetry", "dependencies", "python"],
            )?;
        }
    }
    Ok(ranges)
}

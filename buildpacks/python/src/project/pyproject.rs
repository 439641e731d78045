//! What `pyproject.toml` says about a project without a lock.

use super::{PYPROJECT_TOML, ProjectError};
use std::path::Path;
use toml::{Table, Value};

pub(super) fn read(app_dir: &Path) -> Result<Option<Table>, ProjectError> {
    super::toml_file(app_dir, PYPROJECT_TOML)
}

/// Whether there is something to install: `Some(true)` a package, to be built as its build system says;
/// `Some(false)` only what the project depends on; `None` nothing, as where only tools are configured.
///
/// A project without a build system is no package, which is uv's rule: an app's folder is rarely laid out as one.
pub(super) fn kind(document: &Table, has_setup: bool) -> Result<Option<bool>, ProjectError> {
    let is_off = |tool: &str, key: &str| at(document, &["tool", tool, key]) == Some(&false.into());
    let no_package = is_off("uv", "package")
        || is_off("poetry", "package-mode")
        || is_off("pdm", "distribution");
    let asks_for_package = at(document, &["tool", "uv", "package"]) == Some(&true.into());
    let has_build_system = document.contains_key("build-system");
    if !no_package && (has_build_system || asks_for_package || has_setup) {
        return Ok(Some(true));
    }
    if document.contains_key("project") {
        return Ok(names_anything(document).then_some(false));
    }
    // Poetry's own way to list them, which no other tool reads, and Poetry only with a lock.
    let poetry = at(document, &["tool", "poetry", "dependencies"]).and_then(Value::as_table);
    if poetry.is_some_and(|names| names.keys().any(|name| name != "python")) {
        return Err(ProjectError::MissingLock {
            file: PYPROJECT_TOML,
            lock: "poetry.lock",
            command: "poetry lock",
        });
    }
    Ok(None)
}

fn names_anything(document: &Table) -> bool {
    let listed = at(document, &["project", "dependencies"])
        .and_then(Value::as_array)
        .is_some_and(|dependencies| !dependencies.is_empty());
    listed
        || at(document, &["project", "optional-dependencies"]).is_some()
        || document.contains_key("dependency-groups")
}

/// Whether one of these groups is among those for developers: of PEP 735, or PDM's own from before it.
pub(super) fn selects_developers(document: &Table, groups: &[String]) -> bool {
    let places: [&[&str]; 2] = [&["dependency-groups"], &["tool", "pdm", "dev-dependencies"]];
    places
        .into_iter()
        .filter_map(|keys| at(document, keys)?.as_table())
        .flat_map(Table::keys)
        .any(|name| groups.iter().any(|group| is_same_name(group, name)))
}

/// Whether two names of groups are one: case and kind of separator don't count (PEP 735, as PEP 503).
fn is_same_name(one: &str, other: &str) -> bool {
    let parts = |name: &str| -> Vec<String> {
        name.split(['-', '_', '.'])
            .filter(|part| !part.is_empty())
            .map(str::to_ascii_lowercase)
            .collect()
    };
    parts(one) == parts(other)
}

/// The value behind a row of keys.
pub(super) fn at<'a>(document: &'a Table, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    let mut value = document.get(*first)?;
    for key in rest {
        value = value.get(key)?;
    }
    Some(value)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn kind_of(text: &str, has_setup: bool) -> Result<Option<bool>, ProjectError> {
        kind(&text.parse().unwrap(), has_setup)
    }

    #[test]
    fn tools_that_are_configured_ask_for_nothing() {
        for text in [
            "[tool.black]\nline-length = 100\n",
            "[tool.poetry.dependencies]\npython = \"^3.12\"\n",
            "[project]\nname = \"app\"\n",
        ] {
            assert_eq!(kind_of(text, false).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn packages_have_a_build_system() {
        let app = "[project]\ndependencies = [\"flask\"]\n";
        assert_eq!(kind_of(app, false).unwrap(), Some(false));
        assert_eq!(kind_of(app, true).unwrap(), Some(true));
        let package = format!("{app}[build-system]\nrequires = []\n");
        assert_eq!(kind_of(&package, false).unwrap(), Some(true));
        let switched_off = format!("{package}[tool.uv]\npackage = false\n");
        assert_eq!(kind_of(&switched_off, false).unwrap(), Some(false));
    }

    #[test]
    fn poetrys_dependencies_need_its_lock() {
        let text =
            "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\nflask = \"*\"\n";
        assert!(matches!(
            kind_of(text, false),
            Err(ProjectError::MissingLock {
                lock: "poetry.lock",
                ..
            })
        ));
    }

    #[test]
    fn groups_for_developers() {
        let text = "[project.optional-dependencies]\nweb = []\n[dependency-groups]\nBack_Ground = []\n\
                    [tool.pdm.dev-dependencies]\ntest = []\n";
        let document = text.parse().unwrap();
        for (groups, expected) in [
            (&["back-ground"][..], true),
            (&["test", "web"], true),
            (&["web"], false),
            (&["background"], false),
            (&[], false),
        ] {
            let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
            assert_eq!(
                selects_developers(&document, &groups),
                expected,
                "{groups:?}"
            );
        }
    }
}

//! Words about locks and projects, by what their tools printed.

use super::between;
use crate::install::InstallError;
use crate::project::{EXTRAS_VARIABLE, GROUPS_VARIABLE, Source};

/// What the tools say when a lock does not belong to the file beside it.
const OUTDATED: [&str; 9] = [
    // uv
    "needs to be updated, but `--locked` was provided",
    "Missing workspace member `",
    // Poetry
    "changed significantly since poetry.lock was last generated",
    "poetry.lock is not compatible",
    "does not have a metadata entry",
    // PDM
    "Lockfile doesn't satisfy the project requirements",
    "Lockfile is not compatible with PDM",
    "Please run `pdm lock`",
    // Pipenv
    "out-of-date",
];

/// Title and advice, if the failure is about the lock or about what was selected from it.
pub(super) fn cause(error: &InstallError, output: &str) -> Option<(String, String)> {
    let (description, command) = match error.source_file {
        Source::UvLock => ("pyproject.toml", "uv lock"),
        Source::PoetryLock => ("pyproject.toml", "poetry lock"),
        Source::PdmLock => ("pyproject.toml", "pdm lock"),
        Source::PipfileLock => ("Pipfile", "pipenv lock"),
        Source::Script(_) => ("the script", "uv lock --script"),
        _ => return selection(output).or_else(|| layout(output)),
    };
    selection(output)
        .or_else(|| outdated(error, output, description, command))
        .or_else(|| root_package(output))
        .or_else(|| layout(output))
}

fn outdated(
    error: &InstallError,
    output: &str,
    description: &str,
    command: &str,
) -> Option<(String, String)> {
    if !OUTDATED.iter().any(|text| output.contains(text)) {
        return None;
    }
    let file = &error.file;
    Some((
        format!("{file} does not fit {description}"),
        format!(
            "{description} was changed and {file} was not made again, so it does not say which versions to install.\n\
             Make it again, run the app's tests with it, and commit both files:\n    {command}\n\
             If it was made already, check that both files are committed and that neither is excluded (.slugignore,\n\
             project.toml)."
        ),
    ))
}

/// An extra or a group that the project does not have.
fn selection(output: &str) -> Option<(String, String)> {
    let (what, name, variable) = [
        (
            "extra",
            between(output, "Extra `", "` is not defined"),
            EXTRAS_VARIABLE,
        ),
        (
            "group",
            between(output, "Group `", "` is not defined"),
            GROUPS_VARIABLE,
        ),
        (
            "extra",
            between(output, "Extra [", "] is not specified"),
            EXTRAS_VARIABLE,
        ),
        (
            "group",
            between(output, "Group(s) not found: ", " ("),
            GROUPS_VARIABLE,
        ),
        (
            "group",
            between(output, "The dependency group '", "' was not found"),
            GROUPS_VARIABLE,
        ),
    ]
    .into_iter()
    .find_map(|(what, name, variable)| Some((what, name?, variable)))?;
    Some((
        format!("There is no {what} {name}"),
        format!(
            "{variable} asks for {name}, which the project does not define. Check its spelling, or take it out of \
             {variable}."
        ),
    ))
}

/// Poetry installs the project itself unless it is told that it is no package.
fn root_package(output: &str) -> Option<(String, String)> {
    let name = between(output, "No file/folder found for package ", "\n")?;
    Some((
        format!("Poetry finds no package {name} to install"),
        format!(
            "Poetry takes the project for a package, but there is no folder or module {name}. If it is an app and no \
             package,\nsay so in pyproject.toml:\n    [tool.poetry]\n    package-mode = false"
        ),
    ))
}

/// setuptools does not guess which of several folders is the package.
fn layout(output: &str) -> Option<(String, String)> {
    if ![
        "Multiple top-level packages discovered",
        "Multiple top-level modules discovered",
    ]
    .iter()
    .any(|text| output.contains(text))
    {
        return None;
    }
    Some((
        "The project's folder is not laid out as a package".to_owned(),
        "pyproject.toml or setup.py describes a package, but there are several folders or modules that could be it.\n\
         If it is an app and no package, remove [build-system] from pyproject.toml (its dependencies are installed \
         all the\nsame). If it is a package, say which folder it is:\n    \
         [tool.setuptools]\n    packages = [\"NAME\"]"
            .to_owned(),
    ))
}

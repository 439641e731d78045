//! Words about locks and projects, by what their tools printed.

use super::super::known::between;
use crate::install::InstallError;
use crate::project::{EXTRAS_VARIABLE, GROUPS_VARIABLE, MEMBER_VARIABLE, Source};

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
        _ => return selection(output).or_else(|| incomplete(output)),
    };
    selection(output)
        .or_else(|| outdated(error, output, description, command))
        .or_else(|| root_package(output))
        .or_else(|| unknown_format(error, output))
        .or_else(|| gone(error, output))
        .or_else(|| incomplete(output))
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
    const EXTRA: (&str, &str) = ("extra", EXTRAS_VARIABLE);
    const MEMBER: (&str, &str) = ("member of the workspace", MEMBER_VARIABLE);
    const GROUP: (&str, &str) = ("group", GROUPS_VARIABLE);
    let ((what, variable), name) = [
        (EXTRA, "Extra `", "` is not defined"),
        (GROUP, "Group `", "` is not defined"),
        (EXTRA, "Extra [", "] is not specified"),
        (GROUP, "Group(s) not found: ", " ("),
        (MEMBER, "The workspace does not have a member ", ":"),
        (GROUP, "The dependency group '", "' was not found"),
    ]
    .into_iter()
    .find_map(|(kind, start, end)| Some((kind, between(output, start, end)?)))?;
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

/// A lock that a newer version of its tool made.
fn unknown_format(error: &InstallError, output: &str) -> Option<(String, String)> {
    let is_newer = [
        "uses an unsupported schema version",
        "The lock file is not compatible with the current version of Poetry",
    ]
    .iter()
    .any(|text| output.contains(text));
    if !is_newer {
        return None;
    }
    let file = &error.file;
    Some((
        format!("{file} has a format that {} does not know", error.installer),
        format!(
            "{file} was made by a newer version of its tool than the one that this buildpack uses. Make it again with {} or \
             an older\none, or let the build use the newer one (BP_UV_VERSION, BP_POETRY_VERSION).",
            error.installer
        ),
    ))
}

/// A file that the lock names and that its index does not have any more.
fn gone(error: &InstallError, output: &str) -> Option<(String, String)> {
    if ![
        "client error (404",
        "404 Client Error",
        "client error (410",
        "410 Client Error",
    ]
    .iter()
    .any(|text| output.contains(text))
    {
        return None;
    }
    let file = &error.file;
    Some((
        format!("A file that {file} names is not there any more"),
        format!(
            "{file} says where each package's file is; the index does not have one of them (see the address above). It was \
             removed,\nor the lock was made with another index than the one that can be reached here. Make the lock again \
             and commit it."
        ),
    ))
}

/// A description that lacks what it must have (PEP 621).
fn incomplete(output: &str) -> Option<(String, String)> {
    let field = between(output, "but the required `", "` field is not set")
        .or_else(|| between(output, "but the required `", "` field is neither set"))?;
    Some((
        format!("pyproject.toml has no {field}"),
        format!(
            "A [project] table needs a name and a version; {field} is missing. Add it, for example:\n    \
             [project]\n    name = \"shop\"\n    version = \"0.1.0\""
        ),
    ))
}

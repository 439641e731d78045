//! `poetry sync`, `pdm sync`, `pipenv sync`: each lock by the tool that made it.

use crate::command::{self, CommandError};
use crate::layers::project_tool::{Kind, ProjectTool};
use crate::project::{Plan, Selection};
use crate::tool_env;
use libcnb::Env;
use std::path::Path;
use std::process::Command;

/// Installs the lock into a fresh environment. A lock that does not fit the file that it was made from is refused.
pub(super) fn install(
    tool: &ProjectTool,
    cache: &Path,
    plan: &Plan,
    venv: &Path,
    app_dir: &Path,
    env: &Env,
) -> Result<(), CommandError> {
    let env = tool_env::for_project_tool(env, venv, cache);
    for arguments in runs(tool, &plan.selection) {
        command::stream(
            Command::new(&tool.program)
                .args(arguments)
                .current_dir(app_dir)
                .env_clear()
                .envs(&env),
        )?;
    }
    Ok(())
}

/// The commands, one after the other. Groups for developers are left out by all of them, unless they are asked for.
fn runs(tool: &ProjectTool, selection: &Selection) -> Vec<Vec<String>> {
    let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    match tool.kind {
        Kind::Poetry => {
            let mut groups = vec!["main".to_owned()];
            groups.extend(selection.groups.iter().cloned());
            // Poetry has "sync" since 2.0.
            let mut sync = match tool.version.split('.').next() {
                Some("1") => owned(&["install", "--sync"]),
                _ => owned(&["sync"]),
            };
            sync.extend(owned(&["--no-ansi", "--only", &groups.join(",")]));
            if !selection.extras.is_empty() {
                sync.extend(["--extras".to_owned(), selection.extras.join(" ")]);
            }
            vec![sync]
        }
        Kind::Pdm => {
            let mut sync = owned(&["sync", "--no-editable", "--fail-fast"]);
            // PDM takes no group for developers together with it, and without it only those that are named, if any is.
            if !selection.for_developers {
                sync.push("--prod".to_owned());
            }
            sync.extend(selection.flags("--group", "--group"));
            vec![owned(&["lock", "--check"]), sync]
        }
        // Its locks and projects are installed by `uv.rs`.
        Kind::Uv => Vec::new(),
        Kind::Pipenv => {
            // Pipenv has no extras; its groups are categories beside "packages".
            let mut categories = vec!["packages".to_owned()];
            categories.extend(selection.groups.iter().cloned());
            let sync = owned(&["sync", "--categories", &categories.join(" ")]);
            vec![owned(&["verify"]), sync]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(kind: Kind, version: &str, for_developers: bool) -> Vec<String> {
        let tool = ProjectTool {
            kind,
            version: version.to_owned(),
            program: kind.name().into(),
        };
        let selection = Selection {
            groups: vec!["worker".to_owned()],
            for_developers,
            ..Selection::default()
        };
        let runs = runs(&tool, &selection);
        runs.iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn poetry_of_before_and_after_its_sync() {
        for version in ["2.0.0", "2.2.1"] {
            assert_eq!(
                lines(Kind::Poetry, version, false),
                ["sync --no-ansi --only main,worker"]
            );
        }
        assert_eq!(
            lines(Kind::Poetry, "1.8.5", false),
            ["install --sync --no-ansi --only main,worker"]
        );
    }

    #[test]
    fn pdm_with_and_without_groups_for_developers() {
        assert_eq!(
            lines(Kind::Pdm, "2.26.2", true),
            [
                "lock --check",
                "sync --no-editable --fail-fast --group worker"
            ]
        );
        assert_eq!(
            lines(Kind::Pdm, "2.26.2", false),
            [
                "lock --check",
                "sync --no-editable --fail-fast --prod --group worker"
            ]
        );
    }
}

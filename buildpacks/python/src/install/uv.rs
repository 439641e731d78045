//! `uv pip install` and `uv sync`.

use super::{Freshness, Location};
use crate::command::{self, CommandError};
use crate::project::{self, Plan, Selection, Source};
use crate::tool_env;
use libcnb::Env;
use std::path::Path;
use std::process::Command;

/// Brings the environment to what the plan asks for; returns what uv said.
pub(crate) fn install(
    program: &Path,
    cache: &Path,
    plan: &Plan,
    venv: &Path,
    freshness: Freshness,
    app_dir: &Path,
    env: &Env,
) -> Result<String, CommandError> {
    let env = tool_env::for_builds_from_source(env);
    let mut command = Command::new(program);
    match &plan.source {
        Source::UvLock => {
            of_lock(&mut command, plan);
            command.env_clear().envs(&tool_env::for_uv_lock(&env));
        }
        Source::Script(script) => {
            // `uv pip install` would leave out what the script says of its indexes and sources.
            command.args(["sync", "--active", "--script"]).arg(script);
            if project::has_script_lock(app_dir, script) {
                command
                    .arg("--locked")
                    .env_clear()
                    .envs(&tool_env::for_uv_lock(&env));
            } else {
                command
                    .arg("--upgrade")
                    .env_clear()
                    .envs(&tool_env::for_uv(&env));
            }
        }
        source => {
            // One run resolves, links what is new and removes what is no longer asked for. `--upgrade` keeps
            // the versions in the environment from having a say, so that an environment brought up to date
            // equals one made afresh; and uv marks every package as requested, so no marker tells them apart.
            command
                .args(["pip", "install", "--exact"])
                .args((freshness != Freshness::Shared).then_some("--upgrade"))
                .args(targets(source, &plan.selection))
                .env_clear();
            if *source == Source::Pylock {
                command.envs(&tool_env::for_uv_lock(&env));
            } else {
                command.envs(&tool_env::for_uv(&env));
            }
        }
    }
    command
        .arg("--python")
        .arg(venv.join("bin/python"))
        .current_dir(app_dir)
        .env("UV_CACHE_DIR", cache)
        // Compiled afterwards, and only what is new.
        .env("UV_COMPILE_BYTECODE", "false");
    if matches!(plan.source, Source::UvLock | Source::Script(_)) {
        command
            .env("UV_PROJECT_ENVIRONMENT", venv)
            .env("VIRTUAL_ENV", venv);
    }
    if !env.contains_key("UV_LINK_MODE") {
        command.env("UV_LINK_MODE", "hardlink");
    }
    match freshness {
        Freshness::Cached => {}
        Freshness::Revalidated => {
            command.arg("--refresh");
        }
        // A source package's code would run where all apps' packages can be written to. `uv pip` has no variable for it.
        Freshness::Shared => {
            command.arg("--no-build");
        }
    }
    command::stream_and_keep(&mut command)
}

/// `uv sync`, which refuses a lock that does not fit `pyproject.toml`. Default groups are for developers; the
/// app's own packages are built, not linked, because what a build makes of a folder is only found that way.
fn of_lock(command: &mut Command, plan: &Plan) {
    command
        .args(["sync", "--locked", "--no-default-groups", "--no-editable"])
        .args(plan.selection.flags("--extra", "--group"));
    if let Some(member) = &plan.selection.member {
        command.args(["--package", member]);
    }
    for package in &plan.local_packages {
        command.args(["--reinstall-package", package]);
    }
}

fn targets(source: &Source, selection: &Selection) -> Vec<String> {
    if matches!(
        source,
        Source::Pyproject { is_package: true } | Source::SetupPy
    ) {
        return of_project(selection);
    }
    let mut targets = vec!["--requirement".to_owned(), source.file().to_owned()];
    if *source == Source::Pylock {
        targets.extend(["--preview-features".to_owned(), "pylock".to_owned()]);
    }
    if matches!(source, Source::Pylock | Source::Pyproject { .. }) {
        targets.extend(selection.flags("--extra", "--group"));
    }
    targets
}

/// The project in the app's root with the extras and groups that are asked for; pip and uv spell them alike.
pub(super) fn of_project(selection: &Selection) -> Vec<String> {
    let mut targets = vec![if selection.extras.is_empty() {
        ".".to_owned()
    } else {
        format!(".[{}]", selection.extras.join(","))
    }];
    for group in &selection.groups {
        targets.extend(["--group".to_owned(), group.clone()]);
    }
    targets
}

/// The place behind uv's "in `requirements.txt` at position 42" and "…: requirements.txt:2:1".
pub(super) fn location(output: &str, app_dir: &Path) -> Option<Location> {
    at_position(output, app_dir).or_else(|| {
        let (_, after) = output.split_once("Unexpected '")?;
        let mut parts = after.lines().next()?.rsplit(':');
        let column = parts.next()?.parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        let file = parts.next()?.trim().to_owned();
        Some(Location { file, line, column })
    })
}

fn at_position(output: &str, app_dir: &Path) -> Option<Location> {
    let (before, after) = output.split_once("` at position ")?;
    let (_, file) = before.rsplit_once('`')?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    let position: usize = digits.parse().ok()?;
    let text = std::fs::read(app_dir.join(file)).ok()?;
    let before = &text[..position.min(text.len())];
    let begin = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Some(Location {
        file: file.to_owned(),
        line: before.split(|byte| *byte == b'\n').count(),
        column: before.len() - begin + 1,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn positions_become_lines() {
        let app = tempfile::tempdir().unwrap();
        std::fs::write(app.path().join("r.txt"), "idna\nfoo bar\n").unwrap();
        let found = location(
            "error: Couldn't parse requirement in `r.txt` at position 5\n  cause: ...",
            app.path(),
        );
        assert_eq!(
            found,
            Some(Location {
                file: "r.txt".to_owned(),
                line: 2,
                column: 1
            })
        );
        assert_eq!(
            location(
                "error: Unexpected '-', expected '-c', '-e', '-r' or the start of a requirement: r.txt:2:7",
                app.path()
            ),
            Some(Location {
                file: "r.txt".to_owned(),
                line: 2,
                column: 7
            })
        );
        assert_eq!(location("error: something else", app.path()), None);
    }
}

//! `uv pip install`.

use super::{Freshness, Location};
use crate::command::{self, CommandError};
use crate::requirements::REQUIREMENTS_TXT;
use crate::tool_env;
use libcnb::Env;
use std::path::Path;
use std::process::Command;

/// One run resolves, links what is new and removes what is no longer asked for. `--upgrade` keeps the
/// versions in the environment from having a say, so that an environment brought up to date equals
/// one made afresh; and uv marks every package as requested, so no marker tells them apart either.
pub(super) fn install(
    program: &Path,
    cache: &Path,
    venv: &Path,
    freshness: Freshness,
    app_dir: &Path,
    env: &Env,
) -> Result<(), CommandError> {
    let env = tool_env::for_uv(&tool_env::for_builds_from_source(env));
    let mut command = Command::new(program);
    command
        .args(["pip", "install", "--exact", "--upgrade", "--python"])
        .arg(venv.join("bin/python"))
        .args(["--requirement", REQUIREMENTS_TXT])
        .current_dir(app_dir)
        .env_clear()
        .envs(&env)
        .env("UV_CACHE_DIR", cache)
        // Compiled afterwards, and only what is new.
        .env("UV_COMPILE_BYTECODE", "false");
    if !env.contains_key("UV_LINK_MODE") {
        command.env("UV_LINK_MODE", "hardlink");
    }
    if freshness == Freshness::Revalidated {
        command.arg("--refresh");
    }
    command::stream(&mut command)
}

/// The line behind uv's "in `requirements.txt` at position 42".
pub(super) fn location(output: &str, app_dir: &Path) -> Option<Location> {
    let (before, after) = output.split_once("` at position ")?;
    let (_, file) = before.rsplit_once('`')?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    let position: usize = digits.parse().ok()?;
    let text = std::fs::read(app_dir.join(file)).ok()?;
    let line = text
        .iter()
        .take(position)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1;
    Some(Location {
        file: file.to_owned(),
        line,
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
                line: 2
            })
        );
        assert_eq!(location("error: something else", app.path()), None);
    }
}

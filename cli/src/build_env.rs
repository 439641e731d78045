//! Variables for a build: `-e`, `--env-file`, project.toml.

use crate::failure::{Exit, Failure, OrFail};
use slug_runtime::state::env_file;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What errors call variables of the command line.
const COMMAND_LINE: &str = "-e";

/// Later sources win: project.toml, then `--env-file` in order, then `-e` in order.
pub(crate) fn collect(
    project: &[(String, String)],
    files: &[PathBuf],
    given: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for (name, value) in project {
        variables.insert(checked(name, "project.toml")?, value.clone());
    }
    for file in files {
        read_file(file, &mut variables)?;
    }
    for item in given {
        add(item, COMMAND_LINE, &mut variables)?;
    }
    Ok(variables)
}

fn read_file(path: &Path, variables: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    let bytes = std::fs::read(path).or_fail(Exit::Input, || {
        format!("cannot read the variables in {}", path.display())
    })?;
    for entry in env_file::parse(&bytes).or_fail(Exit::Input, || path.display().to_string())? {
        match entry.value {
            Some(value) => drop(variables.insert(entry.name, value)),
            None => add_own(entry.name, variables),
        }
    }
    Ok(())
}

/// As docker and pack do: a name alone stands for the value that slugc itself was started with, and
/// an unset variable is left out.
fn add_own(name: String, variables: &mut BTreeMap<String, String>) {
    if let Ok(value) = std::env::var(&name) {
        variables.insert(name, value);
    }
}

/// `KEY=VALUE`, or `KEY`.
fn add(item: &str, place: &str, variables: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    if let Some((name, value)) = item.split_once('=') {
        variables.insert(checked(name, place)?, value.to_owned());
    } else {
        add_own(checked(item, place)?, variables);
    }
    Ok(())
}

fn checked(name: &str, place: &str) -> Result<String, Failure> {
    let first_is_good = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest_is_good = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if first_is_good && rest_is_good {
        return Ok(name.to_owned());
    }
    let exit = if place == COMMAND_LINE {
        Exit::Usage
    } else {
        Exit::Input
    };
    // The text is not shown: it may be a secret that stands in the wrong place.
    Err(
        Failure::new(exit, format!("{place} does not name a variable")).hint(
            "write KEY=VALUE; KEY has letters, digits and underscores and starts with no digit",
        ),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn later_sources_win() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("build.env");
        std::fs::write(&file, "# a comment\nA=file\nB=x=y\r\n\n").unwrap();
        let project = [
            ("A".to_owned(), "project".to_owned()),
            ("C".to_owned(), "c".to_owned()),
        ];
        let variables = collect(&project, &[file], &["D=".to_owned()]).unwrap();
        let expected = [("A", "file"), ("B", "x=y"), ("C", "c"), ("D", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables, BTreeMap::from(expected));
    }

    #[test]
    fn an_error_names_the_line_but_not_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("build.env");
        std::fs::write(&file, "A=1\nhunter2 secret\n").unwrap();
        let error = crate::ui::error::chain(&collect(&[], &[file], &[]).unwrap_err());
        assert!(
            error.ends_with("build.env: line 2, column 9: after the name there has to be ="),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

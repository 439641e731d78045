//! Variables for a build: `-e`, `--env-file`, project.toml.

use crate::failure::{Exit, Failure, OrFail};
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
    let text = std::fs::read_to_string(path).or_fail(Exit::Input, || {
        format!("cannot read the variables in {}", path.display())
    })?;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let place = format!("{} line {}", path.display(), index + 1);
        add(line, &place, variables)?;
    }
    Ok(())
}

/// `KEY=VALUE`, or `KEY` for the value that slugc itself was started with.
fn add(item: &str, place: &str, variables: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    if let Some((name, value)) = item.split_once('=') {
        variables.insert(checked(name, place)?, value.to_owned());
    } else {
        let name = checked(item, place)?;
        // As docker and pack do: an unset variable is left out.
        if let Ok(value) = std::env::var(&name) {
            variables.insert(name, value);
        }
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
        let error = collect(&[], &[file], &[]).unwrap_err().to_string();
        assert!(
            error.ends_with("line 2 does not name a variable"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

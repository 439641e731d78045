//! Scripts that say what they need in a comment (PEP 723).

use super::{ProjectError, Source, parsed, text};
use std::io;
use std::path::Path;

const BEGIN: &str = "# /// script";
const END: &str = "# ///";

/// Whether this can be the name of a script in the app's root.
pub(super) fn is_name(name: &str) -> bool {
    name.strip_suffix(".py")
        .is_some_and(|stem| !stem.is_empty() && !name.contains('/') && !name.starts_with('-'))
}

/// The one script in the app's root that has such a comment.
pub(super) fn find(app_dir: &Path) -> Result<Option<Source>, ProjectError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(app_dir).map_err(ProjectError::Look)? {
        let entry = entry.map_err(ProjectError::Look)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_name(&name) && entry.path().is_file() && has_block(&entry.path())? {
            names.push(name);
        }
    }
    names.sort();
    match names.len() {
        0 => Ok(None),
        1 => Ok(names.pop().map(Source::Script)),
        _ => Err(ProjectError::SeveralScripts { names }),
    }
}

/// What the script asks for.
pub(super) fn table(app_dir: &Path, file: &str) -> Result<Option<toml::Table>, ProjectError> {
    let Some(text) = text(app_dir, file)? else {
        return Ok(None);
    };
    let Some(block) = block(file, &text)? else {
        return Ok(None);
    };
    parsed(file, &block).map(Some)
}

/// The text inside the comment.
pub(super) fn block(file: &str, text: &str) -> Result<Option<String>, ProjectError> {
    let mut lines = text.lines().enumerate();
    let Some((begin, _)) = lines.find(|(_, line)| line.trim_end() == BEGIN) else {
        return Ok(None);
    };
    let mut block = String::new();
    for (_, line) in lines {
        if line.trim_end() == END {
            return Ok(Some(block));
        }
        let Some(content) = line.strip_prefix('#') else {
            break;
        };
        block.push_str(content.strip_prefix(' ').unwrap_or(content));
        block.push('\n');
    }
    Err(ProjectError::OpenScript {
        file: file.to_owned(),
        line: begin + 1,
    })
}

/// Scripts in other encodings are no business of ours until they are asked for.
fn has_block(path: &Path) -> Result<bool, ProjectError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes)
            .lines()
            .any(|line| line.trim_end() == BEGIN)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ProjectError::Look(error)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        let text = "#!/usr/bin/env python\n# /// script\n# dependencies = [\n#   \"a\",\n# ]\n#\n# ///\nx = 1\n";
        let found = block("s.py", text).unwrap().unwrap();
        assert_eq!(found, "dependencies = [\n  \"a\",\n]\n\n");
        assert_eq!(block("s.py", "print()\n").unwrap(), None);
        assert!(matches!(
            block("s.py", "\n# /// script\n# a = 1\nx = 1\n"),
            Err(ProjectError::OpenScript { line: 2, .. })
        ));
    }
}

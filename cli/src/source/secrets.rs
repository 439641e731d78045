//! Which files hold secrets: the Python buildpack's list, which keeps them out of images under other platforms too.

use crate::failure::Failure;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const LIST: &str = include_str!("../../../buildpacks/python/secrets.txt");

/// How much of a file is read to find out whether it is one, in bytes.
const READ: u64 = 64 * 1024;

/// The rules of the list.
pub(super) struct Secrets {
    by_name: Gitignore,
    /// Names that may be secrets, with the text that makes them one.
    by_text: Vec<(Gitignore, &'static str)>,
}

impl Secrets {
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let mut by_name = GitignoreBuilder::new(root);
        let mut by_text = Vec::new();
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let Some((pattern, text)) = line.split_once('\t') else {
                // A folder in front means one anywhere.
                let pattern = if line.contains('/') {
                    format!("**/{line}")
                } else {
                    line.to_owned()
                };
                super::add_line(&mut by_name, "the list of secrets", &pattern)?;
                continue;
            };
            let mut names = GitignoreBuilder::new(root);
            super::add_line(&mut names, "the list of secrets", pattern)?;
            by_text.push((super::finish(&names)?, text));
        }
        Ok(Self {
            by_name: super::finish(&by_name)?,
            by_text,
        })
    }

    /// Whether a file, by its path relative to the root, holds secrets. Only those whose name leaves it open are read.
    pub(super) fn has(&self, root: &Path, path: &Path) -> bool {
        match self.by_name.matched(path, false) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => self.by_text.iter().any(|(names, text)| {
                matches!(names.matched(path, false), Match::Ignore(_))
                    && holds(&root.join(path), text)
            }),
        }
    }
}

fn holds(file: &Path, text: &str) -> bool {
    // A pipe would never end.
    if !std::fs::symlink_metadata(file).is_ok_and(|meta| meta.is_file()) {
        return false;
    }
    let mut content = Vec::new();
    // What can't be read is told of when it is copied.
    File::open(file)
        .and_then(|file| file.take(READ).read_to_end(&mut content))
        .is_ok()
        && content
            .windows(text.len())
            .any(|window| window == text.as_bytes())
}

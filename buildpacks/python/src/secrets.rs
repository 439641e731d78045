//! Files with secrets in the app's folder, which stay out of the image. slugc leaves them out when it copies the source;
//! other platforms bring the whole folder, so they are removed from their copy before anything else is done.

use crate::log;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Which files are meant, with the reasons for each form of line.
const LIST: &str = include_str!("../secrets.txt");

/// Where the user names those that the image is to have all the same, as `!path`.
const IGNORE_FILE: &str = ".slugignore";

/// How many folders below the app's root are looked at.
const DEPTH: usize = 4;

/// How much of a file is read to find out whether it is one, in bytes.
const READ: u64 = 64 * 1024;

/// Folders with other people's files.
const NOT_THE_APPS: [&str; 6] = [
    ".git",
    "__pycache__",
    "node_modules",
    "site-packages",
    "staticfiles",
    "venv",
];

/// The secrets could not be looked for, or one could not be taken out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("could not read {IGNORE_FILE}")]
    Ignored(#[source] io::Error),
    #[error("could not keep the secret file {} out of the image", path.display())]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Removes the app's files with secrets but those that the user named; returns their paths.
pub(crate) fn remove(app_dir: &Path) -> Result<Vec<PathBuf>, SecretError> {
    let found = find(app_dir)?;
    for path in &found {
        std::fs::remove_file(app_dir.join(path)).map_err(|source| SecretError::Remove {
            path: path.clone(),
            source,
        })?;
    }
    Ok(found)
}

/// Says what was left out, on one line.
pub(crate) fn tell(secrets: &[PathBuf]) {
    let Some(first) = secrets.first() else { return };
    let names: Vec<_> = secrets
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    log::step(format!(
        "Left out {} (secrets; to have one in the image, write !{} in {IGNORE_FILE}).",
        names.join(", "),
        first.display()
    ));
}

/// The files with secrets, relative to the app. What can't be read is none of its business, but for what names those to keep:
/// without it, files would go that the image is to have.
pub(crate) fn find(app_dir: &Path) -> Result<Vec<PathBuf>, SecretError> {
    let rules = rules(LIST);
    let kept = match std::fs::read_to_string(app_dir.join(IGNORE_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(SecretError::Ignored(error)),
    };
    let kept: Vec<&str> = kept
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix('!')?.trim_start_matches('/')))
        .collect();
    let mut found = Vec::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(app_dir.join(&folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            let path = folder.join(&name);
            if kind.is_dir() {
                let is_wanted = depth < DEPTH
                    && !NOT_THE_APPS.contains(&name.as_str())
                    && !entry.path().join("pyvenv.cfg").is_file();
                if is_wanted {
                    folders.push((path, depth + 1));
                }
                continue;
            }
            let is_kept = kept
                .iter()
                .any(|kept| Path::new(kept) == path || **kept == *name);
            if !is_kept && is_secret(&rules, &folder, &name, &entry.path()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

struct Rule<'a> {
    /// Of the folder that the file has to lie in.
    folder: Option<&'a str>,
    before: &'a str,
    /// What follows the star, if there is one.
    after: Option<&'a str>,
    text: Option<&'a str>,
    is_exception: bool,
}

impl Rule<'_> {
    fn fits(&self, folder: &Path, name: &str) -> bool {
        let is_there = self
            .folder
            .is_none_or(|wanted| folder.file_name().is_some_and(|last| last == wanted));
        is_there
            && match self.after {
                None => name == self.before,
                Some(after) => name
                    .strip_prefix(self.before)
                    .is_some_and(|rest| ends_with(rest, after)),
            }
    }
}

/// Whether a name ends with what may have a further star in it.
fn ends_with(rest: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => rest.ends_with(pattern),
        Some((inner, end)) => rest
            .find(inner)
            .is_some_and(|at| ends_with(&rest[at + inner.len()..], end)),
    }
}

fn rules(list: &str) -> Vec<Rule<'_>> {
    list.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (pattern, text) = match line.split_once('\t') {
                Some((pattern, text)) => (pattern, Some(text)),
                None => (line, None),
            };
            let (pattern, is_exception) = match pattern.strip_prefix('!') {
                Some(pattern) => (pattern, true),
                None => (pattern, false),
            };
            let (folder, name) = match pattern.rsplit_once('/') {
                Some((folder, name)) => (Some(folder), name),
                None => (None, pattern),
            };
            let (before, after) = match name.split_once('*') {
                Some((before, after)) => (before, Some(after)),
                None => (name, None),
            };
            Rule {
                folder,
                before,
                after,
                text,
                is_exception,
            }
        })
        .collect()
}

fn is_secret(rules: &[Rule<'_>], folder: &Path, name: &str, full: &Path) -> bool {
    let fitting: Vec<_> = rules
        .iter()
        .filter(|rule| rule.fits(folder, name))
        .collect();
    !fitting.iter().any(|rule| rule.is_exception)
        && fitting.iter().any(|rule| match rule.text {
            None => true,
            Some(text) => holds(full, text),
        })
}

fn holds(file: &Path, text: &str) -> bool {
    // A pipe would never end.
    if !std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let mut content = Vec::new();
    File::open(file)
        .and_then(|file| file.take(READ).read_to_end(&mut content))
        .is_ok()
        && content
            .windows(text.len())
            .any(|window| window == text.as_bytes())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let app = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = app.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        find(app.path())
            .unwrap()
            .into_iter()
            .map(|path| path.display().to_string())
            .collect()
    }

    #[test]
    fn secrets_by_name_and_by_what_is_in_them() {
        let private = "-----BEGIN RSA PRIVATE KEY-----\n";
        assert_eq!(
            found(&[
                (".env", "A=1"),
                (".env.production", "A=1"),
                (".env.example", "A="),
                ("certs/ca.pem", "-----BEGIN CERTIFICATE-----\n"),
                ("certs/server.pem", private),
                ("deploy/id_rsa", private),
                ("deploy/id_rsa.pub", "ssh-rsa"),
                ("my-service-account.json", "{\"private_key\": \"x\"}"),
                ("accounts.json", "{}"),
                (".aws/credentials", ""),
                ("docs/credentials", ""),
                ("keyboard.json", "{\"keys\": 104}"),
                ("node_modules/x/.env", ""),
            ]),
            [
                ".aws/credentials",
                ".env",
                ".env.production",
                "certs/server.pem",
                "deploy/id_rsa",
                "my-service-account.json"
            ]
        );
    }

    #[test]
    fn what_the_user_names_stays() {
        assert_eq!(
            found(&[
                (".slugignore", "*.log\n!.env\n!/a/x.p12\n"),
                (".env", ""),
                ("a/x.p12", ""),
                ("b/x.p12", "")
            ]),
            ["b/x.p12"]
        );
    }

    #[test]
    fn what_cannot_be_read_names_nothing_to_remove() {
        let app = tempfile::tempdir().unwrap();
        std::fs::write(app.path().join(".env"), "").unwrap();
        std::fs::write(app.path().join(IGNORE_FILE), b"!.env\n\xff\n").unwrap();
        assert!(matches!(remove(app.path()), Err(SecretError::Ignored(_))));
        assert!(app.path().join(".env").exists());
    }

    #[test]
    fn every_line_of_the_list_is_a_rule() {
        for rule in rules(LIST) {
            assert!(!rule.before.is_empty() || rule.after.is_some());
        }
    }
}

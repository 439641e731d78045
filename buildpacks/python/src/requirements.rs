//! All files that an install of `requirements.txt` depends on, and their fingerprint.

mod line;

use crate::files::without_detours;
use crate::fingerprint::{self, FingerprintError};
use crate::text_file::{self, TextFileError};
use libcnb::Env;
use line::Reference;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The file where reading begins.
pub(crate) const REQUIREMENTS_TXT: &str = "requirements.txt";

/// Configuration of uv that it reads from the app's folder.
const CONFIGURATION: [&str; 2] = ["pyproject.toml", "uv.toml"];

/// What `requirements.txt` and all files below it say together.
#[derive(Debug)]
pub(crate) struct Requirements {
    /// A digest of every byte that the install depends on, as far as it lies on this machine.
    pub(crate) fingerprint: String,
    /// Whether packages are built from folders of the app, whose changes installers don't notice.
    pub(crate) local_sources: bool,
    /// Whether there is nothing in it but comments.
    pub(crate) empty: bool,
    /// Whether every line stands for itself: a name for an index, or the address of an index. Nothing of the app's
    /// folder and of its variables has a say.
    pub(crate) of_indexes: bool,
    /// The packages that are asked for by name, normalized (PEP 503).
    pub(crate) names: BTreeSet<String>,
    /// Variables that the lines use and that have no value.
    pub(crate) unset_variables: BTreeSet<String>,
}

/// A requirements file that can't be read, or that refers to something that is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequirementsError {
    #[error("could not use a requirements file")]
    Text(#[source] TextFileError),
    #[error("{} line {line}: there is no file {}", file.display(), missing.display())]
    MissingFile {
        file: PathBuf,
        line: usize,
        missing: PathBuf,
    },
    #[error("{} line {line}: there is no {}", file.display(), missing.display())]
    MissingLocal {
        file: PathBuf,
        line: usize,
        missing: PathBuf,
    },
    #[error("{} line {line} includes {} again", file.display(), included.display())]
    Cycle {
        file: PathBuf,
        line: usize,
        included: PathBuf,
    },
    #[error("{} line {line} is a merge marker", file.display())]
    MergeMarker { file: PathBuf, line: usize },
    #[error("could not read what the requirements refer to")]
    Local(#[source] FingerprintError),
}

/// Reads `requirements.txt` and what it includes.
pub(crate) fn read(app_dir: &Path, env: &Env) -> Result<Requirements, RequirementsError> {
    let mut reader = Reader {
        app_dir,
        env,
        hash: Sha256::new(),
        seen: BTreeSet::new(),
        including: Vec::new(),
        local_sources: false,
        empty: true,
        of_indexes: true,
        names: BTreeSet::new(),
        unset_variables: BTreeSet::new(),
    };
    let root = Path::new(REQUIREMENTS_TXT);
    let text = reader.text(root)?.unwrap_or_default();
    reader.file(root.to_path_buf(), &text)?;
    for name in CONFIGURATION {
        let path = app_dir.join(name);
        if path.is_file() {
            reader.add(name.as_bytes());
            fingerprint::add_path(&mut reader.hash, &path).map_err(RequirementsError::Local)?;
        }
    }
    Ok(Requirements {
        fingerprint: fingerprint::hex(&reader.hash.finalize()),
        local_sources: reader.local_sources,
        empty: reader.empty,
        of_indexes: reader.of_indexes,
        names: reader.names,
        unset_variables: reader.unset_variables,
    })
}

struct Reader<'a> {
    app_dir: &'a Path,
    env: &'a Env,
    hash: Sha256,
    seen: BTreeSet<PathBuf>,
    including: Vec<PathBuf>,
    local_sources: bool,
    empty: bool,
    of_indexes: bool,
    names: BTreeSet<String>,
    unset_variables: BTreeSet<String>,
}

impl Reader<'_> {
    fn text(&self, file: &Path) -> Result<Option<String>, RequirementsError> {
        text_file::read(self.app_dir, file).map_err(RequirementsError::Text)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    fn file(&mut self, file: PathBuf, text: &str) -> Result<(), RequirementsError> {
        self.add(file.as_os_str().as_encoded_bytes());
        self.add(text.as_bytes());
        for name in line::variables(text) {
            let value = self.env.get(name).cloned().unwrap_or_default();
            self.add(value.as_encoded_bytes());
        }
        if !self.seen.insert(file.clone()) {
            return Ok(());
        }
        if let Some(line) = merge_marker(text) {
            return Err(RequirementsError::MergeMarker { file, line });
        }
        self.including.push(file.clone());
        for line in line::logical_lines(text) {
            let reference = line::reference(&line.text, self.env);
            self.empty &= matches!(reference, Some(Reference::Nested(_)));
            self.of_indexes &= is_of_indexes(&line.text);
            self.names.extend(name(&line.text));
            let unset = line::variables(&line.text)
                .into_iter()
                .filter(|name| line::is_variable(name) && !self.env.contains_key(name));
            self.unset_variables.extend(unset.map(str::to_owned));
            match reference {
                Some(Reference::Nested(path)) => self.nested(&file, line.number, &path)?,
                Some(Reference::Local(path)) => {
                    self.local_sources = true;
                    self.local(&file, line.number, &path)?;
                }
                Some(Reference::Wheels(path)) => self.local(&file, line.number, &path)?,
                None => {}
            }
        }
        self.including.pop();
        Ok(())
    }

    /// Included files are relative to the file that includes them.
    fn nested(&mut self, file: &Path, line: usize, path: &str) -> Result<(), RequirementsError> {
        let included = without_detours(&parent(file).join(path));
        let Some(text) = self.text(&included)? else {
            return Err(RequirementsError::MissingFile {
                file: file.to_path_buf(),
                line,
                missing: included,
            });
        };
        if self.including.contains(&included) {
            return Err(RequirementsError::Cycle {
                file: file.to_path_buf(),
                line,
                included,
            });
        }
        self.file(included, &text)
    }

    /// Installers take paths of requirements relative to the folder they run in; a path relative to
    /// the file that names it counts as well, so that neither can change unnoticed.
    fn local(&mut self, file: &Path, line: usize, path: &str) -> Result<(), RequirementsError> {
        let mut found = false;
        for candidate in BTreeSet::from([
            without_detours(Path::new(path)),
            without_detours(&parent(file).join(path)),
        ]) {
            let full = self.app_dir.join(&candidate);
            if full.exists() {
                found = true;
                self.add(candidate.as_os_str().as_encoded_bytes());
                // The target of a link is what gets installed.
                let real = full.canonicalize().unwrap_or(full);
                // `/`, or `..` of an app that is at the top, is no package: the installer says so.
                if real.parent().is_none() {
                    continue;
                }
                fingerprint::add_path(&mut self.hash, &real).map_err(RequirementsError::Local)?;
            }
        }
        if found {
            return Ok(());
        }
        Err(RequirementsError::MissingLocal {
            file: file.to_path_buf(),
            line,
            missing: PathBuf::from(path),
        })
    }
}

/// The package that a requirement (PEP 508) names, normalized (PEP 503); nothing for options and paths.
pub(crate) fn name(requirement: &str) -> Option<String> {
    let end = requirement
        .find(|character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character)))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && !rest.starts_with(['/', ':', '\\']);
    is_name.then(|| normalized(name))
}

/// Whether a line, which has no comment any more, means the same in every app's folder.
fn is_of_indexes(line: &str) -> bool {
    const INDEXES: [&str; 3] = ["-i", "--index-url", "--extra-index-url"];
    const INCLUDES: [&str; 4] = ["-r", "--requirement", "-c", "--constraint"];
    if line.contains("${") {
        return false;
    }
    let (first, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
    if INDEXES.contains(&first) {
        // What a login shows is for those who have it.
        return rest.trim().starts_with("https://") && !rest.contains('@');
    }
    if INCLUDES.contains(&first) {
        // What is fetched is read by the installer alone, and is another file tomorrow.
        return !rest.contains("://");
    }
    !line.starts_with('-') && !line.contains(['/', '\\', '@'])
}

/// A package's name in the one spelling that counts (PEP 503).
pub(crate) fn normalized(name: &str) -> String {
    name.split(['-', '_', '.'])
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
        .to_ascii_lowercase()
}

fn parent(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The line of a marker that git leaves where two versions conflict.
pub(crate) fn merge_marker(text: &str) -> Option<usize> {
    text.lines()
        .position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "))
        .map(|index| index + 1)
}

#[cfg(test)]
#[path = "requirements/tests.rs"]
mod tests;

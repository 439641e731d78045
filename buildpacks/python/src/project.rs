//! What an app's packages are installed from: one file of one package manager, chosen by a fixed order
//! or by the user, and everything that an install of it depends on.

mod inputs;
pub(crate) mod names;
mod pyproject;
pub(crate) mod python;
mod script;
mod selection;

use crate::checks::CheckError;
use crate::fingerprint::FingerprintError;
use crate::requirements::{self, RequirementsError};
use crate::text_file::{self, TextFileError};
use crate::{detect, log};
use libcnb::Env;
pub(crate) use selection::{EXTRAS_VARIABLE, GROUPS_VARIABLE, MEMBER_VARIABLE, Selection};
use std::fmt;
use std::io;
use std::path::Path;

/// Chooses among several package managers' files: the name of a manager, or of a file.
pub(crate) const MANAGER_VARIABLE: &str = "BP_PACKAGE_MANAGER";

/// The project's own description (PEP 518, PEP 621).
pub(crate) const PYPROJECT_TOML: &str = "pyproject.toml";

/// What packages are installed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Requirements,
    UvLock,
    PoetryLock,
    PdmLock,
    PipfileLock,
    /// PEP 751.
    Pylock,
    /// The project that `pyproject.toml` describes, or only what it depends on.
    Pyproject {
        is_package: bool,
    },
    SetupPy,
    /// A script that says what it needs (PEP 723); the name of its file.
    Script(String),
}

impl Source {
    /// The file that is installed, as the user knows it.
    pub(crate) fn file(&self) -> &str {
        match self {
            Self::Requirements => requirements::REQUIREMENTS_TXT,
            Self::UvLock => "uv.lock",
            Self::PoetryLock => "poetry.lock",
            Self::PdmLock => "pdm.lock",
            Self::PipfileLock => "Pipfile.lock",
            Self::Pylock => "pylock.toml",
            Self::Pyproject { .. } => PYPROJECT_TOML,
            Self::SetupPy => "setup.py",
            Self::Script(file) => file,
        }
    }

    /// What `BP_PACKAGE_MANAGER` calls it, besides the file's name.
    fn manager(&self) -> &'static str {
        match self {
            Self::Requirements => "requirements",
            Self::UvLock => "uv",
            Self::PoetryLock => "poetry",
            Self::PdmLock => "pdm",
            Self::PipfileLock => "pipenv",
            Self::Pylock => "pylock",
            Self::Pyproject { .. } => "pyproject",
            Self::SetupPy => "setup",
            Self::Script(_) => "script",
        }
    }

    /// Whether pip can install it as well as uv.
    pub(crate) fn is_for_pip(&self) -> bool {
        matches!(
            self,
            Self::Requirements | Self::SetupPy | Self::Pyproject { is_package: true }
        )
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file())
    }
}

/// The order in which files are looked for, for messages.
pub(crate) const ORDER: &str = "requirements.txt, uv.lock, poetry.lock, pdm.lock, Pipfile.lock, \
                                pylock.toml, pyproject.toml, setup.py, a script";

/// A project whose files don't say what to install, or not in a way that can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectError {
    #[error("could not look at the app's files")]
    Look(#[source] io::Error),
    #[error("could not use a file of the project")]
    Text(#[source] TextFileError),
    #[error("could not use the requirements")]
    Requirements(#[source] RequirementsError),
    #[error("{file} line {line} is a merge marker")]
    MergeMarker { file: String, line: usize },
    #[error("{file} is not valid TOML")]
    Malformed {
        file: String,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("{file} is not valid JSON")]
    MalformedJson {
        file: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{file} has no {lock}")]
    MissingLock {
        file: &'static str,
        lock: &'static str,
        command: &'static str,
    },
    #[error("{file} has no {companion}")]
    MissingCompanion {
        file: String,
        companion: &'static str,
    },
    #[error("{MANAGER_VARIABLE}={value} is not known")]
    UnknownManager { value: String },
    #[error("{MANAGER_VARIABLE}={value}, but there is no such file")]
    AbsentManager { value: String, file: &'static str },
    #[error("several scripts say what they need")]
    SeveralScripts { names: Vec<String> },
    #[error("{file} line {line} begins a script block that does not end")]
    OpenScript { file: String, line: usize },
    #[error("{file}: {key} is \"{text}\"")]
    MalformedRange {
        file: &'static str,
        key: String,
        text: String,
    },
    #[error("{variable} names \"{name}\"")]
    MalformedSelection {
        variable: &'static str,
        name: String,
    },
    #[error("could not read what the project consists of")]
    Local(#[source] FingerprintError),
}

/// Where packages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// All of them from package indexes, by name.
    Indexes,
    /// Some from elsewhere, or nobody looked.
    Anywhere,
}

impl Origin {
    fn of(indexes_alone: bool) -> Self {
        if indexes_alone {
            Self::Indexes
        } else {
            Self::Anywhere
        }
    }
}

/// Everything that decides what is installed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    /// A digest of every byte that the install depends on, as far as it lies on this machine.
    pub(crate) fingerprint: String,
    /// Whether packages are built from folders of the app, whose changes installers don't notice.
    pub(crate) local_sources: bool,
    /// Whether there is nothing to install.
    pub(crate) empty: bool,
    pub(crate) origin: Origin,
    /// Whether every version is fixed, so that no look at the index can change any.
    pub(crate) locked: bool,
    pub(crate) selection: Selection,
    /// The packages that are built from folders of the app, as far as a lock names them.
    pub(crate) local_packages: Vec<String>,
    /// Variables that requirements use and that have no value.
    pub(crate) unset_variables: Vec<String>,
}

/// Which file is installed, and which others are there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) source: Source,
    others: Vec<Source>,
    asked: bool,
}

/// Looks which file is to be installed; `None` when there is none.
pub(crate) fn choose(app_dir: &Path, env: &Env) -> Result<Option<Choice>, crate::BuildpackError> {
    let project = crate::BuildpackError::Project;
    let wanted = env
        .get(MANAGER_VARIABLE)
        .map(|value| value.to_string_lossy().trim().to_owned())
        .filter(|value| !value.is_empty());
    let mut found = present(app_dir).map_err(project)?;
    let chosen = match &wanted {
        Some(value) => asked_for(app_dir, &mut found, value).map_err(project)?,
        None if !found.is_empty() => found.remove(0),
        None => match without_a_lock(app_dir)? {
            Some(source) => source,
            None => return Ok(None),
        },
    };
    complete(app_dir, &chosen).map_err(project)?;
    Ok(Some(Choice {
        source: chosen,
        others: found,
        asked: wanted.is_some(),
    }))
}

fn without_a_lock(app_dir: &Path) -> Result<Option<Source>, crate::BuildpackError> {
    if let Some(source) = described(app_dir).map_err(crate::BuildpackError::Project)? {
        return Ok(Some(source));
    }
    refuse_others(app_dir).map_err(crate::BuildpackError::Check)?;
    script::find(app_dir).map_err(crate::BuildpackError::Project)
}

impl Choice {
    /// The files that could have been installed from instead.
    pub(crate) fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(Source::file)
    }

    /// Says why this file and no other, if there is another.
    pub(crate) fn explain(&self) {
        if self.others.is_empty() {
            return;
        }
        let others = self
            .others
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let source = &self.source;
        if self.asked {
            log::step(format!(
                "Installing from {source}, as {MANAGER_VARIABLE} says; not used: {others}."
            ));
        } else {
            log::step(format!(
                "Installing from {source}, which comes first among: {source}, {others}.\n\
                 The order is: {ORDER}. Another one: {MANAGER_VARIABLE}={}",
                self.others[0].manager()
            ));
        }
    }
}

/// Reads what the install depends on.
pub(crate) fn plan(app_dir: &Path, choice: Choice, env: &Env) -> Result<Plan, ProjectError> {
    let selection = Selection::of(env)?;
    if choice.source != Source::Requirements {
        return inputs::read(app_dir, choice.source, selection);
    }
    let read = requirements::read(app_dir, env).map_err(ProjectError::Requirements)?;
    Ok(Plan {
        source: choice.source,
        fingerprint: read.fingerprint,
        local_sources: read.local_sources,
        empty: read.empty,
        origin: Origin::of(read.of_indexes),
        locked: false,
        selection,
        local_packages: Vec::new(),
        unset_variables: read.unset_variables.into_iter().collect(),
    })
}

/// The files that say alone what to install, in the order in which they are preferred.
static LOCKS: [Source; 6] = [
    Source::Requirements,
    Source::UvLock,
    Source::PoetryLock,
    Source::PdmLock,
    Source::PipfileLock,
    Source::Pylock,
];

/// Those of [`LOCKS`] that are there.
fn present(app_dir: &Path) -> Result<Vec<Source>, ProjectError> {
    let has = |name: &str| app_dir.join(name).is_file();
    let found: Vec<Source> = LOCKS
        .iter()
        .filter(|source| has(source.file()))
        .cloned()
        .collect();
    if found.is_empty() && has("Pipfile") {
        return Err(ProjectError::MissingLock {
            file: "Pipfile",
            lock: "Pipfile.lock",
            command: "pipenv lock",
        });
    }
    Ok(found)
}

/// A project without a lock: what `pyproject.toml` or `setup.py` describe.
fn described(app_dir: &Path) -> Result<Option<Source>, ProjectError> {
    let has_setup = app_dir.join("setup.py").is_file();
    let kind = match pyproject::read(app_dir)? {
        Some(document) => pyproject::kind(&document, has_setup)?,
        None => None,
    };
    Ok(match kind {
        Some(is_package) => Some(Source::Pyproject { is_package }),
        None => has_setup.then_some(Source::SetupPy),
    })
}

/// The file that the user asks for by a manager's or its own name.
fn asked_for(app_dir: &Path, found: &mut Vec<Source>, value: &str) -> Result<Source, ProjectError> {
    let is_it = |source: &Source| {
        value.eq_ignore_ascii_case(source.manager()) || value.eq_ignore_ascii_case(source.file())
    };
    if let Some(index) = found.iter().position(is_it) {
        return Ok(found.remove(index));
    }
    let absent = |file| ProjectError::AbsentManager {
        value: value.to_owned(),
        file,
    };
    if let Some(source) = LOCKS.iter().find(|source| is_it(source)) {
        return Err(absent(source.file()));
    }
    if is_it(&Source::Pyproject { is_package: true }) {
        let document = pyproject::read(app_dir)?.ok_or_else(|| absent(PYPROJECT_TOML))?;
        let has_setup = app_dir.join("setup.py").is_file();
        let is_package = pyproject::kind(&document, has_setup)?.unwrap_or(false);
        return Ok(Source::Pyproject { is_package });
    }
    if is_it(&Source::SetupPy) {
        let there = app_dir.join("setup.py").is_file();
        return there
            .then_some(Source::SetupPy)
            .ok_or_else(|| absent("setup.py"));
    }
    if value.eq_ignore_ascii_case("script") {
        return script::find(app_dir)?
            .ok_or_else(|| absent("script with a \"# /// script\" block"));
    }
    if script::is_name(value) && app_dir.join(value).is_file() {
        return Ok(Source::Script(value.to_owned()));
    }
    Err(ProjectError::UnknownManager {
        value: value.to_owned(),
    })
}

/// Ways to name dependencies that can't be installed are refused, so that nothing is silently left out.
fn refuse_others(app_dir: &Path) -> Result<(), CheckError> {
    if let Some(name) = detect::look(app_dir).map_err(CheckError::Look)?.misspelt {
        return Err(CheckError::MisspeltRequirements { name });
    }
    crate::checks::other_managers(app_dir)
}

/// A lock means nothing without the file that it was made from.
fn complete(app_dir: &Path, source: &Source) -> Result<(), ProjectError> {
    let companion = match source {
        Source::UvLock | Source::PoetryLock | Source::PdmLock => PYPROJECT_TOML,
        Source::PipfileLock => "Pipfile",
        _ => return Ok(()),
    };
    if app_dir.join(companion).is_file() {
        return Ok(());
    }
    Err(ProjectError::MissingCompanion {
        file: source.file().to_owned(),
        companion,
    })
}

/// A text file of the project; an unfinished merge in it is an error.
fn text(app_dir: &Path, name: &str) -> Result<Option<String>, ProjectError> {
    let text = text_file::read(app_dir, Path::new(name)).map_err(ProjectError::Text)?;
    if let Some(line) = text.as_deref().and_then(requirements::merge_marker) {
        return Err(ProjectError::MergeMarker {
            file: name.to_owned(),
            line,
        });
    }
    Ok(text)
}

/// A TOML file of the project.
pub(crate) fn toml_file(app_dir: &Path, name: &str) -> Result<Option<toml::Table>, ProjectError> {
    text(app_dir, name)?
        .map(|text| parsed(name, &text))
        .transpose()
}

fn parsed(name: &str, text: &str) -> Result<toml::Table, ProjectError> {
    text.parse().map_err(|source| ProjectError::Malformed {
        file: name.to_owned(),
        source: Box::new(source),
    })
}

/// A JSON file of the project.
pub(crate) fn json_file(app_dir: &Path, name: &str) -> Result<serde_json::Value, ProjectError> {
    let text = text(app_dir, name)?.unwrap_or_default();
    serde_json::from_str(&text).map_err(|source| ProjectError::MalformedJson {
        file: name.to_owned(),
        source,
    })
}

/// Whether a script has its lock beside it.
pub(crate) fn has_script_lock(app_dir: &Path, script: &str) -> bool {
    app_dir.join(format!("{script}.lock")).is_file()
}

#[cfg(test)]
#[path = "project/tests.rs"]
mod tests;

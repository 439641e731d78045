//! Everything in the app's folder that the install of a lock or of a project depends on.

use super::{Origin, PYPROJECT_TOML, Plan, ProjectError, Selection, Source};
use crate::files::without_detours;
use crate::fingerprint;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Keys whose values may be paths of folders and archives, in locks and in projects.
const PATH_KEYS: [&str; 6] = ["directory", "editable", "file", "path", "registry", "url"];
/// The key of a folder of which only the description counts (uv's lock).
const VIRTUAL: &str = "virtual";

/// Files whose text ends up in an installed package's description, by the beginnings of their names.
const DESCRIPTIONS: [&str; 6] = [
    "authors", "copying", "licence", "license", "notice", "readme",
];

/// Reads what an install from `source` depends on.
pub(super) fn read(
    app_dir: &Path,
    source: Source,
    mut selection: Selection,
) -> Result<Plan, ProjectError> {
    let mut inputs = Inputs {
        app_dir,
        hash: Sha256::new(),
        seen: BTreeSet::new(),
        local_sources: false,
    };
    inputs.add(source.file().as_bytes());
    for names in [&selection.extras, &selection.groups] {
        inputs.add(names.join(",").as_bytes());
    }
    if let Some(member) = &selection.member {
        inputs.add(b"member");
        inputs.add(member.as_bytes());
    }
    let mut local_packages = Vec::new();
    let mut empty = false;
    let mut origin = Origin::Anywhere;
    match &source {
        Source::Requirements => {}
        Source::UvLock => {
            inputs.files(&[PYPROJECT_TOML, "uv.toml"])?;
            let lock = inputs.toml(source.file())?;
            local_packages = local_packages_of(&lock);
            origin = Origin::of(is_of_indexes(&lock));
            inputs.local_paths(&Value::Table(lock))?;
        }
        Source::PoetryLock => {
            inputs.files(&["poetry.toml"])?;
            inputs.descriptions()?;
            let project = inputs.toml(PYPROJECT_TOML)?;
            inputs.local_paths_at(&project, &["tool", "poetry"])?;
            let lock = inputs.toml(source.file())?;
            inputs.local_paths(&Value::Table(lock))?;
        }
        Source::PdmLock => {
            inputs.files(&["pdm.toml"])?;
            let project = inputs.toml(PYPROJECT_TOML)?;
            if super::pyproject::kind(&project, false)? == Some(true) {
                inputs.folder(Path::new("."))?;
            }
            selection.for_developers =
                super::pyproject::selects_developers(&project, &selection.groups);
            let lock = inputs.toml(source.file())?;
            inputs.local_paths(&Value::Table(lock))?;
        }
        Source::PipfileLock => {
            inputs.files(&[source.file()])?;
            super::json_file(app_dir, source.file())?;
            let pipfile = inputs.toml("Pipfile")?;
            inputs.local_paths(&Value::Table(pipfile))?;
        }
        Source::Pylock => {
            let lock = inputs.toml(source.file())?;
            inputs.local_paths(&Value::Table(lock))?;
        }
        Source::Pyproject { is_package: false } => {
            inputs.files(&["uv.toml"])?;
            let project = inputs.toml(PYPROJECT_TOML)?;
            inputs.local_paths_at(&project, &["tool", "uv"])?;
        }
        Source::Pyproject { is_package: true } => {
            inputs.toml(PYPROJECT_TOML)?;
            inputs.folder(Path::new("."))?;
        }
        Source::SetupPy => inputs.folder(Path::new("."))?,
        Source::Script(file) => {
            inputs.files(&["uv.toml", PYPROJECT_TOML, &format!("{file}.lock")])?;
            let table = super::script::table(app_dir, file)?.unwrap_or_default();
            empty = table
                .get("dependencies")
                .and_then(Value::as_array)
                .is_none_or(Vec::is_empty);
            inputs.add(table.to_string().as_bytes());
            inputs.local_paths_at(&table, &["tool", "uv"])?;
        }
    }
    let locked = match &source {
        Source::Script(file) => super::has_script_lock(app_dir, file),
        Source::Requirements | Source::Pyproject { .. } | Source::SetupPy => false,
        _ => true,
    };
    Ok(Plan {
        locked,
        fingerprint: fingerprint::hex(&inputs.hash.finalize()),
        local_sources: inputs.local_sources,
        empty,
        origin,
        selection,
        local_packages,
        unset_variables: Vec::new(),
        source,
    })
}

struct Inputs<'a> {
    app_dir: &'a Path,
    hash: Sha256,
    /// Paths that were added.
    seen: BTreeSet<PathBuf>,
    local_sources: bool,
}

impl Inputs<'_> {
    fn add(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    /// Adds those of the files that are there.
    fn files(&mut self, names: &[&str]) -> Result<(), ProjectError> {
        for name in names {
            if let Some(text) = super::text(self.app_dir, name)? {
                self.add(name.as_bytes());
                self.add(text.as_bytes());
            }
        }
        Ok(())
    }

    /// Adds a TOML file and returns what is in it.
    fn toml(&mut self, name: &str) -> Result<Table, ProjectError> {
        let Some(text) = super::text(self.app_dir, name)? else {
            return Ok(Table::new());
        };
        self.add(name.as_bytes());
        self.add(text.as_bytes());
        super::parsed(name, &text)
    }

    fn descriptions(&mut self) -> Result<(), ProjectError> {
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(self.app_dir).map_err(ProjectError::Look)? {
            let name = entry.map_err(ProjectError::Look)?.file_name();
            let lower = name.to_string_lossy().to_ascii_lowercase();
            if DESCRIPTIONS.iter().any(|begin| lower.starts_with(begin)) {
                names.insert(name);
            }
        }
        for name in names {
            self.path(Path::new(&name))?;
        }
        Ok(())
    }

    fn local_paths_at(&mut self, document: &Table, keys: &[&str]) -> Result<(), ProjectError> {
        match super::pyproject::at(document, keys) {
            Some(value) => self.local_paths(value),
            None => Ok(()),
        }
    }

    /// Adds every folder and archive of the app that is named anywhere below a value.
    fn local_paths(&mut self, value: &Value) -> Result<(), ProjectError> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.local_paths(item)),
            Value::Table(table) => table.iter().try_for_each(|(key, value)| {
                let Value::String(path) = value else {
                    return self.local_paths(value);
                };
                if key == VIRTUAL {
                    let description = without_detours(&Path::new(path).join(PYPROJECT_TOML));
                    return self.path(&description);
                }
                if PATH_KEYS.contains(&key.as_str()) && !path.contains("://") {
                    return self.folder(Path::new(path));
                }
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    /// A folder from which a package is built, or an archive.
    fn folder(&mut self, path: &Path) -> Result<(), ProjectError> {
        let path = without_detours(path);
        // Locks name thousands of archives that are not here.
        let Ok(metadata) = std::fs::metadata(self.app_dir.join(&path)) else {
            return Ok(());
        };
        self.local_sources |= metadata.is_dir();
        self.path(&path)
    }

    /// Adds a path of the app, if it is there.
    fn path(&mut self, path: &Path) -> Result<(), ProjectError> {
        let full = self.app_dir.join(path);
        if !full.exists() || !self.seen.insert(path.to_path_buf()) {
            return Ok(());
        }
        self.add(path.as_os_str().as_encoded_bytes());
        // The target of a link is what gets installed.
        let real = full.canonicalize().unwrap_or(full);
        fingerprint::add_path(&mut self.hash, &real).map_err(ProjectError::Local)
    }
}

/// Whether all packages of uv's lock come from indexes; the project itself may be one that is not installed.
fn is_of_indexes(lock: &Table) -> bool {
    // Without its digest a wheel is whatever the lock's address has.
    let has_digest = |wheel: &Value| {
        let digest = wheel.get("hash").and_then(Value::as_str);
        digest.is_some_and(|digest| digest.starts_with("sha256:"))
    };
    let has_digests = |package: &Value| {
        let wheels = package.get("wheels").and_then(Value::as_array);
        wheels.is_none_or(|wheels| wheels.iter().all(has_digest))
    };
    let is_one = |package: &Value| {
        has_digests(package)
            && package
                .get("source")
                .and_then(Value::as_table)
                .is_some_and(|source| match source.get("registry") {
                    Some(index) => index
                        .as_str()
                        .is_some_and(|index| index.starts_with("https://")),
                    None => source.contains_key(VIRTUAL),
                })
    };
    lock.get("package")
        .and_then(Value::as_array)
        .is_some_and(|packages| packages.iter().all(is_one))
}

/// The names of the packages that uv builds from folders.
fn local_packages_of(lock: &Table) -> Vec<String> {
    let is_local = |package: &Value| {
        package
            .get("source")
            .and_then(Value::as_table)
            .is_some_and(|source| {
                ["directory", "editable", "path"]
                    .iter()
                    .any(|key| source.contains_key(*key))
            })
    };
    lock.get("package")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|package| is_local(package))
        .filter_map(|package| package.get("name")?.as_str().map(str::to_owned))
        .collect()
}

//! How buildpacks and platforms change the environment of later buildpacks and of the app: layer roots,
//! `env/`, `env.build/`, `env.launch/`, `env.launch/<process>/` and `<platform>/env/`
//! ([Buildpack specification, Environment]).
//!
//! The rules are pure functions over an [`Environment`]; only [`EnvDelta::read`] and
//! [`prepend_layer_roots`] look at the disk.
//!
//! [Buildpack specification, Environment]: https://github.com/buildpacks/spec/blob/main/buildpack.md#environment

use crate::{env_vars, paths};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Variables by name; ordered, so that what is made of it is the same every time.
pub type Environment = BTreeMap<OsString, OsString>;

/// Whose environment is made: it decides which folders of a layer go onto which path variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Build,
    Launch,
}

impl Scope {
    /// Folders of a layer, each with the path variable whose front it joins.
    pub const fn layer_paths(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Build => &env_vars::BUILD_LAYER_PATHS,
            Self::Launch => &[("bin", "PATH"), ("lib", "LD_LIBRARY_PATH")],
        }
    }

    /// Whether the variable is a list of paths that layers extend.
    pub fn is_path_variable(self, name: &OsStr) -> bool {
        self.layer_paths()
            .iter()
            .any(|(_, variable)| name == *variable)
    }
}

/// What a file without a suffix does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuffixed {
    /// In a layer.
    Override,
    /// In `<build-config>/env`.
    Default,
}

/// An environment directory or a layer could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("reading environment from {}", path.display())]
pub struct EnvError {
    path: PathBuf,
    source: io::Error,
}

/// The variables that concern the launcher alone and are kept from the process, as upstream keeps them.
const LAUNCH_EXCLUDED: [&str; 5] = [
    env_vars::LAYERS_DIR,
    env_vars::APP_DIR,
    env_vars::PROCESS_TYPE,
    env_vars::PLATFORM_API,
    env_vars::DEPRECATION_MODE,
];

/// The entries of `PATH` that exist only so that the launcher is found.
const LAUNCH_EXCLUDED_PATHS: [&str; 2] = [paths::PROCESS_DIR, paths::LIFECYCLE_DIR];

/// What a buildpack's executables start from.
pub fn build_environment(inherited: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    inherited
        .into_iter()
        .filter(|(name, _)| {
            Scope::Build.is_path_variable(name)
                || env_vars::BUILD_INHERITED
                    .iter()
                    .any(|allowed| name == *allowed)
        })
        .collect()
}

/// What the app's process starts from: everything, except what concerns the launcher alone.
pub fn launch_environment(
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
) -> Environment {
    let mut environment: Environment = inherited
        .into_iter()
        .filter(|(name, _)| !LAUNCH_EXCLUDED.iter().any(|excluded| name == *excluded))
        .collect();
    if let Some(path) = environment.get_mut(OsStr::new("PATH")) {
        let kept: Vec<&[u8]> = path
            .as_bytes()
            .split(|&byte| byte == b':')
            .filter(|entry| {
                LAUNCH_EXCLUDED_PATHS
                    .iter()
                    .all(|excluded| *entry != excluded.as_bytes())
            })
            .collect();
        *path = OsString::from_vec(kept.join(&b':'));
    }
    environment
}

/// Puts the folders that a layer has (`bin`, `lib`, …) in front of their path variables.
/// `layer` must be absolute.
pub fn prepend_layer_roots(
    environment: &mut Environment,
    scope: Scope,
    layer: &Path,
) -> Result<(), EnvError> {
    for (folder, variable) in scope.layer_paths() {
        let path = layer.join(folder);
        let exists = path.try_exists().map_err(|source| EnvError {
            path: path.clone(),
            source,
        })?;
        if exists {
            prepend(environment, OsStr::new(variable), path.as_os_str(), b":");
        }
    }
    Ok(())
}

/// Applies one build layer to the environment of the buildpacks that follow: roots, `env`, `env.build`.
pub fn apply_build_layer(environment: &mut Environment, layer: &Path) -> Result<(), EnvError> {
    prepend_layer_roots(environment, Scope::Build, layer)?;
    for folder in ["env", "env.build"] {
        EnvDelta::read(&layer.join(folder))?.apply(environment, Unsuffixed::Override);
    }
    Ok(())
}

/// Applies the launch layers of one buildpack, given in ascending order of their names. All roots come
/// before all files, so that a file of any layer can still change the paths.
/// `process` is the type that starts, if the process is a buildpack's.
pub fn apply_launch_layers(
    environment: &mut Environment,
    layers: &[PathBuf],
    process: Option<&str>,
) -> Result<(), EnvError> {
    for layer in layers {
        prepend_layer_roots(environment, Scope::Launch, layer)?;
    }
    for layer in layers {
        let for_launch = layer.join("env.launch");
        EnvDelta::read(&layer.join("env"))?.apply(environment, Unsuffixed::Override);
        EnvDelta::read(&for_launch)?.apply(environment, Unsuffixed::Override);
        if let Some(process) = process {
            EnvDelta::read(&for_launch.join(process))?.apply(environment, Unsuffixed::Override);
        }
    }
    Ok(())
}

/// The files of one environment directory, in ascending order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvDelta {
    files: Vec<(OsString, OsString)>,
}

impl EnvDelta {
    /// Reads the directory's files; one that is absent holds none. Sub-directories are left out (in
    /// `env.launch` they belong to process types), and contents are taken byte by byte.
    pub fn read(dir: &Path) -> Result<Self, EnvError> {
        let mut files = Vec::new();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| EnvError { path, source }
        };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(at(dir)(source)),
        };
        for entry in entries {
            let entry = entry.map_err(at(dir))?;
            let path = entry.path();
            if std::fs::metadata(&path).map_err(at(&path))?.is_dir() {
                continue;
            }
            let contents = std::fs::read(&path).map_err(at(&path))?;
            files.push((entry.file_name(), OsString::from_vec(contents)));
        }
        files.sort();
        Ok(Self { files })
    }

    /// A delta of file names and contents that are at hand.
    pub fn from_files(files: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort();
        Self { files }
    }

    /// Applies the modification rules for layers and for `<build-config>/env`. A variable's name ends at
    /// the first period of the file's name; files with an unknown suffix do nothing.
    pub fn apply(&self, environment: &mut Environment, unsuffixed: Unsuffixed) {
        for (file, value) in &self.files {
            let mut parts = file.as_bytes().splitn(2, |&byte| byte == b'.');
            let name = OsStr::from_bytes(parts.next().unwrap_or_default());
            let delimiter = || self.delimiter(name).unwrap_or_default();
            match (parts.next(), unsuffixed) {
                (Some(b"override"), _) | (None, Unsuffixed::Override) => {
                    environment.insert(name.to_owned(), value.clone());
                }
                (Some(b"default"), _) | (None, Unsuffixed::Default) => {
                    let present = environment.entry(name.to_owned()).or_default();
                    if present.is_empty() {
                        present.clone_from(value);
                    }
                }
                (Some(b"prepend"), _) => prepend(environment, name, value, delimiter()),
                (Some(b"append"), _) => append(environment, name, value, delimiter()),
                // The specification is silent about a name that ends in a period. Upstream takes it for
                // a path.
                (Some(b""), _) => {
                    let delimiter = self.delimiter(name).unwrap_or(b":");
                    prepend(environment, name, value, delimiter);
                }
                _ => {}
            }
        }
    }

    /// Applies `<platform>/env`: every file is a variable of the user's, its whole name the variable's
    /// name. Path variables are extended in front, others replaced.
    pub fn apply_platform(&self, environment: &mut Environment) {
        for (name, value) in &self.files {
            if Scope::Build.is_path_variable(name) {
                prepend(environment, name, value, b":");
            } else {
                environment.insert(name.clone(), value.clone());
            }
        }
    }

    fn delimiter(&self, name: &OsStr) -> Option<&[u8]> {
        let mut wanted = name.to_owned();
        wanted.push(".delim");
        self.files
            .iter()
            .find(|(file, _)| *file == wanted)
            .map(|(_, delimiter)| delimiter.as_bytes())
    }
}

fn prepend(environment: &mut Environment, name: &OsStr, value: &OsStr, delimiter: &[u8]) {
    let mut joined = value.to_owned();
    if let Some(present) = environment.get(name).filter(|present| !present.is_empty()) {
        joined.push(OsStr::from_bytes(delimiter));
        joined.push(present);
    }
    environment.insert(name.to_owned(), joined);
}

fn append(environment: &mut Environment, name: &OsStr, value: &OsStr, delimiter: &[u8]) {
    let present = environment.entry(name.to_owned()).or_default();
    if !present.is_empty() {
        present.push(OsStr::from_bytes(delimiter));
    }
    present.push(value);
}

#[cfg(test)]
#[path = "env_delta_tests.rs"]
mod tests;

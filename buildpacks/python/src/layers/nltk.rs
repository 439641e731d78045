//! NLTK's corpora and models, which `nltk.txt` lists as for Heroku's classic buildpack: launch and cache layer, kept while
//! the list and NLTK stay the same.

use crate::command::{self, CommandError};
use crate::layers::venv::Venv;
use crate::text_file::{self, TextFileError};
use crate::{BuildpackError, PythonBuildpack, django, log};
use libcnb::Env;
use libcnb::build::BuildContext;
use libcnb::data::layer_name;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerState, RestoredLayerAction,
};
use libcnb::layer_env::{LayerEnv, ModificationBehavior, Scope};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// The file with the names, one a line.
pub(crate) const NLTK_TXT: &str = "nltk.txt";

/// The address of an index of data, where it is not NLTK's own.
pub(crate) const INDEX_VARIABLE: &str = "BP_NLTK_INDEX";

const FETCH: &str = include_str!("../helpers/nltk_data.py");

/// The data could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NltkError {
    #[error("could not use {NLTK_TXT}")]
    Read(#[source] TextFileError),
    #[error("{NLTK_TXT} line {line}: \"{text}\" is no name")]
    Malformed { line: usize, text: String },
    #[error("could not fetch NLTK's data")]
    Fetch(#[source] CommandError),
}

#[derive(Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    names: Vec<String>,
    index: String,
    /// The folder that tells NLTK's version.
    nltk: String,
}

/// Fetches what `nltk.txt` lists; does nothing without one.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
    venv: &Venv,
    env: &Env,
) -> libcnb::Result<(), BuildpackError> {
    let names = names(&context.app_dir).map_err(BuildpackError::Nltk)?;
    if names.is_empty() {
        return Ok(());
    }
    log::section("NLTK's data");
    let Some(nltk) = version_of_nltk(&venv.site_packages) else {
        log::warning(
            &format!("{NLTK_TXT} is not used"),
            "It lists data of NLTK, which is not among the installed packages. Add nltk to the requirements, or remove the file.",
        );
        return Ok(());
    };
    let wanted = Metadata {
        names,
        index: env
            .get(INDEX_VARIABLE)
            .map(|value| value.to_string_lossy().into_owned())
            .unwrap_or_default(),
        nltk,
    };
    let layer = context.cached_layer(
        layer_name!("nltk-data"),
        CachedLayerDefinition {
            build: true,
            launch: true,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, _| {
                if *cached == wanted {
                    RestoredLayerAction::KeepLayer
                } else {
                    RestoredLayerAction::DeleteLayer
                }
            },
        },
    )?;
    if let LayerState::Restored { .. } = layer.state {
        log::step("Reusing the data of the last build.");
        return Ok(());
    }
    log::step(format!("Fetching {}.", wanted.names.join(", ")));
    let folder = layer.path();
    command::stream(
        Command::new(venv.python())
            .args(["-I", "-c", FETCH])
            .arg(&folder)
            .arg(&wanted.index)
            .args(&wanted.names)
            .current_dir(&context.app_dir)
            .env_clear()
            .envs(&django::environment(venv, env)),
    )
    .map_err(|source| BuildpackError::Nltk(NltkError::Fetch(source)))?;
    layer.write_env(LayerEnv::new().chainable_insert(
        Scope::All,
        ModificationBehavior::Override,
        "NLTK_DATA",
        &folder,
    ))?;
    layer.write_metadata(wanted)
}

fn names(app_dir: &Path) -> Result<Vec<String>, NltkError> {
    let text = text_file::read(app_dir, Path::new(NLTK_TXT))
        .map_err(NltkError::Read)?
        .unwrap_or_default();
    let mut names = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for name in line.split_whitespace() {
            let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
                && name.chars().all(|character| {
                    character.is_ascii_alphanumeric() || "-_.".contains(character)
                });
            if !is_name {
                return Err(NltkError::Malformed {
                    line: index + 1,
                    text: name.to_owned(),
                });
            }
            names.push(name.to_owned());
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// `nltk-3.9.1.dist-info`, if it is there.
fn version_of_nltk(site_packages: &Path) -> Option<String> {
    std::fs::read_dir(site_packages)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| name.starts_with("nltk-") && name.ends_with(".dist-info"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let app = tempfile::tempdir().unwrap();
        std::fs::write(app.path().join(NLTK_TXT), text).unwrap();
        names(app.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_in_any_order_with_comments() {
        assert_eq!(
            read("# ours\nstopwords\npunkt_tab wordnet # both\n\nstopwords\n").unwrap(),
            ["punkt_tab", "stopwords", "wordnet"]
        );
        assert_eq!(
            read("punkt\n--all\n").unwrap_err(),
            "nltk.txt line 2: \"--all\" is no name"
        );
        assert!(names(Path::new("/nonexistent")).unwrap().is_empty());
    }
}

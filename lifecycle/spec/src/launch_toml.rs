//! `launch.toml`, what a buildpack wants of the image (Buildpack API).

use crate::api::ApiVersion;
use crate::metadata::{Command, Label, Process, Slice};
use crate::names::ProcessType;
use crate::toml_file::{self, FileError};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// `launch.toml`, in the form of the newest API whatever the buildpack's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaunchToml {
    /// Labels of the image.
    pub labels: Vec<Label>,
    /// Processes of the image.
    pub processes: Vec<Process>,
    /// Parts of the app folder that become layers of their own.
    pub slices: Vec<Slice>,
    /// What was ignored, for the log.
    pub warnings: Vec<String>,
}

impl LaunchToml {
    /// Reads the file that the buildpack `buildpack_id` of API version `api` wrote; `None` when it wrote none.
    ///
    /// Before Buildpack API 0.9 a command is one string, run by a shell unless `direct`; since then it is a list,
    /// always run directly, and `direct` is refused. `working-dir` came with 0.8.
    pub fn read(
        path: &Path,
        api: ApiVersion,
        buildpack_id: &str,
    ) -> Result<Option<Self>, FileError> {
        let Some(file) = toml_file::read_if_exists::<File>(path)? else {
            return Ok(None);
        };
        let invalid = |reason: String| FileError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let mut warnings = Vec::new();
        if !file.bom.is_empty() {
            warnings.push(
                "the bom table is no longer supported and was ignored; write SBOM files instead"
                    .to_owned(),
            );
        }
        let mut types = BTreeSet::new();
        let mut default = None;
        let mut processes = Vec::new();
        for entry in file.processes {
            let name = entry.r#type;
            if !types.insert(name.clone()) {
                return Err(invalid(format!("process type {name} is defined twice")));
            }
            if entry.default
                && let Some(first) = default.replace(name.clone())
            {
                return Err(invalid(format!(
                    "processes {first} and {name} are both default, and only one may be"
                )));
            }
            let (command, direct) = match (entry.command, api.at_least(9)) {
                (Command::List(_), true) if entry.direct.is_some() => {
                    return Err(invalid(format!(
                        "process {name}: direct is gone since Buildpack API 0.9"
                    )));
                }
                (Command::List(command), true) => (command, true),
                (Command::Text(command), false) => (vec![command], entry.direct.unwrap_or(false)),
                (Command::Text(_), true) => {
                    return Err(invalid(format!(
                        "process {name}: command has to be a list of strings since Buildpack API 0.9"
                    )));
                }
                (Command::List(_), false) => {
                    return Err(invalid(format!(
                        "process {name}: command has to be one string before Buildpack API 0.9"
                    )));
                }
            };
            if command.first().is_none_or(String::is_empty) {
                return Err(invalid(format!("process {name}: command is empty")));
            }
            let mut working_dir = entry.working_dir;
            if working_dir.is_some() && !api.at_least(8) {
                warnings.push(format!(
                    "process {name}: working-dir was ignored, Buildpack API {api} does not have it"
                ));
                working_dir = None;
            }
            processes.push(Process {
                r#type: name.to_string(),
                command: Command::List(command),
                args: entry.args,
                direct,
                default: entry.default,
                buildpack_id: buildpack_id.to_owned(),
                working_dir,
                exec_env: entry.exec_env,
            });
        }
        Ok(Some(Self {
            labels: file.labels,
            processes,
            slices: file.slices,
            warnings,
        }))
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    bom: Vec<toml::Value>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    processes: Vec<Entry>,
    #[serde(default)]
    slices: Vec<Slice>,
}

#[derive(Deserialize)]
struct Entry {
    r#type: ProcessType,
    command: Command,
    #[serde(default)]
    args: Vec<String>,
    direct: Option<bool>,
    #[serde(default)]
    default: bool,
    #[serde(rename = "working-dir")]
    working_dir: Option<String>,
    #[serde(default, rename = "exec-env")]
    exec_env: Vec<String>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(api: u64, text: &str) -> Result<LaunchToml, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("launch.toml");
        std::fs::write(&path, text).unwrap();
        LaunchToml::read(&path, ApiVersion::new(0, api), "x/y")
            .map(Option::unwrap)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn commands_depend_on_the_api() {
        let new = read(
            10,
            "[[processes]]\ntype = \"web\"\ncommand = [\"a\", \"b\"]\n",
        )
        .unwrap();
        assert!(new.processes[0].direct);
        assert_eq!(
            new.processes[0].command,
            Command::List(vec!["a".into(), "b".into()])
        );
        let old = read(8, "[[processes]]\ntype = \"web\"\ncommand = \"a b\"\n").unwrap();
        assert!(!old.processes[0].direct);
        let direct = read(
            8,
            "[[processes]]\ntype = \"web\"\ncommand = \"a\"\ndirect = true\n",
        )
        .unwrap();
        assert!(direct.processes[0].direct);
        let oldest = read(
            7,
            "[[processes]]\ntype = \"web\"\ncommand = \"a\"\nworking-dir = \"x\"\n",
        )
        .unwrap();
        assert_eq!(oldest.processes[0].working_dir, None);
        assert_eq!(oldest.warnings.len(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        for (api, text, expected) in [
            (
                10,
                "[[processes]]\ntype = \"web\"\ncommand = \"a\"\n",
                "process web: command has to be a list",
            ),
            (
                8,
                "[[processes]]\ntype = \"web\"\ncommand = [\"a\"]\n",
                "process web: command has to be one string",
            ),
            (
                9,
                "[[processes]]\ntype = \"web\"\ncommand = [\"a\"]\ndirect = true\n",
                "process web: direct is gone",
            ),
            (
                9,
                "[[processes]]\ntype = \"web\"\ncommand = []\n",
                "process web: command is empty",
            ),
            (
                9,
                "[[processes]]\ntype = \"we b\"\ncommand = [\"a\"]\n",
                "launch.toml:2:8: processes.type: \"we b\" is not a valid process type",
            ),
            (
                9,
                "[[processes]]\ntype = \"a\"\ncommand = [\"a\"]\n[[processes]]\ntype = \"a\"\ncommand = [\"a\"]\n",
                "process type a is defined twice",
            ),
            (
                9,
                "[[processes]]\ntype = \"a\"\ncommand = [\"a\"]\ndefault = true\n[[processes]]\ntype = \"b\"\ncommand = [\"a\"]\ndefault = true\n",
                "processes a and b are both default",
            ),
        ] {
            let error = read(api, text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}

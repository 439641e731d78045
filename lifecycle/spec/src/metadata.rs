//! `<layers>/config/metadata.toml` as the builder writes it (Platform API).

use crate::api::ApiVersion;
use crate::group::GroupElement;
use serde::{Deserialize, Serialize};

/// `config/metadata.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildMetadata {
    /// The last process that a buildpack called its default and none redefined.
    #[serde(
        default,
        rename = "buildpack-default-process-type",
        skip_serializing_if = "Option::is_none"
    )]
    pub default_process_type: Option<String>,
    /// The group.
    #[serde(default)]
    pub buildpacks: Vec<GroupElement>,
    /// Labels that buildpacks want, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Processes of all buildpacks, sorted by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// Slices of all buildpacks, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
}

/// A process of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name.
    pub r#type: String,
    /// The program and the arguments that users cannot replace.
    pub command: Command,
    /// The arguments that users can replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Whether no shell stands between.
    #[serde(default)]
    pub direct: bool,
    /// Whether its buildpack calls it the default; not written.
    #[serde(default, skip_serializing)]
    pub default: bool,
    /// Who defined it.
    #[serde(default, rename = "buildpack-id")]
    pub buildpack_id: String,
    /// Where it runs, the app folder by default.
    #[serde(
        default,
        rename = "working-dir",
        skip_serializing_if = "Option::is_none"
    )]
    pub working_dir: Option<String>,
    /// Execution environments it is for, all when empty.
    #[serde(default, rename = "exec-env", skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
}

/// A process's command: the form depends on the Platform API, see [`BuildMetadata::for_platform`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// Before Platform API 0.10.
    Text(String),
    /// The program and the arguments that always follow it.
    List(Vec<String>),
}

impl Default for Command {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// A label that a buildpack sets on the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Paths of the app folder that become a layer of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Patterns of Go's `filepath.Match`.
    #[serde(default)]
    pub paths: Vec<String>,
}

impl BuildMetadata {
    /// The process of a type.
    pub fn process(&self, process_type: &str) -> Option<&Process> {
        self.processes
            .iter()
            .find(|process| process.r#type == process_type)
    }

    /// The processes as a platform of that API version reads them: before 0.10 a command is one string, and what
    /// follows it in the list moves to the front of the arguments.
    #[must_use]
    pub fn for_platform(mut self, api: ApiVersion) -> Self {
        if !api.at_least(10) {
            for process in &mut self.processes {
                if let Command::List(list) = &mut process.command {
                    let mut list = std::mem::take(list).into_iter();
                    let program = list.next().unwrap_or_default();
                    process.args = list.chain(process.args.drain(..)).collect();
                    process.command = Command::Text(program);
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn metadata() -> BuildMetadata {
        BuildMetadata {
            default_process_type: Some("web".to_owned()),
            buildpacks: vec![GroupElement::new("a/b", "1.0.0")],
            processes: vec![Process {
                r#type: "web".to_owned(),
                command: Command::List(vec!["gunicorn".to_owned(), "--bind".to_owned()]),
                args: vec!["app:app".to_owned()],
                direct: true,
                buildpack_id: "a/b".to_owned(),
                ..Process::default()
            }],
            ..BuildMetadata::default()
        }
    }

    #[test]
    fn it_reads_what_it_writes() {
        let text = toml::to_string(&metadata()).unwrap();
        assert!(
            text.contains("command = [\"gunicorn\", \"--bind\"]"),
            "{text}"
        );
        assert_eq!(toml::from_str::<BuildMetadata>(&text).unwrap(), metadata());
    }

    #[test]
    fn old_platforms_get_one_string_and_the_rest_as_arguments() {
        let old = metadata().for_platform(ApiVersion::new(0, 9));
        assert_eq!(
            old.processes[0].command,
            Command::Text("gunicorn".to_owned())
        );
        assert_eq!(old.processes[0].args, ["--bind", "app:app"]);
        assert!(
            toml::to_string(&old)
                .unwrap()
                .contains("command = \"gunicorn\"\n")
        );
        assert_eq!(metadata().for_platform(ApiVersion::new(0, 10)), metadata());
    }
}

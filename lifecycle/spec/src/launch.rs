//! What the launcher reads of `<layers>/config/metadata.toml` inside an image (Platform API, `launcher`).
//!
//! It is a part of what [`crate::metadata`] writes: the rest is ignored here, so that nothing in it can keep
//! a process from starting.

use crate::metadata::{Command, Process};
use crate::paths;
use crate::toml_file::{self, FileError};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::fmt;
use std::path::Path;

/// Processes and the buildpacks that made them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct LaunchMetadata {
    /// The group, in the order of its execution.
    #[serde(default)]
    pub buildpacks: Vec<LaunchBuildpack>,
    /// The processes of all buildpacks.
    #[serde(default)]
    pub processes: Vec<Process>,
}

/// A buildpack as the launcher needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LaunchBuildpack {
    /// Its ID.
    pub id: String,
    /// Its Buildpack API as text: a wrong one has an exit code of its own, which a failure to parse the file
    /// would hide.
    #[serde(default)]
    pub api: String,
}

impl LaunchMetadata {
    /// Reads `<layers>/config/metadata.toml`.
    pub fn read(layers_dir: &Path) -> Result<Self, FileError> {
        toml_file::read(&paths::build_metadata(layers_dir))
    }

    /// The first process of a type that may run in an execution environment.
    pub fn process(&self, process_type: &str, exec_env: Option<&str>) -> Option<&Process> {
        self.processes.iter().find(|process| {
            process.r#type == process_type && exec_env.is_none_or(|name| is_for(process, name))
        })
    }

    /// The buildpack that made a process.
    pub fn buildpack_of(&self, process: &Process) -> Option<&LaunchBuildpack> {
        self.buildpacks
            .iter()
            .find(|buildpack| buildpack.id == process.buildpack_id)
    }
}

impl Command {
    /// The program and the arguments that always follow it, in whichever form they were written.
    pub fn entries(&self) -> &[String] {
        match self {
            Self::Text(program) => std::slice::from_ref(program),
            Self::List(entries) => entries,
        }
    }
}

impl<'de> Deserialize<'de> for Command {
    // By hand: serde's untagged enums buffer the value first, which costs the launcher 6 kB.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, program: &str) -> Result<Command, E> {
                Ok(Command::Text(program.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Command, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = sequence.next_element()? {
                    entries.push(entry);
                }
                Ok(Command::List(entries))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Whether a process is for an execution environment: it names none, that one, or `*`.
fn is_for(process: &Process, exec_env: &str) -> bool {
    process.exec_env.is_empty()
        || process
            .exec_env
            .iter()
            .any(|name| name == "*" || name == exec_env)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const METADATA: &str = r#"
        buildpack-default-process-type = "web"
        [[buildpacks]]
        id = "a/b"
        version = "1.0.0"
        api = "nonsense"
        [[labels]]
        key = "no value, and nobody cares"
        [[processes]]
        type = "web"
        command = ["bash", "-c"]
        args = ["serve"]
        direct = true
        buildpack-id = "a/b"
        exec-env = ["production"]
        [[processes]]
        type = "web"
        command = "serve --debug"
        exec-env = ["test", "development"]
        [[processes]]
        type = "any"
        command = ["any"]
        exec-env = ["*"]
    "#;

    fn metadata() -> LaunchMetadata {
        toml_file::parse(Path::new("metadata.toml"), METADATA).unwrap()
    }

    #[test]
    fn both_forms_of_a_command_are_read() {
        let metadata = metadata();
        assert_eq!(metadata.processes[0].command.entries(), ["bash", "-c"]);
        assert_eq!(metadata.processes[0].args, ["serve"]);
        assert_eq!(metadata.processes[1].command.entries(), ["serve --debug"]);
        assert!(!metadata.processes[1].direct);

        let wrong = "[[processes]]\ntype = \"web\"\ncommand = [1]";
        let error = toml_file::parse::<LaunchMetadata>(Path::new("m.toml"), wrong).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("m.toml:3:"), "{message}");
        let wrong = "[[processes]]\ntype = \"web\"\ncommand = 1";
        let error = toml_file::parse::<LaunchMetadata>(Path::new("m.toml"), wrong).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("expected a string or a list of strings"),
            "{message}"
        );
    }

    #[test]
    fn processes_by_type_and_execution_environment() {
        let metadata = metadata();
        for (process_type, exec_env, command) in [
            ("web", None, Some("bash")),
            ("web", Some("production"), Some("bash")),
            ("web", Some("test"), Some("serve --debug")),
            ("web", Some("staging"), None),
            ("any", Some("staging"), Some("any")),
            ("worker", None, None),
        ] {
            let found = metadata.process(process_type, exec_env);
            let found = found.map(|process| process.command.entries()[0].as_str());
            assert_eq!(found, command, "{process_type} {exec_env:?}");
        }
    }

    #[test]
    fn the_buildpack_of_a_process() {
        let metadata = metadata();
        let buildpack = metadata.buildpack_of(&metadata.processes[0]).unwrap();
        assert_eq!(buildpack.api, "nonsense");
        assert_eq!(metadata.buildpack_of(&metadata.processes[1]), None);
    }
}

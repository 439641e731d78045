//! `<layers>/config/metadata.toml` as the builder writes it (Platform API).

use crate::api::ApiVersion;
use crate::group::GroupElement;
use crate::json;
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
    /// The image extensions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<GroupElement>,
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

impl Process {
    /// Whether its arguments are written: before Platform API 0.10, those that are none are, too, as in the reference
    /// lifecycle.
    pub(crate) fn has_args(&self) -> bool {
        matches!(self.command, Command::Text(_)) || !self.args.is_empty()
    }
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

    /// The text of the file, in the reference lifecycle's layout: the file is a layer of the image, and equal layers
    /// should be the same layer.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(default) = &self.default_process_type {
            text = format!("buildpack-default-process-type = {}\n", quoted(default));
        }
        if self.processes.is_empty() {
            // As the reference lifecycle's encoder has it.
            text.push_str("processes = []\n");
        }
        let buildpacks = self.buildpacks.iter().map(|it| ("buildpacks", it));
        let extensions = self.extensions.iter().map(|it| ("extensions", it));
        for (name, buildpack) in buildpacks.chain(extensions) {
            let mut table = Table::new(name);
            table.text("id", &buildpack.id);
            table.text("version", &buildpack.version);
            table.optional("api", buildpack.api.map(|api| api.to_string()).as_deref());
            table.optional("homepage", buildpack.homepage.as_deref());
            table.end(&mut text);
        }
        for label in &self.labels {
            let mut table = Table::new("labels");
            table.text("key", &label.key);
            table.text("value", &label.value);
            table.end(&mut text);
        }
        for process in &self.processes {
            let mut table = Table::new("processes");
            table.text("type", &process.r#type);
            // The reference lifecycle writes commands, and only them, with its JSON encoder.
            let command = match &process.command {
                Command::Text(program) => quoted(program),
                Command::List(entries) => list(entries),
            };
            table.line("command", &json::escape_html(&command));
            if process.has_args() {
                table.line("args", &list(&process.args));
            }
            table.line("direct", &process.direct.to_string());
            table.text("buildpack-id", &process.buildpack_id);
            table.optional("working-dir", process.working_dir.as_deref());
            if !process.exec_env.is_empty() {
                table.line("exec-env", &list(&process.exec_env));
            }
            table.end(&mut text);
        }
        for slice in &self.slices {
            let mut table = Table::new("slices");
            table.line("paths", &list(&slice.paths));
            table.end(&mut text);
        }
        text
    }
}

/// A table of an array, being written.
struct Table(String);

impl Table {
    fn new(name: &str) -> Self {
        Self(format!("[[{name}]]\n"))
    }

    fn line(&mut self, key: &str, value: &str) {
        self.0.extend(["  ", key, " = ", value, "\n"]);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(key, &quoted(value));
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn end(self, text: &mut String) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&self.0);
    }
}

/// A basic string of TOML. JSON's form is one, but for the delete character.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007f")
}

fn list(entries: &[String]) -> String {
    let entries: Vec<String> = entries.iter().map(|entry| quoted(entry)).collect();
    format!("[{}]", entries.join(", "))
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
        let text = metadata().to_text();
        assert_eq!(
            text,
            "buildpack-default-process-type = \"web\"\n\n[[buildpacks]]\n  id = \"a/b\"\n  version = \"1.0.0\"\n\n\
             [[processes]]\n  type = \"web\"\n  command = [\"gunicorn\", \"--bind\"]\n  args = [\"app:app\"]\n  \
             direct = true\n  buildpack-id = \"a/b\"\n"
        );
        assert_eq!(toml::from_str::<BuildMetadata>(&text).unwrap(), metadata());
    }

    #[test]
    fn no_text_breaks_the_layout() {
        let mut odd = metadata();
        odd.labels.push(Label {
            key: "[not a table]".to_owned(),
            value: "two\nlines\n[\"header\"]\n".to_owned(),
        });
        odd.processes.push(Process {
            r#type: "odd".to_owned(),
            command: Command::List(vec![
                "a<b>&c".to_owned(),
                "\u{7f}\u{0}\\\t'".to_owned(),
                String::new(),
            ]),
            args: vec!["\"é\u{2028}\"".to_owned()],
            exec_env: vec!["test".to_owned()],
            working_dir: Some("x y".to_owned()),
            ..Process::default()
        });
        odd.slices.push(Slice::default());
        assert_eq!(
            toml::from_str::<BuildMetadata>(&odd.to_text()).unwrap(),
            odd
        );
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

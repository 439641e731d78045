//! The processes that an image offers, and the commands that start them.

use crate::nearest::nearest;
use cnb_spec::labels;
use cnb_spec::names::ProcessType;
use cnb_spec::paths::{self, LAUNCHER, PROCESS_DIR};
use oci_image::Image;
use serde::{Deserialize, Deserializer};

/// What an image can run, by its label and its entrypoint.
#[derive(Debug, Clone)]
pub struct Processes {
    kind: Kind,
    default: Option<ProcessType>,
    all: Vec<Process>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Made by a CNB lifecycle.
    Buildpacks,
    /// Made by something else, which has one command.
    Plain { command: Vec<String> },
}

/// A process of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub process_type: ProcessType,
    /// The command and its arguments.
    pub words: Vec<String>,
}

/// What a dyno runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// For the kernel.
    pub(crate) argv: Vec<String>,
    /// For people.
    pub(crate) shown: String,
}

/// Why a command cannot be run in an image.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    #[error(
        "the image's label {} is not valid: build the image again",
        labels::BUILD_METADATA
    )]
    Label { source: serde_json::Error },
    #[error("the image has no process type {wanted}: {}", offer(available, nearest.as_ref()))]
    UnknownType {
        wanted: ProcessType,
        available: Vec<ProcessType>,
        /// The type that was probably meant.
        nearest: Option<ProcessType>,
    },
    #[error("the image says neither what to start nor which processes it has")]
    NothingToStart,
    #[error("there is no command to run: name one, for example bash")]
    NoCommand,
}

fn offer(available: &[ProcessType], nearest: Option<&ProcessType>) -> String {
    let all: Vec<&str> = available.iter().map(ProcessType::as_str).collect();
    match (nearest, all.as_slice()) {
        (_, []) => "it has none at all; a Procfile defines them".to_owned(),
        (Some(nearest), _) => format!("did you mean {nearest}? It has {}", all.join(", ")),
        (None, _) => format!("it has {}", all.join(", ")),
    }
}

impl Processes {
    pub fn of(image: &Image) -> Result<Self, ProcessesError> {
        let config = &image.config.config;
        let Some(label) = config.labels.get(labels::BUILD_METADATA) else {
            let command = config
                .entrypoint
                .iter()
                .chain(&config.cmd)
                .cloned()
                .collect();
            return Ok(Self {
                kind: Kind::Plain { command },
                default: None,
                all: Vec::new(),
            });
        };
        let label: Label =
            serde_json::from_str(label).map_err(|source| ProcessesError::Label { source })?;
        let processes = label.processes.into_iter().filter_map(|process| {
            Some(Process {
                process_type: process.r#type.parse().ok()?,
                words: [process.command, process.args].concat(),
            })
        });
        let default = config.entrypoint.first().and_then(|entrypoint| {
            entrypoint
                .strip_prefix(PROCESS_DIR)?
                .strip_prefix('/')?
                .parse()
                .ok()
        });
        Ok(Self {
            kind: Kind::Buildpacks,
            default,
            all: processes.collect(),
        })
    }

    /// The processes, in the image's order.
    pub fn all(&self) -> &[Process] {
        &self.all
    }

    /// The type that is started when none is named: `web` where there is one, else the image's
    /// own default. An image without buildpacks has one command, which counts as `web`.
    pub fn default_type(&self) -> Result<ProcessType, ProcessesError> {
        let web = || "web".parse().ok();
        let of_buildpacks = || {
            let web = self.all.iter().map(|process| &process.process_type);
            web.clone()
                .find(|name| name.as_str() == "web")
                .or(self.default.as_ref())
                .cloned()
        };
        match &self.kind {
            Kind::Plain { command } if !command.is_empty() => web(),
            Kind::Plain { .. } => None,
            Kind::Buildpacks => of_buildpacks(),
        }
        .ok_or(ProcessesError::NothingToStart)
    }

    /// The command of a process type.
    pub(crate) fn start(&self, process_type: &ProcessType) -> Result<Command, ProcessesError> {
        match &self.kind {
            Kind::Plain { command } if !command.is_empty() && process_type.as_str() == "web" => {
                Ok(Command {
                    argv: command.clone(),
                    shown: shell_words(command),
                })
            }
            Kind::Plain { .. } => Err(self.unknown(process_type)),
            Kind::Buildpacks => {
                let process = self.find(process_type.as_str());
                let process = process.ok_or_else(|| self.unknown(process_type))?;
                Ok(Command {
                    argv: vec![paths::process(process_type.as_str())],
                    shown: process.shown(),
                })
            }
        }
    }

    /// The command of a one-off dyno. As with `heroku run`, a single argument is a line for the
    /// shell, and a first word that is a process type stands for that type's command. Several
    /// arguments reach the program exactly as they are.
    pub(crate) fn one_off(&self, words: &[String]) -> Result<Command, ProcessesError> {
        let [first, rest @ ..] = words else {
            return Err(ProcessesError::NoCommand);
        };
        if let Some(process) = self.find(first) {
            return Ok(process.with_arguments(rest));
        }
        let line = if rest.is_empty() {
            first.clone()
        } else {
            shell_words(words)
        };
        let argv = match &self.kind {
            // Without `--` the launcher has a shell run the line, after profile scripts.
            Kind::Buildpacks => vec![LAUNCHER.to_owned(), line.clone()],
            Kind::Plain { .. } if rest.is_empty() => {
                ["/bin/sh", "-c", first].map(str::to_owned).to_vec()
            }
            Kind::Plain { .. } => words.to_vec(),
        };
        Ok(Command { argv, shown: line })
    }

    /// The command of a program inside a dyno that runs, whose environment it takes over as it is: the
    /// launcher, which would make it once more, is left out.
    pub(crate) fn inside(&self, words: &[String]) -> Result<Command, ProcessesError> {
        let [first, rest @ ..] = words else {
            return Err(ProcessesError::NoCommand);
        };
        let line = match self.find(first) {
            Some(process) => process.with_arguments(rest).shown,
            None if rest.is_empty() => first.clone(),
            None => {
                return Ok(Command {
                    argv: words.to_vec(),
                    shown: shell_words(words),
                });
            }
        };
        let shell = match &self.kind {
            // As the launcher does.
            Kind::Buildpacks => "bash",
            Kind::Plain { .. } => "/bin/sh",
        };
        Ok(Command {
            argv: vec![shell.to_owned(), "-c".to_owned(), line.clone()],
            shown: line,
        })
    }

    fn find(&self, process_type: &str) -> Option<&Process> {
        let mut processes = self.all.iter();
        processes.find(|process| process.process_type.as_str() == process_type)
    }

    fn unknown(&self, wanted: &ProcessType) -> ProcessesError {
        let mut available: Vec<ProcessType> = self
            .all
            .iter()
            .map(|process| process.process_type.clone())
            .collect();
        if let Kind::Plain { command } = &self.kind
            && !command.is_empty()
        {
            available.extend("web".parse());
        }
        let known = available.iter().map(ProcessType::as_str);
        let nearest = nearest(wanted.as_str(), known).and_then(|name| name.parse().ok());
        ProcessesError::UnknownType {
            wanted: wanted.clone(),
            available,
            nearest,
        }
    }
}

impl Process {
    /// The command as its author wrote it: what a shell is given with `-c` is a line of Procfile.
    fn shown(&self) -> String {
        self.shell_line()
            .map_or_else(|| shell_words(&self.words), str::to_owned)
    }

    fn shell_line(&self) -> Option<&str> {
        match self.words.as_slice() {
            [shell, flag, line] if is_shell(shell) && flag == "-c" => Some(line),
            [line] => Some(line),
            _ => None,
        }
    }

    fn with_arguments(&self, arguments: &[String]) -> Command {
        let link = paths::process(self.process_type.as_str());
        if arguments.is_empty() {
            return Command {
                argv: vec![link],
                shown: self.shown(),
            };
        }
        let words = shell_words(arguments);
        let shown = format!("{} {words}", self.shown());
        // A shell would take arguments after its line as $0, $1 …, and the line would ignore them.
        let argv = match self.shell_line() {
            Some(_) => vec![LAUNCHER.to_owned(), shown.clone()],
            None => std::iter::once(link)
                .chain(arguments.iter().cloned())
                .collect(),
        };
        Command { argv, shown }
    }
}

fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    matches!(name, "sh" | "bash" | "dash")
}

/// The words as one line that a POSIX shell splits into the same words.
fn shell_words(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The part of the label that matters here, as every lifecycle writes it: a command is a string or
/// a list, arguments may be null.
#[derive(Debug, Deserialize)]
struct Label {
    #[serde(default, deserialize_with = "null_is_empty")]
    processes: Vec<LabelProcess>,
}

#[derive(Debug, Deserialize)]
struct LabelProcess {
    r#type: String,
    #[serde(deserialize_with = "string_or_list")]
    command: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    args: Vec<String>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn string_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Command {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Command::deserialize(deserializer)? {
        Command::Text(text) => vec![text],
        Command::List(words) => words,
    })
}

#[cfg(test)]
#[path = "processes_tests.rs"]
mod tests;

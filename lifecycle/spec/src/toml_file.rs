//! Reading and writing one TOML file, with errors that name the file, the line and the key.

use crate::api::ApiVersionError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why a file of the specification could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is absent or unreadable.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML, or not the TOML that the specification asks for.
    #[error("{}:{at}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where in it, and what is wrong there.
        at: Mistake,
    },
    /// The file's TOML breaks a rule that its grammar cannot express.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The rule, and what broke it.
        reason: String,
    },
    /// The descriptor's `api` is no version.
    #[error("{}: api", path.display())]
    Api {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ApiVersionError,
    },
    /// The value has no TOML form.
    #[error("writing {}", path.display())]
    Serialize {
        /// The file.
        path: PathBuf,
        /// What the serializer said.
        #[source]
        source: toml::ser::Error,
    },
    /// The file could not be written.
    #[error("writing {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    /// Whether what is wrong is the version of an API.
    pub fn is_api(&self) -> bool {
        matches!(self, Self::Api { .. })
    }

    /// Whether the file was not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A place in a TOML document and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1; 0 when the parser named no place.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The dotted key on that line, with its table's name in front, when the line has one.
    pub key: Option<String>,
    /// The parser's own words.
    pub message: String,
}

impl Mistake {
    /// Places `error` in `document`.
    pub fn locate(document: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim().replace('\n', ", ");
        let Some(span) = error.span() else {
            return Self {
                line: 0,
                column: 0,
                key: None,
                message,
            };
        };
        let start = (0..=span.start.min(document.len()))
            .rev()
            .find(|&at| document.is_char_boundary(at))
            .unwrap_or(0);
        let before = &document[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_text = document[line_start..].lines().next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: key_of(&document[..line_start], line_text),
            message,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        } else {
            f.write_str(" ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// The key that `line` sets, with the name of the table that the lines `above` it opened.
fn key_of(above: &str, line: &str) -> Option<String> {
    let table_name = |text: &str| {
        let text = text.trim();
        text.starts_with('[')
            .then(|| text.trim_matches(['[', ']', ' ']).to_owned())
    };
    if let Some(name) = table_name(line) {
        return Some(name);
    }
    let key = line.split_once('=')?.0.trim();
    if key.is_empty() {
        return None;
    }
    Some(match above.lines().rev().find_map(table_name) {
        Some(table) => format!("{table}.{key}"),
        None => key.to_owned(),
    })
}

/// No file of the specification comes near it; buildpacks write them, and they are read whole.
const LARGEST: u64 = 16 << 20;

/// Reads and parses `path`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    parse(path, &read_text(path)?)
}

/// Reads and parses `path`; `None` when there is no such file.
pub fn read_if_exists<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match read(path) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads `path` as text; bytes that are not UTF-8 are a mistake in its first line that has them.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(FileError::Invalid {
            path: path.to_owned(),
            reason: format!("the file is larger than {} MiB", LARGEST >> 20),
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        FileError::Parse {
            path: path.to_owned(),
            at: Mistake {
                line: valid.matches('\n').count() + 1,
                column: 1,
                key: None,
                message: "the text is not UTF-8".to_owned(),
            },
        }
    })
}

/// Parses `document`, which was read from `path`.
pub fn parse<T: DeserializeOwned>(path: &Path, document: &str) -> Result<T, FileError> {
    // Editors on other systems put a byte-order mark in front; it carries nothing.
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    toml::from_str(document).map_err(|error| FileError::Parse {
        path: path.to_owned(),
        at: Mistake::locate(document, &error),
    })
}

/// Writes `value` to `path`, making the folders that lead to it.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let text = toml::to_string(value).map_err(|source| FileError::Serialize {
        path: path.to_owned(),
        source,
    })?;
    write_text(path, &text)
}

/// Writes `text` to `path`, making the folders that lead to it.
pub fn write_text(path: &Path, text: &str) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|source| FileError::Write {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Process {
        #[expect(dead_code, reason = "only its type matters here")]
        command: Vec<String>,
    }

    #[derive(Deserialize, Debug)]
    struct Document {
        #[expect(dead_code, reason = "only its type matters here")]
        processes: Vec<Process>,
    }

    fn message(document: &str) -> String {
        parse::<Document>(Path::new("/l/launch.toml"), document)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_wrong_type_names_file_line_and_key() {
        let message =
            message("[[processes]]\ncommand = [\"a\"]\n\n[[processes]]\ncommand = \"gunicorn\"\n");
        assert!(
            message.starts_with("/l/launch.toml:5:11: processes.command: "),
            "{message}"
        );
        assert!(message.contains("expected a sequence"), "{message}");
    }

    #[test]
    fn broken_syntax_names_its_line() {
        let message = message("[[processes]]\ncommand = [\"a\"\nother\n");
        assert!(message.starts_with("/l/launch.toml:3:"), "{message}");
    }

    #[test]
    fn an_unknown_key_is_named() {
        let message = message("[[processes]]\ncommand = [\"a\"]\ndirect = true\n");
        assert!(
            message.starts_with("/l/launch.toml:3:1: processes.direct: unknown field"),
            "{message}"
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_mistake() {
        parse::<Document>(Path::new("x"), "\u{feff}processes = []").unwrap();
    }
}

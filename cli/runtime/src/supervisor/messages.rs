//! What commands and the supervisor say to each other, as JSON over the control API.

use crate::names::DynoName;
use crate::size::Size;
use cnb_spec::names::ProcessType;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How many dynos of each type.
pub type Quantities = BTreeMap<ProcessType, u32>;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub app: String,
    /// The supervisor's process.
    pub pid: u32,
    pub since: Timestamp,
    /// The release that dynos are started from.
    pub release: u64,
    /// The digest of its image.
    pub image: String,
    /// The router's port; none where no web dyno was asked for.
    pub port: Option<u16>,
    pub maintenance: bool,
    pub formation: BTreeMap<String, u32>,
    pub dynos: Vec<DynoStatus>,
}

/// One dyno, or its place while nothing runs there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoStatus {
    /// `web.1`
    pub name: String,
    #[serde(rename = "type")]
    pub process_type: String,
    pub state: DynoState,
    /// Since when it has been in this state.
    pub since: Timestamp,
    pub command: String,
    pub release: u64,
    /// The host's pid of the dyno's first process.
    pub pid: Option<u32>,
    /// `PORT` of a web dyno.
    pub port: Option<u16>,
    /// Its size, where it has one.
    #[serde(default)]
    pub size: Option<Size>,
    /// Crashes in a row.
    pub crashes: u32,
}

/// Heroku's words for what a dyno is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DynoState {
    Starting,
    Up,
    /// Its successor has taken its place, and it ends.
    Stopping,
    Crashed,
    /// Stopped by `ps:stop`.
    Down,
}

impl fmt::Display for DynoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Stopping => "stopping",
            Self::Crashed => "crashed",
            Self::Down => "down",
        })
    }
}

/// What a command is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Every dyno.
    All,
    /// The dynos of a type.
    Type(ProcessType),
    /// `web.1`; the number of a one-off has four digits.
    Dyno(String),
}

impl Target {
    /// Reads a dyno's name or a type.
    pub fn parse(text: &str) -> Option<Self> {
        match text.rsplit_once('.') {
            Some((kind, number))
                if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                kind.parse::<ProcessType>()
                    .ok()
                    .map(|_| Self::Dyno(text.to_owned()))
            }
            _ => text.parse().ok().map(Self::Type),
        }
    }

    pub(crate) fn includes(&self, name: &DynoName, process_type: &ProcessType) -> bool {
        match self {
            Self::All => true,
            Self::Type(wanted) => wanted == process_type,
            Self::Dyno(wanted) => *wanted == name.to_string(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all dynos"),
            Self::Type(process_type) => process_type.fmt(f),
            Self::Dyno(name) => f.write_str(name),
        }
    }
}

/// How dynos are replaced by those of a new release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reload {
    /// Whether the new ones come up before the old ones go.
    pub(crate) overlap: bool,
}

/// A command that the supervisor did not carry out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let web: ProcessType = "web".parse().unwrap();
        assert_eq!(Target::parse("web"), Some(Target::Type(web.clone())));
        assert_eq!(
            Target::parse("web.2"),
            Some(Target::Dyno("web.2".to_owned()))
        );
        assert_eq!(Target::parse("web 1"), None);
        assert_eq!(Target::parse(""), None);
        let second = DynoName::of(&web, 2);
        assert!(Target::Type(web.clone()).includes(&second, &web));
        assert!(Target::Dyno("web.2".to_owned()).includes(&second, &web));
        assert!(!Target::Dyno("web.1".to_owned()).includes(&second, &web));
    }
}

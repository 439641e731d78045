//! One release: an image and config vars, numbered.

use crate::state::ConfigVars;
use jiff::Timestamp;
use oci_image::Descriptor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// A release: what dynos run and with which config vars. It never changes but for its status.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Counted from 1.
    pub version: u64,
    pub created_at: Timestamp,
    /// In Heroku's words: `Set FOO config vars`, `Deploy 1a2b3c4d`, `Rollback to v3`.
    pub description: String,
    /// `None` when config vars were set before the first build.
    pub image: Option<ReleaseImage>,
    pub status: Status,
    pub config: ConfigVars,
    /// Which of `config` add-ons gave: a rollback leaves add-ons as they are.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub addon_vars: BTreeSet<String>,
}

/// Without the config vars' values: those are secrets.
impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release")
            .field("version", &self.version)
            .field("created_at", &self.created_at)
            .field("description", &self.description)
            .field("image", &self.image)
            .field("status", &self.status)
            .field("config", &self.config.keys())
            .field("addon_vars", &self.addon_vars)
            .finish()
    }
}

/// The image of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseImage {
    pub manifest: Descriptor,
    /// The stack that it stands on.
    pub stack: String,
}

/// How far a release has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made: its release command is executing.
    Pending,
    Succeeded,
    /// Its release command failed, or it was cut off. It never took effect.
    Failed,
}

/// What a release is made of. Not `Debug`: config vars are secrets.
#[derive(Clone)]
pub struct NewRelease {
    pub description: String,
    pub image: Option<ReleaseImage>,
    pub config: ConfigVars,
    /// Which of `config` add-ons gave.
    pub addon_vars: BTreeSet<String>,
}

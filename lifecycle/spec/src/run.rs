//! `run.toml`, the run images that a platform offers (Platform API).

use serde::{Deserialize, Serialize};

/// `run.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The images.
    #[serde(default)]
    pub images: Vec<RunImageNames>,
}

/// The names of a run image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImageNames {
    /// A tag reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The same image in other registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

//! `run.toml` and, before Platform API 0.12, `stack.toml`: the run images that a platform offers.

use serde::{Deserialize, Serialize};

/// `run.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The images.
    #[serde(default)]
    pub images: Vec<RunImageNames>,
}

/// `stack.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The image.
    #[serde(default, rename = "run-image")]
    pub run_image: RunImageNames,
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

impl RunImageNames {
    /// Every name, the image's own first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.image.iter().chain(&self.mirrors).map(String::as_str)
    }
}

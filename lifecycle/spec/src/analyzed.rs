//! `analyzed.toml`, what analysis found out about images (Platform API).

use crate::target::Target;
use serde::{Deserialize, Serialize};

/// `analyzed.toml`.
///
/// The reference lifecycle also carries the previous image's layers in a `[metadata]` table, for its own later
/// phases. Here those phases get them in memory, and the table is neither read nor written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analyzed {
    /// The previous image.
    #[serde(default, rename = "image", skip_serializing_if = "Option::is_none")]
    pub previous_image: Option<ImageReference>,
    /// The build image.
    #[serde(
        default,
        rename = "build-image",
        skip_serializing_if = "Option::is_none"
    )]
    pub build_image: Option<ImageReference>,
    /// The run image.
    #[serde(default, rename = "run-image", skip_serializing_if = "Option::is_none")]
    pub run_image: Option<RunImage>,
}

/// An image by reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReference {
    /// A digest reference, an image ID or a path.
    #[serde(default)]
    pub reference: String,
}

/// The run image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImage {
    /// A digest reference, an image ID or a path.
    #[serde(default)]
    pub reference: String,
    /// What the platform called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether image extensions change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extend: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

impl Analyzed {
    /// The run image's target; empty when the file does not tell.
    pub fn run_target(&self) -> Target {
        self.run_image
            .as_ref()
            .and_then(|image| image.target.clone())
            .unwrap_or_default()
    }
}

//! `report.toml`, what was exported (Platform API).

use serde::{Deserialize, Serialize};

/// `report.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The image.
    pub image: ImageReport,
}

/// The image of a [`Report`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    /// Every tag that it was given.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The digest of its config.
    #[serde(default, rename = "image-id", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The digest of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The size of its manifest, in bytes.
    #[serde(
        default,
        rename = "manifest-size",
        skip_serializing_if = "Option::is_none"
    )]
    pub manifest_size: Option<u64>,
}

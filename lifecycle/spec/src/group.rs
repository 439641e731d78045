//! Group elements and `group.toml` (Platform API).

use crate::api::ApiVersion;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A buildpack as orders, groups and plans name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupElement {
    /// The buildpack's ID.
    pub id: String,
    /// The buildpack's version.
    #[serde(default)]
    pub version: String,
    /// The Buildpack API it speaks; known from detection on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiVersion>,
    /// Its web page; known from detection on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Whether the group can do without it; in orders only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl GroupElement {
    /// `<id>@<version>`, required.
    pub fn new(id: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            version: version.into(),
            api: None,
            homepage: None,
            optional: false,
        }
    }

    /// The same buildpack, named by ID and version alone.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self::new(&self.id, &self.version)
    }
}

impl fmt::Display for GroupElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

/// `group.toml`: the buildpacks that detection chose, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The buildpacks.
    #[serde(default)]
    pub group: Vec<GroupElement>,
    /// Image extensions, which run before the buildpacks.
    #[serde(
        default,
        rename = "group-extensions",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub group_extensions: Vec<GroupElement>,
}

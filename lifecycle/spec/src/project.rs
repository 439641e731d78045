//! `project-metadata.toml` and the label made of it (Platform API).

use crate::json;
use serde::{Deserialize, Serialize};

/// `project-metadata.toml`: where the source came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectMetadata {
    /// The source, when the platform knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ProjectSource>,
}

/// See [`ProjectMetadata::source`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectSource {
    /// Such as `git`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub r#type: String,
    /// What identifies this version of it.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub version: toml::Table,
    /// Anything else.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

impl ProjectMetadata {
    /// The text of the label [`crate::labels::PROJECT_METADATA`].
    pub fn label(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Label {
            #[serde(skip_serializing_if = "Option::is_none")]
            source: Option<Source>,
        }
        #[derive(Serialize)]
        struct Source {
            #[serde(skip_serializing_if = "String::is_empty")]
            r#type: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            version: Option<serde_json::Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: Option<serde_json::Value>,
        }
        let table = |table: &toml::Table| (!table.is_empty()).then(|| json::of_table(table));
        json::label_text(&Label {
            source: self.source.as_ref().map(|source| Source {
                r#type: source.r#type.clone(),
                version: table(&source.version),
                metadata: table(&source.metadata),
            }),
        })
    }
}

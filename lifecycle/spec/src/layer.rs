//! `<layer>.toml`, the content metadata of a layer (Buildpack API).

use crate::toml_file::{self, FileError};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a layer is for; all false is a layer to be ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTypes {
    /// Part of the image.
    #[serde(default)]
    pub launch: bool,
    /// Seen by the buildpacks that follow.
    #[serde(default)]
    pub build: bool,
    /// Kept for the next build.
    #[serde(default)]
    pub cache: bool,
}

impl LayerTypes {
    /// Whether the layer lives no longer than its buildpack's own build.
    pub fn is_ignored(self) -> bool {
        self == Self::default()
    }

    /// What the next build finds of the layer (Buildpack API, "Layer Types").
    pub fn restored(self) -> Restored {
        match self {
            Self { cache: true, .. } => Restored::MetadataAndData,
            Self {
                launch: true,
                build: false,
                ..
            } => Restored::Metadata,
            _ => Restored::Nothing,
        }
    }
}

/// What the next build finds of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// `<layer>.toml`, SBOM files and the folder.
    MetadataAndData,
    /// `<layer>.toml` and SBOM files.
    Metadata,
    /// Nothing.
    Nothing,
}

/// `<layer>.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerContentMetadata {
    /// What the layer is for.
    #[serde(default)]
    pub types: LayerTypes,
    /// The buildpack's own data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<toml::Table>,
}

impl LayerContentMetadata {
    /// Reads `<layer>.toml`; an absent file is a layer of no type.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let Some(file) = toml_file::read_if_exists::<LayerToml>(path)? else {
            return Ok(Self::default());
        };
        // Where Buildpack API 0.5 had them. Ignoring them would silently drop a layer from the image.
        if file.launch.or(file.build).or(file.cache).is_some() {
            return Err(FileError::Invalid {
                path: path.to_owned(),
                reason: "launch, build and cache belong into the [types] table".to_owned(),
            });
        }
        Ok(Self {
            types: file.types,
            metadata: file.metadata,
        })
    }

    /// The text of a `<layer>.toml` without `[types]`, as a restored layer has it.
    pub fn restored_text(&self) -> Result<String, toml::ser::Error> {
        #[derive(Serialize)]
        struct Partial<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: &'a Option<toml::Table>,
        }
        toml::to_string(&Partial {
            metadata: &self.metadata,
        })
    }
}

#[derive(Deserialize)]
struct LayerToml {
    #[serde(default)]
    types: LayerTypes,
    #[serde(default)]
    metadata: Option<toml::Table>,
    launch: Option<toml::Value>,
    build: Option<toml::Value>,
    cache: Option<toml::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restoration_follows_the_table_of_the_specification() {
        for (build, cache, launch, expected) in [
            (true, true, true, Restored::MetadataAndData),
            (true, true, false, Restored::MetadataAndData),
            (true, false, true, Restored::Nothing),
            (true, false, false, Restored::Nothing),
            (false, true, true, Restored::MetadataAndData),
            (false, true, false, Restored::MetadataAndData),
            (false, false, true, Restored::Metadata),
            (false, false, false, Restored::Nothing),
        ] {
            let types = LayerTypes {
                launch,
                build,
                cache,
            };
            assert_eq!(types.restored(), expected, "{types:?}");
        }
    }
}

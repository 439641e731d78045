//! The build plan that `bin/detect` writes (Buildpack API, "Build Plan").

use serde::{Deserialize, Serialize};

/// What a buildpack offers and needs, with alternatives in the order of preference.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct BuildPlan {
    /// Dependencies it provides.
    #[serde(default)]
    pub provides: Vec<Provide>,
    /// Dependencies it needs.
    #[serde(default)]
    pub requires: Vec<Require>,
    /// What it would also be content with.
    #[serde(default)]
    pub or: Vec<PlanSections>,
}

/// One alternative of a [`BuildPlan`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct PlanSections {
    /// Dependencies it provides.
    #[serde(default)]
    pub provides: Vec<Provide>,
    /// Dependencies it needs.
    #[serde(default)]
    pub requires: Vec<Require>,
}

/// A dependency that a buildpack provides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Provide {
    /// Its name.
    pub name: String,
}

/// A dependency that a buildpack needs, with whatever its provider should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Require {
    /// Its name.
    pub name: String,
    /// Gone since Buildpack API 0.7; read so that it can be refused by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For the provider.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub metadata: toml::Table,
}

impl BuildPlan {
    /// All alternatives, the one at the top first.
    pub fn alternatives(&self) -> Vec<PlanSections> {
        let top = PlanSections {
            provides: self.provides.clone(),
            requires: self.requires.clone(),
        };
        std::iter::once(top)
            .chain(self.or.iter().cloned())
            .collect()
    }

    /// Refuses what the specification no longer allows.
    pub fn validate(&self) -> Result<(), BuildPlanError> {
        let or = self.or.iter().flat_map(|sections| &sections.requires);
        match self
            .requires
            .iter()
            .chain(or)
            .find(|require| require.version.is_some())
        {
            Some(require) => Err(BuildPlanError(require.name.clone())),
            None => Ok(()),
        }
    }
}

/// A requirement carries the removed key `version`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "requires {0:?} with a \"version\" key, which Buildpack API 0.7 removed; the buildpack has to set metadata.version"
)]
pub struct BuildPlanError(String);

//! `build.toml`, what a buildpack reports of its build (Buildpack API).

use crate::plan::BuildpackPlan;
use serde::{Deserialize, Serialize};

/// `build.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildToml {
    /// Requirements that the buildpack leaves to those after it.
    #[serde(default)]
    pub unmet: Vec<Unmet>,
}

/// A requirement that was not met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// As in the buildpack plan.
    #[serde(default)]
    pub name: String,
}

impl BuildToml {
    /// The names of the entries of `plan` that the buildpack met.
    pub fn met(&self, plan: &BuildpackPlan) -> Result<Vec<String>, UnmetError> {
        for unmet in &self.unmet {
            if unmet.name.is_empty() {
                return Err(UnmetError::Nameless);
            }
            if plan.entries.iter().all(|entry| entry.name != unmet.name) {
                return Err(UnmetError::Unknown(unmet.name.clone()));
            }
        }
        Ok(plan
            .entries
            .iter()
            .map(|entry| entry.name.clone())
            .filter(|name| self.unmet.iter().all(|unmet| unmet.name != *name))
            .collect())
    }
}

/// An entry of `unmet` does not belong to the plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnmetError {
    /// It has no name.
    #[error("unmet.name is required")]
    Nameless,
    /// Nothing of that name was required.
    #[error("unmet.name {0:?} is not in the buildpack plan")]
    Unknown(String),
}

//! `plan.toml` and the part of it that one buildpack gets (Platform API; Buildpack API, "Buildpack Plan").

use crate::build_plan::Require;
use serde::{Deserialize, Serialize};

/// `plan.toml`: which buildpack provides what somebody requires.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One entry per dependency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<PlanEntry>,
}

/// A dependency: its providers and every requirement of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// Who offered it, in the group's order.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// What was asked of it; all of one name.
    #[serde(default)]
    pub requires: Vec<Require>,
}

/// A buildpack that provides a dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its ID.
    pub id: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Whether it is an image extension.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extension: bool,
}

/// The plan that `bin/build` finds under `CNB_BP_PLAN_PATH`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildpackPlan {
    /// Everything that was required of this buildpack and that nobody met before it.
    #[serde(default)]
    pub entries: Vec<Require>,
}

impl Plan {
    /// What is required of the buildpack `id`.
    pub fn for_buildpack(&self, id: &str) -> BuildpackPlan {
        self.for_provider(id, false)
    }

    /// What is required of the image extension `id`.
    pub fn for_extension(&self, id: &str) -> BuildpackPlan {
        self.for_provider(id, true)
    }

    fn for_provider(&self, id: &str, extension: bool) -> BuildpackPlan {
        let provides = |entry: &&PlanEntry| {
            entry
                .providers
                .iter()
                .any(|provider| provider.id == id && provider.extension == extension)
        };
        BuildpackPlan {
            entries: self
                .entries
                .iter()
                .filter(provides)
                .flat_map(|entry| entry.requires.iter().cloned())
                .collect(),
        }
    }

    /// The plan without the entries that are `met`, for the buildpacks that follow.
    #[must_use]
    pub fn without(self, met: &[String]) -> Self {
        let unmet = |entry: &PlanEntry| {
            entry
                .requires
                .iter()
                .all(|require| !met.contains(&require.name))
        };
        Self {
            entries: self.entries.into_iter().filter(unmet).collect(),
        }
    }
}

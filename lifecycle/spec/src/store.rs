//! `store.toml`, what a buildpack keeps from build to build (Buildpack API).

use serde::{Deserialize, Serialize};

/// `store.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Store {
    /// The buildpack's own data.
    #[serde(default)]
    pub metadata: toml::Table,
}

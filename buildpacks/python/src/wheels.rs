//! The wheel store: packages unpacked and compiled once for all apps of a user.
//!
//! Nothing that runs in a build may write to the store: what one app's code put there, another app would run. So an
//! install comes about in two steps. The buildpack of the app's build asks its platform for one ([`take`]). The
//! platform starts the same buildpack once more ([`stock`]), in a place of its own, where the store is writable and no
//! code of an app, of a source package or of another buildpack ever runs: only uv, which may not build anything, and a
//! Python that compiles and imports nothing. What came of it the app's build sees read-only, and copies.
//!
//! ```text
//! <store>/uv/…               uv's cache: wheels, unpacked, each with its bytecode beside its modules
//! <store>/uv-locked/…        the same of wheels that locks name by address and digest
//! <store>/bytecode/<sha256>  of an installed RECORD: which bytecode belongs to it, and the folder in uv's cache
//! <store>/installs/<app>/<n> environments linked from the cache, for one build
//! ```
//!
//! A platform that offers no store, such as pack, gets the same packages from a cache layer of the app's own.

pub(crate) mod stock;
pub(crate) mod take;

use crate::interpreter::Interpreter;
use crate::layers::venv;
use crate::project::{Origin, Plan, Source};
use crate::tool_env;
use libcnb::Env;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::Table;

/// Names the folder in which a platform puts installs that were asked for.
pub(crate) const OFFER_VARIABLE: &str = "BP_WHEELS_DIR";
/// Names the store's folder, where the buildpack is started to stock it.
pub(crate) const STORE_VARIABLE: &str = "BP_WHEEL_STORE";
/// Carries the [`Order`] to where the store is stocked.
pub(crate) const ORDER_VARIABLE: &str = "BP_WHEEL_ORDER";
/// Below the folder in which buildpacks tell of their layers: orders, as files that are called by their numbers.
const ORDERS: &str = "wheels";
/// In an install: what it is.
const DESCRIPTION: &str = "stocked.json";

/// What an app's build asks for besides its packages.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Whether everything is to be asked for again.
    refresh: bool,
    /// Packages that were found to be damaged, to be fetched again.
    damaged: BTreeSet<String>,
    of: Identity,
}

/// What an install is made of. The build and the stock each say it of what they see: where another buildpack sets
/// something for installers, they do not see the same.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Identity {
    python: String,
    requirements: String,
    settings: String,
}

impl Identity {
    /// `env`: the user's variables over the buildpack's.
    fn new(python: &Interpreter, plan: &Plan, env: &Env) -> Self {
        Self {
            python: venv::identity(python),
            requirements: plan.fingerprint.clone(),
            settings: tool_env::fingerprint_of_wheels(env),
        }
    }
}

/// The digests of bytecode by its path, relative to `site-packages`; empty for a module that cannot be compiled.
type Bytecode = BTreeMap<String, String>;

/// An install in the store.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stocked {
    of: Identity,
    /// What uv said.
    said: String,
    /// How many modules were compiled for it.
    compiled: usize,
    /// By the names of the packages' `.dist-info` folders.
    bytecode: BTreeMap<String, Bytecode>,
}

/// Settings in `[tool.uv]` that have no say in which versions are installed, where they come from and whom is trusted:
/// they are not read where the store is stocked.
const HARMLESS: [&str; 3] = ["default-groups", "dev-dependencies", "package"];

/// Whether other apps get the same files for the same requirements: everything comes from indexes that the
/// requirements or the platform's settings name, and no file of the app's says how.
pub(crate) fn is_shared(plan: &Plan, app_dir: &Path) -> bool {
    plan.origin == Origin::Indexes
        && !plan.local_sources
        && !plan.empty
        && matches!(plan.source, Source::Requirements | Source::UvLock)
        && app_dir.ancestors().all(is_unconfigured)
}

/// Whether uv finds no configuration in a folder that counts here.
fn is_unconfigured(folder: &Path) -> bool {
    if folder.join("uv.toml").exists() {
        return false;
    }
    let project = folder.join("pyproject.toml");
    if !project.exists() {
        return true;
    }
    let Some(project) = std::fs::read_to_string(project)
        .ok()
        .and_then(|text| text.parse::<Table>().ok())
    else {
        return false;
    };
    let settings = project
        .get("tool")
        .and_then(|tool| tool.get("uv"))
        .map(|uv| uv.as_table().cloned().unwrap_or_default());
    settings.is_none_or(|uv| uv.keys().all(|key| HARMLESS.contains(&key.as_str())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn configuration_of_uv_keeps_an_app_to_itself() {
        for (text, expected) in [
            ("", true),
            ("[project]\nname = 'a'", true),
            ("[tool.uv]\ndev-dependencies = []", true),
            ("[tool.uv]\nallow-insecure-host = ['a']", false),
            ("[[tool.uv.index]]\nurl = 'https://a'", false),
            ("not TOML", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("pyproject.toml"), text).unwrap();
            assert_eq!(is_unconfigured(folder.path()), expected, "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("uv.toml"), "").unwrap();
        assert!(!is_unconfigured(folder.path()));
    }
}

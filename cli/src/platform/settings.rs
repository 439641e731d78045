//! Defaults for builds that the user keeps: what `pack config` keeps for pack.
//!
//! They are in `settings.toml` of the store. There is no list of trusted builders: phases with credentials never run in
//! a builder's sandbox, so nothing would follow from it.

use crate::args::PullPolicy;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::{self, Store};
use cnb_spec::toml_file;
use oci_image::Reference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the store's blobs may take where the user says nothing, in bytes.
const USUAL_LIMIT: u64 = 20_000_000_000;

/// `settings.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    /// The builder of builds that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default_builder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull_policy: Option<PullPolicy>,
    /// How much the store's blobs may take, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_limit: Option<u64>,
    /// Run images and where else they are; tried before the names that a builder gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) run_image_mirrors: BTreeMap<String, Vec<String>>,
    /// Registries, and the host that is asked in their place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) registry_mirrors: BTreeMap<String, String>,
    /// The folder with the index of the registry of buildpacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) registry_index: Option<PathBuf>,
}

impl Settings {
    /// Without a file, everything is unset.
    pub(crate) fn read(store: &Store) -> Result<Self, Failure> {
        let path = file(store);
        let settings = toml_file::read_if_exists(&path)
            .or_fail(Exit::Store, || "cannot read the settings".to_owned())
            .map_err(|failure| {
                failure.hint(format!(
                    "correct {}, or remove it: slugc settings writes it anew",
                    path.display()
                ))
            })?;
        Ok(settings.unwrap_or_default())
    }

    pub(crate) fn write(&self, store: &Store) -> Result<(), Failure> {
        let text = toml::to_string(self)
            .or_fail(Exit::Store, || "cannot write the settings".to_owned())?;
        store::write_file(&file(store), text.as_bytes())
    }

    /// How much the store's blobs may take before builds remove what nobody needs, in bytes.
    pub(crate) fn cache_limit(&self) -> u64 {
        self.cache_limit.unwrap_or(USUAL_LIMIT)
    }

    /// The user's mirrors of a run image, whichever way its name is spelled.
    pub(crate) fn mirrors_of_run_image(&self, name: &str) -> Vec<String> {
        let wanted = full_name(name);
        self.run_image_mirrors
            .iter()
            .filter(|(image, _)| full_name(image) == wanted)
            .flat_map(|(_, mirrors)| mirrors.iter().cloned())
            .collect()
    }

    /// What is asked in the place of an image's registry.
    pub(crate) fn mirror_of_registry(
        &self,
        name: &Reference,
    ) -> Result<Option<Reference>, Failure> {
        let Some(mirror) = self
            .registry_mirrors
            .get(name.registry())
            .or_else(|| self.registry_mirrors.get("*"))
        else {
            return Ok(None);
        };
        let separator = if name.digest().is_some() { '@' } else { ':' };
        let text = format!(
            "{mirror}/{}{separator}{}",
            name.repository(),
            name.identifier()
        );
        text.parse()
            .map(Some)
            .or_fail(Exit::Input, || {
                format!("the mirror {mirror} of {} cannot be used", name.registry())
            })
            .map_err(|failure| {
                failure.hint(format!(
                    "slugc settings registry-mirrors remove {}",
                    name.registry()
                ))
            })
    }
}

fn full_name(text: &str) -> String {
    text.parse::<Reference>()
        .map_or_else(|_| text.to_owned(), |name| name.or_latest().to_string())
}

fn file(store: &Store) -> PathBuf {
    store.root().join("settings.toml")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn mirrors() {
        let settings: Settings = toml::from_str(
            "[run-image-mirrors]\n\"r.example/run\" = [\"m.example/run\"]\n\
             [registry-mirrors]\n\"r.example\" = \"127.0.0.1:5000\"\n",
        )
        .unwrap();
        assert_eq!(
            settings.mirrors_of_run_image("r.example/run:latest"),
            ["m.example/run"]
        );
        assert!(settings.mirrors_of_run_image("r.example/run:1").is_empty());
        let mirrored = |name: &str| {
            settings
                .mirror_of_registry(&name.parse().unwrap())
                .unwrap()
                .map(|name| name.to_string())
        };
        assert_eq!(
            mirrored("r.example/a/b:1").as_deref(),
            Some("127.0.0.1:5000/a/b:1")
        );
        assert_eq!(mirrored("other.example/a"), None);
    }
}

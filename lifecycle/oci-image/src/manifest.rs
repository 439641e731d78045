//! Descriptors, image manifests and indexes: the JSON documents of image-spec, unknown fields kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::media_type;

/// The annotation of an index entry that holds a layout's name for it.
pub const REF_NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// What a blob is, how long, and its digest (image-spec `descriptor.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is; see [`media_type`].
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// Where else a blob can be had, for layers that registries do not hold.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Free-form notes.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What an entry of an index runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact, for entries of an index and referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Fields that this crate does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor with nothing but the three required fields.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            extra: Map::new(),
        }
    }
}

/// What an image runs on (image-spec `image-index.md`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH: `amd64`, `arm64`, …
    pub architecture: String,
    /// GOOS: `linux`.
    pub os: String,
    /// The operating system's version (Windows).
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// The processor's variant: `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Fields that this crate does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The manifest of one image (image-spec `manifest.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::OCI_MANIFEST`] or Docker's; OCI allows it to be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, when this is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, the base first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about (an SBOM's image).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form notes.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this crate does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Manifest {
    /// An OCI manifest of this configuration and these layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// The manifest's own type: OCI's when the document leaves it out.
    pub fn own_media_type(&self) -> &str {
        self.media_type
            .as_deref()
            .unwrap_or(media_type::OCI_MANIFEST)
    }

    /// The same image under OCI's types only; what to do before a zstd layer is added.
    #[must_use]
    pub fn into_oci(mut self) -> Self {
        self.media_type = Some(media_type::OCI_MANIFEST.to_owned());
        for descriptor in std::iter::once(&mut self.config).chain(&mut self.layers) {
            descriptor.media_type = media_type::to_oci(&descriptor.media_type).to_owned();
        }
        self
    }
}

/// A list of manifests (image-spec `image-index.md`), also a layout's `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::OCI_INDEX`] or Docker's; OCI allows it to be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, when these are no images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The entries.
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form notes.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields that this crate does not know, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Index {
    /// An OCI index of these entries.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// The entry for a platform: first with the same variant (or none asked for), else any variant that is not
    /// stated. Entries without a platform, and the `unknown/unknown` ones of attestations, never match.
    pub fn for_platform(
        &self,
        os: &str,
        architecture: &str,
        variant: Option<&str>,
    ) -> Option<&Descriptor> {
        let candidates = || {
            self.manifests.iter().filter_map(|entry| {
                let platform = entry.platform.as_ref()?;
                (platform.os == os && platform.architecture == architecture)
                    .then_some((entry, platform))
            })
        };
        candidates()
            .find(|(_, platform)| variant.is_none() || platform.variant.as_deref() == variant)
            .or_else(|| candidates().find(|(_, platform)| platform.variant.is_none()))
            .map(|(entry, _)| entry)
    }
}

/// Docker and Go write `null` for empty maps and lists.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn unknown_fields_survive() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a","digest":"{DIGEST}","size":1,"data":"e30="}},"layers":[],"x-vendor":{{"b":1,"a":2}}}}"#
        );
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest.config.extra["data"], "e30=");
        assert_eq!(serde_json::to_string(&manifest).unwrap(), text);
    }

    #[test]
    fn null_collections_are_empty_ones() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a","digest":"{DIGEST}","size":1,"annotations":null}},"layers":null}}"#
        );
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        assert!(manifest.layers.is_empty());
        assert!(manifest.config.annotations.is_empty());
    }

    #[test]
    fn picks_the_platform() {
        let entry = |architecture: &str, variant: Option<&str>, size| Descriptor {
            platform: Some(Platform {
                architecture: architecture.to_owned(),
                os: "linux".to_owned(),
                os_version: None,
                variant: variant.map(str::to_owned),
                extra: Map::new(),
            }),
            ..Descriptor::new(media_type::OCI_MANIFEST, DIGEST.parse().unwrap(), size)
        };
        let index = Index::new(vec![
            Descriptor::new(media_type::OCI_MANIFEST, DIGEST.parse().unwrap(), 0),
            entry("arm64", None, 1),
            entry("arm", Some("v6"), 2),
            entry("arm", Some("v7"), 3),
        ]);
        let size = |architecture, variant| {
            index
                .for_platform("linux", architecture, variant)
                .map(|entry| entry.size)
        };
        assert_eq!(size("arm64", None), Some(1));
        assert_eq!(size("arm64", Some("v8")), Some(1));
        assert_eq!(size("arm", Some("v7")), Some(3));
        assert_eq!(size("arm", None), Some(2));
        assert_eq!(size("arm", Some("v8")), None);
        assert_eq!(size("amd64", None), None);
    }

    #[test]
    fn docker_types_become_oci_types() {
        let layer = Descriptor::new(media_type::DOCKER_LAYER_GZIP, DIGEST.parse().unwrap(), 1);
        let config = Descriptor::new(media_type::DOCKER_CONFIG, DIGEST.parse().unwrap(), 1);
        let mut manifest = Manifest::new(config, vec![layer]);
        manifest.media_type = Some(media_type::DOCKER_MANIFEST.to_owned());
        let manifest = manifest.into_oci();
        assert_eq!(manifest.own_media_type(), media_type::OCI_MANIFEST);
        assert_eq!(manifest.config.media_type, media_type::OCI_CONFIG);
        assert_eq!(manifest.layers[0].media_type, media_type::OCI_LAYER_GZIP);
    }
}

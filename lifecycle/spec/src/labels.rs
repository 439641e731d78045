//! Labels of images: their names, and the JSON of the lifecycle's own (Platform API, "Labels").

use crate::api::ApiVersion;
use crate::group::GroupElement;
use crate::json;
use crate::layer::LayerTypes;
use crate::metadata::{BuildMetadata, Command, Process};
use crate::run::RunImageNames;
use crate::store::Store;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The layers of an image and who made them: [`LayersMetadata`].
pub const LIFECYCLE_METADATA: &str = "io.buildpacks.lifecycle.metadata";
/// The layers of a cache: [`CacheMetadata`].
pub const CACHE_METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";
/// Processes and buildpacks: [`build_metadata`].
pub const BUILD_METADATA: &str = "io.buildpacks.build.metadata";
/// Where the source came from: [`crate::project::ProjectMetadata`].
pub const PROJECT_METADATA: &str = "io.buildpacks.project.metadata";
/// The execution environment.
pub const EXEC_ENV: &str = "io.buildpacks.exec-env";
/// Whether the base may be swapped.
pub const REBASABLE: &str = "io.buildpacks.rebasable";
/// The target ID of a base image.
pub const BASE_ID: &str = "io.buildpacks.base.id";
/// The distribution of a base image.
pub const BASE_DISTRO_NAME: &str = "io.buildpacks.base.distro.name";
/// The distribution's version.
pub const BASE_DISTRO_VERSION: &str = "io.buildpacks.base.distro.version";
/// Deprecated: the stack of a base image.
pub const STACK_ID: &str = "io.buildpacks.stack.id";

/// The value of [`LIFECYCLE_METADATA`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayersMetadata {
    /// Layers of the app folder, slices first.
    #[serde(default)]
    pub app: Vec<LayerSha>,
    /// The layer of SBOM files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<LayerSha>,
    /// Layers of the buildpacks.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub buildpacks: Vec<BuildpackLayers>,
    /// The layer of `config/metadata.toml`.
    #[serde(default)]
    pub config: LayerSha,
    /// The launcher's layer.
    #[serde(default)]
    pub launcher: LayerSha,
    /// The layer of `/cnb/process`; empty without processes.
    #[serde(default, rename = "process-types")]
    pub process_types: LayerSha,
    /// The base.
    #[serde(default, rename = "runImage")]
    pub run_image: RunImageForRebase,
    /// The base again, for platforms before 0.12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackMetadata>,
}

/// What a layer cache holds, in its file or label [`CACHE_METADATA`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheMetadata {
    /// The layer of SBOM files; its digest is empty without one.
    #[serde(default)]
    pub sbom: LayerSha,
    /// Layers of the buildpacks.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub buildpacks: Vec<BuildpackLayers>,
}

/// A layer by the digest of its tar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSha {
    /// `sha256:…`, the diffID.
    #[serde(default)]
    pub sha: String,
}

/// Layers of one buildpack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildpackLayers {
    /// The buildpack's ID.
    pub key: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// By layer name.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: BTreeMap<String, LayerMetadata>,
    /// What it keeps from build to build.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "store_as_json"
    )]
    pub store: Option<Store>,
}

/// One launch layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerMetadata {
    /// `sha256:…`, the diffID.
    #[serde(default)]
    pub sha: String,
    /// The `[metadata]` table of its toml file.
    #[serde(
        default,
        serialize_with = "json::optional_table",
        deserialize_with = "table_from_json"
    )]
    pub data: Option<toml::Table>,
    /// The `[types]` table of its toml file.
    #[serde(flatten)]
    pub types: LayerTypesInLabel,
}

/// [`LayerTypes`] in the order of the label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTypesInLabel {
    /// See [`LayerTypes::build`].
    #[serde(default)]
    pub build: bool,
    /// See [`LayerTypes::launch`].
    #[serde(default)]
    pub launch: bool,
    /// See [`LayerTypes::cache`].
    #[serde(default)]
    pub cache: bool,
}

impl From<LayerTypes> for LayerTypesInLabel {
    fn from(
        LayerTypes {
            launch,
            build,
            cache,
        }: LayerTypes,
    ) -> Self {
        Self {
            build,
            launch,
            cache,
        }
    }
}

/// The base of an image, as a rebase needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImageForRebase {
    /// The diffID of the base's last layer.
    #[serde(default, rename = "topLayer")]
    pub top_layer: String,
    /// A digest reference or an image ID.
    #[serde(default)]
    pub reference: String,
    /// Its names.
    #[serde(flatten)]
    pub names: RunImageNames,
}

/// See [`LayersMetadata::stack`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackMetadata {
    /// Its names.
    #[serde(default, rename = "runImage")]
    pub run_image: RunImageNames,
}

/// What the launcher in an image is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherMetadata {
    /// Its version.
    pub version: String,
    /// Where its source is.
    pub source: LauncherSource,
}

/// See [`LauncherMetadata::source`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherSource {
    /// A git repository.
    pub git: LauncherGit,
}

/// See [`LauncherSource::git`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherGit {
    /// Its URL.
    pub repository: String,
    /// The commit.
    pub commit: String,
}

/// The text of [`BUILD_METADATA`] for a platform that speaks this version of its API.
pub fn build_metadata(
    metadata: &BuildMetadata,
    launcher: &LauncherMetadata,
    platform_api: ApiVersion,
) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Label<'a> {
        /// The bill of materials of old buildpacks, of which there is none: null, and before 0.9 only.
        #[serde(skip_serializing_if = "Option::is_none")]
        bom: Option<()>,
        buildpacks: Vec<BuildpackInLabel<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        extensions: Vec<BuildpackInLabel<'a>>,
        launcher: &'a LauncherMetadata,
        processes: Vec<ProcessInLabel<'a>>,
        #[serde(
            rename = "buildpack-default-process-type",
            skip_serializing_if = "Option::is_none"
        )]
        default_process_type: &'a Option<String>,
    }
    json::label_text(&Label {
        bom: (!platform_api.at_least(9)).then_some(()),
        buildpacks: metadata
            .buildpacks
            .iter()
            .map(BuildpackInLabel::from)
            .collect(),
        extensions: metadata
            .extensions
            .iter()
            .map(BuildpackInLabel::from)
            .collect(),
        launcher,
        processes: metadata
            .processes
            .iter()
            .map(ProcessInLabel::from)
            .collect(),
        default_process_type: &metadata.default_process_type,
    })
}

#[derive(Serialize)]
struct BuildpackInLabel<'a> {
    id: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: &'a Option<String>,
}

impl<'a> From<&'a GroupElement> for BuildpackInLabel<'a> {
    fn from(element: &'a GroupElement) -> Self {
        Self {
            id: &element.id,
            version: &element.version,
            homepage: &element.homepage,
        }
    }
}

#[derive(Serialize)]
struct ProcessInLabel<'a> {
    r#type: &'a str,
    command: &'a Command,
    // Go writes a list that was never set as null.
    args: Option<&'a [String]>,
    direct: bool,
    #[serde(rename = "buildpackID")]
    buildpack_id: &'a str,
    #[serde(rename = "working-dir", skip_serializing_if = "Option::is_none")]
    working_dir: &'a Option<String>,
    #[serde(rename = "exec-env", skip_serializing_if = "<[String]>::is_empty")]
    exec_env: &'a [String],
}

impl<'a> From<&'a Process> for ProcessInLabel<'a> {
    fn from(process: &'a Process) -> Self {
        Self {
            r#type: &process.r#type,
            command: &process.command,
            args: process.has_args().then_some(&process.args),
            direct: process.direct,
            buildpack_id: &process.buildpack_id,
            working_dir: &process.working_dir,
            exec_env: &process.exec_env,
        }
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn store_as_json<S: serde::Serializer>(
    store: &Option<Store>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct InLabel<'a> {
        #[serde(serialize_with = "json::table")]
        metadata: &'a toml::Table,
    }
    store
        .as_ref()
        .map(|store| InLabel {
            metadata: &store.metadata,
        })
        .serialize(serializer)
}

fn table_from_json<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<toml::Table>, D::Error> {
    let object = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)?;
    Ok(object.as_ref().map(json::to_table))
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_lifecycle_label_has_the_reference_lifecycles_order_and_names() {
        let data: toml::Table =
            toml::from_str("z = 1.0\na = \"x<y\"\nwhen = 2024-01-02T03:04:05Z\n").unwrap();
        let metadata = LayersMetadata {
            app: vec![LayerSha {
                sha: "sha256:a".into(),
            }],
            sbom: Some(LayerSha {
                sha: "sha256:s".into(),
            }),
            buildpacks: vec![BuildpackLayers {
                key: "a/b".into(),
                version: "1.0.0".into(),
                layers: BTreeMap::from([
                    (
                        "venv".into(),
                        LayerMetadata {
                            sha: "sha256:v".into(),
                            data: Some(data.clone()),
                            types: LayerTypes {
                                launch: true,
                                build: false,
                                cache: true,
                            }
                            .into(),
                        },
                    ),
                    ("bare".into(), LayerMetadata::default()),
                ]),
                store: Some(Store { metadata: data }),
            }],
            run_image: RunImageForRebase {
                top_layer: "sha256:t".into(),
                reference: "r@sha256:d".into(),
                names: RunImageNames {
                    image: Some("run".into()),
                    mirrors: vec![],
                },
            },
            stack: Some(StackMetadata::default()),
            ..LayersMetadata::default()
        };
        let table = r#"{"a":"x\u003cy","when":"2024-01-02T03:04:05Z","z":1}"#;
        let expected = format!(
            r#"{{"app":[{{"sha":"sha256:a"}}],"sbom":{{"sha":"sha256:s"}},"buildpacks":[{{"key":"a/b","version":"1.0.0","layers":{{"bare":{{"sha":"","data":null,"build":false,"launch":false,"cache":false}},"venv":{{"sha":"sha256:v","data":{table},"build":false,"launch":true,"cache":true}}}},"store":{{"metadata":{table}}}}}],"config":{{"sha":""}},"launcher":{{"sha":""}},"process-types":{{"sha":""}},"runImage":{{"topLayer":"sha256:t","reference":"r@sha256:d","image":"run"}},"stack":{{"runImage":{{}}}}}}"#
        );
        let text = json::label_text(&metadata).unwrap();
        assert_eq!(text, expected);
        let back: LayersMetadata = serde_json::from_str(&text).unwrap();
        assert_eq!(
            back.buildpacks[0].layers["venv"].data.as_ref().unwrap()["a"].as_str(),
            Some("x<y")
        );
        assert_eq!(json::label_text(&back).unwrap(), text);
    }

    #[test]
    fn the_build_label_leaves_out_what_go_leaves_out() {
        let metadata = BuildMetadata {
            default_process_type: Some("web".into()),
            buildpacks: vec![GroupElement::new("a", "1")],
            processes: vec![Process {
                r#type: "web".into(),
                command: Command::List(vec!["run".into()]),
                direct: true,
                buildpack_id: "a".into(),
                ..Process::default()
            }],
            ..BuildMetadata::default()
        };
        assert_eq!(
            build_metadata(
                &metadata,
                &LauncherMetadata::default(),
                ApiVersion::new(0, 9)
            )
            .unwrap(),
            r#"{"buildpacks":[{"id":"a","version":"1"}],"launcher":{"version":"","source":{"git":{"repository":"","commit":""}}},"processes":[{"type":"web","command":["run"],"args":null,"direct":true,"buildpackID":"a"}],"buildpack-default-process-type":"web"}"#
        );
    }
}

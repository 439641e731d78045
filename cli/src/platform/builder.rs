//! Builders: images with a build environment, buildpacks, an order and the name of a run image.
//!
//! What tools read of a builder is in its labels, which pack writes and reads; `/cnb/order.toml`, `/cnb/run.toml` and
//! `/cnb/stack.toml` say the same to a lifecycle that runs inside.
//!
//! Trust: pack runs all phases of a trusted builder in one container that has the registry's credentials. Here no
//! phase that has credentials runs in a sandbox, whoever made the builder: the image is pulled, analysed, restored and
//! exported by slugc itself, and only detection and build run inside, without credentials. So every builder is handled
//! as pack handles one that it does not trust, and there is nothing to trust.

use super::order::Wishes;
use super::pull::{Puller, nearest_first};
use crate::args::LifecycleChoice;
use crate::build::foundation::{BuildersLifecycle, Foundation};
use crate::build::run_image::find_in;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use cnb_spec::api::{self, ApiVersion};
use cnb_spec::env_vars;
use cnb_spec::group::GroupElement;
use cnb_spec::order::{Order, OrderGroup};
use cnb_spec::run::RunImageNames;
use oci_image::{Descriptor, Image, Reference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The builder's description, as JSON.
pub(crate) const METADATA_LABEL: &str = "io.buildpacks.builder.metadata";
/// Its order, as JSON.
pub(crate) const ORDER_LABEL: &str = "io.buildpacks.buildpack.order";
/// Its buildpacks by id and version, as JSON.
pub(crate) const LAYERS_LABEL: &str = "io.buildpacks.buildpack.layers";
const EXTENSIONS_LABEL: &str = "io.buildpacks.buildpack.order-extensions";

/// What [`METADATA_LABEL`] says. Go writes lists that were never set as null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) description: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) buildpacks: Vec<Bundled>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) stack: StackMetadata,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) lifecycle: LifecycleMetadata,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) created_by: CreatedBy,
    /// Run images.
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) images: Vec<RunImage>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Bundled {
    pub(crate) id: String,
    pub(crate) version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) homepage: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StackMetadata {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) run_image: RunImage,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunImage {
    pub(crate) image: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) mirrors: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LifecycleMetadata {
    pub(crate) version: String,
    /// The oldest APIs, for readers from before `apis`.
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) api: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) apis: BTreeMap<String, ApiLists>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ApiLists {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) deprecated: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) supported: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CreatedBy {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// By version, what [`LAYERS_LABEL`] says of a buildpack.
pub(crate) type Layers = BTreeMap<String, BTreeMap<String, serde_json::Value>>;

/// A builder in the store.
#[derive(Debug)]
pub(crate) struct Builder {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) manifest: Descriptor,
    pub(crate) image: Image,
    pub(crate) metadata: Metadata,
    pub(crate) order: Order,
    pub(crate) layers: Layers,
    /// Whether it has image extensions in its order.
    pub(crate) has_extensions: bool,
}

impl Builder {
    /// Gets a builder and reads what it says of itself.
    pub(crate) fn fetch(puller: &Puller<'_>, name: &str) -> Result<Self, Failure> {
        let fetched = puller.image(name)?;
        let blobs = puller.store.blobs();
        let image = Image::load(blobs, &fetched.manifest.digest)
            .or_fail(Exit::Input, || format!("cannot read the builder {name}"))?;
        let labels = &image.config.config.labels;
        let understand = |label: &'static str| {
            move || format!("cannot understand the label {label} of the builder {name}")
        };
        let metadata = labels.get(METADATA_LABEL).ok_or_else(|| {
            Failure::new(Exit::Input, format!("{name} is no builder"))
                .because(format!("it has no label {METADATA_LABEL}"))
                .hint("pack builder create and slugc builder create make builders")
        })?;
        let metadata: Metadata =
            serde_json::from_str(metadata).or_fail(Exit::Input, understand(METADATA_LABEL))?;
        let layers: Layers = labels
            .get(LAYERS_LABEL)
            .map_or(Ok(Layers::default()), |text| serde_json::from_str(text))
            .or_fail(Exit::Input, understand(LAYERS_LABEL))?;
        let groups: Vec<OrderGroup> = labels
            .get(ORDER_LABEL)
            .map_or(Ok(Vec::new()), |text| {
                serde_json::from_str::<Option<_>>(text).map(Option::unwrap_or_default)
            })
            .or_fail(Exit::Input, understand(ORDER_LABEL))?;
        let has_extensions = labels
            .get(EXTENSIONS_LABEL)
            .is_some_and(|text| !matches!(text.trim(), "" | "null" | "[]"));
        let mut builder = Self {
            name: name.to_owned(),
            manifest: fetched.manifest,
            image,
            metadata,
            order: Order::default(),
            layers,
            has_extensions,
        };
        builder.order.order = groups
            .into_iter()
            .map(|group| builder.complete(group))
            .collect::<Result<_, _>>()?;
        Ok(builder)
    }

    /// The version of a buildpack that the builder has; without `version`, the only one.
    pub(crate) fn find(&self, id: &str, version: &str) -> Result<Option<GroupElement>, Failure> {
        let Some(versions) = self.layers.get(id) else {
            return Ok(None);
        };
        let found = match (version, versions.len()) {
            ("", 1) => versions.keys().next(),
            ("", _) => {
                let list: Vec<&str> = versions.keys().map(String::as_str).collect();
                return Err(Failure::new(
                    Exit::Input,
                    format!("the builder {} has several {id}", self.name),
                )
                .hint(format!(
                    "name one of them: {id}@{}",
                    list.join(&format!(", {id}@"))
                )));
            }
            (version, _) => versions.keys().find(|known| *known == version),
        };
        Ok(found.map(|version| GroupElement::new(id, version.as_str())))
    }

    fn complete(&self, mut group: OrderGroup) -> Result<OrderGroup, Failure> {
        for element in &mut group.group {
            if element.version.is_empty() {
                let found = self.find(&element.id, "")?.ok_or_else(|| {
                    Failure::new(
                        Exit::Input,
                        format!(
                            "the order of the builder {} names {}, which it does not have",
                            self.name, element.id
                        ),
                    )
                })?;
                element.version = found.version;
            }
        }
        Ok(group)
    }

    /// Whom the build runs as (Platform API, "Build Image").
    fn user(&self) -> Result<(u32, u32), Failure> {
        let number = |name: &'static str| {
            let value = self.image.config.config.env(name);
            value
                .and_then(|value| value.parse::<u32>().ok())
                .filter(|id| *id > 0)
                .ok_or_else(|| {
                    Failure::new(
                        Exit::Input,
                        format!(
                            "the builder {} does not say whom to build as: its variable {name} is {}",
                            self.name,
                            value.map_or("missing".to_owned(), |value| format!("{value:?}"))
                        ),
                    )
                    .hint("the specification asks for a user other than root in each build image")
                })
        };
        Ok((number(env_vars::USER_ID)?, number(env_vars::GROUP_ID)?))
    }

    /// The names of the run image, the user's own mirrors first.
    fn run_image_names(&self, puller: &Puller<'_>, target: Option<&Reference>) -> Vec<String> {
        let mut all = Vec::new();
        let offered = if self.metadata.images.is_empty() {
            std::slice::from_ref(&self.metadata.stack.run_image)
        } else {
            &self.metadata.images
        };
        for names in offered.iter().filter(|names| !names.image.is_empty()) {
            all.extend(puller.settings.mirrors_of_run_image(&names.image));
            all.push(names.image.clone());
            all.extend(names.mirrors.iter().cloned());
        }
        // A builder that an engine has was made for a run image that it has, too.
        if let Some((engine @ ("docker-daemon" | "podman"), _)) = self.name.split_once(':') {
            let there: Vec<String> = all.iter().map(|name| format!("{engine}:{name}")).collect();
            all.splice(0..0, there);
        }
        nearest_first(all, target)
    }

    /// The builder's run image, brought to the store, and its name.
    fn run_image(
        &self,
        puller: &Puller<'_>,
        target: Option<&Reference>,
    ) -> Result<(String, Descriptor), Failure> {
        let names = self.run_image_names(puller, target);
        if names.is_empty() {
            return Err(Failure::new(
                Exit::Input,
                format!("the builder {} names no run image", self.name),
            )
            .hint("make the builder with [[run.images]] in its builder.toml"));
        }
        let (name, run) = puller.first(&names).map_err(|failure| {
            Failure::new(
                failure.exit,
                format!("cannot get the run image of the builder {}", self.name),
            )
            .because(failure)
            .hint("slugc settings run-image-mirrors add IMAGE -m MIRROR names another place for it")
        })?;
        Ok((name, run.manifest))
    }

    /// Makes everything ready that a build on this builder needs: its root unpacked, and its run image in the store
    /// unless the user names another.
    pub(crate) fn base(
        &self,
        store: &Store,
        puller: &Puller<'_>,
        wishes: &Wishes<'_>,
    ) -> Result<Foundation, Failure> {
        let (uid, gid) = self.user()?;
        let (summary, run_image, run_image_names) = if wishes.has_run_image {
            // What is compiled in the build image has to run on the other one: it stands for what it was made for.
            let none = RunImageNames::default();
            ("builder".to_owned(), self.manifest.clone(), none)
        } else {
            let (name, manifest) = self.run_image(puller, wishes.target)?;
            let names = RunImageNames {
                image: Some(bare_name(&name)),
                mirrors: self.mirrors_of(&name),
            };
            (format!("builder, run image {name}"), manifest, names)
        };
        let spinner = puller.printer.spinner("Unpacking the builder");
        let lowers = store.unpacked(&self.image, &format!("the builder {}", self.name));
        spinner.finish_and_clear();
        let lowers = lowers?;
        let lifecycle = match wishes.args.lifecycle {
            LifecycleChoice::Slugc => None,
            LifecycleChoice::Builder => Some(self.own_lifecycle(&lowers)?),
        };
        let env = self.image.config.config.env.iter().filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Ok(Foundation {
            name: self.name.clone(),
            summary,
            run_image,
            run_image_names,
            build_image: self.manifest.digest,
            uid,
            gid,
            env: env.collect(),
            lowers,
            lifecycle,
        })
    }

    /// The other names of a run image, for rebases.
    fn mirrors_of(&self, name: &str) -> Vec<String> {
        let offered = self
            .metadata
            .images
            .iter()
            .chain([&self.metadata.stack.run_image]);
        let mut mirrors: Vec<String> = offered
            .filter(|names| names.image == name)
            .flat_map(|names| names.mirrors.iter().cloned())
            .collect();
        mirrors.sort();
        mirrors.dedup();
        mirrors
    }

    /// The builder's own detector, builder and launcher, if they speak a Platform API that slugc speaks.
    fn own_lifecycle(&self, lowers: &[PathBuf]) -> Result<BuildersLifecycle, Failure> {
        let version = &self.metadata.lifecycle.version;
        let unusable = |why: String| {
            Failure::new(
                Exit::Input,
                format!(
                    "the lifecycle {version} of the builder {} cannot be used: {why}",
                    self.name
                ),
            )
            .hint("leave out --lifecycle builder: slugc's own lifecycle runs the same buildpacks")
        };
        let supported = self
            .metadata
            .lifecycle
            .apis
            .get("platform")
            .map(|lists| {
                lists
                    .supported
                    .iter()
                    .chain(&lists.deprecated)
                    .filter_map(|text| text.parse::<ApiVersion>().ok())
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default();
        // The detector reads analyzed.toml, which is passed to it, from 0.10 on.
        let api = supported
            .into_iter()
            .filter(|api| api::PLATFORM.contains(api) && api.at_least(10))
            .max()
            .ok_or_else(|| unusable("it speaks no Platform API from 0.10 to 0.15".to_owned()))?;
        for program in ["detector", "builder"] {
            let path = Path::new("cnb/lifecycle").join(program);
            if !lowers
                .iter()
                .any(|lower| fs::symlink_metadata(lower.join(&path)).is_ok())
            {
                return Err(unusable(format!("it has no /{}", path.display())));
            }
        }
        let launcher = find_in(lowers, Path::new("/cnb/lifecycle/launcher"))
            .ok_or_else(|| unusable("it has no /cnb/lifecycle/launcher".to_owned()))?;
        // It is read outside of the sandbox, where a link would lead anywhere.
        if !fs::symlink_metadata(&launcher).is_ok_and(|meta| meta.is_file()) {
            return Err(unusable("its launcher is no ordinary file".to_owned()));
        }
        Ok(BuildersLifecycle {
            api,
            launcher,
            version: version.clone(),
        })
    }

    /// Where the builder's buildpacks are below `/cnb/buildpacks`.
    pub(crate) fn has(&self, element: &GroupElement) -> bool {
        self.layers
            .get(&element.id)
            .is_some_and(|versions| versions.contains_key(&element.version))
    }
}

/// A run image's name without the place that it came from.
fn bare_name(name: &str) -> String {
    match name.split_once(':') {
        Some(("docker-daemon" | "podman", name)) => name.to_owned(),
        _ => name.to_owned(),
    }
}

pub(crate) fn null_is_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

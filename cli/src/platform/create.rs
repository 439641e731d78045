//! `builder.toml`, pack's description of a builder, and the builder made of it.

use super::builder::{
    Bundled, CreatedBy, LAYERS_LABEL, Layers, METADATA_LABEL, Metadata, ORDER_LABEL, RunImage,
    StackMetadata,
};
use super::bundled_lifecycle;
use super::image::{self, add_layer};
use super::locator::Locator;
use super::module::{self, Module};
use super::pull::Puller;
use super::source::Fetcher;
use crate::build::buildpacks;
use crate::build::sandboxed::BUILDPACKS;
use crate::failure::{Exit, Failure, OrFail};
use crate::parts::Parts;
use crate::stack;
use crate::store::Store;
use cnb_spec::env_vars;
use cnb_spec::group::GroupElement;
use cnb_spec::order::{Order, OrderGroup};
use cnb_spec::run::{Run, RunImageNames, Stack as StackToml};
use cnb_spec::toml_file;
use oci_image::{Descriptor, Image, LayerError, Owner};
use serde::Deserialize;
use std::path::Path;

/// `builder.toml`. Unknown keys are mistakes: pack would leave them out without a word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuilderToml {
    #[serde(default)]
    description: String,
    #[serde(default)]
    buildpacks: Vec<Entry>,
    #[serde(default)]
    extensions: Vec<toml::Value>,
    #[serde(default)]
    order: Vec<OrderGroup>,
    #[serde(default, rename = "order-extensions")]
    order_extensions: Vec<toml::Value>,
    #[serde(default)]
    build: Build,
    #[serde(default)]
    run: RunTable,
    #[serde(default)]
    stack: StackTable,
    #[serde(default)]
    lifecycle: Lifecycle,
    /// Platforms; a builder of slugc's is for this machine's.
    #[serde(default)]
    targets: Vec<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    id: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    uri: String,
    #[serde(default)]
    image: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    #[serde(default)]
    image: String,
    #[serde(default)]
    env: Vec<BuildVariable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildVariable {
    name: String,
    value: String,
    #[serde(default)]
    suffix: String,
    #[serde(default)]
    delim: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunTable {
    #[serde(default)]
    images: Vec<RunImageNames>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StackTable {
    #[serde(default)]
    id: String,
    #[serde(default)]
    build_image: String,
    #[serde(default)]
    run_image: String,
    #[serde(default)]
    run_image_mirrors: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lifecycle {
    #[serde(default)]
    pub(super) uri: String,
    #[serde(default)]
    pub(super) version: String,
}

/// What a builder is made with.
pub(crate) struct Making<'a> {
    pub(crate) store: &'a Store,
    pub(crate) parts: &'a Parts,
    pub(crate) puller: &'a Puller<'a>,
    pub(crate) mirror: Option<&'a str>,
}

impl BuilderToml {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let toml: Self = toml_file::read(path).or_fail(Exit::Input, || {
            "cannot understand the builder's description".to_owned()
        })?;
        let refused = |what: &str| Failure::new(Exit::Input, format!("{}: {what}", path.display()));
        if !toml.extensions.is_empty() || !toml.order_extensions.is_empty() {
            return Err(refused("slugc makes no builders with image extensions"));
        }
        if toml.targets.len() > 1 {
            return Err(refused(
                "slugc makes a builder for this machine's platform; leave out targets",
            ));
        }
        if toml.order.is_empty() || toml.order.iter().any(|group| group.group.is_empty()) {
            return Err(refused(
                "a builder needs an order: [[order]] with [[order.group]] in it",
            ));
        }
        Ok(toml)
    }

    fn run_images(&self) -> Vec<RunImageNames> {
        if self.run.images.is_empty() && !self.stack.run_image.is_empty() {
            return vec![RunImageNames {
                image: Some(self.stack.run_image.clone()),
                mirrors: self.stack.run_image_mirrors.clone(),
            }];
        }
        self.run.images.clone()
    }

    /// Makes the builder; `base` is the folder that relative paths start from.
    pub(crate) fn make(&self, making: &Making<'_>, base: &Path) -> Result<Descriptor, Failure> {
        let (store, printer) = (making.store, making.puller.printer);
        let run_images = self.run_images();
        if run_images.iter().all(|names| names.image.is_none()) {
            return Err(Failure::new(Exit::Input, "the builder's description names no run image").hint(
                "add [[run.images]] with image = \"REGISTRY/REPOSITORY\"; slugc stack export --run PLACE writes slugc's",
            ));
        }
        let modules = self.modules(making, base)?;
        let order = self.resolved_order(&modules)?;
        let mut image = self.base_image(making)?;
        let name = |id: &'static str| {
            image
                .config
                .config
                .env(id)
                .and_then(|value| value.parse::<u32>().ok())
        };
        let (Some(uid), Some(gid)) = (name(env_vars::USER_ID), name(env_vars::GROUP_ID)) else {
            return Err(Failure::new(
                Exit::Input,
                "the build image has no CNB_USER_ID and CNB_GROUP_ID, so nobody knows whom to build as",
            )
            .hint("use a build image of the CNB specification, for example what slugc stack export --build writes"));
        };
        let owner = Owner { uid, gid };
        add_layer(store, &mut image, "Folders of the builder", |tar| {
            for folder in ["/workspace", "/layers"] {
                tar.directory(folder, 0o755, owner)?;
            }
            for folder in ["/cnb", BUILDPACKS, "/platform", "/platform/env"] {
                tar.directory(folder, 0o755, Owner::ROOT)?;
            }
            Ok(())
        })?;
        let lifecycle = bundled_lifecycle::add(making, &self.lifecycle, base, &mut image)?;
        let mut layers = Layers::default();
        for module in &modules {
            printer.line(&format!("Adding buildpack {}", module.element));
            image::add_buildpack(store, &mut image, &mut layers, module)?;
        }
        self.add_files(store, &mut image, &order, &run_images)?;
        let named = |names: &RunImageNames| RunImage {
            image: names.image.clone().unwrap_or_default(),
            mirrors: names.mirrors.clone(),
        };
        let metadata = Metadata {
            description: self.description.clone(),
            buildpacks: modules.iter().map(bundled).collect(),
            stack: StackMetadata {
                run_image: run_images.first().map(named).unwrap_or_default(),
            },
            lifecycle,
            created_by: CreatedBy {
                name: "slugc".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            images: run_images.iter().map(named).collect(),
        };
        image::label(&mut image, METADATA_LABEL, &metadata)?;
        image::label(&mut image, ORDER_LABEL, &order.order)?;
        image::label(&mut image, LAYERS_LABEL, &layers)?;
        "/layers".clone_into(&mut image.config.config.working_dir);
        image
            .save(store.blobs())
            .or_fail(Exit::Store, || "cannot save the builder".to_owned())
    }

    fn modules(&self, making: &Making<'_>, base: &Path) -> Result<Vec<Module>, Failure> {
        let own = buildpacks::own_modules(making.parts)?;
        let fetcher = Fetcher {
            puller: making.puller,
            again: false,
        };
        let mut modules: Vec<Module> = Vec::new();
        let mut add = |more: Vec<Module>| {
            for module in more {
                if modules.iter().all(|known| known.place() != module.place()) {
                    modules.push(module);
                }
            }
        };
        for entry in &self.buildpacks {
            let text = match (&*entry.uri, &*entry.image) {
                ("", "") => entry.id.clone(),
                ("", image) => format!("docker://{image}"),
                (uri, _) => uri.to_owned(),
            };
            let is_own = |id: &str| own.iter().any(|module| module.element.id == id);
            let locator = Locator::parse(&text, base, is_own)?;
            let (main, more) = if let Locator::Known { id, .. } = &locator {
                let module = own
                    .iter()
                    .find(|module| module.element.id == *id)
                    .ok_or_else(|| {
                        Failure::new(Exit::Input, format!("slugc has no buildpack {id}"))
                            .hint("give its uri or its image")
                    })?;
                (module.element.clone(), vec![module.clone()])
            } else {
                let package = fetcher.fetch(&locator)?;
                (package.main, package.modules)
            };
            let differs = (!entry.id.is_empty() && entry.id != main.id)
                || (!entry.version.is_empty() && entry.version != main.version);
            if differs {
                return Err(Failure::new(
                    Exit::Input,
                    format!(
                        "{locator} is {main}, not the {}@{} that the builder's description expects",
                        entry.id, entry.version
                    ),
                ));
            }
            add(more);
        }
        module::check_orders(&modules, |_| false)?;
        Ok(modules)
    }

    /// Versions may be left out where there is one only; detection wants them all.
    fn resolved_order(&self, modules: &[Module]) -> Result<Order, Failure> {
        let mut order = Order {
            order: self.order.clone(),
            order_extensions: Vec::new(),
        };
        for element in order.order.iter_mut().flat_map(|group| &mut group.group) {
            let found: Vec<&GroupElement> = modules
                .iter()
                .map(|module| &module.element)
                .filter(|known| {
                    known.id == element.id
                        && (element.version.is_empty() || known.version == element.version)
                })
                .collect();
            match found[..] {
                [found] => element.version.clone_from(&found.version),
                [] => {
                    return Err(Failure::new(
                        Exit::Input,
                        format!(
                            "the order names {}, which is none of the builder's buildpacks",
                            element.id
                        ),
                    )
                    .hint("add it under [[buildpacks]]"));
                }
                _ => {
                    return Err(Failure::new(
                        Exit::Input,
                        format!(
                            "the builder has several {}: the order has to give a version",
                            element.id
                        ),
                    )
                    .hint("give the order's entry a version of those under [[buildpacks]]"));
                }
            }
        }
        Ok(order)
    }

    /// The build image that the description names, else slugc's own.
    fn base_image(&self, making: &Making<'_>) -> Result<Image, Failure> {
        let name = if self.build.image.is_empty() {
            &self.stack.build_image
        } else {
            &self.build.image
        };
        let manifest = if name.is_empty() {
            stack::ensure(
                making.store,
                making.puller.printer,
                debian_stack::DEFAULT,
                making.mirror,
            )?
            .build_image
        } else {
            making.puller.image(name)?.manifest
        };
        let mut image = Image::load(making.store.blobs(), &manifest.digest)
            .or_fail(Exit::Store, || "cannot read the build image".to_owned())?;
        if !self.stack.id.is_empty() {
            let labels = &mut image.config.config.labels;
            labels.insert("io.buildpacks.stack.id".to_owned(), self.stack.id.clone());
            image
                .config
                .config
                .set_env(env_vars::STACK_ID, &self.stack.id);
        }
        Ok(image)
    }

    /// The files that a lifecycle inside the builder reads.
    fn add_files(
        &self,
        store: &Store,
        image: &mut Image,
        order: &Order,
        run_images: &[RunImageNames],
    ) -> Result<(), Failure> {
        let failed = || "cannot write the builder's files".to_owned();
        let run = toml::to_string(&Run {
            images: run_images.to_vec(),
        });
        let stack = toml::to_string(&StackToml {
            run_image: run_images.first().cloned().unwrap_or_default(),
        });
        let files = [
            ("/cnb/order.toml", toml::to_string(order)),
            ("/cnb/run.toml", run),
            ("/cnb/stack.toml", stack),
        ];
        let mut texts = Vec::new();
        for (path, text) in files {
            texts.push((path.to_owned(), text.or_fail(Exit::General, failed)?));
        }
        for variable in &self.build.env {
            texts.extend(variable.files()?);
        }
        add_layer(store, image, "Order, run images, variables", |tar| {
            let env = ["/cnb/build-config", "/cnb/build-config/env"];
            for folder in env.iter().filter(|_| !self.build.env.is_empty()) {
                tar.directory(folder, 0o755, Owner::ROOT)?;
            }
            for (path, text) in &texts {
                tar.file(path, 0o644, Owner::ROOT, text.len() as u64, text.as_bytes())?;
            }
            Ok::<(), LayerError>(())
        })?;
        Ok(())
    }
}

impl BuildVariable {
    /// Files of the build configuration (Platform API, "Operator-Defined Variables").
    fn files(&self) -> Result<Vec<(String, String)>, Failure> {
        let is_name = !self.name.is_empty()
            && self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            return Err(Failure::new(
                Exit::Input,
                format!("build.env names a variable {:?}", self.name),
            )
            .hint("a name has letters, digits and underscores"));
        }
        let path = |suffix: &str| format!("/cnb/build-config/env/{}{suffix}", self.name);
        let suffix = match self.suffix.as_str() {
            // As in pack, which warns that the lifecycle's own default then counts.
            "" => String::new(),
            known @ ("append" | "default" | "override" | "prepend") => format!(".{known}"),
            other => {
                return Err(Failure::new(
                    Exit::Input,
                    format!("build.env.suffix of {} is {other:?}", self.name),
                )
                .hint("it may be append, default, override or prepend"));
            }
        };
        let mut files = vec![(path(&suffix), self.value.clone())];
        if !self.delim.is_empty() {
            files.push((path(".delim"), self.delim.clone()));
        }
        Ok(files)
    }
}

fn bundled(module: &Module) -> Bundled {
    let info = &module.buildpack.info;
    Bundled {
        id: module.element.id.clone(),
        version: module.element.version.clone(),
        name: info.name.clone().unwrap_or_default(),
        homepage: info.homepage.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    fn refused(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("builder.toml");
        fs::write(&file, text).unwrap();
        crate::ui::error::chain(&BuilderToml::read(&file).unwrap_err())
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (
                "descripton = \"x\"\n",
                "builder.toml:1:1: descripton: unknown field",
            ),
            ("[[extensions]]\nid = \"a\"\n", "image extensions"),
            ("description = \"x\"\n", "a builder needs an order"),
            ("[[order]]\n", "a builder needs an order"),
        ] {
            let said = refused(text);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn variables_become_files() {
        let variable = |suffix: &str, delim: &str| BuildVariable {
            name: "A".to_owned(),
            value: "1".to_owned(),
            suffix: suffix.to_owned(),
            delim: delim.to_owned(),
        };
        let files = variable("append", ":").files().unwrap();
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/cnb/build-config/env/A.append",
                "/cnb/build-config/env/A.delim"
            ]
        );
        assert!(variable("prefix", "").files().is_err());
    }
}

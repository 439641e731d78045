//! Which buildpacks a build tries, in which order, and what it stands on.
//!
//! As in pack: buildpacks of the command line come before those of the project descriptor, and these before the
//! builder's order; each list is one group, in which `from=builder` stands for each group of the builder's order.
//! `--pre-buildpack` and `--post-buildpack` are put around every group.

use super::builder::Builder;
use super::locator::{FROM_BUILDER, Locator};
use super::module::{self, Module, Package};
use super::pull::Puller;
use super::settings::Settings;
use super::source::Fetcher;
use crate::args::{LifecycleChoice, PlatformArgs, PullPolicy, RegistryArgs};
use crate::build::buildpacks::{self, Buildpacks};
use crate::build::foundation::Foundation;
use crate::failure::{Exit, Failure};
use crate::parts::Parts;
use crate::project::{Declared, Project};
use crate::store::Store;
use crate::ui::printer::Printer;
use cnb_spec::group::GroupElement;
use cnb_spec::order::OrderGroup;
use oci_image::Reference;
use slug_runtime::nearest::nearest;
use std::path::Path;

/// What decides it.
pub(crate) struct Wishes<'a> {
    pub(crate) args: &'a PlatformArgs,
    pub(crate) project: &'a Project,
    pub(crate) registry: &'a RegistryArgs,
    /// Ask for newer versions of what has no exact name.
    pub(crate) refresh: bool,
    /// Where the image goes, to choose among mirrors.
    pub(crate) target: Option<&'a Reference>,
    /// Whether the user names another run image than the builder's.
    pub(crate) has_run_image: bool,
}

/// What was decided.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) buildpacks: Buildpacks,
    /// Where it is not slugc's own stack.
    pub(crate) base: Option<Foundation>,
}

/// Decides. Without any wish, no file is read but those of slugc's own buildpacks.
pub(crate) fn choose(
    store: &Store,
    printer: &Printer,
    parts: &Parts,
    wishes: &Wishes<'_>,
) -> Result<Chosen, Failure> {
    let settings = Settings::read(store)?;
    let args = wishes.args;
    let named = args
        .builder
        .as_ref()
        .or(wishes.project.builder.as_ref())
        .or(settings.default_builder.as_ref());
    let puller = Puller {
        store,
        printer,
        registry: wishes.registry,
        policy: args.policy(wishes.refresh, &settings),
        settings: &settings,
    };
    // `slugc` names slugc's own stack and buildpacks where a project or a setting names a builder.
    let builder = named
        .filter(|name| *name != "slugc")
        .map(|name| Builder::fetch(&puller, name))
        .transpose()?;
    let project = wishes.project;
    let own_order = args.buildpacks.is_empty() && project.group.is_empty();
    let takes_it_in = args.buildpacks.iter().any(|it| it == FROM_BUILDER)
        || project
            .group
            .contains(&Declared::Reference(FROM_BUILDER.to_owned()));
    if let Some(builder) = builder.as_ref().filter(|it| it.has_extensions)
        && (own_order || takes_it_in)
    {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "the builder {} has image extensions, which slugc does not run",
                builder.name
            ),
        )
        .hint("name the buildpacks to use with --buildpack: they take the place of the builder's order and extensions"));
    }
    let nothing_around = [&args.pre, &args.post].iter().all(|it| it.is_empty())
        && project.pre.is_empty()
        && project.post.is_empty();
    let own = buildpacks::own_modules(parts)?;
    if builder.is_none() && own_order && nothing_around && args.lifecycle == LifecycleChoice::Slugc
    {
        // The usual build: nothing more is read.
        return Ok(Chosen {
            buildpacks: Buildpacks::own(&own),
            base: None,
        });
    }
    let choice = Choice {
        puller: &puller,
        own,
        builder: builder.as_ref(),
    };
    let buildpacks = choice.buildpacks(wishes)?;
    let base = match &builder {
        Some(builder) => Some(builder.base(store, &puller, wishes)?),
        None if args.lifecycle == LifecycleChoice::Builder => {
            return Err(
                Failure::new(Exit::Usage, "--lifecycle builder needs a builder")
                    .hint("name one with --builder IMAGE"),
            );
        }
        None => None,
    };
    Ok(Chosen { buildpacks, base })
}

struct Choice<'a> {
    puller: &'a Puller<'a>,
    own: Vec<Module>,
    builder: Option<&'a Builder>,
}

impl Choice<'_> {
    fn buildpacks(&self, wishes: &Wishes<'_>) -> Result<Buildpacks, Failure> {
        let (args, project) = (wishes.args, wishes.project);
        let here = Path::new("");
        let typed = |texts: &[String]| self.parse_all(texts, here);
        let declared = |entries: &[Declared]| self.declared_all(entries, &project.folder);
        let group = if args.buildpacks.is_empty() {
            declared(&project.group)?
        } else {
            typed(&args.buildpacks)?
        };
        // As in pack, a group on the command line replaces all that the project says of buildpacks.
        let pre = match (&*args.pre, &*args.buildpacks) {
            ([], []) => declared(&project.pre)?,
            (pre, _) => typed(pre)?,
        };
        let post = match (&*args.post, &*args.buildpacks) {
            ([], []) => declared(&project.post)?,
            (post, _) => typed(post)?,
        };
        let mut buildpacks = match self.builder {
            Some(builder) => Buildpacks::bundled(
                builder.order.clone(),
                builder.layers.iter().flat_map(|(id, versions)| {
                    versions
                        .keys()
                        .map(move |version| GroupElement::new(id.as_str(), version.as_str()))
                }),
            ),
            None => Buildpacks::own(&self.own),
        };
        let mut modules = Vec::new();
        if !group.is_empty() {
            let mut order = vec![OrderGroup::default()];
            let mut taken = false;
            for locator in &group {
                if *locator == Locator::FromBuilder {
                    if std::mem::replace(&mut taken, true) {
                        return Err(Failure::new(
                            Exit::Usage,
                            "from=builder can stand in the list of buildpacks only once",
                        ));
                    }
                    let start = order.remove(0).group;
                    order = buildpacks
                        .order
                        .order
                        .iter()
                        .map(|group| OrderGroup {
                            group: start.iter().chain(&group.group).cloned().collect(),
                        })
                        .collect();
                } else {
                    let element = self.get(locator, &mut buildpacks, &mut modules)?;
                    for group in &mut order {
                        group.group.push(element.clone());
                    }
                }
            }
            buildpacks.order.order = order;
        }
        let mut around = |locators: &[Locator]| {
            locators
                .iter()
                .map(|locator| self.get(locator, &mut buildpacks, &mut modules))
                .collect::<Result<Vec<_>, _>>()
        };
        let (pre, post) = (around(&pre)?, around(&post)?);
        for group in &mut buildpacks.order.order {
            group.group.splice(0..0, pre.iter().cloned());
            group.group.extend(post.iter().cloned());
        }
        if buildpacks.order.order.is_empty() {
            return Err(Failure::new(
                Exit::Input,
                "there is no buildpack to try: the builder's order is empty",
            )
            .hint("name buildpacks with --buildpack"));
        }
        module::check_orders(&modules, |element| {
            self.builder.is_some_and(|builder| builder.has(element))
                || self.own.iter().any(|own| own.element == element.bare())
        })?;
        // Composite buildpacks may be made of ours.
        if modules.iter().any(|module| module.buildpack.is_composite()) {
            buildpacks.mount(&self.own);
        }
        Ok(buildpacks)
    }

    fn parse_all(&self, texts: &[String], base: &Path) -> Result<Vec<Locator>, Failure> {
        texts.iter().map(|text| self.parse(text, base)).collect()
    }

    fn declared_all(&self, entries: &[Declared], base: &Path) -> Result<Vec<Locator>, Failure> {
        entries
            .iter()
            .map(|entry| match entry {
                Declared::Reference(text) => self.parse(text, base),
                Declared::Inline(inline) => Ok(Locator::Inline(inline.clone())),
            })
            .collect()
    }

    fn parse(&self, text: &str, base: &Path) -> Result<Locator, Failure> {
        let mut parsed = Locator::parse(text, base, |id| self.ids().any(|known| known == id));
        // A short name that is nearly an ID is one that was misspelt; docker://NAME means the image all the same.
        if matches!(&parsed, Ok(Locator::Image(name)) if name == text && !text.contains([':', '.']))
            && nearest(text, self.ids()).is_some()
        {
            parsed = Err(Failure::new(
                Exit::Usage,
                format!("{text:?} names no buildpack"),
            ));
        }
        parsed.map_err(|failure| match self.meant(text) {
            Some(meant) => failure.hint(format!("did you mean {meant}?")),
            None => failure,
        })
    }

    /// The ids of buildpacks that need not be fetched.
    fn ids(&self) -> impl Iterator<Item = &str> {
        let bundled = self
            .builder
            .into_iter()
            .flat_map(|builder| builder.layers.keys());
        bundled
            .map(String::as_str)
            .chain(self.own.iter().map(|module| module.element.id.as_str()))
    }

    fn meant(&self, text: &str) -> Option<&str> {
        let id = text.split('@').next().unwrap_or_default();
        nearest(id, self.ids()).or_else(|| {
            // `python` for `slugc/python`.
            self.ids()
                .find(|known| known.rsplit('/').next() == Some(id))
        })
    }

    /// What the order is to name for a locator; what it takes is mounted.
    fn get(
        &self,
        locator: &Locator,
        buildpacks: &mut Buildpacks,
        modules: &mut Vec<Module>,
    ) -> Result<GroupElement, Failure> {
        match locator {
            Locator::FromBuilder => Err(Failure::new(
                Exit::Usage,
                "from=builder can only stand among --buildpack",
            )),
            Locator::Known { id, version } => self.known(id, version, buildpacks),
            _ => {
                let fetcher = Fetcher {
                    puller: self.puller,
                    again: self.puller.policy == PullPolicy::Always,
                };
                let Package {
                    main,
                    modules: more,
                    identity,
                } = fetcher.fetch(locator)?;
                buildpacks.identify(&identity);
                buildpacks.mount(&more);
                modules.extend(more);
                Ok(main)
            }
        }
    }

    fn known(
        &self,
        id: &str,
        version: &str,
        buildpacks: &mut Buildpacks,
    ) -> Result<GroupElement, Failure> {
        if let Some(builder) = self.builder
            && let Some(found) = builder.find(id, version)?
        {
            return Ok(found);
        }
        let own = self.own.iter().find(|module| {
            module.element.id == id && (version.is_empty() || module.element.version == version)
        });
        if let Some(own) = own {
            buildpacks.mount(std::slice::from_ref(own));
            return Ok(own.element.clone());
        }
        let versions: Vec<&str> = self
            .builder
            .and_then(|builder| builder.layers.get(id))
            .into_iter()
            .flat_map(|versions| versions.keys().map(String::as_str))
            .chain(
                self.own
                    .iter()
                    .filter(|module| module.element.id == id)
                    .map(|module| module.element.version.as_str()),
            )
            .collect();
        let place = self.builder.map_or("slugc".to_owned(), |builder| {
            format!("the builder {}", builder.name)
        });
        let failure = Failure::new(
            Exit::Input,
            format!(
                "{place} has no buildpack {}",
                Locator::Known {
                    id: id.to_owned(),
                    version: version.to_owned()
                }
            ),
        );
        Err(if !versions.is_empty() {
            failure.hint(format!(
                "it has {id}@{}",
                versions.join(&format!(", {id}@"))
            ))
        } else if let Some(meant) = self.meant(id) {
            failure.hint(format!("did you mean {meant}?"))
        } else {
            let ids: Vec<&str> = self.ids().collect();
            failure.hint(format!("there are {}", ids.join(", ")))
        })
    }
}

//! What images of apps stand on: the base that their metadata names, and the one that has this name now.

use crate::failure::{Exit, Failure, OrFail};
use crate::place::{Place, Source};
use crate::stack::{self, Stack};
use crate::store::Store;
use crate::transfer::{Documents, Transfer};
use cnb_phases::rebase::{self, RebaseError};
use cnb_spec::json;
use cnb_spec::labels::{self, LayersMetadata};
use cnb_spec::run::RunImageNames;
use oci_image::{Image, Reference};

/// A base to build or rebase on.
#[derive(Debug)]
pub(crate) struct Base {
    /// What metadata call it: a path on this machine would say nothing to anybody else.
    pub(crate) name: String,
    /// What the user called it.
    pub(crate) shown: String,
    /// By name and digest in a registry, else by digest.
    pub(crate) reference: String,
    pub(crate) documents: Documents,
}

impl Base {
    /// A base as a user names it: a stack, an image of the store, or one of any place.
    pub(crate) fn named(transfer: &Transfer<'_>, text: &str) -> Result<Self, Failure> {
        if let Some(stack) = Stack::read_if_named(transfer.store, text)? {
            return Self::of_stack(transfer, &stack);
        }
        let source = Source::find(transfer.store, text)?;
        let documents = transfer.documents(&source)?;
        let name = match (&source, &documents.name) {
            (Source::Elsewhere(Place::Registry(_)), _) => text.to_owned(),
            (_, Some(name)) => name.familiar(),
            (_, None) => documents.manifest.digest.to_string(),
        };
        Ok(Self {
            name,
            shown: text.to_owned(),
            reference: documents.reference(),
            documents,
        })
    }

    /// The run image of a stack.
    pub(crate) fn of_stack(transfer: &Transfer<'_>, stack: &Stack) -> Result<Self, Failure> {
        let documents = transfer.stored(stack.run_image.clone(), None)?;
        Ok(Self {
            name: stack.name.clone(),
            shown: stack.name.clone(),
            reference: documents.reference(),
            documents,
        })
    }

    /// What the image's own metadata name as its base, as it is now. Of names in several registries, the one in
    /// `near` comes first. Stacks that slugc knows are made, or made anew if slugc brings a newer recipe.
    pub(crate) fn current(
        transfer: &Transfer<'_>,
        app: &Image,
        near: Option<&Reference>,
        mirror: Option<&str>,
    ) -> Result<Self, Failure> {
        let names = names_of(app)?;
        let Some(first) = names.image.as_deref() else {
            let stack = stack::ensure(
                transfer.store,
                transfer.printer,
                debian_stack::DEFAULT,
                mirror,
            )?;
            return Self::of_stack(transfer, &stack);
        };
        if first == debian_stack::DEFAULT {
            let stack = stack::ensure(transfer.store, transfer.printer, first, mirror)?;
            return Self::of_stack(transfer, &stack);
        }
        let is_near = |name: &str| {
            let parsed = name.parse::<Reference>().ok();
            parsed.is_some_and(|name| near.is_some_and(|near| name.registry() == near.registry()))
        };
        let (close, far): (Vec<&str>, Vec<&str>) = names.all().partition(|name| is_near(name));
        let mut failure = None;
        for name in close.into_iter().chain(far) {
            match Self::fresh(transfer, name) {
                Ok(base) => return Ok(base),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        Err(failure.unwrap_or_else(|| Failure::new(Exit::Input, "the image names no base")))
    }

    /// What a name stands for now: a stack's run image or, of an image in a registry, what the registry has.
    pub(crate) fn fresh(transfer: &Transfer<'_>, name: &str) -> Result<Self, Failure> {
        if let Some(stack) = Stack::read_if_named(transfer.store, name)? {
            return Self::of_stack(transfer, &stack);
        }
        // The name is out of an image, which has no say over this machine's files.
        let place = match Place::parse(name)? {
            Place::Registry(reference) => Place::Registry(reference),
            _ => {
                return Err(Failure::new(
                    Exit::Input,
                    format!("the image names {name} as its base, which is in no registry"),
                )
                .hint("name the base: --run-image"));
            }
        };
        let documents = transfer.documents(&Source::Elsewhere(place))?;
        Ok(Self {
            name: name.to_owned(),
            shown: name.to_owned(),
            reference: documents.reference(),
            documents,
        })
    }

    /// The name for the image's metadata: the one that they have already if this is the same base under another name,
    /// as what `slugc stack push` put into a registry.
    pub(crate) fn name_for(&self, app: &Image) -> String {
        let id = |image: &Image| image.config.config.labels.get(labels::BASE_ID).cloned();
        let known = names_of(app).ok().and_then(|names| names.image);
        match known {
            Some(known) if id(app).is_some() && id(app) == id(&self.documents.image) => known,
            _ => self.name.clone(),
        }
    }
}

/// The names that the image's metadata give to its base.
pub(crate) fn names_of(app: &Image) -> Result<RunImageNames, Failure> {
    rebase::base_of(app)
        .or_fail(Exit::Input, || "cannot tell the image's base".to_owned())
        .map_err(|failure| {
            failure.hint("only images that buildpacks made have a base of their own")
        })
}

/// What a user can do about an image that keeps its base.
pub(crate) fn refusal(error: RebaseError) -> Failure {
    let failure = |message: String| Failure::new(Exit::Input, message);
    match error {
        RebaseError::NotRebasable => failure(
            "the image says of itself that it cannot be rebased (io.buildpacks.rebasable)"
                .to_owned(),
        )
        .hint("build it again on the new base, or rebase it all the same with --force"),
        RebaseError::Target { new, old } => failure(format!(
            "the new base is for {new}, the image was built for {old}"
        ))
        .hint("build the app again on the new base, or rebase it all the same with --force"),
        RebaseError::Stack { new, old } => failure(format!(
            "the new base is of the stack {new:?}, the image was built for {old:?}"
        ))
        .hint("build the app again on the new base"),
        RebaseError::UnknownBase { name, known } => failure(format!(
            "{name} is none of the bases that the image was built for: {known}"
        ))
        .hint("build the app again on the new base, or rebase it all the same with --force"),
        error => failure("cannot rebase the image".to_owned())
            .because(error)
            .hint("only images that buildpacks made can be rebased: build it again"),
    }
}

/// Whether the image stands on this very base, no more and no less.
pub(crate) fn stands_on(app: &Image, base: &Image) -> bool {
    let under = &base.config.rootfs.diff_ids;
    let top = metadata(app).map(|metadata| metadata.run_image.top_layer);
    app.config.rootfs.diff_ids.starts_with(under) && under.last().map(ToString::to_string) == top
}

/// Lets the image's metadata name this base first, of which it is known that it is the same as theirs: what is asked
/// next time is what is there.
pub(crate) fn name_first(app: &mut Image, name: &str) -> Result<(), Failure> {
    let Some(mut metadata) = metadata(app) else {
        return Ok(());
    };
    let names = &mut metadata.run_image.names;
    let others = names.all().filter(|known| *known != name);
    *names = RunImageNames {
        mirrors: others.map(str::to_owned).collect(),
        image: Some(name.to_owned()),
    };
    let text = json::label_text(&metadata).or_fail(Exit::General, || {
        "cannot write the image's metadata".to_owned()
    })?;
    let labels = &mut app.config.config.labels;
    labels.insert(labels::LIFECYCLE_METADATA.to_owned(), text);
    Ok(())
}

fn metadata(app: &Image) -> Option<LayersMetadata> {
    let label = app.config.config.labels.get(labels::LIFECYCLE_METADATA)?;
    serde_json::from_str(label).ok()
}

impl Stack {
    /// The stack of this name, if there is one; other words are no stacks' names.
    pub(crate) fn read_if_named(store: &Store, text: &str) -> Result<Option<Self>, Failure> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.bytes().all(is_name) {
            return Self::read(store, text);
        }
        Ok(None)
    }
}

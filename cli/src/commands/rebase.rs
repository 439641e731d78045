//! `slugc rebase IMAGE`: another base under the same app.

use crate::app::{App, AppImage, AppName};
use crate::args::RebaseArgs;
use crate::bases::{self, Base};
use crate::build::sandboxed::PLATFORM_API;
use crate::failure::{Exit, Failure, OrFail};
use crate::images::Images;
use crate::place::{Place, Source};
use crate::release;
use crate::store::Store;
use crate::transfer::{Documents, Fetched, Transfer};
use crate::ui::printer::{Detail, Printer};
use cnb_phases::log::{Level, Logger};
use cnb_phases::rebase;
use oci_image::{Descriptor, Reference};
use std::process::ExitCode;

/// What is rebased, which is also where the result goes.
enum Subject {
    App(App, Box<AppImage>),
    Name(Reference),
    Place(Place),
}

pub(crate) fn run(args: &RebaseArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let outputs = args
        .outputs
        .iter()
        .map(|text| Place::target(text))
        .collect::<Result<Vec<_>, _>>()?;
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let transfer = Transfer::new(&store, &printer, &args.registry, args.platform.as_deref())?;
    let subject = Subject::find(&store, args)?;
    let _building = match &subject {
        Subject::App(app, _) => Some(app.build_lock(|| {
            printer.line(&format!("Waiting for a build of {}", app.name.as_str()));
        })?),
        _ => None,
    };
    // A build that was waited for has made another image.
    let subject = match subject {
        Subject::App(app, _) => {
            let image = Box::new(app.built_image()?);
            Subject::App(app, image)
        }
        other => other,
    };
    let old = subject.documents(&transfer)?;
    if outputs.is_empty() {
        subject.check_writable(&old)?;
    }
    printer.heading(&format!("Rebasing {}", args.image));
    let base = match &args.run_image {
        Some(text) => Base::named(&transfer, text)?,
        None => Base::current(
            &transfer,
            &old.image,
            old.remote.as_ref(),
            args.mirror.mirror.as_deref(),
        )?,
    };
    let manifest = rebased(&transfer, &old, &base, args.force)?;
    let name = old.name.clone();
    let image = Fetched {
        manifest: manifest.clone(),
        name,
        origin: None,
    };
    let sources = [&base.documents, &old];
    if outputs.is_empty() {
        let result = subject.replace(&transfer, &image, &sources, &base)?;
        printer.result(&result);
        return Ok(ExitCode::SUCCESS);
    }
    for place in outputs {
        printer.result(&transfer.deliver_from(&image, &sources, &place)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The new image's manifest, in the store; the old one if the base is the same.
fn rebased(
    transfer: &Transfer<'_>,
    old: &Documents,
    base: &Base,
    force: bool,
) -> Result<Descriptor, Failure> {
    let printer = transfer.printer;
    if bases::stands_on(&old.image, &base.documents.image) {
        printer.line(&format!("Stands on {} already", base.shown));
        return Ok(old.manifest.clone());
    }
    let sink = |level: Level, line: &str| printer.log(level, line);
    let name = base.name_for(&old.image);
    let mut image = rebase::rebase(&rebase::Inputs {
        platform_api: PLATFORM_API,
        app: &old.image,
        base: &base.documents.image,
        base_reference: &base.reference,
        base_name: &name,
        force,
        log: Logger::new(&sink),
    })
    .map_err(bases::refusal)?;
    if name != base.name && base.documents.remote.is_some() {
        bases::name_first(&mut image, &base.name)?;
    }
    let layers = |image: &oci_image::Image| image.manifest.layers.len();
    let under = layers(&base.documents.image);
    printer.line(&format!(
        "Base     {} ({}), layers: {under}",
        base.shown,
        short(&base.documents.manifest)
    ));
    printer.line(&format!("App      layers: {}", layers(&image) - under));
    image
        .save(transfer.store.blobs())
        .or_fail(Exit::Store, || "cannot save the rebased image".to_owned())
}

/// As `docker images` has it.
fn short(manifest: &Descriptor) -> String {
    manifest.digest.hex().chars().take(12).collect()
}

impl Subject {
    fn find(store: &Store, args: &RebaseArgs) -> Result<Self, Failure> {
        let text = args.image.as_str();
        if args.publish {
            let place = Place::target(text)?;
            if matches!(place, Place::Registry(_)) {
                return Ok(Self::Place(place));
            }
            return Err(
                Failure::new(Exit::Usage, format!("{text} is in no registry"))
                    .hint("leave out --publish, or write REGISTRY/REPOSITORY[:TAG]"),
            );
        }
        if let Ok(name) = AppName::parse(text) {
            let app = App::of(store, name);
            if let Some(image) = app.image()? {
                return Ok(Self::App(app, Box::new(image)));
            }
        }
        Ok(match Source::find(store, text)? {
            Source::Stored { name, .. } => Self::Name(name),
            Source::Elsewhere(place) => Self::Place(place),
        })
    }

    fn documents(&self, transfer: &Transfer<'_>) -> Result<Documents, Failure> {
        match self {
            Self::App(app, image) => {
                let name = app.name.as_str().parse().ok();
                transfer.stored(image.manifest.clone(), name)
            }
            Self::Name(name) => {
                let source = Source::named(transfer.store, &name.to_string())?;
                let source = source.unwrap_or(Source::Elsewhere(Place::Registry(name.clone())));
                transfer.documents(&source)
            }
            Self::Place(place) => transfer.documents(&Source::Elsewhere(place.clone())),
        }
    }

    /// Whether the result can take the image's place.
    fn check_writable(&self, old: &Documents) -> Result<(), Failure> {
        let Self::Place(Place::Registry(name)) = self else {
            return Ok(());
        };
        let refused = |why: &str| {
            Err(Failure::new(
                Exit::Input,
                format!("{name} {why}, which cannot be replaced"),
            )
            .hint("say where the rebased image goes: -o PLACE"))
        };
        if name.digest().is_some() {
            return refused("names an image by its digest");
        }
        if old.of_index {
            return refused("is an index of images for several platforms");
        }
        Ok(())
    }

    /// Puts the new image where the old one was. Returns what to print.
    fn replace(
        &self,
        transfer: &Transfer<'_>,
        image: &Fetched,
        sources: &[&Documents],
        base: &Base,
    ) -> Result<String, Failure> {
        if let Self::Place(place) = self {
            return transfer.deliver_from(image, sources, place);
        }
        transfer.complete(&image.manifest, sources)?;
        match self {
            Self::App(app, last) => {
                app.set_image(&AppImage {
                    manifest: image.manifest.clone(),
                    stack: base.name.clone(),
                    source: last.source.clone(),
                })?;
                let release = release::deploy(transfer.printer, transfer.store, app)?;
                if let Some(release) = release {
                    let version = release.version;
                    transfer.printer.line(&format!("Released v{version}"));
                }
            }
            Self::Name(name) => Images::of(transfer.store).set(name, &image.manifest)?,
            Self::Place(_) => {}
        }
        Ok(image.manifest.digest.to_string())
    }
}

//! `slugc push`: an app's image, or one of the store, to a registry or another place.

use crate::app::{App, AppName};
use crate::args::PushArgs;
use crate::failure::Failure;
use crate::place::{Place, Source};
use crate::referrers::Attachments;
use crate::store::Store;
use crate::transfer::Transfer;
use crate::ui::printer::{Detail, Printer};
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(args: &PushArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let target = Place::target(&args.target)?;
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let source = source(&store, args, &target)?;
    let transfer = Transfer::new(&store, &printer, &args.registry, None)?;
    let mut fetched = transfer.fetch(&source)?;
    printer.line(&format!("Image    {source}"));
    let attachments = Attachments::choose(&args.attach, &target)?;
    if let Some(zstd) = args.compression.compression {
        fetched = transfer.with_zstd(fetched, zstd, &target)?;
    }
    let result = transfer.deliver(&fetched, &target)?;
    attachments.send(&transfer, &fetched, &source)?;
    printer.result(&result);
    Ok(ExitCode::SUCCESS)
}

/// As `docker push` takes the image of the name that it pushes to.
fn source(store: &Store, args: &PushArgs, target: &Place) -> Result<Source, Failure> {
    if args.app.app.is_none()
        && let Place::Registry(name) = target
        && let Some(named) = Source::named(store, &name.to_string())?
    {
        return Ok(named);
    }
    let app = App::of(store, AppName::choose(&args.app, Path::new("."))?);
    let image = app.built_image()?;
    Source::app(&app.name, image.manifest)
}

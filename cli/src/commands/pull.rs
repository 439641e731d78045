//! `slugc pull SRC`: an image into the store, under a name.

use crate::args::PullArgs;
use crate::failure::{Exit, Failure};
use crate::images::Images;
use crate::place::{self, Place, Source};
use crate::store::Store;
use crate::transfer::Transfer;
use crate::ui::printer::{Detail, Printer};
use std::process::ExitCode;

pub(crate) fn run(args: &PullArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let name = args.name.as_deref().map(place::new_name).transpose()?;
    // What is pulled is what is there now, not what the store has under the name.
    let from = Place::parse(&args.source)?;
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let transfer = Transfer::new(&store, &printer, &args.registry, args.platform.as_deref())?;
    let fetched = transfer.fetch(&Source::Elsewhere(from.clone()))?;
    let name = name
        .or_else(|| fetched.name.map(oci_image::Reference::or_latest))
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("{from} does not say what its image is called"),
            )
            .hint("name it with -t NAME")
        })?;
    Images::of(&store).set(&name, &fetched.manifest)?;
    printer.line(&format!("Named {}", name.familiar()));
    printer.result(&fetched.manifest.digest.to_string());
    Ok(ExitCode::SUCCESS)
}

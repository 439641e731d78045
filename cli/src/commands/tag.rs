//! `slugc tag SRC NAME` and `slugc rmi NAME…`.

use crate::args::{RmiArgs, TagArgs};
use crate::failure::Failure;
use crate::images::{self, Images};
use crate::place::{self, Source};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use std::process::ExitCode;

pub(crate) fn run(args: &TagArgs) -> Result<ExitCode, Failure> {
    let name = place::new_name(&args.name)?;
    let store = Store::open()?;
    let _used = store.use_lock()?;
    match Source::find(&store, &args.source)? {
        Source::Stored { manifest, .. } => Images::of(&store).set(&name, &manifest)?,
        Source::Elsewhere(_) => {
            return Err(images::no_such_name(&store, &args.source).hint(format!(
                "slugc images lists the names; slugc pull {} -t {} gets what is elsewhere",
                args.source, args.name
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn remove(args: &RmiArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    for text in &args.names {
        let name = place::reference(text)?.or_latest();
        if !Images::of(&store).remove(&name)? {
            return Err(images::no_such_name(&store, text));
        }
        printer.result(&format!("Removed {}", name.familiar()));
    }
    Ok(ExitCode::SUCCESS)
}

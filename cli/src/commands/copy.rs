//! `slugc copy SRC DST`.

use crate::args::CopyArgs;
use crate::failure::Failure;
use crate::place::{Place, Source};
use crate::store::Store;
use crate::transfer::Transfer;
use crate::ui::printer::{Detail, Printer};
use std::process::ExitCode;

pub(crate) fn run(args: &CopyArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let target = Place::target(&args.target)?;
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let source = Source::find(&store, &args.source)?;
    if let Source::Elsewhere(Place::Registry(name)) = &source
        && !args.source.contains('/')
    {
        printer.line(&format!(
            "The store has neither an app nor an image {}; asking {}",
            args.source,
            name.registry()
        ));
    }
    let transfer = Transfer::new(&store, &printer, &args.registry, args.platform.as_deref())?;
    let fetched = transfer.fetch(&source)?;
    let result = transfer.deliver(&fetched, &target)?;
    printer.result(&result);
    Ok(ExitCode::SUCCESS)
}

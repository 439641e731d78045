//! `slugc buildpack package`.

use crate::args::BuildpackAction;
use crate::failure::Failure;
use crate::package;
use crate::parts::Parts;
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use std::process::ExitCode;

pub(crate) fn run(action: &BuildpackAction) -> Result<ExitCode, Failure> {
    let BuildpackAction::Package { name, file } = action;
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let archive = package::buildpack(&store, &Parts::in_store(&store)?, name)?;
    package::copy_out(&store, &archive, file)?;
    printer.result(&format!(
        "Buildpack slugc/{name}, {}, written to {}",
        size::bytes(archive.size),
        file.display()
    ));
    Ok(ExitCode::SUCCESS)
}

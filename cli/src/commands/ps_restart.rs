//! `slugc ps:restart [DYNO|TYPE]`.

use crate::app::App;
use crate::args::PsRestartArgs;
use crate::failure::Failure;
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use std::process::ExitCode;

pub(crate) fn run(args: &PsRestartArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let target = supervisor::target(args.target.as_deref())?;
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    supervisor::running(&printer, &app)?
        .restart(&target)
        .map_err(|error| supervisor::refused(&app, error))?;
    let name = app.name.as_str();
    printer.result(&format!("Restarting {target} on ⬢ {name}... done"));
    Ok(ExitCode::SUCCESS)
}

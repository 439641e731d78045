//! `slugc maintenance:on` and `maintenance:off`.

use crate::app::App;
use crate::args::MaintenanceArgs;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use std::process::ExitCode;

pub(crate) fn run(args: &MaintenanceArgs, on: bool) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let name = app.name.as_str();
    app.state().set_maintenance(on).or_fail(Exit::Store, || {
        format!("cannot keep the maintenance mode of {name}")
    })?;
    if let Some(client) = supervisor::find(&printer, &app)? {
        client
            .maintenance()
            .map_err(|error| supervisor::refused(&app, error))?;
    }
    let verb = if on { "Enabling" } else { "Disabling" };
    printer.result(&format!("{verb} maintenance mode for ⬢ {name}... done"));
    Ok(ExitCode::SUCCESS)
}

//! `slugc ps:stop [DYNO|TYPE]`: some dynos until they are restarted, or the whole app.

use crate::app::App;
use crate::args::PsStopArgs;
use crate::failure::Failure;
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::supervisor::Target;
use std::process::ExitCode;
use std::time::Duration;

/// Longer than a dyno may take to end, unless it was launched with a longer `--stop-timeout`.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) fn run(args: &PsStopArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let target = supervisor::target(args.target.as_deref())?;
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let name = app.name.as_str();
    let refused = |error| supervisor::refused(&app, error);
    if target == Target::All {
        match supervisor::find(&printer, &app)? {
            Some(client) => {
                client.quit(PATIENCE).map_err(refused)?;
                printer.result(&format!("Stopping ⬢ {name}... done"));
            }
            None => printer.result(&format!("⬢ {name} does not run.")),
        }
        return Ok(ExitCode::SUCCESS);
    }
    supervisor::running(&printer, &app)?
        .stop(&target)
        .map_err(refused)?;
    printer.result(&format!("Stopping {target} on ⬢ {name}... done"));
    Ok(ExitCode::SUCCESS)
}

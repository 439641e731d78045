//! `slugc ps:stop [DYNO|TYPE]`: some dynos until they are restarted, or the whole app.

use crate::app::App;
use crate::args::PsStopArgs;
use crate::commands::ps::running_one_offs;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::detached::GRACE;
use slug_runtime::one_offs::OneOff;
use slug_runtime::supervisor::Target;
use std::process::ExitCode;
use std::time::Duration;

/// Longer than a dyno may take to end, unless it was launched with a longer `--stop-timeout`.
const PATIENCE: Duration = Duration::from_mins(2);
/// A detached one-off's own attendant kills it after its grace period, and says so in the log.
const ONE_OFF: Duration = GRACE.saturating_add(Duration::from_secs(5));

pub(crate) fn run(args: &PsStopArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let target = supervisor::target(args.target.as_deref())?;
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let name = app.name.as_str();
    let refused = |error| supervisor::refused(&app, error);
    if target == Target::All {
        let done = all(&printer, &app)?;
        printer.result(&if done {
            format!("Stopping ⬢ {name}... done")
        } else {
            format!("⬢ {name} does not run.")
        });
        return Ok(ExitCode::SUCCESS);
    }
    if is_one_off(&target) {
        let mut one_offs = running_one_offs(&app)?;
        if let Target::Dyno(dyno) = &target {
            one_offs.retain(|one_off| one_off.name == *dyno);
        }
        if one_offs.is_empty() {
            return Err(none(&app, &target)?);
        }
        stop(&app, &one_offs)?;
    } else {
        supervisor::running(&printer, &app)?
            .stop(&target)
            .map_err(refused)?;
    }
    printer.result(&format!("Stopping {target} on ⬢ {name}... done"));
    Ok(ExitCode::SUCCESS)
}

/// Ends the supervisor and the detached one-offs, and waits for that; whether there was anything.
pub(super) fn all(printer: &Printer, app: &App) -> Result<bool, Failure> {
    let mut one_offs = running_one_offs(app)?;
    // Somebody sits in front of the others.
    one_offs.retain(|one_off| one_off.is_detached);
    let client = supervisor::find(printer, app)?;
    if client.is_none() && one_offs.is_empty() {
        return Ok(false);
    }
    stop(app, &one_offs)?;
    if let Some(client) = client {
        client
            .quit(PATIENCE)
            .map_err(|error| supervisor::refused(app, error))?;
    }
    Ok(true)
}

/// `run` is the type of no formation: a Procfile's process of that name would be `run` on Heroku too.
fn is_one_off(target: &Target) -> bool {
    match target {
        Target::All => false,
        Target::Type(process_type) => process_type.as_str() == "run",
        Target::Dyno(name) => name.starts_with("run."),
    }
}

/// Ends one-off dynos, and waits for that.
fn stop(app: &App, one_offs: &[OneOff]) -> Result<(), Failure> {
    let run_dir = app.run_dir();
    // Side by side: each may take as long as it is allowed to.
    std::thread::scope(|scope| {
        let stops: Vec<_> = one_offs
            .iter()
            .map(|one_off| (one_off, scope.spawn(|| one_off.stop(&run_dir, ONE_OFF))))
            .collect();
        for (one_off, stopped) in stops {
            let gone = |_| Err(std::io::ErrorKind::Other.into());
            stopped
                .join()
                .unwrap_or_else(gone)
                .or_fail(Exit::General, || {
                    format!(
                        "cannot stop {} (process {})",
                        one_off.name, one_off.attendant
                    )
                })?;
        }
        Ok(())
    })
}

fn none(app: &App, target: &Target) -> Result<Failure, Failure> {
    let running = running_one_offs(app)?;
    let names: Vec<&str> = running.iter().map(|dyno| dyno.name.as_str()).collect();
    let there = if names.is_empty() {
        "no one-off dyno runs".to_owned()
    } else {
        format!("there is {}", names.join(", "))
    };
    Ok(
        Failure::new(Exit::Usage, format!("there is no dyno {target}; {there}"))
            .hint(format!("slugc ps -a {} lists the dynos", app.name.as_str())),
    )
}

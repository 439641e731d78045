//! `slugc features`, `features:enable` and `features:disable`: what can be switched on and off.

use crate::app::App;
use crate::args::{FeatureArgs, FeaturesArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use serde_json::json;
use slug_runtime::nearest::nearest;
use std::process::ExitCode;

/// Heroku's name; there it is off by default.
const PREBOOT: &str = "preboot";
const ABOUT: &str = "New dynos come up before those that they replace are stopped";

pub(crate) fn run(args: &FeaturesArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let enabled = app.state().preboot();
    if args.json {
        let features = json!([{ "name": PREBOOT, "description": ABOUT, "enabled": enabled }]);
        let json = serde_json::to_string_pretty(&features);
        printer.result(&json.or_fail(Exit::General, || "cannot print JSON".to_owned())?);
        return Ok(ExitCode::SUCCESS);
    }
    let mark = if enabled { "[+]" } else { "[ ]" };
    printer.result(&format!(
        "=== App Features ⬢ {}\n\n{mark} {PREBOOT}  {ABOUT}",
        app.name.as_str()
    ));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn set(args: &FeatureArgs, on: bool) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    if args.name != PREBOOT {
        let failure = Failure::new(Exit::Usage, format!("there is no feature {}", args.name));
        return Err(match nearest(&args.name, [PREBOOT]) {
            Some(meant) => failure.hint(format!("did you mean {meant}?")),
            None => failure.hint(format!("there is {PREBOOT}")),
        });
    }
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let name = app.name.as_str();
    app.state().set_preboot(on).or_fail(Exit::Store, || {
        format!("cannot keep the features of {name}")
    })?;
    let verb = if on { "Enabling" } else { "Disabling" };
    printer.result(&format!("{verb} {PREBOOT} for ⬢ {name}... done"));
    Ok(ExitCode::SUCCESS)
}

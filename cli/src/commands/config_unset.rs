//! `slugc config:unset KEY…`.

use crate::app::App;
use crate::args::ConfigUnsetArgs;
use crate::commands::config::{change, not_set, tell};
use crate::failure::{Exit, Failure};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use std::process::ExitCode;

pub(crate) fn run(args: &ConfigUnsetArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let made = change(&printer, &store, &app, |config| {
        // All are looked up before one is removed: a typo must not leave a secret in place unnoticed.
        if let Some(name) = args.names.iter().find(|name| !config.contains_key(*name)) {
            return Err(
                Failure::new(Exit::Input, not_set(name, config)).hint(format!(
                    "slugc config -a {} shows what is set",
                    app.name.as_str()
                )),
            );
        }
        config.retain(|name, _| !args.names.contains(name));
        Ok(())
    })?;
    let attempt = format!("Unsetting {}", args.names.join(", "));
    tell(&printer, &app, &attempt, &made);
    Ok(ExitCode::SUCCESS)
}

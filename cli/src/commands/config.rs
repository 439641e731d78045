//! `slugc config`: the app's config vars, and what its verbs share.

use crate::addon_vars;
use crate::app::App;
use crate::args::{AppArgs, ConfigArgs};
use crate::commands::releases::give_up_the_dead;
use crate::failure::{Exit, Failure, OrFail};
use crate::release::{self, Made, Plan};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::table;
use slug_runtime::state::config_vars::{describe_change, nearest_name, shell_quoted};
use slug_runtime::state::{ConfigVars, Release, Status};
use std::process::ExitCode;

pub(crate) fn run(args: &ConfigArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let (app, config) = read(&printer, &args.app)?;
    if args.format.json {
        printer.result(&as_json(&config)?);
    } else if args.format.shell {
        if !config.is_empty() {
            printer.result(&as_shell(&config));
        }
    } else {
        let style = printer.style();
        let name = app.name.as_str();
        printer.result(&style.bold(&format!("=== ⬢ {name} Config Vars")));
        if !config.is_empty() {
            let pairs: Vec<(&str, &str)> = config
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            printer.result(&format!("\n{}", table::properties(&pairs)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The config vars of an app's current release.
pub(crate) fn read(printer: &Printer, args: &AppArgs) -> Result<(App, ConfigVars), Failure> {
    let store = Store::open()?;
    let app = App::known(&store, args)?;
    give_up_the_dead(&app)?;
    if let Some(Release {
        version,
        status: Status::Pending,
        ..
    }) = app.newest_release()?
    {
        printer.warning(&format!(
            "release command executing: v{version} and its config vars are not in effect yet"
        ));
    }
    let config = app.current()?.map(|release| release.config);
    Ok((app, config.unwrap_or_default()))
}

/// `K=value` lines, quoted as a shell and an .env file want it.
pub(crate) fn as_shell(config: &ConfigVars) -> String {
    let lines: Vec<String> = config
        .iter()
        .map(|(name, value)| format!("{name}={}", shell_quoted(value)))
        .collect();
    lines.join("\n")
}

pub(crate) fn as_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .or_fail(Exit::General, || "cannot print this as JSON".to_owned())
}

/// `FOO is not set`, with the name that was probably meant.
pub(crate) fn not_set(name: &str, config: &ConfigVars) -> String {
    match nearest_name(name, config) {
        Some(meant) => format!("{name} is not set; did you mean {meant}?"),
        None => format!("{name} is not set"),
    }
}

/// Makes a release in which `edit` has changed the config vars.
pub(crate) fn change(
    printer: &Printer,
    store: &Store,
    app: &App,
    edit: impl FnOnce(&mut ConfigVars) -> Result<(), Failure>,
) -> Result<Made, Failure> {
    release::make(printer, store, app, |current| {
        let before = current.map_or_else(ConfigVars::new, |release| release.config.clone());
        let mut after = before.clone();
        edit(&mut after)?;
        addon_vars::refuse_changes(&addon_vars::of(store, app)?, &before, &after, app)?;
        Ok((before != after).then(|| Plan {
            description: describe_change(&before, &after),
            image: current.and_then(|release| release.image.clone()),
            config: after,
        }))
    })
}

/// `Setting FOO and restarting ⬢ shop... done, v12`.
pub(crate) fn tell(printer: &Printer, app: &App, attempt: &str, made: &Made) {
    let name = app.name.as_str();
    match made {
        Made::Release { release, .. } => printer.result(&format!(
            "{attempt} and restarting ⬢ {name}... done, v{}",
            release.version
        )),
        Made::Nothing { current } => {
            let version = current
                .as_ref()
                .map_or_else(String::new, |Release { version, .. }| {
                    format!(", v{version}")
                });
            printer.result(&format!(
                "Nothing changed: ⬢ {name} stays as it is{version}"
            ));
        }
    }
}

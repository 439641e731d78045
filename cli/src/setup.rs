//! Giving an app what its app.json asks for: config vars, add-ons, a formation, a script at the end.
//!
//! It is done once per app. Each step leaves alone what is there already, so that one that was cut
//! off or failed is simply done again.

use crate::addon_vars;
use crate::app::App;
use crate::app_json::{AppJson, FILE, Variable};
use crate::args::AppArgs;
use crate::commands::addons;
use crate::commands::config;
use crate::commands::ps_type;
use crate::commands::run;
use crate::commands::running::Ready;
use crate::failure::{Exit, Failure, OrFail};
use crate::release;
use crate::store::Store;
use crate::ui::printer::Printer;
use slug_runtime::addons::{Plan, random};
use slug_runtime::run::{RunInputs, Terminal, run_one_off};
use slug_runtime::state::ConfigVars;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Of a generated secret, in bytes; Heroku's have 64 hexadecimal digits too.
const SECRET: usize = 32;

/// What comes with the command line.
#[derive(Default)]
pub(crate) struct Given<'a> {
    /// Config vars, which win over those of app.json.
    pub(crate) config: ConfigVars,
    /// Where Debian's packages for add-ons come from.
    pub(crate) mirror: Option<&'a str>,
}

/// Sets the app up unless that was done, or its folder has no app.json.
pub(crate) fn on_launch(printer: &Printer, store: &Store, app: &App) -> Result<(), Failure> {
    if is_done(app) {
        return Ok(());
    }
    let Some(image) = app.image()? else {
        return Ok(());
    };
    let Some(wanted) = AppJson::read(&image.source)? else {
        return Ok(());
    };
    let mirror = std::env::var("SLUGC_DEBIAN_MIRROR").ok();
    let given = Given {
        config: ConfigVars::new(),
        mirror: mirror.as_deref(),
    };
    prepare(printer, store, app, &wanted, &given)?;
    // The build's own release may have failed for want of what the app has now.
    if app.current()?.is_none_or(|release| release.image.is_none()) {
        release::deploy(printer, store, app)?;
    }
    finish(printer, app, &wanted)
}

/// Config vars, add-ons and the formation.
pub(crate) fn prepare(
    printer: &Printer,
    store: &Store,
    app: &App,
    wanted: &AppJson,
    given: &Given<'_>,
) -> Result<(), Failure> {
    printer.heading(&format!("Setting up {} by {FILE}", app.name.as_str()));
    for note in wanted.left_out() {
        printer.warning(&note);
    }
    let current = app.current()?.map(|release| release.config);
    let current = current.unwrap_or_default();
    let mut provided = current.clone();
    provided.extend(given.config.clone());
    let missing_addons = missing_addons(printer, store, app, wanted, &provided)?;
    let coming: Vec<String> = missing_addons
        .iter()
        .map(|(plan, attachment)| variable_of(plan, attachment.as_deref()))
        .collect();
    let settings = settings(app, wanted, &current, given, &coming)?;
    for (plan, attachment) in missing_addons {
        addons::create_for(
            printer,
            app.name.as_str(),
            &plan.to_string(),
            attachment,
            given.mirror,
        )?;
    }
    if !settings.is_empty() {
        let names: Vec<String> = settings.keys().cloned().collect();
        let made = config::change(printer, store, app, |config| {
            for (name, value) in settings {
                // What somebody else has set meanwhile stays.
                if given.config.contains_key(&name) {
                    config.insert(name, value);
                } else {
                    config.entry(name).or_insert(value);
                }
            }
            Ok(())
        })?;
        config::tell(
            printer,
            app,
            &format!("Setting {}", names.join(", ")),
            &made,
        );
    }
    formation(app, wanted)
}

/// The script at the end, and that all is done.
pub(crate) fn finish(printer: &Printer, app: &App, wanted: &AppJson) -> Result<(), Failure> {
    // It runs once in an app's life (Dev Center, "app.json Schema"): it may fill a database.
    if is_done(app) {
        return Ok(());
    }
    if let Some(script) = &wanted.scripts.postdeploy {
        let name = app.name.as_str();
        printer.heading("Running the postdeploy script");
        let own = AppArgs {
            app: Some(name.to_owned()),
        };
        let ready = Ready::open(printer, &own, &[])?;
        let command = [script.clone()];
        let code = run_one_off(&RunInputs {
            app: ready.app(),
            command: &command,
            terminal: Terminal::Never,
        })
        .map_err(|error| run::failed(&command, error))?
        .code;
        if code != 0 {
            let message = format!("{FILE}'s postdeploy script failed with exit code {code}");
            return Err(Failure::new(Exit::General, message).hint(
                "what it printed is above; it runs again with the next slugc apps:setup or launch",
            ));
        }
    }
    fs::write(mark(app), "").or_fail(Exit::Store, || {
        format!("cannot keep that {} is set up", app.name.as_str())
    })
}

fn is_done(app: &App) -> bool {
    mark(app).exists()
}

fn mark(app: &App) -> std::path::PathBuf {
    app.folder().join("set-up")
}

/// The config vars that are still to be set.
fn settings(
    app: &App,
    wanted: &AppJson,
    current: &ConfigVars,
    given: &Given<'_>,
    coming: &[String],
) -> Result<ConfigVars, Failure> {
    let mut settings = given.config.clone();
    let mut missing = BTreeMap::new();
    for (name, variable) in &wanted.env {
        let name = &name.0;
        if settings.contains_key(name) || current.contains_key(name) || coming.contains(name) {
            continue;
        }
        let Variable {
            description,
            value,
            is_required,
            is_secret,
        } = variable;
        match value {
            _ if *is_secret => drop(settings.insert(name.clone(), secret()?)),
            Some(value) => drop(settings.insert(name.clone(), value.clone())),
            None if *is_required => drop(missing.insert(name, description)),
            None => {}
        }
    }
    if missing.is_empty() {
        return Ok(settings);
    }
    let described: Vec<String> = missing
        .iter()
        .map(|(name, description)| match description {
            Some(description) => format!("{name} ({description})"),
            None => (*name).clone(),
        })
        .collect();
    let names: Vec<String> = missing.keys().map(|name| format!("{name}=…")).collect();
    Err(Failure::new(
        Exit::Input,
        format!(
            "{FILE} requires config vars that have no value: {}",
            described.join(", ")
        ),
    )
    .hint(format!(
        "set them: slugc config:set -a {} {}",
        app.name.as_str(),
        names.join(" ")
    )))
}

fn secret() -> Result<String, Failure> {
    let mut bytes = [0_u8; SECRET];
    random(&mut bytes).or_fail(Exit::General, || "cannot make a secret".to_owned())?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The add-ons that the app does not have yet. One that slugc does not offer is said and left out:
/// the app may do without it here.
fn missing_addons(
    printer: &Printer,
    store: &Store,
    app: &App,
    wanted: &AppJson,
    provided: &ConfigVars,
) -> Result<Vec<(Plan, Option<String>)>, Failure> {
    let present = addon_vars::attached(store, app)?;
    let mut unnamed = BTreeMap::new();
    let mut missing = Vec::new();
    for addon in &wanted.addons {
        let plan: Plan = match addon.plan.parse() {
            Ok(plan) => plan,
            Err(error) => {
                printer.warning(&format!(
                    "{FILE}'s add-on {} is left out: {error}",
                    addon.plan
                ));
                continue;
            }
        };
        if let Some(attachment) = &addon.attachment {
            if !provided.contains_key(&variable_of(&plan, Some(attachment))) {
                missing.push((plan, Some(attachment.clone())));
            }
            continue;
        }
        let before = unnamed.entry(plan.service.to_string()).or_insert(0_usize);
        let of_kind = present.iter().filter(|addon| addon.service == plan.service);
        // A server of the user's own counts as well.
        let is_there = of_kind.count() > *before
            || (*before == 0 && provided.contains_key(&variable_of(&plan, None)));
        *before += 1;
        if !is_there {
            missing.push((plan, None));
        }
    }
    Ok(missing)
}

/// The config var that has an add-on's address.
fn variable_of(plan: &Plan, attachment: Option<&str>) -> String {
    let attachment = attachment.unwrap_or(plan.service.first_attachment());
    let attachment = attachment.strip_suffix("_URL").unwrap_or(attachment);
    format!("{attachment}_URL")
}

/// Quantities and sizes, where nobody has scaled yet.
fn formation(app: &App, wanted: &AppJson) -> Result<(), Failure> {
    let state = app.state();
    let keeping = || format!("cannot keep the formation of {}", app.name.as_str());
    let reading = || format!("cannot read the formation of {}", app.name.as_str());
    if state.formation().or_fail(Exit::Store, reading)?.is_empty() {
        let quantities = wanted
            .formation
            .iter()
            .filter_map(|(name, dynos)| Some((name.0.clone(), dynos.quantity?)));
        let quantities: BTreeMap<_, _> = quantities.collect();
        if !quantities.is_empty() {
            state
                .set_formation(&quantities)
                .or_fail(Exit::Store, keeping)?;
        }
    }
    if ps_type::sizes(app)?.is_empty() {
        let sizes = wanted
            .formation
            .iter()
            .filter_map(|(name, dynos)| Some((name.0.clone(), dynos.size()?)));
        let sizes: BTreeMap<_, _> = sizes.collect();
        if !sizes.is_empty() {
            ps_type::set_sizes(app, &sizes)?;
        }
    }
    Ok(())
}

/// The app.json of a folder that has to have one.
pub(crate) fn required(folder: &Path) -> Result<AppJson, Failure> {
    AppJson::read(folder)?.ok_or_else(|| {
        Failure::new(
            Exit::Input,
            format!("there is no {FILE} in {}", folder.display()),
        )
        .hint("name the app's folder; slugc build and slugc launch need no app.json")
    })
}

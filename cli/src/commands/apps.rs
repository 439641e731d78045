//! `slugc apps`, `apps:create`, `apps:setup` and `apps:destroy`.

use crate::app::{App, AppName};
use crate::args::{AppsArgs, AppsCreateArgs, AppsDestroyArgs, AppsSetupArgs};
use crate::build::sandboxed;
use crate::build_env;
use crate::commands::{addons, build, ps_stop};
use crate::failure::{Exit, Failure, OrFail};
use crate::setup::{self, Given};
use crate::store::{self, Store};
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use serde::Serialize;
use std::process::ExitCode;

/// What `apps --json` prints of each.
#[derive(Serialize)]
struct Row {
    name: String,
    /// The release in effect.
    release: Option<u64>,
    /// The digest of its image.
    image: Option<String>,
    /// The folder that the last build was of.
    source: Option<std::path::PathBuf>,
    running: bool,
}

pub(crate) fn run(args: &AppsArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let mut rows = Vec::new();
    for app in App::all(&store)? {
        let release = app.current()?;
        let built = app.image()?;
        let image = release.as_ref().and_then(|release| release.image.as_ref());
        rows.push(Row {
            release: release.as_ref().map(|release| release.version),
            image: image.map(|image| image.manifest.digest.to_string()),
            source: built.map(|built| built.source),
            running: supervisor::find(&printer, &app)?.is_some(),
            name: app.name.as_str().to_owned(),
        });
    }
    if args.json {
        let json = serde_json::to_string_pretty(&rows);
        printer.result(&json.or_fail(Exit::General, || "cannot print JSON".to_owned())?);
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        printer.result("No apps; slugc build PATH makes one.");
        return Ok(ExitCode::SUCCESS);
    }
    printer.result("=== Apps\n");
    for row in rows {
        let state = if row.running { " (running)" } else { "" };
        printer.result(&format!("{}{state}", row.name));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn create(args: &AppsCreateArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let name = match &args.name {
        Some(name) => AppName::parse(name)?,
        None => AppName::choose(&args.app, std::path::Path::new("."))?,
    };
    let app = App::of(&store, name);
    let name = app.name.as_str();
    if app.folder().is_dir() {
        return Err(
            Failure::new(Exit::Usage, format!("there is an app {name} already"))
                .hint(format!("slugc apps:info -a {name} shows it")),
        );
    }
    app.create()?;
    printer.result(&format!(
        "Creating ⬢ {name}... done\nslugc build PATH -a {name} gives it an image."
    ));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn setup(args: &AppsSetupArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let wanted = setup::required(&args.path)?;
    let name = AppName::choose(&args.app, &args.path)?;
    let store = Store::open()?;
    let app = App::of(&store, name);
    app.create()?;
    let mirror = args.mirror.mirror.as_deref();
    let given = Given {
        config: build_env::collect(&[], &args.env_file, &args.env)?,
        mirror,
    };
    setup::prepare(&printer, &store, &app, &wanted, &given)?;
    build::of_app(&printer, &store, &app, &args.path, mirror)?;
    drop(store);
    setup::finish(&printer, &app, &wanted)?;
    let name = app.name.as_str();
    printer.result(&format!(
        "⬢ {name} is set up; slugc launch -a {name} starts it."
    ));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn destroy(args: &AppsDestroyArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let own = crate::args::AppArgs {
        app: args.name.clone().or(args.app.app.clone()),
    };
    let app = App::known(&store, &own)?;
    let name = app.name.as_str();
    addons::confirm(
        &printer,
        name,
        args.confirm.as_deref(),
        &format!(
            "this destroys the app {name}, its releases, its logs and its add-ons with all their data"
        ),
        "apps:destroy",
    )?;
    addons::refuse_if_shared(&store, &app)?;
    // A build that ends later would bring half of it back.
    let _building = app.build_lock(|| {
        printer.line(&format!("Waiting for a build of {name}"));
    })?;
    ps_stop::all(&printer, &app)?;
    addons::destroy_all(&printer, &store, &app)?;
    let _releasing = app.state().lock().or_fail(Exit::Store, || {
        format!("cannot wait for a release of {name}")
    })?;
    sandboxed::recover(&app)?;
    store::remove_tree(app.folder())?;
    printer.result(&format!(
        "Destroying ⬢ {name}... done; slugc cache prune frees what its images took"
    ));
    Ok(ExitCode::SUCCESS)
}

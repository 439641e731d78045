//! The app's supervisor, as commands meet it.

use crate::app::{App, AppName};
use crate::commands::running::{Ready, no_release};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::ui::error;
use crate::ui::printer::{Detail, Printer};
use jiff::Timestamp;
use slug_runtime::HostFiles;
use slug_runtime::nearest::nearest;
use slug_runtime::processes::Processes;
use slug_runtime::state::{ConfigVars, ReleaseImage};
use slug_runtime::supervisor::{Client, ClientError, Deployed, Loader, Supervisor, Target};
use std::sync::Arc;

/// The app's supervisor, if it has one. That the last one was killed is said once.
pub(crate) fn find(printer: &Printer, app: &App) -> Result<Option<Client>, Failure> {
    let name = app.name.as_str();
    let found = Supervisor::find(app.folder()).or_fail(Exit::Store, || {
        format!("cannot find out whether {name} runs")
    })?;
    match found {
        Supervisor::Running(client) => Ok(Some(client)),
        Supervisor::Absent { killed } => {
            warn_of_killed(printer, app, killed);
            Ok(None)
        }
    }
}

pub(crate) fn warn_of_killed(printer: &Printer, app: &App, killed: Option<u32>) {
    if let Some(pid) = killed {
        printer.warning(&format!(
            "the supervisor of {} (process {pid}) was killed; its dynos ended with it",
            app.name.as_str()
        ));
    }
}

/// The supervisor of an app that has to run.
pub(crate) fn running(printer: &Printer, app: &App) -> Result<Client, Failure> {
    find(printer, app)?.ok_or_else(|| {
        let name = app.name.as_str();
        Failure::new(Exit::Input, format!("{name} does not run"))
            .hint(format!("start it: slugc launch -d -a {name}"))
    })
}

/// A dyno or a type that a user typed.
pub(crate) fn target(text: Option<&str>) -> Result<Target, Failure> {
    let Some(text) = text else {
        return Ok(Target::All);
    };
    Target::parse(text).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            format!("{text:?} is neither a dyno nor a process type"),
        )
        .hint("name a dyno as web.1 or a type as web; slugc ps lists them")
    })
}

/// What a supervisor did not do. Its own words say what was wrong with the order.
pub(crate) fn refused(app: &App, error: ClientError) -> Failure {
    let name = app.name.as_str();
    match error {
        ClientError::Refused(words) => {
            Failure::new(Exit::Usage, words).hint(format!("slugc ps -a {name} lists the dynos"))
        }
        ClientError::Failed(words) => Failure::new(Exit::General, words)
            .hint(format!("slugc logs -a {name} shows what happened before")),
        error => Failure::new(
            Exit::General,
            format!("the supervisor of {name} does not answer"),
        )
        .because(error),
    }
}

/// Tells a running app that it has a new release: its dynos are replaced, the new ones first unless
/// its owner said otherwise.
pub(crate) fn reload(printer: &Printer, app: &App) -> Result<(), Failure> {
    if let Some(client) = find(printer, app)? {
        let overlap = app.state().preboot();
        client
            .reload(overlap)
            .map_err(|error| refused(app, error))?;
    }
    Ok(())
}

/// The app's current release, made ready to run.
pub(crate) fn deployed(
    printer: &Printer,
    store: &Store,
    app: &App,
) -> Result<(Deployed, HostFiles), Failure> {
    let release = app.current()?;
    let (version, created_at, description, image, config) = match release {
        Some(release) => (
            release.version,
            release.created_at,
            release.description,
            release.image,
            release.config,
        ),
        None if app.newest_release()?.is_some() => {
            app.built_image()?;
            return Err(no_release(app));
        }
        // Built by a slugc that made no releases.
        None => (
            1,
            Timestamp::now(),
            "Initial release".to_owned(),
            Some(ReleaseImage::from(app.built_image()?)),
            ConfigVars::new(),
        ),
    };
    let Some(image) = image else {
        // Config vars were set before the first build: that is what is said if there was none.
        app.built_image()?;
        return Err(no_release(app));
    };
    let ready = Ready::of(printer, store, app, &image, config)?;
    let deployed = Deployed {
        version,
        created_at,
        description,
        digest: image.manifest.digest,
        image: ready.image,
        lowers: ready.lowers,
        config: ready.config,
        addons: ready.addons,
    };
    Ok((deployed, ready.host))
}

/// Makes later releases ready, inside the supervisor.
pub(crate) fn loader(name: AppName) -> Loader {
    Arc::new(move || {
        let load = || {
            let store = Store::open()?;
            let app = App::of(&store, name.clone());
            deployed(&Printer::new(Detail::Quiet), &store, &app)
        };
        let loaded: Result<_, Failure> = load();
        loaded
            .map(|(deployed, _)| deployed)
            .map_err(|failure| error::chain(&failure).into())
    })
}

/// The process types of an app that can be scaled, in the image's order.
pub(crate) fn scalable(processes: &Processes) -> Vec<String> {
    let mut types: Vec<String> = processes
        .all()
        .iter()
        .map(|process| process.process_type.to_string())
        .filter(|name| name != "release")
        .collect();
    if types.is_empty() {
        types.extend(processes.default_type().map(|name| name.to_string()));
    }
    types
}

/// Why a process type is none of the app's.
pub(crate) fn unknown_type(wanted: &str, types: &[String]) -> Failure {
    if wanted == "release" {
        return Failure::new(
            Exit::Usage,
            "release is no process type to scale: it runs before each release",
        );
    }
    let failure = Failure::new(
        Exit::Usage,
        format!(
            "the app has no process type {wanted}: it has {}",
            types.join(", ")
        ),
    );
    match nearest(wanted, types.iter().map(String::as_str)) {
        Some(meant) => failure.hint(format!("did you mean {meant}?")),
        None => failure,
    }
}

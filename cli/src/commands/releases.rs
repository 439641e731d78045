//! `slugc releases`: the newest releases, and what its verbs share.

use crate::app::App;
use crate::args::ReleasesArgs;
use crate::commands::config::as_json;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::{table, time};
use jiff::Timestamp;
use oci_image::Digest;
use serde::Serialize;
use slug_runtime::state::{Release, Status};
use std::process::ExitCode;

pub(crate) fn run(args: &ReleasesArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    give_up_the_dead(&app)?;
    let name = app.name.as_str();
    let newest = app.state().newest(args.num).or_fail(Exit::Store, || {
        format!("cannot read the releases of {name}")
    })?;
    let current = app.current()?.map(|release| release.version);
    if args.json {
        let shown: Vec<Shown<'_>> = newest
            .iter()
            .map(|release| Shown::of(release, current))
            .collect();
        printer.result(&as_json(&shown)?);
        return Ok(ExitCode::SUCCESS);
    }
    if newest.is_empty() {
        printer.result(&format!("⬢ {name} has no releases."));
        return Ok(ExitCode::SUCCESS);
    }
    let heading = match current {
        Some(version) => format!("=== ⬢ {name} Releases - Current: v{version}"),
        None => format!("=== ⬢ {name} Releases"),
    };
    printer.result(&printer.style().bold(&heading));
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = newest
        .iter()
        .map(|release| {
            let description = match note(release.status) {
                Some(note) => format!("{} {note}", release.description),
                None => release.description.clone(),
            };
            vec![
                format!("v{}", release.version),
                description,
                time::ago(release.created_at, now),
            ]
        })
        .collect();
    printer.result(&format!("\n{}", table::columns(&rows)));
    Ok(ExitCode::SUCCESS)
}

/// Releases whose makers were killed count as failed; while one is being made, none of them can.
pub(crate) fn give_up_the_dead(app: &App) -> Result<(), Failure> {
    let locked = app.state().try_lock().or_fail(Exit::Store, || {
        format!("cannot look after the releases of {}", app.name.as_str())
    });
    locked.map(drop)
}

/// What Heroku says beside a release's description.
pub(crate) fn note(status: Status) -> Option<&'static str> {
    match status {
        Status::Pending => Some("release command executing"),
        Status::Failed => Some("release command failed"),
        Status::Succeeded => None,
    }
}

/// A release for programs: everything but config vars' values.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    version: u64,
    description: &'a str,
    status: Status,
    current: bool,
    created_at: Timestamp,
    image: Option<Digest>,
    stack: Option<&'a str>,
    config_vars: Vec<&'a str>,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(release: &'a Release, current: Option<u64>) -> Self {
        let image = release.image.as_ref();
        Self {
            version: release.version,
            description: &release.description,
            status: release.status,
            current: current == Some(release.version),
            created_at: release.created_at,
            image: image.map(|image| image.manifest.digest),
            stack: image.map(|image| image.stack.as_str()),
            config_vars: release.config.keys().map(String::as_str).collect(),
        }
    }
}

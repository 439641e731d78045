//! `slugc status`: on one screen what runs, from which image, on which port.

use crate::app::App;
use crate::args::StatusArgs;
use crate::commands::addons::{self, Summary};
use crate::commands::ps;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::{table, time};
use jiff::Timestamp;
use serde::Serialize;
use slug_runtime::one_offs::OneOff;
use slug_runtime::state::Release;
use slug_runtime::supervisor::Status;
use std::process::ExitCode;

/// What `--json` prints.
#[derive(Serialize)]
struct Shown<'a> {
    app: &'a str,
    release: Option<u64>,
    description: Option<&'a str>,
    image: Option<String>,
    stack: Option<&'a str>,
    maintenance: bool,
    /// Nothing while the app does not run.
    running: Option<&'a Status>,
    one_offs: &'a [OneOff],
    addons: &'a [Summary],
}

pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let dynos = ps::dynos(&printer, &app)?;
    let running = dynos.status;
    let addons = addons::summaries(&store, &app)?;
    let release = app.current()?;
    let image = release
        .as_ref()
        .and_then(|release| release.image.clone())
        .or(app.image()?.map(Into::into));
    let maintenance = app.state().maintenance();
    let now = Timestamp::now();
    if args.json {
        let shown = Shown {
            app: app.name.as_str(),
            release: release.as_ref().map(|release| release.version),
            description: release.as_ref().map(|release| release.description.as_str()),
            image: image
                .as_ref()
                .map(|image| image.manifest.digest.to_string()),
            stack: image.as_ref().map(|image| image.stack.as_str()),
            maintenance,
            running: running.as_ref(),
            one_offs: &dynos.one_offs,
            addons: &addons,
        };
        let json = serde_json::to_string_pretty(&shown);
        printer.result(&json.or_fail(Exit::General, || "cannot print JSON".to_owned())?);
        return Ok(ExitCode::SUCCESS);
    }
    let image = image.map_or_else(
        || "none; slugc build PATH makes one".to_owned(),
        |image| format!("{}, on {}", image.manifest.digest, image.stack),
    );
    let mut rows = vec![
        ("App", app.name.as_str().to_owned()),
        ("Release", released(release.as_ref(), now)),
        ("Image", image),
        ("Running", runs(running.as_ref(), now)),
    ];
    if let Some(port) = running.as_ref().and_then(|status| status.port) {
        rows.push(("Address", format!("http://localhost:{port}")));
    }
    rows.extend(addons.iter().map(|addon| ("Add-on", described(addon))));
    if maintenance {
        rows.push((
            "Maintenance",
            "on: requests get a page that says so".to_owned(),
        ));
    }
    let rows: Vec<(&str, &str)> = rows
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    printer.result(&table::properties(&rows));
    if !dynos.all.is_empty() {
        let release = running.map(|status| status.release);
        printer.result(&format!("\n{}", ps::listed(&dynos.all, release, now)));
    }
    Ok(ExitCode::SUCCESS)
}

fn described(addon: &Summary) -> String {
    let state = if addon.running {
        format!("running on 127.0.0.1:{}", addon.port)
    } else {
        "stopped".to_owned()
    };
    format!(
        "{} ({}), {}, {state}",
        addon.name,
        addon.plan,
        addon.config_vars.join(" ")
    )
}

fn released(release: Option<&Release>, now: Timestamp) -> String {
    release.map_or_else(
        || "none".to_owned(),
        |release| {
            format!(
                "v{}, {}, {}",
                release.version,
                release.description,
                time::ago(release.created_at, now)
            )
        },
    )
}

fn runs(status: Option<&Status>, now: Timestamp) -> String {
    status.map_or_else(
        || "no".to_owned(),
        |status| {
            format!(
                "since {}, process {}",
                time::ago(status.since, now),
                status.pid
            )
        },
    )
}

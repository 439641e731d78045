//! `slugc releases:info [vN]`.

use crate::app::App;
use crate::args::ReleasesInfoArgs;
use crate::commands::config::{as_json, as_shell};
use crate::commands::releases::{Shown, give_up_the_dead, note};
use crate::commands::rollback;
use crate::failure::{Exit, Failure};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::table;
use std::process::ExitCode;

pub(crate) fn run(args: &ReleasesInfoArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    give_up_the_dead(&app)?;
    let release = match args.release {
        Some(version) => rollback::find(&app, version)?,
        None => app.newest_release()?.ok_or_else(|| {
            let name = app.name.as_str();
            Failure::new(Exit::Input, format!("{name} has no releases"))
                .hint("a build or a config var makes the first one")
        })?,
    };
    let current = app.current()?;
    if args.json {
        let version = current.map(|release| release.version);
        printer.result(&as_json(&Shown::of(&release, version))?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut change = release.description.clone();
    if let Some(note) = note(release.status) {
        change = format!("{change} ({note})");
    }
    let eligible = match rollback::refusal(&store, &app, &release, current.as_ref()) {
        None => "Yes".to_owned(),
        Some(why) => format!("No, {why}"),
    };
    let image = release.image.as_ref().map_or_else(
        || "none".to_owned(),
        |image| image.manifest.digest.to_string(),
    );
    let style = printer.style();
    let version = release.version;
    printer.result(&style.bold(&format!("=== Release v{version}")));
    let when = release
        .created_at
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    printer.result(&format!(
        "\n{}\n",
        table::properties(&[
            ("Change", &change),
            ("Eligible for Rollback?", &eligible),
            ("Image", &image),
            ("When", &when),
        ])
    ));
    printer.result(&style.bold(&format!("=== v{version} Config vars")));
    if release.config.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let text = if args.shell {
        as_shell(&release.config)
    } else {
        let pairs: Vec<(&str, &str)> = release
            .config
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        table::properties(&pairs)
    };
    printer.result(&format!("\n{text}"));
    Ok(ExitCode::SUCCESS)
}

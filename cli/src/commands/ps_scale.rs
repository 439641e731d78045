//! `slugc ps:scale`: how many dynos of each type.

use crate::app::App;
use crate::args::PsScaleArgs;
use crate::commands::{launch, ps_type};
use crate::failure::{Exit, Failure, OrFail};
use crate::quantities::{Change, shown};
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use oci_image::Image;
use slug_runtime::processes::Processes;
use slug_runtime::supervisor::{Quantities, Status};
use std::process::ExitCode;

pub(crate) fn run(args: &PsScaleArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let changes = args
        .changes
        .iter()
        .map(|word| Change::parse(word))
        .collect::<Result<Vec<_>, _>>()?;
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let processes = processes(&store, &app)?;
    let types = supervisor::scalable(&processes);
    let client = supervisor::find(&printer, &app)?;
    let refused = |error| supervisor::refused(&app, error);
    // What runs may have been started with other quantities than the stored ones.
    let mut quantities = match &client {
        Some(client) => live(&client.status().map_err(refused)?),
        None => launch::stored(&app, &processes)?,
    };
    let mut sizes = ps_type::sizes(&app)?;
    if changes.is_empty() {
        printer.result(&shown(&quantities, &sizes, &types, "=").join(" "));
        return Ok(ExitCode::SUCCESS);
    }
    for change in &changes {
        change.apply(&mut quantities, &types)?;
    }
    app.state()
        .set_formation(&quantities)
        .or_fail(Exit::Store, || {
            format!("cannot keep the formation of {}", app.name.as_str())
        })?;
    let before = sizes.clone();
    sizes.extend(changes.iter().filter_map(Change::size));
    let has_other_sizes = sizes != before;
    if has_other_sizes {
        ps_type::set_sizes(&app, &sizes)?;
    }
    let now = shown(&quantities, &sizes, &types, " at ").join(", ");
    match client {
        Some(client) => {
            if has_other_sizes {
                client.resize().map_err(refused)?;
            }
            client.scale(&quantities).map_err(refused)?;
            printer.result(&format!("Scaling dynos... done, now running {now}"));
        }
        None => printer.result(&format!("Scaling dynos... done, next launch with {now}")),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn live(status: &Status) -> Quantities {
    let formation = status.formation.iter();
    formation
        .filter_map(|(name, count)| Some((name.parse().ok()?, *count)))
        .collect()
}

/// What the current release's image offers.
pub(super) fn processes(store: &Store, app: &App) -> Result<Processes, Failure> {
    let name = app.name.as_str();
    let digest = match app.current()?.and_then(|release| release.image) {
        Some(image) => image.manifest.digest,
        None => app.built_image()?.manifest.digest,
    };
    let image = Image::load(store.blobs(), &digest)
        .or_fail(Exit::Store, || format!("cannot open the image of {name}"))
        .map_err(|failure| failure.hint(format!("build it again: slugc build PATH -a {name}")))?;
    Processes::of(&image).or_fail(Exit::Input, || {
        format!("cannot tell which process types {name} has")
    })
}

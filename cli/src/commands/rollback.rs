//! `slugc rollback [vN]`: an earlier release's image and config vars, as a new release.

use crate::app::App;
use crate::args::RollbackArgs;
use crate::build::record;
use crate::failure::{Exit, Failure, OrFail};
use crate::release::{self, Made, Plan};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::state::{Release, Status};
use std::process::ExitCode;

pub(crate) fn run(args: &RollbackArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let _used = store.use_lock()?;
    let name = app.name.as_str();
    let mut target = 0;
    let made = release::make(&printer, &store, &app, |current| {
        let old = choose(&app, args.release, current)?;
        if let Some(why) = refusal(&store, &app, &old, current) {
            return Err(Failure::new(
                Exit::Input,
                format!("cannot roll back to v{}: {why}", old.version),
            )
            .hint(format!("slugc releases -a {name} lists the releases")));
        }
        target = old.version;
        let mut config = old.config;
        config.retain(|name, _| !old.addon_vars.contains(name));
        // Those of today's add-ons win: what is in a database does not roll back either.
        config.extend(
            current
                .into_iter()
                .flat_map(|current| {
                    let given = current.addon_vars.iter();
                    given.filter_map(|name| current.config.get_key_value(name))
                })
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        Ok(Some(Plan {
            description: format!("Rollback to v{target}"),
            image: old.image,
            config,
        }))
    })?;
    let Made::Release { release, replaced } = made else {
        return Ok(ExitCode::SUCCESS);
    };
    printer.result(&format!(
        "Rolling back ⬢ {name} to v{target}... done, v{}",
        release.version
    ));
    printer.warning("Rollback affects code and config vars; it doesn't add or remove addons.");
    if let Some(before) = replaced {
        printer.warning(&format!("To undo, run: slugc rollback v{before} -a {name}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The release that is asked for, else the last one that succeeded before the current one.
fn choose(app: &App, wanted: Option<u64>, current: Option<&Release>) -> Result<Release, Failure> {
    if let Some(version) = wanted {
        return find(app, version);
    }
    let name = app.name.as_str();
    let releases = app.state().releases().or_fail(Exit::Store, || {
        format!("cannot read the releases of {name}")
    })?;
    releases
        .into_iter()
        .rev()
        .filter(|release| release.status == Status::Succeeded)
        .find(|release| current.is_some_and(|current| release.version < current.version))
        .ok_or_else(|| {
            Failure::new(
                Exit::Input,
                format!("there is no release of {name} to roll back to"),
            )
            .hint(format!("slugc releases -a {name} lists the releases"))
        })
}

/// A release by its version.
pub(crate) fn find(app: &App, version: u64) -> Result<Release, Failure> {
    let name = app.name.as_str();
    let release = app
        .state()
        .release(version)
        .or_fail(Exit::Store, || format!("cannot read v{version} of {name}"))?;
    if let Some(release) = release {
        return Ok(release);
    }
    let failure = Failure::new(Exit::Input, format!("{name} has no release v{version}"));
    Err(match app.newest_release()? {
        Some(newest) => failure.hint(format!(
            "the newest is v{}; slugc releases -a {name} lists them",
            newest.version
        )),
        None => failure.hint("a build or a config var makes the first one"),
    })
}

/// Why nobody can roll back to a release, if so.
pub(crate) fn refusal(
    store: &Store,
    app: &App,
    release: &Release,
    current: Option<&Release>,
) -> Option<String> {
    match release.status {
        Status::Failed => return Some("its release command failed".to_owned()),
        Status::Pending => return Some("its release command is executing".to_owned()),
        Status::Succeeded => {}
    }
    if current.is_some_and(|current| current.version == release.version) {
        return Some("it is the current release".to_owned());
    }
    let Some(image) = &release.image else {
        let has_code = current.is_some_and(|current| current.image.is_some());
        return has_code.then(|| "it was made before the first build and has no image".to_owned());
    };
    let is_there = record::is_complete(store.blobs(), &image.manifest.digest);
    (!is_there).then(|| {
        format!(
            "its image {} was pruned; build that code again with slugc build PATH -a {}",
            image.manifest.digest,
            app.name.as_str()
        )
    })
}

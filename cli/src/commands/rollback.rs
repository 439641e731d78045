//! `slugc rollback [vN]`: an earlier release's image and config vars, as a new release.

use crate::addon_vars;
use crate::app::App;
use crate::args::RollbackArgs;
use crate::build::record;
use crate::failure::{Exit, Failure, OrFail};
use crate::release::{self, Made, Plan};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::state::{ConfigVars, Release, Status};
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
        let none = ConfigVars::new();
        let now = current.map_or(&none, |current| &current.config);
        Ok(Some(Plan {
            description: format!("Rollback to v{target}"),
            config: config_of(&old, now, &addon_vars::of(&store, &app)?),
            image: old.image,
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

/// An earlier release's config vars, but for those of add-ons: they stay as they are `now`, for what is in a database
/// does not roll back either. `given` is what today's add-ons give.
fn config_of(old: &Release, now: &ConfigVars, given: &ConfigVars) -> ConfigVars {
    let mut config = old.config.clone();
    let mut kept = addon_vars::among(given, now);
    // What an add-on gave then may be somebody's own by now, or nobody's.
    kept.extend(old.addon_vars.iter().cloned());
    for name in kept {
        match now.get(&name) {
            Some(value) => config.insert(name, value.clone()),
            None => config.remove(&name),
        };
    }
    config
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

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(text: &str) -> ConfigVars {
        let pairs = text.split_whitespace().filter_map(|it| it.split_once('='));
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn config_vars_of_addons_do_not_roll_back() {
        // What was, which of it add-ons gave, what is now, what add-ons give now; what comes of it.
        for (old, of_addons, now, given, wanted) in [
            ("A=1", "", "A=2 B=2", "", "A=1"),
            ("A=1", "", "A=2 D=db", "D=db", "A=1 D=db"),
            ("A=1 D=db", "D", "A=2 D=db", "D=db", "A=1 D=db"),
            // Promoted since.
            ("D=first", "D", "D=second", "D=second", "D=second"),
            // A release of a slugc that did not note them.
            ("D=first", "", "D=second", "D=second", "D=second"),
            // The add-on is gone, and what is there now is the user's.
            ("A=1 D=db", "D", "A=2", "", "A=1"),
            ("D=db", "D", "D=elsewhere", "", "D=elsewhere"),
            // Attached, but the app did not get it: the user's own stood there.
            ("D=mine", "", "D=other", "D=db", "D=mine"),
        ] {
            let release = Release {
                version: 1,
                created_at: jiff::Timestamp::UNIX_EPOCH,
                description: String::new(),
                image: None,
                status: Status::Succeeded,
                config: vars(old),
                addon_vars: of_addons.split_whitespace().map(str::to_owned).collect(),
            };
            let config = config_of(&release, &vars(now), &vars(given));
            assert_eq!(config, vars(wanted), "{old} → {now}");
        }
    }
}

//! Making releases: the one way in which what an app runs, and with which config vars, changes.

use crate::addon_vars;
use crate::app::App;
use crate::commands::running::{Ready, exit_of_dyno, exit_of_process};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::supervisor;
use crate::ui::error;
use crate::ui::printer::Printer;
use oci_image::Image;
use slug_runtime::release_phase::{self, Outcome, ReleaseError, ReleaseInputs};
use slug_runtime::state::config_vars;
use slug_runtime::state::{ConfigVars, NewRelease, Release, ReleaseImage, StateLock, Status};

/// What a release is to be made of.
pub(crate) struct Plan {
    pub(crate) description: String,
    pub(crate) image: Option<ReleaseImage>,
    pub(crate) config: ConfigVars,
}

/// What making a release came to.
pub(crate) enum Made {
    /// Nothing would have changed; the current release, if there is one.
    Nothing { current: Option<Release> },
    /// A release that took effect, in the place of another one.
    Release {
        release: Release,
        replaced: Option<u64>,
    },
}

/// Makes a release of what `plan` makes of the current one; `None` when nothing changes.
///
/// One release at a time: `plan` sees what no other command can change before this one is done.
/// With an image, its release command runs first, and decides.
pub(crate) fn make(
    printer: &Printer,
    store: &Store,
    app: &App,
    plan: impl FnOnce(Option<&Release>) -> Result<Option<Plan>, Failure>,
) -> Result<Made, Failure> {
    make_for(Occasion::Change, printer, store, app, plan)
}

/// What a release is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Its release command decides about it, and running dynos are replaced.
    Change,
    /// An add-on goes: there is no release command (Dev Center, "Release Phase"), and the caller tells running dynos
    /// ([`notify`]) when it is gone. While it is attached they would start its server again.
    Detachment,
}

/// The same, for an occasion.
pub(crate) fn make_for(
    occasion: Occasion,
    printer: &Printer,
    store: &Store,
    app: &App,
    plan: impl FnOnce(Option<&Release>) -> Result<Option<Plan>, Failure>,
) -> Result<Made, Failure> {
    let state = app.state();
    let name = app.name.as_str();
    let locking = || format!("cannot make a release of {name}");
    let lock = if let Some(lock) = state.try_lock().or_fail(Exit::Store, locking)? {
        lock
    } else {
        printer.warning(&format!("waiting for another release of {name}"));
        state.lock().or_fail(Exit::Store, locking)?
    };
    // From here on nobody forgets the app or prunes what its release is made of.
    let _used = store.use_lock()?;
    let current = app.current()?;
    let Some(new) = plan(current.as_ref())? else {
        return Ok(Made::Nothing { current });
    };
    config_vars::check_all(&new.config)
        .map_err(|error| Failure::new(Exit::Input, error.to_string()))?;
    let new = NewRelease {
        addon_vars: addon_vars::among(&addon_vars::of(store, app)?, &new.config),
        description: new.description,
        image: new.image,
        config: new.config,
    };
    let release = state.begin(&lock, new).or_fail(Exit::Store, locking)?;
    let replaced = current.map(|release| release.version);
    let finish = |lock: &StateLock, status| {
        state
            .finish(lock, release.version, status)
            .or_fail(Exit::Store, locking)
    };
    if occasion == Occasion::Change
        && let Err(failure) = run_phase(printer, store, app, &release, replaced)
    {
        finish(&lock, Status::Failed)?;
        return Err(failure);
    }
    let release = finish(&lock, Status::Succeeded)?;
    drop(lock);
    if occasion == Occasion::Change {
        notify(printer, app);
    }
    Ok(Made::Release { release, replaced })
}

/// The release command, where the release has an image that has one.
fn run_phase(
    printer: &Printer,
    store: &Store,
    app: &App,
    release: &Release,
    replaced: Option<u64>,
) -> Result<(), Failure> {
    let Some(image) = &release.image else {
        return Ok(());
    };
    let version = release.version;
    let failed = |error: ReleaseError| {
        let message = format!("cannot run the release command of v{version}");
        Failure::new(exit_of(&error), message).because(error)
    };
    let loaded = Image::load(store.blobs(), &image.manifest.digest).or_fail(Exit::Store, || {
        let name = app.name.as_str();
        format!("cannot open the image of v{version} of the app {name}")
    })?;
    // Unpacking the image and starting add-ons takes its time: not where nothing runs.
    if release_phase::command(&loaded).map_err(failed)?.is_none() {
        return Ok(());
    }
    let ready = Ready::of(printer, store, app, image, release.config.clone())?;
    printer.heading("Running release command");
    let inputs = ReleaseInputs {
        app: ready.app(),
        version,
        limit: release_phase::LIMIT,
        logs: &app.logs(),
    };
    let outcome =
        release_phase::run(&inputs, &mut |bytes| printer.pass_on(bytes)).map_err(failed)?;
    let (exit, what) = match outcome {
        Outcome::Exited(0) => return Ok(()),
        Outcome::Exited(code) => (Exit::Release, format!("failed with exit code {code}")),
        Outcome::TimedOut => {
            let hours = release_phase::LIMIT.as_secs() / 3600;
            (Exit::Release, format!("was stopped after {hours} hour"))
        }
        Outcome::Interrupted(signal) => (
            Exit::Signal(u8::try_from(signal).unwrap_or_default()),
            "was interrupted".to_owned(),
        ),
    };
    let kept = replaced.map_or_else(
        || "no release is in effect".to_owned(),
        |version| format!("v{version} stays in effect"),
    );
    let failure = Failure::new(
        exit,
        format!("the release command of v{version} {what}; {kept}"),
    );
    Err(match exit {
        Exit::Release => {
            failure.hint("what it printed is above; do the same again when it is mended")
        }
        _ => failure,
    })
}

fn exit_of(error: &ReleaseError) -> Exit {
    match error {
        ReleaseError::Command { source } => exit_of_process(source),
        ReleaseError::Dyno(error) => exit_of_dyno(error),
        ReleaseError::Signals { .. } | ReleaseError::Lost { .. } => Exit::General,
    }
}

/// Releases a build's image, unless it is what the current release runs already.
pub(crate) fn deploy(
    printer: &Printer,
    store: &Store,
    app: &App,
) -> Result<Option<Release>, Failure> {
    // Asked without the lock first: a build that changed nothing is to be quick.
    let is_current = |current: Option<&Release>, image: &ReleaseImage| {
        current.and_then(|release| release.image.as_ref()) == Some(image)
    };
    let built = ReleaseImage::from(app.built_image()?);
    if is_current(app.current()?.as_ref(), &built) {
        return Ok(None);
    }
    let made = make(printer, store, app, |current| {
        // Another build may have ended meanwhile; the last one is the app's.
        let built = ReleaseImage::from(app.built_image()?);
        if is_current(current, &built) {
            return Ok(None);
        }
        let digest = built.manifest.digest.hex();
        Ok(Some(Plan {
            description: format!("Deploy {}", digest.get(..8).unwrap_or(&digest)),
            image: Some(built),
            config: current.map_or_else(Default::default, |release| release.config.clone()),
        }))
    })?;
    Ok(match made {
        Made::Release { release, .. } => Some(release),
        Made::Nothing { .. } => None,
    })
}

/// Tells a running app of its new release. That is made already: what goes wrong here is a warning.
pub(crate) fn notify(printer: &Printer, app: &App) {
    if let Err(failure) = supervisor::reload(printer, app) {
        let name = app.name.as_str();
        printer.warning(&format!(
            "the dynos of {name} run with the release before, for {}; slugc ps:stop -a {name} and a new launch change that",
            error::chain(&failure)
        ));
    }
}

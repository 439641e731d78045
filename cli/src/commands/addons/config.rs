//! Config vars that add-ons give to apps.

use crate::app::App;
use crate::failure::{Exit, Failure, OrFail};
use slug_runtime::addons::{Addon, Attachment};
use slug_runtime::state::{
    AppState, ConfigVars, NewRelease, Release, ReleaseImage, Status, config_vars,
};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

/// Makes a release of changed config vars. Changes by add-ons run no release command (Dev Center,
/// "Release Phase").
pub(super) fn set_config_vars(
    app: &App,
    description: String,
    change: impl FnOnce(&mut ConfigVars),
) -> Result<Release, Failure> {
    let saving = || format!("cannot save the config vars of {}", app.name.as_str());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(app.folder())
        .or_fail(Exit::Store, saving)?;
    let state = AppState::new(app.folder().to_owned());
    let lock = state.lock().or_fail(Exit::Store, saving)?;
    let current = state.current().or_fail(Exit::Store, saving)?;
    let (image, mut config) = match current {
        Some(release) => (release.image, release.config),
        None => (None, ConfigVars::new()),
    };
    let built = app.image()?.map(|image| ReleaseImage {
        manifest: image.manifest,
        stack: image.stack,
    });
    change(&mut config);
    config_vars::check_all(&config).or_fail(Exit::Input, saving)?;
    let release = state
        .begin(
            &lock,
            NewRelease {
                description,
                image: image.or(built),
                config,
            },
        )
        .or_fail(Exit::Store, saving)?;
    state
        .finish(&lock, release.version, Status::Succeeded)
        .or_fail(Exit::Store, saving)
}

/// The app's config vars as they are now.
pub(super) fn config_of(app: &App) -> Result<ConfigVars, Failure> {
    let current = AppState::new(app.folder().to_owned())
        .current()
        .or_fail(Exit::Store, || {
            format!("cannot read the config vars of {}", app.name.as_str())
        })?;
    Ok(current.map(|release| release.config).unwrap_or_default())
}

/// Gives an app the config vars of attachments.
pub(super) fn attach(app: &App, addon: &Addon, names: &[&str]) -> Result<Release, Failure> {
    let first = names.first().copied().unwrap_or_default();
    set_config_vars(
        app,
        format!("Attach {first} (@ref:{})", addon.name),
        |config| {
            for name in names {
                config.extend(addon.config_vars(name));
            }
        },
    )
}

/// Takes the config vars of attachments away, unless the user has changed them since.
pub(super) fn detach(
    app: &App,
    addon: &Addon,
    attachments: &[Attachment],
) -> Result<Release, Failure> {
    let first = attachments.first().map_or("", |it| it.name.as_str());
    set_config_vars(
        app,
        format!("Detach {first} (@ref:{})", addon.name),
        |config| {
            for attachment in attachments {
                for (name, value) in addon.config_vars(&attachment.name) {
                    if config.get(&name) == Some(&value) {
                        config.remove(&name);
                    }
                }
            }
        },
    )
}

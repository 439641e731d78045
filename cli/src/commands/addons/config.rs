//! Config vars that add-ons give to apps.

use super::failure;
use super::find::World;
use crate::app::App;
use crate::failure::{Exit, Failure};
use crate::release::{self, Made, Occasion, Plan};
use crate::ui::error::chain;
use crate::ui::printer::Printer;
use slug_runtime::addons::{Addon, Attachment};
use slug_runtime::state::{ConfigVars, Release};

/// Makes a release of changed config vars.
pub(super) fn set_config_vars(
    printer: &Printer,
    world: &World,
    app: &App,
    occasion: Occasion,
    description: String,
    change: impl FnOnce(&mut ConfigVars),
) -> Result<Release, Failure> {
    app.create()?;
    let made = release::make_for(occasion, printer, &world.store, app, |current| {
        let (image, mut config) = match current {
            Some(release) => (release.image.clone(), release.config.clone()),
            // Built by a slugc that made no releases.
            None if app.newest_release()?.is_none() => {
                (app.image()?.map(Into::into), ConfigVars::new())
            }
            // The image's own release failed, perhaps for want of what comes now: that decides nothing about it.
            None => (None, ConfigVars::new()),
        };
        change(&mut config);
        Ok(Some(Plan {
            description,
            image,
            config,
        }))
    })?;
    match made {
        Made::Release { release, .. } => Ok(release),
        Made::Nothing { .. } => Err(Failure::new(
            Exit::General,
            format!("no release of {} was made", app.name.as_str()),
        )),
    }
}

/// The app's config vars as they are now.
pub(super) fn config_of(app: &App) -> Result<ConfigVars, Failure> {
    let current = app.current()?;
    Ok(current.map(|release| release.config).unwrap_or_default())
}

/// Makes attachments what they were: the release that they were changed for was not made. If that fails the change is
/// half done, and doing the same again completes it.
pub(super) fn put_back(
    printer: &Printer,
    world: &World,
    addon: &str,
    change: impl FnOnce(&mut Vec<Attachment>),
) {
    if let Err(error) = world.addons.update(addon, change) {
        let failure = failure(format!("cannot undo what was done to {addon}"), error);
        printer.warning(&chain(&failure));
    }
}

/// Gives an app the config vars of attachments.
pub(super) fn attach(
    printer: &Printer,
    world: &World,
    app: &App,
    addon: &Addon,
    names: &[&str],
) -> Result<Release, Failure> {
    let first = names.first().copied().unwrap_or_default();
    set_config_vars(
        printer,
        world,
        app,
        Occasion::Change,
        format!("Attach {first} (@ref:{})", addon.name),
        |config| {
            for name in names {
                config.extend(addon.config_vars(name));
            }
        },
    )
}

/// Takes the config vars of attachments away, unless the user has changed them since. Running dynos do not know it
/// yet.
pub(super) fn detach(
    printer: &Printer,
    world: &World,
    app: &App,
    addon: &Addon,
    attachments: &[Attachment],
) -> Result<Release, Failure> {
    let first = attachments.first().map_or("", |it| it.name.as_str());
    set_config_vars(
        printer,
        world,
        app,
        Occasion::Detachment,
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

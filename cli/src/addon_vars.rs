//! The config vars that an app's add-ons give to it.

use crate::app::App;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use slug_runtime::addons::{Addon, Addons};
use slug_runtime::state::ConfigVars;
use std::collections::BTreeSet;

/// The add-ons that are attached to an app.
pub(crate) fn attached(store: &Store, app: &App) -> Result<Vec<Addon>, Failure> {
    let name = app.name.as_str();
    Addons::new(store.root())
        .of_app(name)
        .or_fail(Exit::Store, || format!("cannot list the add-ons of {name}"))
}

/// What the add-ons that are attached to an app give to it now.
pub(crate) fn of(store: &Store, app: &App) -> Result<ConfigVars, Failure> {
    let name = app.name.as_str();
    let addons = attached(store, app)?;
    let vars = addons.iter().flat_map(|addon| {
        addon
            .names_in(name)
            .flat_map(|attachment| addon.config_vars(attachment))
    });
    Ok(vars.collect())
}

/// Which of `config` are the add-ons' own, unchanged.
pub(crate) fn among(given: &ConfigVars, config: &ConfigVars) -> BTreeSet<String> {
    given
        .iter()
        .filter(|(name, value)| config.get(*name) == Some(value))
        .map(|(name, _)| name.clone())
        .collect()
}

/// A user changes config vars, but not those of add-ons: their dynos would lose the data.
pub(crate) fn refuse_changes(
    given: &ConfigVars,
    before: &ConfigVars,
    after: &ConfigVars,
    app: &App,
) -> Result<(), Failure> {
    let Some(name) = among(given, before)
        .into_iter()
        .find(|name| before.get(name) != after.get(name))
    else {
        return Ok(());
    };
    let app = app.name.as_str();
    Err(
        Failure::new(Exit::Input, format!("{name} belongs to an add-on of {app}")).hint(format!(
            "slugc addons -a {app} lists them; addons:detach takes the config var away"
        )),
    )
}

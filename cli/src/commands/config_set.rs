//! `slugc config:set KEY=VALUE…`.

use crate::app::App;
use crate::args::ConfigSetArgs;
use crate::commands::config::{change, tell};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::state::config_vars::check_name;
use slug_runtime::state::{ConfigVars, env_file};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// Values are not printed, other than by `heroku config:set`: logs of CI are read by many.
pub(crate) fn run(args: &ConfigSetArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let mut settings = ConfigVars::new();
    for file in &args.env_file {
        read_file(file, &mut settings)?;
    }
    for (index, setting) in args.settings.iter().enumerate() {
        // What has no equals sign may be a secret in the wrong place, so it is not shown.
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("argument {} of config:set is not KEY=VALUE", index + 1),
            )
            .hint("write slugc config:set KEY=VALUE, with quotes around a value with blanks")
        })?;
        check_name(name).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        settings.insert(name.to_owned(), value.to_owned());
    }
    let store = Store::open()?;
    let app = App::known_or_new(&store, &args.app, &printer)?;
    let names: Vec<String> = settings.keys().cloned().collect();
    let made = change(&printer, &store, &app, |config| {
        config.extend(settings);
        Ok(())
    })?;
    tell(
        &printer,
        &app,
        &format!("Setting {}", names.join(", ")),
        &made,
    );
    Ok(ExitCode::SUCCESS)
}

/// `-` is standard input, as everywhere.
fn read_file(path: &Path, settings: &mut ConfigVars) -> Result<(), Failure> {
    let shown = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.or_fail(Exit::Input, || format!("cannot read {shown}"))?;
    settings.extend(parse(&bytes, &shown, &ConfigVars::new())?);
    Ok(())
}

/// Config vars of an .env file, which `shown` names. What `known` has is let through as it is:
/// the platform sets names that users may not.
pub(crate) fn parse(bytes: &[u8], shown: &str, known: &ConfigVars) -> Result<ConfigVars, Failure> {
    let mut config = ConfigVars::new();
    for entry in env_file::parse(bytes).or_fail(Exit::Input, || shown.to_owned())? {
        let name = entry.name;
        let place = entry.place;
        let refused = |why: String| Failure::new(Exit::Input, format!("{shown}: {place}: {why}"));
        let value = entry.value.ok_or_else(|| {
            refused(format!(
                "{name} has no value; write {name}= for an empty one"
            ))
        })?;
        if known.get(&name) != Some(&value) {
            check_name(&name).map_err(|error| refused(error.to_string()))?;
        }
        config.insert(name, value);
    }
    Ok(config)
}

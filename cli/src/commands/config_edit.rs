//! `slugc config:edit`: config vars in the user's editor.

use crate::app::App;
use crate::args::ConfigEditArgs;
use crate::commands::config::{as_shell, change, tell};
use crate::commands::config_set::parse;
use crate::failure::{Exit, Failure, OrFail};
use crate::leftovers;
use crate::store::{self, Store};
use crate::ui::error::chain;
use crate::ui::printer::{Detail, Printer};
use rustix::fs::FlockOperation;
use slug_runtime::state::ConfigVars;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

pub(crate) fn run(args: &ConfigEditArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let current = app.current()?;
    let original = current.map_or_else(ConfigVars::new, |release| release.config);
    let edited = edit(&printer, &app, &original)?;
    let made = change(&printer, &store, &app, |config| {
        // What somebody else set meanwhile must not be undone.
        if *config != original {
            return Err(Failure::new(
                Exit::Input,
                format!(
                    "the config vars of {} were changed by somebody else meanwhile",
                    app.name.as_str()
                ),
            )
            .hint("nothing of what was edited is set; edit again"));
        }
        *config = edited;
        Ok(())
    })?;
    tell(&printer, &app, "Updating config", &made);
    Ok(ExitCode::SUCCESS)
}

/// Has the config vars edited until they can be understood or the user gives up.
fn edit(printer: &Printer, app: &App, original: &ConfigVars) -> Result<ConfigVars, Failure> {
    let writing = || format!("cannot write a file to edit in {}", app.folder().display());
    leftovers::remove_edited(app)?;
    let _editing = store::lock(&app.edit_lock_file(), FlockOperation::LockShared)?;
    // In the app's folder, which is closed to everybody else; 0600, as temporary files are.
    let mut file = tempfile::Builder::new()
        .prefix(leftovers::EDITED)
        .suffix(".env")
        .tempfile_in(app.folder())
        .or_fail(Exit::Store, writing)?;
    writeln!(file, "{}", as_shell(original)).or_fail(Exit::Store, writing)?;
    let shown = format!("config vars of {}", app.name.as_str());
    loop {
        start_editor(file.path())?;
        let bytes = std::fs::read(file.path())
            .or_fail(Exit::Input, || "cannot read what was edited".to_owned())?;
        match parse(&bytes, &shown, original) {
            Ok(config) => return Ok(config),
            Err(failure) => {
                printer.warning(&chain(&failure));
                if !printer.asks("Edit again?") {
                    return Err(failure.hint("nothing was set"));
                }
            }
        }
    }
}

/// `$VISUAL`, else `$EDITOR`, else vi; either may be a command line, as `code --wait`.
fn start_editor(path: &Path) -> Result<(), Failure> {
    let named = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty());
    let editor = named.unwrap_or_else(|| OsString::from("vi"));
    let mut script = editor.clone();
    script.push(" \"$1\"");
    let failed = || format!("cannot edit with {}", editor.display());
    let status = Command::new("/bin/sh")
        .arg("-c")
        .args([script.as_os_str(), editor.as_os_str(), path.as_os_str()])
        .status()
        .or_fail(Exit::General, failed)?;
    if status.success() {
        return Ok(());
    }
    Err(
        Failure::new(Exit::General, format!("{}: {status}", failed()))
            .hint("name an editor in VISUAL or EDITOR; nothing was set"),
    )
}

//! `slugc run:detached CMD…`: a one-off dyno that nobody sits in front of.
//!
//! The same program once more attends it, in a session of its own. The command and the variables go
//! through its standard input, for a command line is seen by every user.

use crate::app::{App, AppName};
use crate::args::{AppArgs, LogsArgs, RunDetachedArgs};
use crate::build_env;
use crate::commands::background::{self, Started};
use crate::commands::logs;
use crate::commands::run::{failed, program, size, words};
use crate::commands::running::{Ready, pass_through};
use crate::failure::{Exit, Failure, OrFail};
use crate::platform::surroundings;
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use serde::{Deserialize, Serialize};
use slug_runtime::Binding;
use slug_runtime::detached::{DetachedInputs, GRACE, run_detached};
use slug_runtime::names::DynoName;
use slug_runtime::one_offs;
use slug_runtime::size::Size;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What the attending process is told.
#[derive(Serialize, Deserialize)]
struct Task {
    name: DynoName,
    command: Vec<String>,
    env: BTreeMap<String, String>,
    size: Option<Size>,
    /// Names, and folders by their absolute paths.
    #[serde(default)]
    bindings: Vec<(String, PathBuf)>,
}

pub(crate) fn run(args: RunDetachedArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    if args.background {
        return attend(&printer, &args.one_off.app);
    }
    let size = size(&args.one_off)?;
    let bindings = surroundings::bindings(&args.bindings)?;
    let command = words(args.one_off.command)?;
    let store = Store::open()?;
    let app = App::of(&store, AppName::choose(&args.one_off.app, Path::new("."))?);
    drop(store);
    let name = app.name.as_str();
    let run_dir = app.run_dir();
    let dyno = one_offs::fresh_name(&run_dir).or_fail(Exit::Store, || {
        format!("cannot read which one-off dynos of {name} run")
    })?;
    let task = Task {
        name: dyno.clone(),
        env: build_env::collect(&[], &[], &args.one_off.env)?,
        command,
        size,
        bindings: bindings
            .into_iter()
            .map(|it| (it.name, it.folder))
            .collect(),
    };
    let attempt = || format!("cannot run {} in the background", program(&task.command));
    let own = std::env::current_exe().or_fail(Exit::General, attempt)?;
    let mut attendant = Command::new(own);
    // The command itself is among what it is told; clap wants a word there.
    attendant.args(["run:detached", "--background", "-a", name, "--", "-"]);
    if let Started::Failed(code) = background::spawn(attendant, &task, attempt)? {
        return Ok(code);
    }
    printer.result(&format!(
        "Running {} on ⬢ {name}... done, {dyno}",
        program(&task.command)
    ));
    if !args.tail {
        printer.result(&format!(
            "slugc logs -a {name} --dyno {dyno} shows its output, slugc ps:stop -a {name} {dyno} ends it."
        ));
        return Ok(ExitCode::SUCCESS);
    }
    logs::run(&LogsArgs {
        app: AppArgs {
            app: Some(name.to_owned()),
        },
        num: 100,
        tail: true,
        source: None,
        dyno: Some(dyno.to_string()),
        process_type: None,
        json: false,
    })
}

fn attend(printer: &Printer, app: &AppArgs) -> Result<ExitCode, Failure> {
    let Task {
        name,
        command,
        env,
        size,
        bindings,
    } = background::leave_session()?;
    let mut ready = Ready::open(printer, app, &[])?;
    ready.config.extend(env);
    let bindings = bindings.into_iter();
    ready.host.bindings = bindings
        .map(|(name, folder)| Binding { name, folder })
        .collect();
    if let Some(size) = size {
        ready.keep_to(printer, size);
    }
    let used = ready.take_lock();
    let inputs = DetachedInputs {
        app: ready.app(),
        name: &name,
        command: &command,
        logs: &ready.logs,
        grace: GRACE,
    };
    let code = run_detached(&inputs, || {
        // It may run for days, and must not keep `cache prune` waiting, which finds it by its record from now on.
        drop(used);
        background::tell_ready();
    });
    Ok(pass_through(code.map_err(|error| failed(&command, error))?))
}

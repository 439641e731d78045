//! `slugc launch [TYPE[=N] …]`: the app's dynos, in the foreground or left behind.

use crate::app::{App, AppName};
use crate::args::LaunchArgs;
use crate::build_env;
use crate::commands::background;
use crate::commands::running::{exit_of_dyno, exit_of_process, pass_through};
use crate::failure::{Exit, Failure, OrFail};
use crate::platform::surroundings;
use crate::quantities::{self, Change};
use crate::setup;
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::port::PortChoice;
use slug_runtime::processes::Processes;
use slug_runtime::supervisor::{
    Inputs, Limits, LockError, Quantities, SupervisorError, SupervisorLock, supervise,
};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn run(args: &LaunchArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let changes = args
        .formation
        .iter()
        .map(|word| Change::parse_for_launch(word))
        .collect::<Result<Vec<_>, _>>()?;
    let bindings = surroundings::bindings(&args.bindings)?;
    let store = Store::open()?;
    let app = App::of(&store, AppName::choose(&args.app, Path::new("."))?);
    if !app.folder().is_dir() {
        app.built_image()?;
    }
    if !args.background {
        setup::on_launch(&printer, &store, &app)?;
    }
    if args.detach {
        let overrides = build_env::collect(&[], &[], &args.env)?;
        return background::start(&printer, &app, args, &overrides);
    }
    let overrides = if args.background {
        background::leave_session()?
    } else {
        build_env::collect(&[], &[], &args.env)?
    };
    let sizes: Vec<_> = changes.iter().filter_map(Change::size).collect();
    if let Some((process_type, size)) = sizes.first() {
        return Err(Failure::new(
            Exit::Usage,
            format!("a launch changes no sizes, but {process_type} is to have {size}"),
        )
        .hint(format!(
            "slugc ps:type {process_type}={size} keeps it for all launches"
        )));
    }
    // `cache prune` waits until this supervisor can tell what its dynos use. Afterwards it asks: a supervisor lives
    // long and must not keep it waiting.
    let used = store.use_lock()?;
    let lock = lock(&printer, &app)?;
    let (deployed, mut host) = supervisor::deployed(&printer, &store, &app)?;
    host.bindings = bindings;
    let processes = deployed
        .processes()
        .map_err(|error| failed(&app, &SupervisorError::Processes { source: error }))?;
    let formation = formation(&app, &processes, &changes)?;
    let stdout = std::io::stdout();
    let output = if args.background {
        None
    } else {
        let output = stdout.as_fd().try_clone_to_owned();
        Some(output.or_fail(Exit::General, || "cannot print the logs".to_owned())?)
    };
    let inputs = Inputs {
        app: app.name.as_str().to_owned(),
        lock,
        deployed,
        loader: supervisor::loader(app.name.clone()),
        formation,
        overrides,
        host,
        port: args.port.map_or(PortChoice::default(), PortChoice::Exact),
        output,
        colour: printer.style().of_logs(),
        limits: Limits {
            boot: Duration::from_secs(args.boot_timeout),
            exit: Duration::from_secs(args.stop_timeout),
            ..Limits::default()
        },
    };
    drop(store);
    let code = supervise(inputs, |_| {
        drop(used);
        if args.background {
            background::tell_ready();
        }
    })
    .map_err(|error| failed(&app, &error))?;
    Ok(pass_through(code))
}

fn lock(printer: &Printer, app: &App) -> Result<SupervisorLock, Failure> {
    let name = app.name.as_str();
    match SupervisorLock::take(app.folder()) {
        Ok((lock, killed)) => {
            supervisor::warn_of_killed(printer, app, killed);
            Ok(lock)
        }
        Err(LockError::Held { pid }) => Err(already_runs(&app.name, pid)),
        Err(error) => {
            Err(Failure::new(Exit::Store, format!("cannot launch {name}")).because(error))
        }
    }
}

/// Two supervisors of one app would fight over its dynos' names and port.
pub(crate) fn already_runs(name: &AppName, pid: Option<u32>) -> Failure {
    let name = name.as_str();
    let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    Failure::new(Exit::General, format!("{name} already runs{process}")).hint(format!(
        "change what runs with slugc ps:scale -a {name}, or end it with slugc ps:stop -a {name}"
    ))
}

/// What the command line says; without a word of it what was stored, and `web=1` in the beginning.
fn formation(app: &App, processes: &Processes, changes: &[Change]) -> Result<Quantities, Failure> {
    let types = supervisor::scalable(processes);
    let mut formation = Quantities::new();
    for change in changes {
        change.apply(&mut formation, &types)?;
    }
    if !changes.is_empty() {
        return Ok(formation);
    }
    stored(app, processes)
}

/// The quantities for the next launch.
pub(crate) fn stored(app: &App, processes: &Processes) -> Result<Quantities, Failure> {
    let types = supervisor::scalable(processes);
    let default = processes.default_type().map_err(|error| {
        Failure::new(
            exit_of_process(&error),
            format!("cannot tell what to launch of {}", app.name.as_str()),
        )
        .because(error)
    });
    let stored = app.state().formation().or_fail(Exit::Store, || {
        format!("cannot read the formation of {}", app.name.as_str())
    })?;
    let default = if stored.is_empty() {
        Some(default?)
    } else {
        None
    };
    let mut formation = quantities::first(&types, default);
    // What this image does not have may come back with the next one.
    formation.extend(
        stored
            .into_iter()
            .filter(|(process_type, _)| types.iter().any(|name| name == process_type.as_str())),
    );
    Ok(formation)
}

fn failed(app: &App, error: &SupervisorError) -> Failure {
    let exit = match error {
        SupervisorError::Processes { source } => exit_of_process(source),
        SupervisorError::Port { .. } => Exit::Usage,
        SupervisorError::Dyno(error) => exit_of_dyno(error),
        SupervisorError::Logs { .. } => Exit::Store,
        _ => Exit::General,
    };
    let message = format!("cannot launch {}", app.name.as_str());
    Failure::new(exit, message).because(crate::ui::error::chain(error))
}

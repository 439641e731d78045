//! `slugc launch [TYPE]`: the image's process in the foreground.

use crate::args::LaunchArgs;
use crate::commands::running::{Ready, exit_of_dyno, exit_of_process, pass_through};
use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::{Detail, Printer};
use cnb_spec::names::ProcessType;
use slug_runtime::launch::{LaunchError, LaunchInputs, Limits, launch};
use slug_runtime::port::PortChoice;
use std::os::fd::AsFd;
use std::process::ExitCode;

pub(crate) fn run(args: &LaunchArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let types = args
        .process
        .iter()
        .map(|name| {
            name.parse::<ProcessType>()
                .or_fail(Exit::Usage, || format!("{name:?} cannot be a process type"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let ready = Ready::open(&printer, &args.app, &args.env)?;
    let stdout = std::io::stdout();
    let code = launch(&LaunchInputs {
        app: ready.app(),
        types: &types,
        port: args.port.map_or(PortChoice::default(), PortChoice::Exact),
        output: stdout.as_fd(),
        colour: printer.style().of_logs(),
        logs: Some(&ready.logs),
        limits: Limits::default(),
    })
    .map_err(|error| Failure::new(exit_of(&error), "cannot launch the app").because(error))?;
    Ok(pass_through(code))
}

fn exit_of(error: &LaunchError) -> Exit {
    match error {
        LaunchError::Processes { source } => exit_of_process(source),
        LaunchError::Port { .. } => Exit::Usage,
        LaunchError::Logs { .. } => Exit::Store,
        LaunchError::Dyno(error) => exit_of_dyno(error),
        _ => Exit::General,
    }
}

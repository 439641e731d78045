//! `slugc run CMD…`: a one-off dyno.

use crate::app::{App, AppName};
use crate::args::{OneOffArgs, RunArgs, TerminalArgs};
use crate::commands::ps_type::sizes;
use crate::commands::running::{Ready, exit_of_dyno, exit_of_process, pass_through};
use crate::failure::{Exit, Failure};
use crate::platform::surroundings;
use crate::store::Store;
use crate::ui;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::VASTLY_EXCEEDED;
use slug_runtime::run::{RunError, RunInputs, Terminal, run_one_off};
use slug_runtime::size::Size;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let size = size(&args.one_off)?;
    let bindings = surroundings::bindings(&args.bindings)?;
    let mut ready = Ready::open(&printer, &args.one_off.app, &args.one_off.env)?;
    ready.host.bindings = bindings;
    if let Some(size) = size {
        ready.keep_to(&printer, size);
    }
    let command = words(args.one_off.command)?;
    let term = std::env::var("TERM").ok();
    let ended = run_one_off(&RunInputs {
        app: ready.app(),
        command: &command,
        terminal: terminal(&args.terminal, term.as_deref()),
    })
    .map_err(|error| failed(&command, error))?;
    if let Some(size) = size
        && ended.ran_out_of_memory
    {
        printer.warning(&format!(
            "{VASTLY_EXCEEDED}: the kernel killed what took more than twice the {} of {size}",
            ui::size::bytes(size.memory())
        ));
    }
    Ok(pass_through(ended.code))
}

/// The size that is asked for, by its name or as that of a process type.
pub(crate) fn size(args: &OneOffArgs) -> Result<Option<Size>, Failure> {
    match (args.size, &args.process_type) {
        (None, Some(process_type)) => {
            let store = Store::open()?;
            let app = App::of(&store, AppName::choose(&args.app, Path::new("."))?);
            Ok(sizes(&app)?.get(process_type).copied())
        }
        (size, _) => Ok(size),
    }
}

/// Whether the command gets a terminal; `term` is this shell's `TERM`.
pub(crate) fn terminal<'a>(args: &TerminalArgs, term: Option<&'a str>) -> Terminal<'a> {
    if args.no_tty {
        Terminal::Never
    } else {
        Terminal::WhenThereIsOne { term }
    }
}

/// A command line as text, which is what an image's processes are.
pub(crate) fn words(command: Vec<OsString>) -> Result<Vec<String>, Failure> {
    let words = command.into_iter().map(|word| {
        word.into_string().map_err(|word| {
            Failure::new(
                Exit::Usage,
                format!("the argument {} is not UTF-8", word.display()),
            )
            .hint("put the command into a script of the app and run that")
        })
    });
    words.collect()
}

/// The program that a command line is about; arguments may be secrets.
pub(crate) fn program(command: &[String]) -> &str {
    let first = command.first().map_or("", String::as_str);
    first.split_whitespace().next().unwrap_or(first)
}

/// Why a command did not run.
pub(crate) fn failed(command: &[String], error: RunError) -> Failure {
    let message = format!("cannot run {}", program(command));
    Failure::new(exit_of(&error), message).because(error)
}

fn exit_of(error: &RunError) -> Exit {
    match error {
        RunError::Command { source } => exit_of_process(source),
        RunError::Dyno(error) => exit_of_dyno(error),
        RunError::Names { .. } => Exit::Store,
        _ => Exit::General,
    }
}

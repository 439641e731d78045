//! `slugc run CMD…`: a one-off dyno.

use crate::args::RunArgs;
use crate::commands::running::{Ready, exit_of_dyno, exit_of_process, pass_through};
use crate::failure::{Exit, Failure};
use crate::ui::printer::{Detail, Printer};
use slug_runtime::run::{RunError, RunInputs, Terminal, run_one_off};
use std::process::ExitCode;

pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let ready = Ready::open(&printer, &args.app, &args.env)?;
    let command = args
        .command
        .into_iter()
        .map(|word| {
            word.into_string().map_err(|word| {
                Failure::new(
                    Exit::Usage,
                    format!("the argument {} is not UTF-8", word.display()),
                )
                .hint("put the command into a script of the app and run that")
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let term = std::env::var("TERM").ok();
    let code = run_one_off(&RunInputs {
        app: ready.app(),
        command: &command,
        terminal: Terminal::WhenThereIsOne {
            term: term.as_deref(),
        },
    })
    .map_err(|error| {
        // Only the program: arguments may be secrets.
        let program = command.first().map_or("", String::as_str);
        let program = program.split_whitespace().next().unwrap_or(program);
        Failure::new(exit_of(&error), format!("cannot run {program}")).because(error)
    })?;
    Ok(pass_through(code))
}

fn exit_of(error: &RunError) -> Exit {
    match error {
        RunError::Command { source } => exit_of_process(source),
        RunError::Dyno(error) => exit_of_dyno(error),
        _ => Exit::General,
    }
}

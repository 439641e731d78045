//! `slugc run CMD…`: a one-off dyno.

use crate::args::RunArgs;
use crate::commands::running::{Ready, pass_through};
use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::{Detail, Printer};
use slug_runtime::run::{RunInputs, Terminal, run_one_off};
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
    .or_fail(Exit::Sandbox, || {
        format!("cannot run {:?}", command.join(" "))
    })?;
    Ok(pass_through(code))
}

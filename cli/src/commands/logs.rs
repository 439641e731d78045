//! `slugc logs`: what the app's dynos and the platform said.

use crate::app::{App, AppName};
use crate::args::{LogSource, LogsArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use slug_runtime::logs::{Filter, LogLine, LogReader, Printout, Source};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

/// Names of dynos that a hint lists; one-offs may have left hundreds.
const NAMES: usize = 12;

pub(crate) fn run(args: &LogsArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::of(&store, AppName::choose(&args.app, Path::new("."))?);
    let name = app.name.as_str();
    if !app.folder().is_dir() {
        return Err(
            Failure::new(Exit::Input, format!("there is no app {name} in the store"))
                .hint("build it first: slugc build PATH, or name another app with -a NAME"),
        );
    }
    let filter = Filter {
        last: args.num,
        source: args.source.map(|source| match source {
            LogSource::App => Source::App,
            LogSource::Heroku => Source::Heroku,
        }),
        dyno: args.dyno.clone(),
        process_type: args.process_type.clone(),
    };
    let reader = LogReader::new(&app.logs());
    let unreadable = || format!("cannot read the logs of the app {name}");
    let mut paper = Paper::new(&printer, args.json);

    let (lines, follow) = if args.tail {
        let (lines, follow) = reader.follow(&filter).or_fail(Exit::Store, unreadable)?;
        (lines, Some(follow))
    } else {
        (
            reader.query(&filter).or_fail(Exit::Store, unreadable)?,
            None,
        )
    };
    if lines.is_empty() && args.num > 0 {
        printer.note(&why_nothing(&reader, args, name).or_fail(Exit::Store, unreadable)?);
    }
    let mut is_read = paper.print(&lines)?;
    let Some(mut follow) = follow else {
        return Ok(ExitCode::SUCCESS);
    };
    let stdout = std::io::stdout();
    while is_read {
        is_read = follow
            .wait(stdout.as_fd())
            .or_fail(Exit::General, unreadable)?;
        let lines = follow.lines().or_fail(Exit::Store, unreadable)?;
        is_read = is_read && paper.print(&lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What lines are printed on.
struct Paper<'a> {
    printer: &'a Printer,
    printout: Printout,
    is_json: bool,
    bytes: Vec<u8>,
}

impl<'a> Paper<'a> {
    fn new(printer: &'a Printer, is_json: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self {
            printer,
            printout: Printout::new(printer.style().of_logs(), is_terminal),
            is_json,
            bytes: Vec::new(),
        }
    }

    /// `false`: nobody reads any longer.
    fn print(&mut self, lines: &[LogLine]) -> Result<bool, Failure> {
        self.bytes.clear();
        for line in lines {
            if self.is_json {
                serde_json::to_writer(&mut self.bytes, line).or_fail(Exit::General, || {
                    "cannot print a line of the log as JSON".to_owned()
                })?;
                self.bytes.push(b'\n');
            } else {
                self.printout.print(&mut self.bytes, line);
            }
        }
        Ok(self.printer.bytes(&self.bytes))
    }
}

/// An empty answer with no word about it looks like a broken command.
fn why_nothing(
    reader: &LogReader,
    args: &LogsArgs,
    app: &str,
) -> Result<String, slug_runtime::logs::LogError> {
    let dynos: Vec<String> = reader.dynos()?.into_iter().collect();
    if dynos.is_empty() {
        let next = if args.tail { "; waiting for them" } else { "" };
        return Ok(format!(
            "the app {app} has no logs yet: slugc launch -a {app} makes them{next}"
        ));
    }
    let wanted = args.dyno.as_ref().or(args.process_type.as_ref());
    let of = wanted.map_or_else(String::new, |name| format!(" of {name}"));
    let mut known = dynos[..dynos.len().min(NAMES)].join(", ");
    if dynos.len() > NAMES {
        known.push_str(", …");
    }
    let from = match args.source {
        Some(LogSource::App) => " from the app",
        Some(LogSource::Heroku) => " from the platform (heroku)",
        None => "",
    };
    Ok(format!(
        "the logs of {app} have no lines{of}{from}; there are lines of {known}"
    ))
}

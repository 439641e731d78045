//! `slugc ps`: the app's dynos, as Heroku lists them.

use crate::app::App;
use crate::args::PsArgs;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::{Detail, Printer};
use crate::ui::time;
use jiff::Timestamp;
use slug_runtime::one_offs::{self, OneOff};
use slug_runtime::supervisor::{DynoState, DynoStatus, Status};
use std::fmt::Write;
use std::process::ExitCode;

/// All dynos of an app that there are.
pub(crate) struct Dynos {
    /// The formation's and the one-offs.
    pub(crate) all: Vec<DynoStatus>,
    /// What the supervisor tells, if there is one.
    pub(crate) status: Option<Status>,
    pub(crate) one_offs: Vec<OneOff>,
}

/// Asks the supervisor, and looks for one-offs.
pub(crate) fn dynos(printer: &Printer, app: &App) -> Result<Dynos, Failure> {
    let status = supervisor::find(printer, app)?
        .map(|client| client.status())
        .transpose()
        .map_err(|error| supervisor::refused(app, error))?;
    let one_offs = running_one_offs(app)?;
    let mut all: Vec<DynoStatus> = one_offs.iter().map(as_status).collect();
    if let Some(status) = &status {
        all.extend(status.dynos.iter().cloned());
    }
    Ok(Dynos {
        all,
        status,
        one_offs,
    })
}

/// The one-off dynos that run.
pub(crate) fn running_one_offs(app: &App) -> Result<Vec<OneOff>, Failure> {
    one_offs::running(&app.run_dir()).or_fail(Exit::Store, || {
        let name = app.name.as_str();
        format!("cannot read which one-off dynos of {name} run")
    })
}

fn as_status(one_off: &OneOff) -> DynoStatus {
    DynoStatus {
        name: one_off.name.clone(),
        process_type: "run".to_owned(),
        state: DynoState::Up,
        since: one_off.since,
        command: one_off.command.clone(),
        release: one_off.release.unwrap_or_default(),
        pid: Some(one_off.pid),
        port: None,
        size: None,
        crashes: 0,
    }
}

pub(crate) fn run(args: &PsArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let app = App::known(&store, &args.app)?;
    let name = app.name.as_str();
    let Dynos { all, status, .. } = dynos(&printer, &app)?;
    if args.json {
        let json = serde_json::to_string_pretty(&all);
        printer.result(&json.or_fail(Exit::General, || "cannot print JSON".to_owned())?);
        return Ok(ExitCode::SUCCESS);
    }
    match status {
        None if all.is_empty() => printer.result(&format!(
            "No dynos on ⬢ {name}; slugc launch -d -a {name} starts them."
        )),
        Some(_) if all.is_empty() => {
            printer.result(&format!(
                "No dynos on ⬢ {name}; slugc ps:scale -a {name} web=1 starts one."
            ));
        }
        status => {
            let release = status.map(|status| status.release);
            printer.result(&listed(&all, release, Timestamp::now()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Groups by type, `=== web: gunicorn … (2)`, and one line for each dyno. `release` is the one that
/// the formation is to run.
pub(crate) fn listed(all: &[DynoStatus], release: Option<u64>, now: Timestamp) -> String {
    let mut types: Vec<&str> = Vec::new();
    for dyno in all {
        if !types.contains(&dyno.process_type.as_str()) {
            types.push(&dyno.process_type);
        }
    }
    // As on Heroku one-off dynos come first, and web before the others.
    types.sort_by_key(|name| match *name {
        "run" => (0, ""),
        "web" => (1, ""),
        name => (2, name),
    });
    let mut text = String::new();
    for name in types {
        let dynos: Vec<&DynoStatus> = all
            .iter()
            .filter(|dyno| dyno.process_type == name)
            .collect();
        let command = dynos.first().map_or("", |dyno| dyno.command.as_str());
        let what = if name == "run" {
            "one-off processes"
        } else {
            command
        };
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing into a String cannot fail.
        let size = dynos.iter().find_map(|dyno| dyno.size);
        let size = size.map_or_else(String::new, |size| format!(" ({size})"));
        let _ = writeln!(text, "=== {name}{size}: {what} ({})\n", dynos.len());
        for dyno in dynos {
            let _ = writeln!(text, "{}", line(dyno, release, now));
        }
    }
    text.trim_end().to_owned()
}

fn line(dyno: &DynoStatus, release: Option<u64>, now: Timestamp) -> String {
    let mut line = format!(
        "{}: {} {}",
        dyno.name,
        dyno.state,
        time::ago(dyno.since, now)
    );
    if dyno.process_type == "run" {
        return format!("{line}: {}", dyno.command);
    }
    if release.is_some_and(|release| dyno.release != release) && dyno.state != DynoState::Stopping {
        line = format!("{line}, still v{}", dyno.release);
    }
    line
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use slug_runtime::size::Size;

    fn dyno(name: &str, state: DynoState, release: u64) -> DynoStatus {
        DynoStatus {
            name: name.to_owned(),
            process_type: name.split('.').next().unwrap().to_owned(),
            state,
            since: "2026-11-22T21:55:25Z".parse().unwrap(),
            command: "gunicorn app".to_owned(),
            release,
            pid: Some(1),
            port: None,
            size: name.starts_with("web").then_some(Size::Standard2x),
            crashes: 0,
        }
    }

    #[test]
    fn as_heroku_lists_them() {
        let dynos = [
            dyno("clock.1", DynoState::Crashed, 3),
            dyno("run.4711", DynoState::Up, 2),
            dyno("web.1", DynoState::Starting, 3),
            dyno("web.1", DynoState::Up, 2),
            dyno("web.2", DynoState::Up, 3),
        ];
        let now = "2026-11-22T22:00:30Z".parse().unwrap();
        assert_eq!(
            listed(&dynos, Some(3), now),
            "=== run: one-off processes (1)\n\n\
             run.4711: up 2026/11/22 21:55:25 +0000 (~ 5m ago): gunicorn app\n\n\
             === web (Standard-2X): gunicorn app (3)\n\n\
             web.1: starting 2026/11/22 21:55:25 +0000 (~ 5m ago)\n\
             web.1: up 2026/11/22 21:55:25 +0000 (~ 5m ago), still v2\n\
             web.2: up 2026/11/22 21:55:25 +0000 (~ 5m ago)\n\n\
             === clock: gunicorn app (1)\n\n\
             clock.1: crashed 2026/11/22 21:55:25 +0000 (~ 5m ago)"
        );
    }
}

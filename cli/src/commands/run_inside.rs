//! `slugc run:inside DYNO CMD…`: one more program in a dyno that runs.

use crate::app::App;
use crate::args::RunInsideArgs;
use crate::build_env;
use crate::commands::ps;
use crate::commands::run::{failed, terminal, words};
use crate::commands::running::pass_through;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use oci_image::{Digest, Image};
use slug_runtime::inside::{InsideInputs, run_inside};
use slug_runtime::nearest::nearest;
use slug_runtime::supervisor::{DynoState, DynoStatus};
use std::process::ExitCode;

pub(crate) fn run(args: RunInsideArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    if args.one_off.size.is_some() || args.one_off.process_type.is_some() {
        printer.warning("what runs inside a dyno has no size of its own: it is ignored");
    }
    let env = build_env::collect(&[], &[], &args.one_off.env)?;
    let command = words(args.one_off.command)?;
    let store = Store::open()?;
    let app = App::known(&store, &args.one_off.app)?;
    let dynos = ps::dynos(&printer, &app)?;
    let (dyno, pid) = chosen(&app, &dynos.all, &args.dyno)?;
    let image =
        Image::load(store.blobs(), &dynos.image_of(&app, dyno)?).or_fail(Exit::Store, || {
            format!(
                "cannot open the image of {} on {}",
                dyno.name,
                app.name.as_str()
            )
        })?;
    drop(store);
    let term = std::env::var("TERM").ok();
    let code = run_inside(&InsideInputs {
        dyno: &dyno.name,
        pid,
        image: &image,
        command: &command,
        env: &env,
        terminal: terminal(&args.terminal, term.as_deref()),
    })
    .map_err(|error| failed(&command, error))?;
    Ok(pass_through(code))
}

/// The dyno that is meant, and its first process. During a deploy two have the same name: the one
/// that works is meant.
fn chosen<'a>(
    app: &App,
    dynos: &'a [DynoStatus],
    wanted: &str,
) -> Result<(&'a DynoStatus, u32), Failure> {
    let name = app.name.as_str();
    let of_that_name = || dynos.iter().filter(|dyno| dyno.name == wanted);
    let running = of_that_name()
        .filter_map(|dyno| Some((dyno, dyno.pid?)))
        .min_by_key(|(dyno, _)| match dyno.state {
            DynoState::Up => 0,
            DynoState::Starting => 1,
            _ => 2,
        });
    if let Some(running) = running {
        return Ok(running);
    }
    if let Some(dyno) = of_that_name().next() {
        let message = format!(
            "{wanted} on ⬢ {name} is {}, so nothing runs there",
            dyno.state
        );
        return Err(Failure::new(Exit::Usage, message).hint(format!(
            "slugc ps:restart -a {name} {wanted} starts it, slugc run -a {name} needs no dyno"
        )));
    }
    let names: Vec<&str> = dynos.iter().map(|dyno| dyno.name.as_str()).collect();
    let failure = Failure::new(Exit::Usage, format!("⬢ {name} has no dyno {wanted}"));
    Err(match nearest(wanted, names.iter().copied()) {
        Some(meant) => failure.hint(format!("did you mean {meant}?")),
        None if names.is_empty() => failure.hint(format!(
            "nothing of it runs: slugc launch -d -a {name} starts its dynos"
        )),
        None => failure.hint(format!("it has {}", names.join(", "))),
    })
}

impl ps::Dynos {
    /// The digest of the image that a dyno runs.
    fn image_of(&self, app: &App, dyno: &DynoStatus) -> Result<Digest, Failure> {
        let unreadable = || format!("cannot tell which image {} runs", dyno.name);
        let text = match self
            .one_offs
            .iter()
            .find(|one_off| one_off.name == dyno.name)
        {
            Some(one_off) => one_off.image.as_ref(),
            None => self.status.as_ref().map(|status| &status.image),
        };
        match text {
            Some(text) => text.parse().or_fail(Exit::General, unreadable),
            None => Ok(app.built_image()?.manifest.digest),
        }
    }
}

//! `slugc outdated`: images whose base has a newer version.

use crate::app::App;
use crate::args::OutdatedArgs;
use crate::bases::{self, Base};
use crate::failure::{Exit, Failure, OrFail};
use crate::images::Images;
use crate::place::Source;
use crate::stack::{self, Stack};
use crate::store::Store;
use crate::transfer::{Documents, Transfer};
use crate::ui::error::chain;
use crate::ui::printer::{Detail, Printer};
use crate::ui::table;
use oci_image::Image;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::process::ExitCode;

/// What is known of an image's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Current,
    Outdated,
    /// Nobody can tell.
    Unknown,
}

/// What is printed of each; the JSON has these names.
#[derive(Debug, Serialize)]
struct Row {
    image: String,
    digest: String,
    state: State,
    /// What the image calls its base.
    base: Option<String>,
    /// The base as it is now; unknown where it cannot be read.
    base_now: Option<String>,
    /// Why the state is what it is, where that is no matter of course.
    reason: Option<String>,
    /// What to do.
    command: Option<String>,
}

/// A base as it is now.
#[derive(Debug)]
enum Now {
    Image(Box<Documents>),
    /// The stack is older than the one that slugc brings.
    OldStack(Box<Documents>),
    Unreadable(String),
}

pub(crate) fn run(args: &OutdatedArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let transfer = Transfer::new(&store, &printer, &args.registry, None)?;
    let mut look = Look {
        transfer: &transfer,
        bases: BTreeMap::new(),
    };
    let mut rows = Vec::new();
    if args.images.is_empty() {
        for (name, source) in in_store(&store, &printer)? {
            let row = look.at(&name, &transfer.documents(&source)?);
            // Bases and others' images stand on nothing that anybody could tell.
            rows.extend(Some(row).filter(|row| row.base.is_some()));
        }
    }
    for text in &args.images {
        let source = Source::find(&store, text)?;
        rows.push(look.at(text, &transfer.documents(&source)?));
    }
    if args.json {
        let text = serde_json::to_string_pretty(&rows).or_fail(Exit::General, || {
            "cannot print the images as JSON".to_owned()
        })?;
        printer.result(&text);
    } else {
        printer.result(&text(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

/// Apps' images and named ones. What cannot be read is told, and left out.
fn in_store(store: &Store, printer: &Printer) -> Result<Vec<(String, Source)>, Failure> {
    let mut found = Vec::new();
    for app in App::all(store)? {
        match app.image() {
            Ok(Some(image)) => {
                let source = Source::app(&app.name, image.manifest)?;
                found.push((app.name.as_str().to_owned(), source));
            }
            Ok(None) => {}
            Err(failure) => printer.warning(&chain(&failure)),
        }
    }
    for listed in Images::of(store).all()? {
        match listed {
            Ok((named, _)) => {
                let shown = named.name.familiar();
                found.push((
                    shown.clone(),
                    Source::Stored {
                        manifest: Box::new(named.manifest),
                        name: named.name,
                        shown,
                        app: None,
                    },
                ));
            }
            Err(failure) => printer.warning(&chain(&failure)),
        }
    }
    Ok(found)
}

struct Look<'a> {
    transfer: &'a Transfer<'a>,
    /// Each base is looked up once, by its name.
    bases: BTreeMap<String, Now>,
}

impl Look<'_> {
    fn at(&mut self, name: &str, documents: &Documents) -> Row {
        let mut row = Row {
            image: name.to_owned(),
            digest: documents.manifest.digest.to_string(),
            state: State::Unknown,
            base: None,
            base_now: None,
            reason: None,
            command: None,
        };
        let known = bases::names_of(&documents.image).ok();
        let Some(base) = known.and_then(|names| names.image) else {
            row.reason = Some("the image does not say what it stands on".to_owned());
            return row;
        };
        let now = match self.bases.entry(base.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(look_up(self.transfer, &base)),
        };
        row.base = Some(base.clone());
        let stands = |base: &Image| bases::stands_on(&documents.image, base);
        let publish = if documents.remote.is_some() {
            " --publish"
        } else {
            ""
        };
        match now {
            Now::Unreadable(reason) => row.reason = Some(reason.clone()),
            Now::Image(base) => {
                row.base_now = Some(base.manifest.digest.to_string());
                row.state = if stands(&base.image) {
                    State::Current
                } else {
                    State::Outdated
                };
            }
            Now::OldStack(now) => {
                row.base_now = Some(now.manifest.digest.to_string());
                row.state = State::Outdated;
                row.reason = Some(format!("slugc brings a newer {base}"));
            }
        }
        if row.state == State::Outdated {
            row.command = Some(format!("slugc rebase {name}{publish}"));
        }
        row
    }
}

fn look_up(transfer: &Transfer<'_>, name: &str) -> Now {
    try_look_up(transfer, name).unwrap_or_else(|failure| Now::Unreadable(chain(&failure)))
}

fn try_look_up(transfer: &Transfer<'_>, name: &str) -> Result<Now, Failure> {
    if name == debian_stack::DEFAULT {
        let Some(stack) = Stack::read_if_named(transfer.store, name)? else {
            return Ok(Now::Unreadable(format!(
                "the stack {name} is not in the store; slugc stack create {name} makes it"
            )));
        };
        let current = stack::identity(name).is_ok_and(|identity| identity == stack.recipe);
        let documents = Box::new(transfer.stored(stack.run_image, None)?);
        return Ok(if current {
            Now::Image(documents)
        } else {
            Now::OldStack(documents)
        });
    }
    let base = Base::fresh(transfer, name)?;
    Ok(Now::Image(Box::new(base.documents)))
}

fn text(rows: &[Row]) -> String {
    let mut cells = vec![
        ["IMAGE", "BASE", "STATE", "WHAT TO DO"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for row in rows.iter().filter(|row| row.state != State::Current) {
        let state = match row.state {
            State::Current => "current",
            State::Outdated => "outdated",
            State::Unknown => "unknown",
        };
        let advice = row.command.as_ref().or(row.reason.as_ref());
        cells.push(vec![
            row.image.clone(),
            row.base.clone().unwrap_or_else(|| "-".to_owned()),
            state.to_owned(),
            advice.cloned().unwrap_or_default(),
        ]);
    }
    if cells.len() > 1 {
        return table::columns(&cells);
    }
    match rows.len() {
        0 => "There are no images".to_owned(),
        1 => "The image stands on the newest base".to_owned(),
        count => format!("All {count} images stand on the newest bases"),
    }
}

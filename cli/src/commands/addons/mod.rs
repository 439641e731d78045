//! `slugc addons:…`, `pg:…`, `redis:…`, `kafka:…`.

mod backups;
mod config;
mod confirm;
mod consumer_groups;
mod creating;
mod database;
mod find;
mod key_value;
mod listing;
mod of_app;
mod removing;
mod topics;

pub(crate) use confirm::confirm;
pub(crate) use find::start_for;
pub(crate) use of_app::{Summary, create_for, destroy_all, refuse_if_shared, summaries};

use crate::args::AddonCommand;
use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::{Detail, Printer};
use slug_runtime::addons::{AddonError, Addons, supervise};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn run(command: AddonCommand) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    match command {
        AddonCommand::List(args) => listing::list(&printer, &args)?,
        AddonCommand::Create(args) => creating::create(&printer, &args)?,
        AddonCommand::Info(args) => listing::info(&printer, &args)?,
        AddonCommand::Attach(args) => creating::attach(&printer, &args)?,
        AddonCommand::Detach(args) => removing::detach(&printer, &args)?,
        AddonCommand::Destroy(args) => removing::destroy(&printer, &args)?,
        AddonCommand::Stop(args) => removing::stop(&printer, &args)?,
        AddonCommand::Docs(args) => listing::docs(&printer, &args)?,
        AddonCommand::Supervise(args) => {
            let addons = Addons::new(args.store);
            supervise(&addons, &args.name, Duration::from_secs(args.idle))
                .map_err(|error| failure("cannot run the add-on's server", error))?;
        }
        AddonCommand::Psql(args) => return database::psql(&printer, &args),
        AddonCommand::PgInfo(args) => database::info(&printer, &args)?,
        AddonCommand::PgWait(args) => database::wait(&printer, &args)?,
        AddonCommand::PgReset(args) => database::reset(&printer, &args)?,
        AddonCommand::PgPromote(args) => database::promote(&printer, &args)?,
        AddonCommand::Backups(args) => backups::list(&printer, &args)?,
        AddonCommand::Capture(args) => backups::capture(&printer, &args)?,
        AddonCommand::Download(args) => backups::download(&printer, &args)?,
        AddonCommand::Restore(args) => backups::restore(&printer, &args)?,
        AddonCommand::RedisCli(args) => return key_value::cli(&printer, args),
        AddonCommand::RedisInfo(args) => return key_value::info(&printer, &args),
        AddonCommand::Topics(args) => return topics::list(&printer, &args),
        AddonCommand::TopicCreate(args) => return topics::create(&printer, &args),
        AddonCommand::TopicDestroy(args) => return topics::destroy(&printer, &args),
        AddonCommand::TopicInfo(args) => return topics::info(&printer, &args.kafka, &args.topic),
        AddonCommand::TopicWrite(args) => return topics::write(&printer, &args),
        AddonCommand::TopicTail(args) => return topics::tail(&printer, &args),
        AddonCommand::TopicRetention(args) => return consumer_groups::retention(&printer, &args),
        AddonCommand::TopicCompaction(args) => return consumer_groups::compaction(&printer, &args),
        AddonCommand::KafkaInfo(args) => consumer_groups::server(&printer, &args)?,
        AddonCommand::KafkaWait(args) => consumer_groups::wait(&printer, &args)?,
        AddonCommand::Groups(args) => return consumer_groups::list(&printer, &args),
        AddonCommand::GroupInfo(args) => return consumer_groups::info(&printer, &args),
        AddonCommand::GroupCreate(args) => consumer_groups::create(&printer, &args),
        AddonCommand::GroupDestroy(args) => return consumer_groups::destroy(&printer, &args),
    }
    Ok(ExitCode::SUCCESS)
}

/// What failed, with the exit code and the next step that fit the error.
fn failure(message: impl Into<String>, error: AddonError) -> Failure {
    let (exit, hint) = match &error {
        AddonError::Unknown { .. } => (Exit::Input, Some("slugc addons --all lists them")),
        AddonError::Exists { .. } | AddonError::Name { .. } => (
            Exit::Usage,
            Some("choose another name: lower-case letters, digits and inner hyphens, at most 63"),
        ),
        AddonError::Attached { .. } => (Exit::Usage, Some("choose another one with --as NAME")),
        AddonError::NotStopped { .. } => (
            Exit::General,
            Some("slugc addons:info names its folder, in which there is a log; then try again"),
        ),
        AddonError::Sandbox { .. } => (Exit::Sandbox, None),
        AddonError::File { .. } | AddonError::State(_) | AddonError::NoRoot { .. } => {
            (Exit::Store, None)
        }
        _ => (Exit::General, None),
    };
    let failed = Failure::new(exit, message).because(error);
    match hint {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// Prints a document for programs.
fn print_json(printer: &Printer, value: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .or_fail(Exit::General, || "cannot print JSON".to_owned())?;
    printer.result(&text);
    Ok(())
}

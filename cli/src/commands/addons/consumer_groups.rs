//! `kafka:consumer-groups` and its verbs, `kafka:info`, `kafka:wait`, and what may be changed of a topic.

use super::confirm::confirm;
use super::find::World;
use super::listing;
use super::topics::{milliseconds, run};
use crate::args::{
    ConsumerGroupArgs, ConsumerGroupDestroyArgs, KafkaArgs, OneArgs, TopicSettingArgs,
};
use crate::failure::{Exit, Failure};
use crate::ui::printer::Printer;
use slug_runtime::addons::Service;
use std::process::ExitCode;

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const SETTINGS: &str = "kafka.admin.ConfigCommand";

/// What a topic keeps when nobody said anything, of which one setting goes back to it.
const DISABLE: &str = "disable";

pub(super) fn list(printer: &Printer, args: &KafkaArgs) -> Result<ExitCode, Failure> {
    run(printer, args, GROUPS, &["--list"], None)
}

/// Its members, and how far each partition is read.
pub(super) fn info(printer: &Printer, args: &ConsumerGroupArgs) -> Result<ExitCode, Failure> {
    let words = ["--describe", "--group", &args.group];
    run(printer, &args.kafka, GROUPS, &words, None)
}

/// On Heroku a group needs a permission on shared servers; here it comes with its first consumer.
pub(super) fn create(printer: &Printer, args: &ConsumerGroupArgs) {
    printer.result(&format!(
        "Nothing to do: {} comes into being with its first consumer.",
        args.group
    ));
}

pub(super) fn destroy(
    printer: &Printer,
    args: &ConsumerGroupDestroyArgs,
) -> Result<ExitCode, Failure> {
    let group = &args.group.group;
    let world = World::open(&args.group.kafka.app)?;
    confirm(
        printer,
        world.app_name(),
        args.confirm.as_deref(),
        &format!("this destroys the consumer group {group}: its consumers begin anew"),
        &format!("kafka:consumer-groups:destroy {group}"),
    )?;
    drop(world);
    let words = ["--delete", "--group", group];
    run(printer, &args.group.kafka, GROUPS, &words, None)
}

pub(super) fn server(printer: &Printer, args: &KafkaArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Kafka, args.addon.as_deref())?;
    let app = world.app_name().to_owned();
    drop(world);
    let one = OneArgs {
        addon: addon.name.clone(),
        app: crate::args::AppArgs { app: Some(app) },
    };
    listing::info(printer, &one)?;
    if let Some(prefix) = addon.kafka_prefix() {
        printer.result(&format!("{:<14}{prefix}", "Prefix:"));
    }
    Ok(())
}

pub(super) fn wait(printer: &Printer, args: &KafkaArgs) -> Result<(), Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Kafka, args.addon.as_deref())?;
    let _in_use = world.start(printer, &addon)?;
    printer.result(&format!("{} is available", addon.name));
    Ok(())
}

/// How long records are kept: a time, or `disable` for as long as there is room.
pub(super) fn retention(printer: &Printer, args: &TopicSettingArgs) -> Result<ExitCode, Failure> {
    let kept = if args.value == DISABLE {
        // Kafka's word for ever.
        "-1".to_owned()
    } else {
        milliseconds(&args.value)?.to_string()
    };
    set(printer, args, &format!("retention.ms={kept}"))
}

pub(super) fn compaction(printer: &Printer, args: &TopicSettingArgs) -> Result<ExitCode, Failure> {
    let policy = match args.value.as_str() {
        "enable" => "compact",
        DISABLE => "delete",
        other => {
            return Err(Failure::new(
                Exit::Usage,
                format!("{other:?} is neither enable nor disable"),
            ));
        }
    };
    set(printer, args, &format!("cleanup.policy={policy}"))
}

fn set(printer: &Printer, args: &TopicSettingArgs, setting: &str) -> Result<ExitCode, Failure> {
    let words = [
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        &args.topic,
        "--add-config",
        setting,
    ];
    run(printer, &args.kafka, SETTINGS, &words, None)
}

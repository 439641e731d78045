//! `kafka:topics` and its like, by Kafka's own tools.

use super::confirm::confirm;
use super::failure;
use super::find::World;
use crate::args::{KafkaArgs, TopicCreateArgs, TopicDestroyArgs, TopicTailArgs, TopicWriteArgs};
use crate::commands::running::pass_through;
use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::Printer;
use slug_runtime::addons::{Client, KAFKA_CLIENT, Service, Streams, kafka_tool, run_client};
use slug_runtime::run::Terminal;
use std::fs::File;
use std::io::{Seek, Write};
use std::process::ExitCode;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

pub(super) fn list(printer: &Printer, args: &KafkaArgs) -> Result<ExitCode, Failure> {
    run(
        printer,
        args,
        TOPICS,
        &["--list", "--exclude-internal"],
        None,
    )
}

pub(super) fn info(printer: &Printer, args: &KafkaArgs, topic: &str) -> Result<ExitCode, Failure> {
    run(
        printer,
        args,
        TOPICS,
        &["--describe", "--topic", topic],
        None,
    )
}

pub(super) fn create(printer: &Printer, args: &TopicCreateArgs) -> Result<ExitCode, Failure> {
    if let Some(factor @ 2..) = args.replication_factor {
        printer.warning(&format!(
            "there is one broker: the topic gets 1 replica, not {factor}"
        ));
    }
    let partitions = args.partitions.to_string();
    let mut words = vec![
        "--create".to_owned(),
        "--topic".to_owned(),
        args.topic.topic.clone(),
        "--partitions".to_owned(),
        partitions,
    ];
    if let Some(time) = &args.retention_time {
        let milliseconds = milliseconds(time)?;
        words.extend([
            "--config".to_owned(),
            format!("retention.ms={milliseconds}"),
        ]);
    }
    if args.compaction {
        words.extend(["--config", "cleanup.policy=compact"].map(str::to_owned));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run(printer, &args.topic.kafka, TOPICS, &words, None)
}

pub(super) fn destroy(printer: &Printer, args: &TopicDestroyArgs) -> Result<ExitCode, Failure> {
    let topic = &args.topic.topic;
    let world = World::open(&args.topic.kafka.app)?;
    confirm(
        printer,
        world.app_name(),
        args.confirm.as_deref(),
        &format!("this destroys the topic {topic} with all its records"),
        &format!("kafka:topics:destroy {topic}"),
    )?;
    run(
        printer,
        &args.topic.kafka,
        TOPICS,
        &["--delete", "--topic", topic],
        None,
    )
}

pub(super) fn write(printer: &Printer, args: &TopicWriteArgs) -> Result<ExitCode, Failure> {
    let refused = |what: &str| {
        Failure::new(
            Exit::Usage,
            format!("the {what} has a line break: a record is one line here"),
        )
    };
    if args.message.contains('\n') {
        return Err(refused("message"));
    }
    if args
        .key
        .as_ref()
        .is_some_and(|key| key.contains(['\n', '\t']))
    {
        return Err(refused("key"));
    }
    let mut words = vec!["--topic", &args.topic.topic];
    let line = match &args.key {
        Some(key) => {
            words.extend(["--property", "parse.key=true"]);
            format!("{key}\t{}\n", args.message)
        }
        None => format!("{}\n", args.message),
    };
    let passing = || "cannot pass the message on".to_owned();
    let mut input = tempfile::tempfile().or_fail(Exit::General, passing)?;
    input
        .write_all(line.as_bytes())
        .and_then(|()| input.rewind())
        .or_fail(Exit::General, passing)?;
    run(printer, &args.topic.kafka, PRODUCER, &words, Some(input))
}

pub(super) fn tail(printer: &Printer, args: &TopicTailArgs) -> Result<ExitCode, Failure> {
    let most = args.max_messages.map(|count| count.to_string());
    let mut words = vec!["--topic", &args.topic.topic];
    if args.from_beginning {
        words.push("--from-beginning");
    }
    if let Some(most) = &most {
        words.extend(["--max-messages", most]);
    }
    run(printer, &args.topic.kafka, CONSUMER, &words, None)
}

pub(super) fn run(
    printer: &Printer,
    args: &KafkaArgs,
    tool: &str,
    words: &[&str],
    stdin: Option<File>,
) -> Result<ExitCode, Failure> {
    let world = World::open(&args.app)?;
    let addon = world.of_service(Service::Kafka, args.addon.as_deref())?;
    let _in_use = world.start(printer, &addon)?;
    let mut command = kafka_tool(tool);
    command.push("--bootstrap-server".to_owned());
    command.push(format!("127.0.0.1:{}", addon.port));
    if addon.certificates.is_some() {
        let flag = match tool {
            PRODUCER => "--producer.config",
            CONSUMER => "--consumer.config",
            _ => "--command-config",
        };
        command.extend([flag, KAFKA_CLIENT].map(str::to_owned));
    }
    command.extend(words.iter().map(|word| (*word).to_owned()));
    let streams = match stdin {
        Some(_) => Streams::Files {
            stdin,
            stdout: None,
        },
        None => Streams::Own(Terminal::Never),
    };
    let code = run_client(
        &world.addons,
        &addon,
        Client {
            argv: &command,
            env: &[],
            folder: None,
            files: &[],
            streams,
        },
    )
    .map_err(|error| failure("cannot run Kafka's tool", error))?;
    Ok(pass_through(code))
}

/// `36h`, `7d`, `30m`, `10s`, or milliseconds.
pub(super) fn milliseconds(time: &str) -> Result<u64, Failure> {
    let digits = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &time[digits.len()..] {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .filter(|milliseconds| *milliseconds > 0)
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("{time:?} is no time: write 36h, 7d or 30m"),
            )
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, milliseconds_in_it) in [
            ("10s", 10_000),
            ("36h", 129_600_000),
            ("7d", 604_800_000),
            ("250", 250),
        ] {
            assert_eq!(milliseconds(text).unwrap(), milliseconds_in_it);
        }
        for bad in [
            "",
            "d",
            "0h",
            "-1h",
            "1w",
            "1.5h",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(milliseconds(bad).is_err(), "{bad}");
        }
    }
}

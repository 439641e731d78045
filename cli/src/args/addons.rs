//! What can be typed about add-ons.

#![expect(
    clippy::doc_markdown,
    reason = "help texts are shown as they stand here"
)]

use super::{AppArgs, MirrorArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum AddonCommand {
    /// List add-ons: the app's, or all
    #[command(name = "addons")]
    List(ListArgs),
    /// Make an add-on: postgres, redis or kafka
    #[command(name = "addons:create")]
    Create(CreateArgs),
    /// Show an add-on: plan, state, port, attachments
    #[command(name = "addons:info")]
    Info(OneArgs),
    /// Give an app an existing add-on, or a server by its URL
    #[command(name = "addons:attach")]
    Attach(AttachArgs),
    /// Take an attachment away from an app; the add-on stays
    #[command(name = "addons:detach")]
    Detach(DetachArgs),
    /// Remove an add-on and all its data
    #[command(name = "addons:destroy")]
    Destroy(DestroyArgs),
    /// Stop an add-on's server cleanly; the next dyno that needs it starts it
    #[command(name = "addons:stop")]
    Stop(OneArgs),
    /// Tell where add-ons are documented
    #[command(name = "addons:docs")]
    Docs(DocsArgs),
    #[command(name = slug_runtime::addons::SUPERVISE, hide = true)]
    Supervise(SuperviseArgs),

    /// A psql prompt on a database, or one command
    #[command(name = "pg:psql", visible_alias = "psql")]
    Psql(PsqlArgs),
    /// Show a database: version, size, tables, connections
    #[command(name = "pg:info", visible_alias = "pg")]
    PgInfo(DatabaseArgs),
    /// Start a database and wait until it answers
    #[command(name = "pg:wait")]
    PgWait(DatabaseArgs),
    /// Delete all data of a database
    #[command(name = "pg:reset")]
    PgReset(ConfirmedDatabaseArgs),
    /// Make a database the app's DATABASE_URL
    #[command(name = "pg:promote")]
    PgPromote(PromoteArgs),
    /// List backups
    #[command(name = "pg:backups")]
    Backups(DatabaseArgs),
    /// Dump a database
    #[command(name = "pg:backups:capture")]
    Capture(DatabaseArgs),
    /// Copy a dump to a file
    #[command(name = "pg:backups:download")]
    Download(DownloadArgs),
    /// Replace a database by a dump
    #[command(name = "pg:backups:restore")]
    Restore(RestoreArgs),

    /// A redis-cli prompt, or one command
    #[command(name = "redis:cli")]
    RedisCli(RedisCliArgs),
    /// Show a Redis server: version, memory, keys, clients
    #[command(name = "redis:info", visible_alias = "redis")]
    RedisInfo(DatabaseArgs),

    /// List topics
    #[command(name = "kafka:topics")]
    Topics(KafkaArgs),
    /// Make a topic
    #[command(name = "kafka:topics:create")]
    TopicCreate(TopicCreateArgs),
    /// Remove a topic and its records
    #[command(name = "kafka:topics:destroy")]
    TopicDestroy(TopicDestroyArgs),
    /// Show a topic: partitions, offsets, configuration
    #[command(name = "kafka:topics:info")]
    TopicInfo(TopicArgs),
    /// Write a record to a topic
    #[command(name = "kafka:topics:write")]
    TopicWrite(TopicWriteArgs),
    /// Print a topic's records as they arrive
    #[command(name = "kafka:topics:tail")]
    TopicTail(TopicTailArgs),
    /// Change how long a topic keeps its records
    #[command(name = "kafka:topics:retention-time")]
    TopicRetention(TopicSettingArgs),
    /// Have a topic keep the newest record of each key, or not
    #[command(name = "kafka:topics:compaction")]
    TopicCompaction(TopicSettingArgs),
    /// Show a Kafka server: plan, state, port
    #[command(name = "kafka:info", visible_alias = "kafka")]
    KafkaInfo(KafkaArgs),
    /// Start a Kafka server and wait until it answers
    #[command(name = "kafka:wait")]
    KafkaWait(KafkaArgs),
    /// List consumer groups
    #[command(name = "kafka:consumer-groups")]
    Groups(KafkaArgs),
    /// Show a consumer group: members, offsets, lag
    #[command(name = "kafka:consumer-groups:info")]
    GroupInfo(ConsumerGroupArgs),
    /// Accepted for Heroku's sake: groups come with their consumers
    #[command(name = "kafka:consumer-groups:create")]
    GroupCreate(ConsumerGroupArgs),
    /// Remove a consumer group and its offsets
    #[command(name = "kafka:consumer-groups:destroy")]
    GroupDestroy(ConsumerGroupDestroyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Those of all apps
    #[arg(long, conflicts_with = "app")]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc addons:create postgres
  slugc addons:create heroku-postgresql:mini -a shop
  slugc addons:create redis --as CACHE            its address is in CACHE_URL
  slugc addons:create kafka --name events")]
pub(crate) struct CreateArgs {
    /// The service, with or without one of Heroku's plans
    #[arg(value_name = "SERVICE[:PLAN]")]
    pub(crate) plan: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The attachment's name: NAME_URL has the address
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) attachment: Option<String>,
    /// The add-on's name [default: a random one]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) mirror: MirrorArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The add-on's name or one of its config vars
    #[arg(value_name = "ADDON")]
    pub(crate) addon: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc addons:attach postgresql-concave-52656 -a reports
  slugc addons:attach postgres://me:secret@db.corp/shop --as LEGACY")]
pub(crate) struct AttachArgs {
    /// An add-on's name, or the URL of a server
    #[arg(value_name = "ADDON|URL")]
    pub(crate) addon: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The attachment's name: NAME_URL has the address
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) attachment: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// The attachment: DATABASE for DATABASE_URL
    #[arg(value_name = "ATTACHMENT")]
    pub(crate) attachment: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    /// The add-on's name or one of its config vars
    #[arg(value_name = "ADDON")]
    pub(crate) addon: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The name of the app that loses it, as a confirmation
    #[arg(short, long, value_name = "APP")]
    pub(crate) confirm: Option<String>,
    /// Even if other apps have it attached
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    pub(crate) store: PathBuf,
    pub(crate) name: String,
    /// Seconds.
    pub(crate) idle: u64,
}

#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// The add-on's name or one of its config vars [default: the app's first]
    #[arg(value_name = "ADDON")]
    pub(crate) addon: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// The database's name or one of its config vars
    #[arg(value_name = "DATABASE")]
    pub(crate) addon: String,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConfirmedDatabaseArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// The app's name, as a confirmation
    #[arg(short, long, value_name = "APP")]
    pub(crate) confirm: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc pg:psql
  slugc pg:psql -c 'SELECT count(*) FROM users'
  slugc pg:psql HEROKU_POSTGRESQL_RED_URL -f report.sql

psql sees the current folder: \\copy and \\i find its files.")]
pub(crate) struct PsqlArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// SQL to execute
    #[arg(short, long, value_name = "SQL")]
    pub(crate) command: Option<String>,
    /// A file of SQL to execute
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// The backup [default: the newest]
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Where to
    #[arg(short, long, default_value = "latest.dump", value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// A backup or a file of pg_dump's custom format [default: the newest backup]
    #[arg(value_name = "BACKUP|FILE")]
    pub(crate) backup: Option<String>,
    /// The database that is replaced [default: the app's first]
    #[arg(value_name = "DATABASE")]
    pub(crate) addon: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The app's name, as a confirmation
    #[arg(short, long, value_name = "APP")]
    pub(crate) confirm: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RedisCliArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// A command of Redis and its arguments, after --
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KafkaArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Which Kafka: its name or one of its config vars [default: the app's first]
    #[arg(long = "addon", value_name = "ADDON")]
    pub(crate) addon: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    /// The topic, with its prefix if the plan has one
    #[arg(value_name = "TOPIC")]
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TopicCreateArgs {
    #[command(flatten)]
    pub(crate) topic: TopicArgs,
    /// Number of partitions
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) partitions: u32,
    /// Accepted for Heroku's sake; there is one broker, and so one replica
    #[arg(long, value_name = "N")]
    pub(crate) replication_factor: Option<u32>,
    /// How long records are kept: 36h, 7d, 30m
    #[arg(long, value_name = "TIME")]
    pub(crate) retention_time: Option<String>,
    /// Keep the newest record of each key instead
    #[arg(long)]
    pub(crate) compaction: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopicDestroyArgs {
    #[command(flatten)]
    pub(crate) topic: TopicArgs,
    /// The app's name, as a confirmation
    #[arg(short, long, value_name = "APP")]
    pub(crate) confirm: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TopicWriteArgs {
    #[command(flatten)]
    pub(crate) topic: TopicArgs,
    /// The record's value
    #[arg(value_name = "MESSAGE")]
    pub(crate) message: String,
    /// The record's key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TopicTailArgs {
    #[command(flatten)]
    pub(crate) topic: TopicArgs,
    /// From the first record on, not only new ones
    #[arg(long)]
    pub(crate) from_beginning: bool,
    /// End after so many records
    #[arg(long, value_name = "N")]
    pub(crate) max_messages: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slugc kafka:topics:retention-time events 36h
  slugc kafka:topics:compaction events enable")]
pub(crate) struct TopicSettingArgs {
    /// The topic, with its prefix if the plan has one
    #[arg(value_name = "TOPIC")]
    pub(crate) topic: String,
    /// A time as 36h, 7d or 30m; enable; disable
    #[arg(value_name = "VALUE")]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConsumerGroupArgs {
    /// The group's id
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConsumerGroupDestroyArgs {
    #[command(flatten)]
    pub(crate) group: ConsumerGroupArgs,
    /// The app's name, as a confirmation
    #[arg(short, long, value_name = "APP")]
    pub(crate) confirm: Option<String>,
}

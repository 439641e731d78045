//! Add-ons: `PostgreSQL`, Redis and Kafka servers of an app's own, in sandboxes.
//!
//! ```text
//! addons/<name>/addon.json       the record: plan, port, credentials, attachments; 0600
//! addons/<name>/data/            the server's files, owned by the user that it runs as
//! addons/<name>/client/          what Kafka's tools show its server
//! addons/<name>/backups/         dumps
//! addons/<name>/log              what the server prints; locked while one runs
//! addons/<name>/use.lock         shared by everybody who uses the add-on
//! addons/<name>/supervisor.lock  held by the living supervising process; contents: its pid
//! addons/<name>/ready.lock       held by it while the server answers
//! addons/<name>/failure          why the last start failed
//! ```
//!
//! Each add-on that runs has a process of its own ([`supervise`]), so that it outlives the command
//! that needed it first and serves several apps. It stops the server when nobody has held
//! `use.lock` for a while. Every lock is the kernel's: who is killed has let go of it.

mod certificates;
mod client;
mod credentials;
mod error;
mod kafka;
mod locks;
mod names;
mod postgres;
mod record;
mod redis;
mod running;
mod server;
mod service;
mod store;
mod supervisor;

pub use certificates::Certificates;
pub use client::{Client, Streams, run_client};
pub use credentials::random;
pub use error::AddonError;
pub use kafka::{KAFKA_CLIENT, KAFKA_PROGRAMS, kafka_tool};
pub use names::{COLOURS, colour_variable};
pub use record::{Addon, Attachment};
pub use running::{InUse, ensure_running, is_running, stop};
pub use service::{Plan, Service, ServiceError};
pub use store::{Addons, NewAddon};
pub use supervisor::{IDLE, supervise};

/// The hidden subcommand that the supervising process is started with, before the store's folder
/// and the add-on's name.
pub const SUPERVISE: &str = "addons:supervise";

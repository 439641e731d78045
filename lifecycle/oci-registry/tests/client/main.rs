//! The client against registries over real connections: one in this process that misbehaves on demand, and
//! docker-registry where it is installed.

#![expect(clippy::unwrap_used, reason = "tests")]

mod documents;
mod images;
mod installed;
mod mounts;
mod pull;
mod push;
mod referrers;
mod refusals;

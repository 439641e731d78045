//! The phases of a Cloud Native Buildpacks lifecycle as functions.
//!
//! A phase is one function: it takes its `Inputs`, does what the Platform and Buildpack specifications ask of
//! it and returns a typed output. Phases read no environment, no arguments, no clock and no working directory,
//! never exit and never print; callers hand everything in and take a [`log::Logger`]'s lines out.
//!
//! [`detect`] and [`build`] run buildpacks and belong into a sandbox without credentials. [`analyze`],
//! [`restore`] and [`export`] stay outside of it.
//!
//! The layers folder stays where it is between builds and is the cache: [`restore`] deletes what the next build
//! must not see, and [`export`] knows an unchanged layer by the fingerprint in its [`record::CacheRecord`]. For
//! platforms that begin each build with an empty layers folder there is [`cache`].

#![forbid(unsafe_code)]

pub mod analyze;
pub mod api_check;
pub mod build;
pub mod cache;
pub mod detect;
pub mod export;
pub mod generate;
pub mod intruders;
pub mod log;
pub mod platform;
pub mod rebase;
pub mod record;
pub mod restore;

mod layers_dir;
mod scratch;

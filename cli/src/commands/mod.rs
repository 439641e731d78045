//! One file for each subcommand.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod launch;
pub(crate) mod login;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod run;
mod running;
pub(crate) mod stack;
pub(crate) mod tag;

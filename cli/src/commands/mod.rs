//! One file for each subcommand.

mod background;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod inspect;
pub(crate) mod launch;
pub(crate) mod maintenance;
pub(crate) mod ps;
pub(crate) mod ps_restart;
pub(crate) mod ps_scale;
pub(crate) mod ps_stop;
pub(crate) mod push;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod stack;
pub(crate) mod status;

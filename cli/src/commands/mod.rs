//! One file for each subcommand.

pub(crate) mod addons;
mod background;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod config_edit;
pub(crate) mod config_get;
pub(crate) mod config_set;
pub(crate) mod config_unset;
pub(crate) mod inspect;
pub(crate) mod launch;
pub(crate) mod logs;
pub(crate) mod maintenance;
pub(crate) mod ps;
pub(crate) mod ps_restart;
pub(crate) mod ps_scale;
pub(crate) mod ps_stop;
pub(crate) mod push;
pub(crate) mod releases;
pub(crate) mod releases_info;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod stack;
pub(crate) mod status;

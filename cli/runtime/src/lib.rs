//! Dynos on one machine: processes of an image, their ports, logs and exit codes.
//!
//! ```text
//! launch ─► formation ─► dyno ─► sandbox        web, worker …: output becomes log lines
//!    └────► supervise ◄─ output pipes, ends, port, deadlines, signals
//! run ────► dyno ─► sandbox                     one-off: the caller's own streams or a terminal
//! release_phase ► dyno ─► sandbox              one-off before a release takes effect
//! state                                         releases, config vars, quantities of dynos
//! roots                                         unpacked layers, shared by all dynos
//! ```
//!
//! Everything blocks in one poll loop per launch or run. What a dyno writes goes to a folder of its
//! own that is removed with it; the layers below are never written to.

#![forbid(unsafe_code)]

pub mod addons;
pub mod launch;
pub mod names;
pub mod nearest;
pub mod port;
pub mod processes;
pub mod release_phase;
pub mod roots;
pub mod run;
pub mod state;

mod dyno;
mod formation;
mod lines;
mod log;
mod output;
mod scratch;
mod signals;
mod supervise;
mod terminal;
mod user;

pub use dyno::{App, DynoError, HostFiles};
pub use log::Colour;
pub use user::UserError;

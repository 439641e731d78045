//! Dynos on one machine: processes of an image, their ports, logs and exit codes.
//!
//! ```text
//! supervisor ─► dyno ─► sandbox                 web, worker …: output becomes log lines
//!     ▲ control API, signals, output pipes, ends, ports, deadlines
//! run ────► dyno ─► sandbox                     one-off: the caller's own streams or a terminal
//! detached ► logged ► dyno ─► sandbox           one-off that nobody sits in front of
//! release_phase ► logged ► dyno ─► sandbox      one-off before a release takes effect
//! inside ──► sandbox                            one more program in a dyno that runs
//! one_offs                                      which one-offs run
//! logs ◄─ supervisor                            the app's log, with a bound
//! state                                         releases, config vars, quantities of dynos
//! roots                                         unpacked layers, shared by all dynos
//! ```
//!
//! Everything blocks in one poll loop per supervisor or run. What a dyno writes goes to a folder of its
//! own that is removed with it; the layers below are never written to.

#![forbid(unsafe_code)]

pub mod addons;
pub mod bindings;
pub mod detached;
pub mod inside;
pub mod logs;
pub mod names;
pub mod nearest;
pub mod one_offs;
pub mod port;
pub mod processes;
pub mod release_phase;
pub mod roots;
pub mod router;
pub mod run;
pub mod size;
pub mod state;
pub mod supervisor;

mod control_groups;
mod dyno;
mod logged;
mod metadata;
mod output;
mod process_tree;
mod scratch;
mod signals;
mod terminal;
mod user;

pub use bindings::{Binding, BindingError};
pub use control_groups::{Bound, ControlGroups, VASTLY_EXCEEDED};
pub use dyno::{App, DynoError, HostFiles};
pub use logs::Colour;
pub use metadata::Metadata;
pub use user::UserError;

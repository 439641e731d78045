//! Whether `cnb-lifecycle` is a lifecycle: tables of cases for each phase, run against ours and, where the machine has
//! it, against the reference lifecycle in the same test. Where the two differ, the case says so and why, and the
//! difference is checked like everything else.
//!
//! `README.md` beside this file has a line for every MUST of the specification.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cache_image;
mod case;
mod configuration;
mod flow;
mod images;
mod layouts;
mod lifecycle;
mod musts;
mod phases;
mod registry;
mod world;

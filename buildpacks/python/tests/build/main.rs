//! Drives the real program through `bin/detect` and `bin/build`, as a lifecycle does.
//!
//! Wheels and source packages are made by the tests and found by `PIP_FIND_LINKS`. Only uv itself, and
//! Django where a test says so, come from the machine's package index; without it those tests
//! say that they were skipped.

#![expect(clippy::unwrap_used, reason = "tests")]

mod apps;
mod caching;
mod checks;
mod context;
mod django;
mod failures;
mod hostile;
mod index;
mod locks;
mod messages;
mod packages;
mod projects;
mod pythons;
mod sbom;
mod slim;

//! What the end-to-end tests share: scratch homes and stores, the built `slugc` run as root or as
//! a plain user, fixtures, loopback servers, peers, snapshot filters.
//!
//! A test that cannot do its work panics with what it was about; what a machine lacks is printed
//! as `skipped: needs …`, and is a failure where `SLUGC_TEST_NO_SKIP` is set (as `.ci/run` does).

#![forbid(unsafe_code)]

mod command;
mod confined;
mod content_watch;
mod context;
mod fixture;
mod fuzzing;
mod http;
mod layout;
mod mirror;
mod noise;
pub mod registry;
mod requirement;
mod snapshot;
mod tar;
mod user;

pub use command::{Finished, Running, Slugc, kill, output_of};
pub use content_watch::ContentWatch;
pub use context::{Binary, TestContext};
pub use fixture::{App, fixtures};
pub use fuzzing::{Seeds, fuzz};
pub use http::{FileServer, Response, free_port, get, post, wait_for_http};
pub use layout::{LayoutImage, read_layout};
pub use mirror::{Lie, LyingMirror, apt_mirror};
pub use noise::noise;
pub use requirement::{Need, met, processes_with, skipped};
pub use rustix::process::Signal;
pub use snapshot::with_filters;
pub use tar::{seal_headers, tar_entry, tar_entry_of, tar_of};
pub use user::Who;

/// Returns from the test, saying why, where the machine lacks something.
///
/// ```no_run
/// use test_support::{Need, requires};
/// requires!(Need::Program("skopeo"), Need::Root);
/// ```
#[macro_export]
macro_rules! requires {
    ($($need:expr),+ $(,)?) => {
        $(
            if !$crate::met(&$need) {
                $crate::skipped(&$need);
                return;
            }
        )+
    };
}

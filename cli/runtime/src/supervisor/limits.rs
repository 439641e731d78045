//! How long dynos may take.

use std::time::Duration;

/// How long dynos may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a web dyno to bind to `PORT` (R10 afterwards).
    pub boot: Duration,
    /// For all processes of a dyno to exit after SIGTERM (R12 and SIGKILL afterwards).
    pub exit: Duration,
    /// For a web dyno that was replaced to answer the requests it has, before SIGTERM.
    pub drain: Duration,
}

impl Default for Limits {
    /// Heroku's; its router lets a request take 30 seconds.
    fn default() -> Self {
        Self {
            boot: Duration::from_mins(1),
            exit: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

//! How long dynos may take, and how long they live.

use std::time::Duration;

/// How long dynos may take, and how long they live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a web dyno to bind to `PORT` (R10 afterwards).
    pub boot: Duration,
    /// For all processes of a dyno to exit after SIGTERM (R12 and SIGKILL afterwards).
    pub exit: Duration,
    /// For a web dyno that was replaced to answer the requests it has, before SIGTERM.
    pub drain: Duration,
    /// How long a dyno is up before a fresh one takes its place; a random part of
    /// [`Self::cycle_spread`] comes on top, so that not all of them go at once.
    pub cycle: Duration,
    pub cycle_spread: Duration,
}

impl Limits {
    /// How long the next dyno lives.
    pub(crate) fn next_cycle(&self) -> Duration {
        self.cycle + self.cycle_spread.mul_f64(fastrand::f64())
    }
}

impl Default for Limits {
    /// Heroku's (Dev Center, "Dyno Restarts"); its router lets a request take 30 seconds.
    fn default() -> Self {
        Self {
            boot: Duration::from_mins(1),
            exit: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            cycle: Duration::from_hours(24),
            cycle_spread: Duration::from_mins(216),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_spread() {
        let limits = Limits::default();
        let cycles: Vec<Duration> = (0..100).map(|_| limits.next_cycle()).collect();
        let day = Duration::from_hours(24);
        let latest = day + Duration::from_mins(216);
        assert!(cycles.iter().all(|cycle| (day..latest).contains(cycle)));
        assert!(cycles.iter().any(|cycle| *cycle != cycles[0]));
    }
}

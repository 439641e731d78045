//! How long a crashed dyno waits until it is started again.

use std::time::Duration;

/// The wait after the second crash in a row; it doubles with each further one. Heroku begins with
/// minutes ("Dyno crash restart policy", Dev Center), which nobody waits for at a desk.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_mins(1);
/// A dyno that was up for so long is no longer one that crashes in a row.
const FORGIVEN: Duration = Duration::from_mins(5);

/// Counts one dyno's crashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CoolOff {
    in_a_row: u32,
}

impl CoolOff {
    /// Notes a crash after `lived`, and gives the time until the restart: none after the first.
    pub(crate) fn crashed(&mut self, lived: Duration) -> Duration {
        if lived >= FORGIVEN {
            self.in_a_row = 0;
        }
        let doublings = self.in_a_row.checked_sub(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        doublings.map_or(Duration::ZERO, |doublings| {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            FIRST.saturating_mul(factor).min(LONGEST)
        })
    }

    /// The crashes in a row so far.
    pub(crate) fn in_a_row(self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_growing() {
        let mut cool_off = CoolOff::default();
        let waits: Vec<u64> = (0..9)
            .map(|_| cool_off.crashed(Duration::ZERO).as_secs())
            .collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..100 {
            assert_eq!(cool_off.crashed(Duration::ZERO), LONGEST);
        }
        assert_eq!(cool_off.in_a_row(), 109);
    }

    #[test]
    fn a_long_life_is_a_new_beginning() {
        let mut cool_off = CoolOff::default();
        for _ in 0..5 {
            cool_off.crashed(Duration::ZERO);
        }
        assert_eq!(cool_off.crashed(FORGIVEN), Duration::ZERO);
        assert_eq!(cool_off.crashed(Duration::ZERO), FIRST);
    }
}

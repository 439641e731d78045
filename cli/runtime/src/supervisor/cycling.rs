//! Fresh dynos in the place of old ones, every day (Heroku Dev Center, "Dyno Restarts").

use crate::supervisor::error::SupervisorError;
use crate::supervisor::places::Key;
use crate::supervisor::running::Phase;
use crate::supervisor::supervision::Supervision;
use std::time::Instant;

impl Supervision {
    /// Replaces the dynos that have been up long enough.
    pub(crate) fn cycle(&mut self, now: Instant) -> Result<(), SupervisorError> {
        let is_due = |id: &u64| {
            self.running.get(id).is_some_and(|running| {
                running.phase == Phase::Up && running.cycle_at.is_some_and(|at| now >= at)
            })
        };
        let due: Vec<Key> = self
            .places
            .iter()
            .filter(|(_, place)| place.serving.as_ref().is_some_and(is_due))
            .map(|(key, _)| key.clone())
            .collect();
        let overlap = self.site.state.preboot();
        for key in due {
            self.renew(&key, overlap, "Cycling")?;
        }
        Ok(())
    }
}

//! Removes what ended dynos wrote, which may be much, away from the loop.

use crate::scratch::Scratch;
use std::thread::JoinHandle;

/// Removals under way.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    removals: Vec<JoinHandle<()>>,
}

impl Sweeper {
    pub(crate) fn remove(&mut self, scratch: Scratch) {
        self.removals.retain(|removal| !removal.is_finished());
        let removal = std::thread::Builder::new().name("sweeper".to_owned());
        // Where there are no more threads, the folder is removed by being dropped here.
        self.removals.extend(removal.spawn(move || drop(scratch)));
    }

    /// Waits until everything is removed.
    pub(crate) fn finish(self) {
        for removal in self.removals {
            // A removal that panicked leaves a folder that the next dyno removes.
            drop(removal.join());
        }
    }
}

//! How much memory dynos take, and what follows where they have a size (Heroku Dev Center, "Error
//! Codes": R14 and R15).
//!
//! It is measured, which needs no rights; where there are rights on control groups, the kernel keeps
//! dynos to it between two measurements as well.

use crate::control_groups::{ControlGroups, VASTLY_EXCEEDED};
use crate::process_tree::{ProcessTree, at_most, share};
use crate::size::Size;
use crate::supervisor::error::SupervisorError;
use crate::supervisor::formation::lost;
use crate::supervisor::running::Phase;
use crate::supervisor::supervision::Supervision;
use cnb_spec::names::ProcessType;
use std::time::{Duration, Instant};

/// How often dynos are measured.
const EVERY: Duration = Duration::from_secs(2);
/// How often a dyno's memory is in the log while it is too much, as on Heroku.
const SAY_EVERY: Duration = Duration::from_secs(20);

/// What a dyno is to keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) size: Size,
    /// Before then nothing is said about it.
    say_at: Option<Instant>,
}

/// What a measurement says about a dyno.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// R14
    Exceeded,
    /// R15
    VastlyExceeded,
}

impl Quota {
    pub(crate) fn of(size: Size) -> Self {
        Self { size, say_at: None }
    }

    fn judge(self, used: u64) -> Verdict {
        let quota = self.size.memory();
        match used {
            _ if used > quota * 2 => Verdict::VastlyExceeded,
            _ if used > quota => Verdict::Exceeded,
            _ => Verdict::Fine,
        }
    }

    /// `mem=600M(117.2%)`
    fn shown(self, used: u64) -> String {
        let permille = u128::from(used) * 1000 / u128::from(self.size.memory());
        let (percent, tenth) = (permille / 10, permille % 10);
        format!("mem={}M({percent}.{tenth}%)", used >> 20)
    }
}

impl Supervision {
    /// When [`Self::measure`] has something to do.
    ///
    /// While everything stops nobody measures: a time that stays in the past would keep the supervisor awake.
    pub(crate) fn next_measurement(&self) -> Option<Instant> {
        if self.stop.is_some() {
            return None;
        }
        let mut running = self.running.values();
        running
            .any(|running| running.quota.is_some())
            .then_some(self.measure_at)
    }

    /// The size of a type's dynos. That the kernel cannot keep them to it is said once.
    pub(crate) fn size_of(&mut self, process_type: &ProcessType) -> Option<Size> {
        let size = *self.sizes.get(process_type)?;
        if self.groups.is_none() {
            let lacking = self.groups.insert(ControlGroups::make()).lacking();
            if let Some(lacking) = lacking {
                self.journal.say(
                    "api",
                    &format!("Dyno sizes are measured here, not enforced by the kernel: {lacking}"),
                );
            }
        }
        Some(size)
    }

    /// Measures the dynos that have a size, warns, and kills those that have more than twice as much.
    pub(crate) fn measure(&mut self, now: Instant) -> Result<(), SupervisorError> {
        if self.next_measurement().is_none_or(|at| now < at) {
            return Ok(());
        }
        self.measure_at = now + EVERY;
        let tree = ProcessTree::now();
        for running in self.running.values_mut() {
            let was_vast = running.ran_out_of_memory();
            let Some(quota) = &mut running.quota else {
                continue;
            };
            if !matches!(running.phase, Phase::Starting { .. } | Phase::Up) {
                continue;
            }
            // Without the sandbox's own process.
            let family: Vec<u32> = tree.family(running.child.pid()).split_off(1);
            let upper: u64 = family.iter().map(|pid| at_most(*pid)).sum();
            // What the kernel has killed no longer takes anything.
            if quota.judge(upper) == Verdict::Fine && !was_vast {
                continue;
            }
            let used = family.iter().map(|pid| share(*pid)).sum();
            let shown = format!("Process running {}", quota.shown(used));
            let verdict = if was_vast {
                Verdict::VastlyExceeded
            } else {
                quota.judge(used)
            };
            match verdict {
                Verdict::Fine => {}
                Verdict::Exceeded if quota.say_at.is_some_and(|at| now < at) => {}
                Verdict::Exceeded => {
                    quota.say_at = Some(now + SAY_EVERY);
                    running.say(&mut self.journal, &shown);
                    running.say(&mut self.journal, "Error R14 (Memory quota exceeded)");
                }
                Verdict::VastlyExceeded => {
                    // Its end comes as a crash.
                    running.quota = None;
                    running.say(&mut self.journal, &shown);
                    running.say(&mut self.journal, VASTLY_EXCEEDED);
                    running.say(&mut self.journal, "Stopping process with SIGKILL");
                    let killed = running.child.kill();
                    killed.map_err(|source| lost(running, source))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let quota = Quota::of(Size::Standard1x);
        for (mebibytes, verdict, shown) in [
            (100, Verdict::Fine, "mem=100M(19.5%)"),
            (512, Verdict::Fine, "mem=512M(100.0%)"),
            (600, Verdict::Exceeded, "mem=600M(117.1%)"),
            (1024, Verdict::Exceeded, "mem=1024M(200.0%)"),
            (1025, Verdict::VastlyExceeded, "mem=1025M(200.1%)"),
        ] {
            let used = mebibytes << 20;
            assert_eq!(quota.judge(used), verdict, "{mebibytes}");
            assert_eq!(quota.shown(used), shown);
        }
    }
}

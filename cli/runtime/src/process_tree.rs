//! Processes of this machine: who descends from whom, and how much memory they take.

use std::fs;

/// Who was whose parent at one moment, as far as /proc shows it.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    /// Pids and their parents'.
    parents: Vec<(u32, u32)>,
}

impl ProcessTree {
    pub(crate) fn now() -> Self {
        Self {
            parents: processes()
                .filter_map(|pid| Some((pid, parent_of(pid)?)))
                .collect(),
        }
    }

    /// The process itself and what descends from it.
    pub(crate) fn family(&self, ancestor: u32) -> Vec<u32> {
        let mut family = vec![ancestor];
        let mut next = 0;
        while let Some(parent) = family.get(next).copied() {
            family.extend(
                self.parents
                    .iter()
                    .filter_map(|(pid, of)| (*of == parent).then_some(*pid)),
            );
            next += 1;
        }
        family
    }
}

/// All processes.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, closing parentheses too.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// What a process has in memory and in swap, in bytes; what it shares counts in full. Quick.
pub(crate) fn at_most(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    kilobytes(&status, &["VmRSS:", "VmSwap:"])
}

/// The same, with its part only of what it shares (proc(5): proportional set size). The kernel goes
/// through all of its pages for that.
pub(crate) fn share(pid: u32) -> u64 {
    match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(rollup) => kilobytes(&rollup, &["Pss:", "SwapPss:"]),
        // It hides its memory.
        Err(_) => at_most(pid),
    }
}

/// The sum of some lines' kilobytes, in bytes.
fn kilobytes(text: &str, labels: &[&str]) -> u64 {
    let values = text.lines().filter_map(|line| {
        let label = labels.iter().find(|label| line.starts_with(**label))?;
        let number = line[label.len()..].split_ascii_whitespace().next()?;
        number.parse::<u64>().ok()
    });
    values.sum::<u64>().saturating_mul(1024)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn children_belong_to_the_family() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 60 & wait"])
            .spawn()
            .unwrap();
        let family = ProcessTree::now().family(std::process::id());
        assert!(family.contains(&std::process::id()));
        assert!(family.contains(&child.id()));
        let of_child = ProcessTree::now().family(child.id());
        assert!(!of_child.contains(&std::process::id()));
        for pid in of_child.into_iter().rev() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        child.wait().unwrap();
    }

    #[test]
    fn memory() {
        let own = std::process::id();
        let block = vec![7_u8; 64 << 20];
        assert!(at_most(own) > 64 << 20);
        assert!(share(own) > 64 << 20);
        assert!(share(own) <= at_most(own) + (8 << 20));
        assert_eq!(block[block.len() / 2], 7);
        assert_eq!(at_most(0), 0);
        let status = "Pss_Anon: 9 kB\nPss:   12 kB\nSwapPss:  3 kB\n";
        assert_eq!(kilobytes(status, &["Pss:", "SwapPss:"]), 15 * 1024);
    }
}

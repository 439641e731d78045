//! The one-off dynos of an app that run: who attends each, and how to end it.
//!
//! Each has its record in its own folder, which is locked by the process that attends it and goes
//! with it; so the records of killed ones are told from those of the living.

use crate::names::DynoName;
use crate::scratch::{Scratch, lock};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

const RECORD: &str = "one-off.json";

/// How long the kernel takes at most to end what was killed.
const KILLED: Duration = Duration::from_secs(10);

/// A one-off dyno that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// `run.4711`
    pub name: String,
    pub command: String,
    pub since: Timestamp,
    /// The release that it was started from, if there was one.
    pub release: Option<u64>,
    /// The digest of its image's manifest, where a release knows it.
    pub image: Option<String>,
    /// The host's pid of the dyno's first process.
    pub pid: u32,
    /// The process that attends it; signals to it are passed on to the dyno.
    pub attendant: u32,
    /// Whether nobody sits in front of it.
    pub is_detached: bool,
}

/// How a one-off dyno that was told to end did so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After SIGTERM.
    InOrder,
    /// It ignored SIGTERM and was killed.
    Killed,
}

impl OneOff {
    /// Writes the record into the dyno's own folder.
    pub(crate) fn record(&self, scratch: &Scratch) -> io::Result<()> {
        let path = scratch.path().join(RECORD);
        let staged = path.with_extension("staged");
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(staged, path)
    }

    /// Stops it: SIGTERM to all its processes, SIGKILL after `grace`. Returns when it has ended.
    pub fn stop(&self, run_dir: &Path, grace: Duration) -> io::Result<Ended> {
        let pid = i32::try_from(self.attendant).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(ErrorKind::NotFound)?;
        let attendant = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(Ended::InOrder),
            opened => opened?,
        };
        // Its number may have been given to another process since the record was read.
        if !running(run_dir)?.contains(self) {
            return Ok(Ended::InOrder);
        }
        send(&attendant, Signal::TERM)?;
        if ends_within(&attendant, grace)? {
            return Ok(Ended::InOrder);
        }
        // What it attends ends with it.
        send(&attendant, Signal::KILL)?;
        if ends_within(&attendant, KILLED)? {
            Ok(Ended::Killed)
        } else {
            Err(ErrorKind::TimedOut.into())
        }
    }
}

/// The one-off dynos that run, by their names; `run_dir` is [`crate::App::run_dir`].
pub fn running(run_dir: &Path) -> io::Result<Vec<OneOff>> {
    // Held by who makes a folder until it is locked.
    let _guard = match lock(run_dir, FlockOperation::LockShared) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        locked => locked?,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(run_dir)? {
        let folder = entry?.path();
        let bytes = match fs::read(folder.join(RECORD)) {
            // A formation's dyno, one that is just starting, or one that has just ended.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            read => read?,
        };
        match lock(&folder, FlockOperation::NonBlockingLockShared) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                found.push(serde_json::from_slice::<OneOff>(&bytes)?);
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            // Its attendant was killed; the next dyno removes what is left.
            _ => {}
        }
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
}

/// A name that none of the app's running one-offs has.
pub fn fresh_name(run_dir: &Path) -> io::Result<DynoName> {
    let running = running(run_dir)?;
    let mut name = DynoName::one_off();
    while running.iter().any(|taken| taken.name == name.to_string()) {
        name = name.next_one_off();
    }
    Ok(name)
}

fn send(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(process, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn ends_within(process: &OwnedFd, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left_over = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left_over)) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_told_from_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("run");
        assert_eq!(running(&run_dir).unwrap(), []);
        let one_off = |name: &str| OneOff {
            name: name.to_owned(),
            command: "sleep 9".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            release: Some(3),
            image: None,
            pid: 1,
            attendant: std::process::id(),
            is_detached: true,
        };
        let later = Scratch::create(&run_dir, "run.2000").unwrap();
        one_off("run.2000").record(&later).unwrap();
        let first = Scratch::create(&run_dir, "run.1000").unwrap();
        one_off("run.1000").record(&first).unwrap();
        let web = Scratch::create(&run_dir, "web.1").unwrap();
        fs::create_dir(run_dir.join("run.3000-1-0")).unwrap();
        let dead = serde_json::to_vec(&one_off("run.3000")).unwrap();
        fs::write(run_dir.join("run.3000-1-0").join(RECORD), dead).unwrap();
        assert_eq!(
            running(&run_dir).unwrap(),
            [one_off("run.1000"), one_off("run.2000")]
        );
        drop((later, web));
        assert_eq!(running(&run_dir).unwrap(), [one_off("run.1000")]);
    }
}

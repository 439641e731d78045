//! Starting and stopping servers from the outside.

use super::error::{AddonError, failed};
use super::locks::{self, READY, SUPERVISOR, USE};
use super::record::Addon;
use super::store::Addons;
use super::supervisor;
use super::{IDLE, SUPERVISE};
use crate::state::files;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server, and the process that it runs under, may take to be gone.
const STOPPED: Duration = supervisor::STOPPING.saturating_add(Duration::from_secs(30));

/// Add-ons in use: their servers do not stop while this lives. The default is none.
#[derive(Debug, Default)]
pub struct InUse {
    #[expect(dead_code, reason = "held, not read")]
    locks: Vec<File>,
    /// Supervising processes that this one started, to be collected should they end first.
    started: Vec<Child>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        for child in &mut self.started {
            // It goes on without this process; only one that has ended leaves something to collect.
            drop(child.try_wait());
        }
    }
}

/// Starts the servers of these add-ons unless they run, all at the same time, and waits until every
/// one of them answers. They run on while the result lives and for a minute afterwards.
///
/// `store` is slugc's folder. This program itself is executed again for each server
/// ([`SUPERVISE`]).
pub fn ensure_running(store: &Path, names: &[&str]) -> Result<InUse, AddonError> {
    let addons = Addons::new(store);
    let mut held = Vec::new();
    let mut waiting = Vec::new();
    for name in names {
        let addon = addons.get(name)?;
        let folder = addons.folder(name);
        // One that is about to stop for want of use holds it until it has stopped.
        let operation = FlockOperation::NonBlockingLockShared;
        let lock = locks::lock_within(&folder.join(USE), operation, STOPPED)?;
        held.push(lock.ok_or_else(|| not_stopped(name))?);
        let started = if is_running(&addons, name)? {
            None
        } else {
            Some(start(&addons, name)?)
        };
        waiting.push((addon, started));
    }
    let mut in_use = InUse {
        locks: held,
        started: Vec::new(),
    };
    for (addon, started) in waiting {
        in_use.started.extend(wait(&addons, &addon, started)?);
    }
    Ok(in_use)
}

/// Whether an add-on's server runs, or is starting or stopping.
pub fn is_running(addons: &Addons, name: &str) -> Result<bool, AddonError> {
    locks::is_held(&addons.folder(name).join(SUPERVISOR))
}

/// Stops an add-on's server cleanly, whoever uses it, and waits for it. False if it did not run.
pub fn stop(addons: &Addons, name: &str) -> Result<bool, AddonError> {
    let path = addons.folder(name).join(SUPERVISOR);
    let mut stopped = false;
    let mut rounds = 0_u32;
    let start = Instant::now();
    while is_running(addons, name)? {
        // Again now and then: it may not have caught signals yet.
        if rounds.is_multiple_of(50) {
            terminate(&path, name)?;
        }
        if start.elapsed() > STOPPED {
            return Err(not_stopped(name));
        }
        rounds += 1;
        stopped = true;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(stopped)
}

fn not_stopped(name: &str) -> AddonError {
    AddonError::NotStopped {
        name: name.to_owned(),
        seconds: STOPPED.as_secs(),
    }
}

/// SIGTERM for the supervising process whose pid is in the lock. That of a killed one may be another process' by now,
/// so it has to have that process' command line.
fn terminate(lock: &Path, name: &str) -> Result<(), AddonError> {
    let stopping = |error: Errno| failed("stop the process in", lock)(error.into());
    let pid = fs::read_to_string(lock).map_err(failed("read", lock))?;
    let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) else {
        return Ok(());
    };
    // Opened first: it stays the process that is looked at, or nobody's.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(()),
        Err(error) => return Err(stopping(error)),
    };
    if !is_supervisor(pid, name) {
        return Ok(());
    }
    match pidfd_send_signal(process, Signal::TERM) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(stopping(error)),
    }
}

/// Whether a process is one that [`start`] makes for this add-on.
fn is_supervisor(pid: Pid, name: &str) -> bool {
    let Ok(line) = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else {
        return false;
    };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    matches!(words[..], [_, verb, _, of, ..] if verb == SUPERVISE.as_bytes() && of == name.as_bytes())
}

fn start(addons: &Addons, name: &str) -> Result<Child, AddonError> {
    // A program that was replaced meanwhile has no path any more, but can be executed all the same.
    let program = std::env::current_exe()
        .ok()
        .filter(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let failure = addons.folder(name).join("failure");
    files::remove(&failure).map_err(failed("remove", &failure))?;
    Command::new(&program)
        .arg(SUPERVISE)
        .arg(addons.store())
        .arg(name)
        .arg(IDLE.as_secs().to_string())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed("execute", &program))
}

/// Waits until a server answers. Returns the supervising process if it is the one that was started.
fn wait(
    addons: &Addons,
    addon: &Addon,
    mut started: Option<Child>,
) -> Result<Option<Child>, AddonError> {
    let name = addon.name.as_str();
    // Its own process gives up first and says why, unless it hangs itself.
    let patience = supervisor::longest_start(addon.service) + STOPPED;
    let start_of_all = Instant::now();
    let folder = addons.folder(name);
    let mut pause = Duration::from_millis(2);
    let mut starts = 0;
    loop {
        if locks::is_held(&folder.join(READY))? {
            return Ok(started);
        }
        let has_ended = match &mut started {
            Some(child) => child
                .try_wait()
                .map_err(failed("watch the process in", &folder))?
                .is_some(),
            None => true,
        };
        // Another process may have been quicker; then the own one ended at once.
        if has_ended && !is_running(addons, name)? {
            let reason = match reason(&folder)? {
                Some(reason) => reason,
                None if starts == 2 => format!(
                    "its process was killed; see {}",
                    folder.join("log").display()
                ),
                None => {
                    // It was stopping when this process came, or somebody stopped it meanwhile.
                    starts += 1;
                    started = Some(start(addons, name)?);
                    continue;
                }
            };
            return Err(AddonError::Start {
                name: name.to_owned(),
                reason,
            });
        }
        if start_of_all.elapsed() > patience {
            return Err(AddonError::NotReady {
                name: name.to_owned(),
                seconds: patience.as_secs(),
                said: format!("see {}", folder.join("log").display()),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 5 / 4).min(Duration::from_millis(50));
    }
}

fn reason(folder: &Path) -> Result<Option<String>, AddonError> {
    let path = folder.join("failure");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;

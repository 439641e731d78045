//! The process that an add-on's server runs under.

use super::certificates::Certificates;
use super::error::{AddonError, failed};
use super::locks::{self, READY, SUPERVISOR, USE};
use super::record::Addon;
use super::server::{self, Kind, UID};
use super::service::Service;
use super::store::Addons;
use crate::port;
use crate::scratch::remove_tree;
use crate::signals::Signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, ftruncate};
use rustix::io::Errno;
use sandbox::{Child, Stream};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs::{self, DirBuilder, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a server runs on when nobody uses it.
pub const IDLE: Duration = Duration::from_mins(1);

/// How long a server may take to stop before it is killed.
pub(super) const STOPPING: Duration = Duration::from_mins(2);
/// How long filling a new data folder may take: seconds, on a disk that does nothing else.
const SETTING_UP: Duration = Duration::from_mins(5);
/// A log beyond this many bytes begins anew at the next start.
const LARGEST_LOG: u64 = 4 << 20;
/// How long the server of a killed supervising process may take to be gone.
const PREDECESSOR: Duration = Duration::from_secs(30);
/// A server that ended by itself is started again, so often, if the last time was not just now.
const RESTART_AFTER: Duration = Duration::from_secs(10);

/// Runs an add-on's server until nobody has used it for `idle`, or until SIGTERM or SIGINT: starts
/// it, restarts it when it ends by itself, stops it cleanly. Makes this process the leader of a
/// session of its own.
///
/// Returns at once when another process does the same already.
pub fn supervise(addons: &Addons, name: &str, idle: Duration) -> Result<(), AddonError> {
    // It fails for a session's leader, which is what was wanted.
    let _ = rustix::process::setsid();
    let addon = addons.get(name)?;
    let folder = addons.folder(name);
    let Some(_supervisor) = claim(&folder)? else {
        return Ok(());
    };
    let result = run(addons, &addon, &folder, idle);
    if let Err(error) = &result {
        // For whoever waits; without it he is told to look into the log.
        drop(fs::write(folder.join("failure"), chain(error)));
    }
    result
}

fn run(addons: &Addons, addon: &Addon, folder: &Path, idle: Duration) -> Result<(), AddonError> {
    let watch = |source| lost(addon, source);
    let mut signals = Signals::catch(&[SIGTERM, SIGINT, SIGHUP]).map_err(watch)?;
    let log = open_log(addon, folder)?;
    let root = addons.root(addon.service)?;
    let root = root.file_name().unwrap_or_default().as_encoded_bytes();
    let note = folder.join("root");
    fs::write(&note, root).map_err(failed("write", &note))?;
    let kind = server::kind(addon.service);
    for port in [Some(addon.port), addon.controller_port]
        .into_iter()
        .flatten()
    {
        port::require_free(port).map_err(|source| AddonError::Port {
            name: addon.name.clone(),
            port,
            source,
        })?;
    }
    if !set_up(addons, addon, folder, &log, &mut signals)? {
        return Ok(());
    }
    let data = folder.join("data");
    loop {
        let started = Instant::now();
        let mut child = start(addons, addon, &data, &log, &kind)?;
        if !wait_until_ready(addon, &mut child, &mut signals, &log, &kind)? {
            return end(addon, &mut child, &kind);
        }
        let ready = locks::lock(&folder.join(READY), FlockOperation::LockExclusive)?;
        let why = watch_server(addon, &child, &mut signals, &folder.join(USE), idle)?;
        drop(ready);
        match why {
            Why::Asked | Why::Unused(_) => return end(addon, &mut child, &kind),
            Why::Ended if started.elapsed() < RESTART_AFTER => {
                return Err(AddonError::Ended {
                    name: addon.name.clone(),
                    said: tail(&log),
                });
            }
            Why::Ended => {
                child.wait().map_err(watch)?;
            }
        }
    }
}

/// The lock of the supervising process, with its pid inside as long as it lives.
struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        // The pid of a killed one stays, too: whoever reads it looks whose it is.
        let _ = ftruncate(&self.0, 0);
    }
}

/// Takes the lock of the supervising process and writes its pid there; `None` if another one lives.
fn claim(folder: &Path) -> Result<Option<Claim>, AddonError> {
    let path = folder.join(SUPERVISOR);
    // Those who look whether it is held hold it themselves for a moment.
    for _ in 0..50 {
        let operation = FlockOperation::NonBlockingLockExclusive;
        if let Some(file) = locks::try_lock(locks::open(&path)?, &path, operation)? {
            let pid = std::process::id().to_string();
            fs::write(&path, pid).map_err(failed("write", &path))?;
            return Ok(Some(Claim(file)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

/// Opens the server's log and locks it. Every process of the server has it as standard error: while
/// one of them lives, however its supervising process ended, nobody else gets the lock, and so no
/// two servers ever work on the same files.
fn open_log(addon: &Addon, folder: &Path) -> Result<File, AddonError> {
    let path = folder.join("log");
    let open = || {
        File::options()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))
    };
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        let operation = FlockOperation::NonBlockingLockExclusive;
        if let Some(log) = locks::try_lock(open()?, &path, operation)? {
            let length = log.metadata().map_err(failed("read", &path))?.len();
            if length > LARGEST_LOG {
                log.set_len(0).map_err(failed("empty", &path))?;
            }
            return Ok(log);
        }
        if Instant::now() > deadline {
            return Err(AddonError::StillRunning {
                name: addon.name.clone(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long a server may take to answer, whatever has to be done before.
pub(super) fn longest_start(service: Service) -> Duration {
    PREDECESSOR + SETTING_UP + server::kind(service).patience
}

/// Fills the data folder before the first start. It appears by one rename. False when it was asked to stop meanwhile.
fn set_up(
    addons: &Addons,
    addon: &Addon,
    folder: &Path,
    log: &File,
    signals: &mut Signals,
) -> Result<bool, AddonError> {
    let data = folder.join("data");
    if data.is_dir() {
        return Ok(true);
    }
    let setup = server::kind(addon.service).setup;
    let staged = folder.join("data.staged");
    remove_tree(&staged).map_err(failed("remove", &staged))?;
    DirBuilder::new()
        .mode(0o700)
        .create(&staged)
        .map_err(failed("make", &staged))?;
    let (uid, gid) = sandbox::host_ids(UID, UID);
    chown(&staged, Some(uid), Some(gid)).map_err(failed("give away", &staged))?;
    let argv = ["/bin/sh", "-eu", "-c", setup].map(str::to_owned).to_vec();
    let mut sandbox = server::sandbox(addons, addon, &staged, argv)?;
    let controller = addon.controller_port.unwrap_or_default().to_string();
    let [key_store, authority] = addon
        .certificates
        .as_ref()
        .map(Certificates::of_server)
        .unwrap_or_default();
    for (name, value) in [
        ("ADDON_KEY_STORE", &key_store),
        ("ADDON_AUTHORITY", &authority),
        ("ADDON_USER", &addon.user),
        ("ADDON_PASSWORD", &addon.password),
        ("ADDON_DATABASE", &addon.database),
        ("ADDON_PORT", &addon.port.to_string()),
        ("ADDON_CONTROLLER_PORT", &controller),
    ] {
        sandbox.env.push((name.into(), value.into()));
    }
    let mut child = spawn("the setup", addon, sandbox, log)?;
    let watch = |source| lost(addon, source);
    let start = Instant::now();
    while !wait(&child, signals, Duration::from_secs(1)).map_err(watch)? {
        let is_asked = is_asked(signals).map_err(watch)?;
        let is_late = start.elapsed() > SETTING_UP;
        if is_asked || is_late {
            child.kill().map_err(watch)?;
            child.wait().map_err(watch)?;
        }
        if is_asked {
            return Ok(false);
        }
        if is_late {
            return Err(AddonError::NotReady {
                name: addon.name.clone(),
                seconds: SETTING_UP.as_secs(),
                said: tail(log),
            });
        }
    }
    let status = child.wait().map_err(watch)?;
    if !status.success() {
        return Err(AddonError::Setup {
            name: addon.name.clone(),
            code: sandbox::exit_code(status),
            said: tail(log),
        });
    }
    // The new files are on disk before they have their name.
    let opened = File::open(&staged).map_err(failed("open", &staged))?;
    rustix::fs::syncfs(&opened).map_err(|error| failed("save", &staged)(error.into()))?;
    fs::rename(&staged, &data).map_err(failed("move a new folder to", &data))?;
    Ok(true)
}

fn start(
    addons: &Addons,
    addon: &Addon,
    data: &Path,
    log: &File,
    kind: &Kind,
) -> Result<Child, AddonError> {
    let sandbox = server::sandbox(addons, addon, data, (kind.argv)(addon))?;
    spawn("the server", addon, sandbox, log)
}

fn spawn(
    what: &'static str,
    addon: &Addon,
    mut sandbox: sandbox::Sandbox,
    log: &File,
) -> Result<Child, AddonError> {
    let copy = || {
        let copy = log.try_clone().map_err(|source| lost(addon, source))?;
        Ok::<_, AddonError>(Stream::Fd(copy.into()))
    };
    sandbox.stdout = copy()?;
    sandbox.stderr = copy()?;
    sandbox::spawn(&sandbox).map_err(|source| AddonError::Sandbox {
        what,
        name: addon.name.clone(),
        source,
    })
}

/// Whether the server became ready; not when it was asked to stop meanwhile.
fn wait_until_ready(
    addon: &Addon,
    child: &mut Child,
    signals: &mut Signals,
    log: &File,
    kind: &Kind,
) -> Result<bool, AddonError> {
    let watch = |source| lost(addon, source);
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    while !(kind.answers)(addon) {
        wait(child, signals, pause).map_err(watch)?;
        if is_asked(signals).map_err(watch)? {
            return Ok(false);
        }
        if child.try_wait().map_err(watch)?.is_some() {
            return Err(AddonError::Ended {
                name: addon.name.clone(),
                said: tail(log),
            });
        }
        if start.elapsed() > kind.patience {
            return Err(AddonError::NotReady {
                name: addon.name.clone(),
                seconds: kind.patience.as_secs(),
                said: tail(log),
            });
        }
        pause = (pause * 5 / 4).min(Duration::from_millis(100));
    }
    Ok(true)
}

/// Why a server is to be stopped, or has stopped.
enum Why {
    Asked,
    /// Nobody uses it; whoever wants to waits for this lock until it has stopped.
    Unused(#[expect(dead_code, reason = "held until the server has stopped")] File),
    Ended,
}

fn watch_server(
    addon: &Addon,
    child: &Child,
    signals: &mut Signals,
    use_lock: &Path,
    idle: Duration,
) -> Result<Why, AddonError> {
    let watch = |source| lost(addon, source);
    let mut last_used = Instant::now();
    loop {
        if wait(child, signals, Duration::from_secs(1)).map_err(watch)? {
            return Ok(Why::Ended);
        }
        if is_asked(signals).map_err(watch)? {
            return Ok(Why::Asked);
        }
        let operation = FlockOperation::NonBlockingLockExclusive;
        match locks::try_lock(locks::open(use_lock)?, use_lock, operation)? {
            None => last_used = Instant::now(),
            Some(lock) if last_used.elapsed() >= idle => return Ok(Why::Unused(lock)),
            Some(_) => {}
        }
    }
}

/// Whether a signal has asked to stop. A hangup is for whoever has a terminal.
fn is_asked(signals: &mut Signals) -> std::io::Result<bool> {
    Ok(signals.take()?.iter().any(|number| *number != SIGHUP))
}

/// Waits for the server's end, a signal or the time; whether it was the end.
fn wait(child: &Child, signals: &Signals, time: Duration) -> std::io::Result<bool> {
    let mut waits = vec![PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)];
    waits.extend(
        signals
            .descriptors()
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)),
    );
    let time = Timespec::try_from(time).map_err(std::io::Error::other)?;
    match poll(&mut waits, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(!waits[0].revents().is_empty()),
        Err(error) => Err(error.into()),
    }
}

/// Stops the server cleanly.
fn end(addon: &Addon, child: &mut Child, kind: &Kind) -> Result<(), AddonError> {
    let watch = |source| lost(addon, source);
    child.signal(kind.stop).map_err(watch)?;
    let deadline = Instant::now() + STOPPING;
    while child.try_wait().map_err(watch)?.is_none() {
        if Instant::now() > deadline {
            child.kill().map_err(watch)?;
            child.wait().map_err(watch)?;
            break;
        }
        let mut end = [PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)];
        let pause = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        // Interrupted or not, the loop looks again.
        let _ = poll(&mut end, Some(&pause));
    }
    Ok(())
}

/// The last lines of the log.
fn tail(log: &File) -> String {
    const BYTES: u64 = 4096;
    const LINES: usize = 8;
    let read = || {
        let mut log = log;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        log.take(BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn lost(addon: &Addon, source: std::io::Error) -> AddonError {
    AddonError::Watch {
        name: addon.name.clone(),
        source,
    }
}

/// An error and what caused it, in one line.
fn chain(error: &AddonError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

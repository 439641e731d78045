//! One supervisor per app: the lock that it holds, and what a killed one leaves behind.
//!
//! `supervisor.lock` is locked by the living supervisor and holds its pid. A supervisor that ends
//! in order empties the file, so a pid in a file that nobody locks is that of one that was killed.

use crate::scratch::{abandoned, remove_tree};
use rustix::fs::{FlockOperation, flock, ftruncate};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The control API's socket, in the app's folder.
pub(crate) const SOCKET: &str = "supervisor.sock";
const LOCK: &str = "supervisor.lock";
/// Commands that look whether a supervisor lives hold the lock for some microseconds.
const LOOKERS: Duration = Duration::from_millis(500);

/// A process that a killed supervisor, or a command that looked, was about to start has a copy of the lock until it
/// runs its own program; on a busy machine that takes a while.
const COPIES: Duration = Duration::from_secs(5);

/// Held by the supervisor while it lives; the kernel lets go of it however the supervisor ends.
#[derive(Debug)]
pub struct SupervisorLock {
    file: File,
    folder: PathBuf,
}

/// Whether an app has a supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It lives; the pid is missing in the moment in which it starts.
    Alive { pid: Option<u32> },
    /// There is none. `killed` is the pid of the last one if that one had no time to end in
    /// order; what it left is removed, and nobody will hear of it again.
    Absent { killed: Option<u32> },
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the app already runs: its supervisor is process {}", shown(*pid))]
    Held { pid: Option<u32> },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot remove what a killed supervisor left in {}", path.display())]
    Tidy { path: PathBuf, source: io::Error },
}

fn shown(pid: Option<u32>) -> String {
    pid.map_or_else(|| "just starting".to_owned(), |pid| pid.to_string())
}

impl SupervisorLock {
    /// Takes the lock of an app's folder, which is made where it is missing. The second value is
    /// the pid of a supervisor that was killed since, if one was.
    pub fn take(folder: &Path) -> Result<(Self, Option<u32>), LockError> {
        let path = folder.join(LOCK);
        let in_lock = |source| LockError::Lock {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(in_lock)?;
        let mut file = open(&path).map_err(in_lock)?;
        let start = Instant::now();
        while !try_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(in_lock)? {
            let pid = read_pid(&mut file).map_err(in_lock)?;
            let patience = if lives(pid) { LOOKERS } else { COPIES };
            if start.elapsed() >= patience {
                return Err(LockError::Held { pid });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let killed = tidy(folder, &mut file)?;
        let mut write = || {
            ftruncate(&file, 0)?;
            file.rewind()?;
            file.write_all(std::process::id().to_string().as_bytes())
        };
        write().map_err(in_lock)?;
        let lock = Self {
            file,
            folder: folder.to_owned(),
        };
        Ok((lock, killed))
    }

    /// The app's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for SupervisorLock {
    fn drop(&mut self) {
        // What is left here is tidied up by the next command, which then says so.
        drop(fs::remove_file(self.folder.join(SOCKET)));
        let _ = ftruncate(&self.file, 0);
    }
}

/// Looks whether the app has a supervisor, and removes what a killed one left.
pub(crate) fn look(folder: &Path) -> Result<Presence, LockError> {
    let path = folder.join(LOCK);
    let in_lock = |source| LockError::Lock {
        path: path.clone(),
        source,
    };
    let mut file = match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Presence::Absent { killed: None });
        }
        opened => opened.map_err(in_lock)?,
    };
    let deadline = Instant::now() + COPIES;
    while !try_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(in_lock)? {
        let pid = read_pid(&mut file).map_err(in_lock)?;
        if lives(pid) || Instant::now() >= deadline {
            return Ok(Presence::Alive { pid });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = tidy(folder, &mut file)?;
    Ok(Presence::Absent { killed })
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn lives(pid: Option<u32>) -> bool {
    pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
}

fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn read_pid(file: &mut File) -> io::Result<Option<u32>> {
    let mut text = String::new();
    file.rewind()?;
    file.take(32).read_to_string(&mut text)?;
    Ok(text.trim().parse().ok())
}

/// Removes what a killed supervisor left: its socket and its dynos' folders. Its processes ended
/// with it. The caller holds the lock.
fn tidy(folder: &Path, file: &mut File) -> Result<Option<u32>, LockError> {
    let in_folder = |source| LockError::Tidy {
        path: folder.to_owned(),
        source,
    };
    let Some(pid) = read_pid(file).map_err(in_folder)? else {
        return Ok(None);
    };
    match fs::remove_file(folder.join(SOCKET)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(in_folder(error)),
        _ => {}
    }
    let run = folder.join("run");
    if run.is_dir() {
        for (path, _lock) in abandoned(&run).map_err(in_folder)? {
            // What does not go now is tried again by the next dyno.
            drop(remove_tree(&path));
        }
    }
    ftruncate(&*file, 0).map_err(|error| in_folder(error.into()))?;
    Ok(Some(pid))
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;

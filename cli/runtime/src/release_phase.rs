//! The release phase: the process type `release` as a one-off dyno before a release takes effect.

use crate::dyno::{self, App, DynoError, Prepared};
use crate::logs::{LineSplitter, LogBounds, LogWriter, Source};
use crate::names::DynoName;
use crate::processes::{Processes, ProcessesError};
use crate::signals::Signals;
use cnb_spec::names::ProcessType;
use jiff::Timestamp;
use oci_image::Image;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::Timespec;
use sandbox::{Child, Signal, Stream};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a release command may take (Heroku Dev Center, "Release Phase").
pub const LIMIT: Duration = Duration::from_hours(1);

/// How long it may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// What [`run`] needs.
#[derive(Clone, Copy)]
pub struct ReleaseInputs<'a> {
    /// With the release's own image and config vars.
    pub app: App<'a>,
    /// The release's version, which is in the dyno's name.
    pub version: u64,
    /// [`LIMIT`].
    pub limit: Duration,
    /// The folder of the app's log.
    pub logs: &'a Path,
}

/// How a release command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this exit code; 128 + n when signal n ended it.
    Exited(i32),
    /// It was stopped because its time was over.
    TimedOut,
    /// It was stopped because this signal arrived here.
    Interrupted(i32),
}

/// Why a release command did not run.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("cannot tell what the release command is")]
    Command { source: ProcessesError },
    #[error(transparent)]
    Dyno(#[from] DynoError),
    #[error("cannot catch signals")]
    Signals { source: io::Error },
    #[error("lost the dyno {name}")]
    Lost { name: DynoName, source: io::Error },
}

/// The release command as its author wrote it; `None` when the image has none.
pub fn command(image: &Image) -> Result<Option<String>, ReleaseError> {
    let failed = |source| ReleaseError::Command { source };
    let processes = Processes::of(image).map_err(failed)?;
    match release_type(&processes) {
        Some(kind) => Ok(Some(processes.start(&kind).map_err(failed)?.shown)),
        None => Ok(None),
    }
}

fn release_type(processes: &Processes) -> Option<ProcessType> {
    let mut types = processes.all().iter().map(|process| &process.process_type);
    types.find(|name| name.as_str() == "release").cloned()
}

/// Runs the release command of an image that has one, without input; what it prints goes to
/// `print` as it comes.
///
/// SIGINT, SIGTERM and SIGHUP stop it with SIGTERM, and with SIGKILL half a minute later; a second
/// one kills it at once.
pub fn run(
    inputs: &ReleaseInputs<'_>,
    print: &mut dyn FnMut(&[u8]),
) -> Result<Outcome, ReleaseError> {
    let failed = |source| ReleaseError::Command { source };
    let processes = Processes::of(inputs.app.image).map_err(failed)?;
    let kind = release_type(&processes).ok_or_else(|| failed(ProcessesError::NoCommand))?;
    let command = processes.start(&kind).map_err(failed)?;
    let name = DynoName::of_release(inputs.version);
    let Prepared {
        mut sandbox,
        scratch,
    } = dyno::prepare(&inputs.app, &name, &command, None, None)?;
    let watch = |source| DynoError::Watch {
        name: name.clone(),
        source,
    };
    let (output, write) = output_pipe().map_err(watch)?;
    dyno::give(&write, &sandbox).map_err(watch)?;
    sandbox.stdin = Stream::Null;
    sandbox.stdout = Stream::Fd(write.try_clone().map_err(watch)?);
    sandbox.stderr = Stream::Fd(write);
    // Caught before anything runs: a signal in between must not leave the dyno alone.
    let signals = Signals::catch(&[SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| ReleaseError::Signals { source })?;
    let mut log = Log::open(inputs.logs, &name);
    log.say(&format!(
        "Starting process with command `{}`",
        command.shown
    ));
    let child = sandbox::spawn(&sandbox).map_err(|source| DynoError::Start {
        command: command.shown,
        source,
    })?;
    // Holds the writing side of the pipe, whose end would not be seen otherwise.
    drop(sandbox);
    let mut phase = Phase {
        child,
        output,
        signals,
        end_by: Instant::now() + inputs.limit,
        stopped: None,
    };
    let watched = phase.watch(&mut |bytes| {
        log.keep(bytes);
        print(bytes);
    });
    if watched.is_err() {
        // What cannot be watched must not go on unwatched; the first error is the one to tell.
        drop(phase.child.kill());
    }
    let status = watched.and_then(|()| phase.child.wait());
    let status = status.map_err(|source| ReleaseError::Lost { name, source })?;
    drop(scratch);
    let code = sandbox::exit_code(status);
    log.end(code);
    let exited = Outcome::Exited(code);
    Ok(phase.stopped.unwrap_or(exited))
}

/// A pipe of which only the reading side, which stays here, never blocks.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, fcntl_getfl(&read)? | OFlags::NONBLOCK)?;
    Ok((read, write))
}

/// The app's log, as far as it can be written: a release does not fail for its sake.
struct Log {
    writer: Option<LogWriter>,
    lines: LineSplitter,
    dyno: String,
}

impl Log {
    fn open(folder: &Path, name: &DynoName) -> Self {
        Self {
            writer: LogWriter::open(folder, LogBounds::default()).ok(),
            lines: LineSplitter::default(),
            dyno: name.to_string(),
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(writer) = &mut self.writer {
            writer.append(
                Source::Heroku,
                &self.dyno,
                Timestamp::now(),
                text.as_bytes(),
            );
            drop(writer.flush());
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(writer) = &mut self.writer {
            let now = Timestamp::now();
            self.lines.push(bytes, |line| {
                writer.append(Source::App, &self.dyno, now, line);
            });
            drop(writer.flush());
        }
    }

    fn end(&mut self, code: i32) {
        if let Some(writer) = &mut self.writer {
            let now = Timestamp::now();
            self.lines
                .finish(|line| writer.append(Source::App, &self.dyno, now, line));
        }
        self.say(&format!("Process exited with status {code}"));
    }
}

/// A release command that runs.
struct Phase {
    child: Child,
    output: OwnedFd,
    signals: Signals,
    /// When it is stopped, and once it is, when it is killed.
    end_by: Instant,
    /// Why it was stopped.
    stopped: Option<Outcome>,
}

impl Phase {
    /// Returns when the dyno has ended and what it printed is printed.
    fn watch(&mut self, print: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        // A side that has ended would wake the poll without end, so it is watched no longer.
        let mut prints = true;
        loop {
            let has_ended = self.wait(prints)?;
            for number in self.signals.take()? {
                self.stop(Outcome::Interrupted(number))?;
            }
            if Instant::now() >= self.end_by {
                self.stop(Outcome::TimedOut)?;
            }
            while prints {
                match rustix::io::read(&self.output, &mut buffer) {
                    Ok(0) => prints = false,
                    Ok(count) => {
                        print(&buffer[..count]);
                        if !has_ended {
                            break;
                        }
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if has_ended {
                return Ok(());
            }
        }
    }

    /// Waits for output, a signal, the deadline or the end; whether it is the end.
    fn wait(&self, prints: bool) -> io::Result<bool> {
        let left = self.end_by.saturating_duration_since(Instant::now());
        // Rounded up, so that no time is left when it is over.
        let left = Timespec::try_from(left + Duration::from_millis(1)).ok();
        let mut waits = vec![PollFd::from_borrowed_fd(self.child.pidfd(), PollFlags::IN)];
        if prints {
            waits.push(PollFd::new(&self.output, PollFlags::IN));
        }
        waits.extend(
            self.signals
                .descriptors()
                .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)),
        );
        match poll(&mut waits, left.as_ref()) {
            Ok(_) => Ok(!waits[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn stop(&mut self, why: Outcome) -> io::Result<()> {
        if self.stopped.is_some() {
            self.end_by = Instant::now() + GRACE;
            return self.child.kill();
        }
        self.stopped = Some(why);
        self.end_by = Instant::now() + GRACE;
        self.child.signal_all(Signal::TERM)
    }
}

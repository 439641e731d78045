//! A one-off dyno without anybody in front of it: its output goes to the app's log.

use crate::control_groups::{Group, VASTLY_EXCEEDED};
use crate::dyno::{self, App, DynoError, Prepared};
use crate::logs::{LineSplitter, LogBounds, LogWriter, Source};
use crate::names::DynoName;
use crate::one_offs::OneOff;
use crate::output::pipe;
use crate::processes::Command;
use crate::scratch::Scratch;
use crate::signals::Signals;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use sandbox::{Child, Signal, Stream};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why a dyno was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    TimedOut,
    /// By this signal, which arrived here.
    Interrupted(i32),
}

/// How long a dyno may run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// As long as it likes, where there is none.
    pub(crate) limit: Option<Duration>,
    /// Between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
}

/// A dyno that runs.
pub(crate) struct Logged {
    child: Child,
    output: OwnedFd,
    signals: Signals,
    log: Log,
    /// When it is stopped, and once it is, when it is killed.
    end_by: Option<Instant>,
    grace: Duration,
    stopped: Option<Stopped>,
    group: Group,
    scratch: Scratch,
}

impl Logged {
    /// Starts a command without input. `signals` are caught before anything runs: one in between
    /// must not leave the dyno alone.
    pub(crate) fn start(
        app: &App<'_>,
        name: &DynoName,
        command: Command,
        logs: &Path,
        times: Times,
        signals: Signals,
    ) -> Result<Self, DynoError> {
        let Prepared {
            mut sandbox,
            group,
            scratch,
        } = dyno::prepare(app, name, &command, None, None)?;
        let watch = |source| DynoError::Watch {
            name: name.clone(),
            source,
        };
        let (output, write) = pipe().map_err(watch)?;
        dyno::give(&write, &sandbox).map_err(watch)?;
        sandbox.stdin = Stream::Null;
        sandbox.stdout = Stream::Fd(write.try_clone().map_err(watch)?);
        // One pipe for both keeps their order.
        sandbox.stderr = Stream::Fd(write);
        let mut log = Log::open(logs, name);
        log.say(&format!(
            "Starting process with command `{}`",
            command.shown
        ));
        let child = sandbox::spawn(&sandbox).map_err(|source| DynoError::Start {
            command: command.shown,
            source,
        })?;
        Ok(Self {
            child,
            output,
            signals,
            log,
            end_by: times.limit.map(|limit| Instant::now() + limit),
            grace: times.grace,
            stopped: None,
            group,
            scratch,
        })
    }

    /// Tells other processes of it.
    pub(crate) fn record(&self, one_off: &OneOff) -> io::Result<()> {
        one_off.record(&self.scratch)
    }

    /// The host's pid of the dyno's first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Says something about it in the log.
    pub(crate) fn say(&mut self, text: &str) {
        self.log.say(text);
    }

    /// Returns the exit code, 128 + n for signal n, and why it was told to end, if it was. What it
    /// prints goes to the log and to `print` as it comes.
    ///
    /// Each of the signals stops it with SIGTERM, and a second one with SIGKILL.
    pub(crate) fn attend(
        &mut self,
        print: &mut dyn FnMut(&[u8]),
    ) -> io::Result<(i32, Option<Stopped>)> {
        let watched = self.watch(print);
        if watched.is_err() {
            // What cannot be watched must not go on unwatched; the first error is the one to tell.
            drop(self.child.kill());
        }
        let status = watched.and_then(|()| self.child.wait())?;
        let code = sandbox::exit_code(status);
        if self.group.ran_out_of_memory() {
            self.say(VASTLY_EXCEEDED);
        }
        self.log.end(code);
        Ok((code, self.stopped))
    }

    /// Returns when the dyno has ended and what it printed is printed.
    fn watch(&mut self, print: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        // A side that has ended would wake the poll without end, so it is watched no longer.
        let mut prints = true;
        loop {
            let has_ended = self.wait(prints)?;
            for number in self.signals.take()? {
                self.stop(Stopped::Interrupted(number))?;
            }
            if self.end_by.is_some_and(|end| Instant::now() >= end) {
                self.stop(Stopped::TimedOut)?;
            }
            while prints {
                match rustix::io::read(&self.output, &mut buffer) {
                    Ok(0) => prints = false,
                    Ok(count) => {
                        self.log.keep(&buffer[..count]);
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
        let left = self.end_by.and_then(|end| {
            let left = end.saturating_duration_since(Instant::now());
            // Rounded up, so that no time is left when it is over.
            Timespec::try_from(left + Duration::from_millis(1)).ok()
        });
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

    fn stop(&mut self, why: Stopped) -> io::Result<()> {
        if self.stopped.is_some() {
            // Rung again and again, it would be killed again and again.
            self.end_by = None;
            if why == Stopped::TimedOut {
                let seconds = self.grace.as_secs();
                self.say(&format!(
                    "Error R12 (Exit timeout) -> At least one process failed to exit within {seconds} seconds of SIGTERM"
                ));
            }
            self.say("Stopping remaining processes with SIGKILL");
            return self.child.kill();
        }
        self.end_by = Some(Instant::now() + self.grace);
        self.stopped = Some(why);
        self.say("Stopping all processes with SIGTERM");
        self.child.signal_all(Signal::TERM)
    }
}

/// The app's log, as far as it can be written: a dyno does not fail for its sake.
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

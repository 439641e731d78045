//! One running dyno, from its start to its end.

use crate::control_groups::{Group, VASTLY_EXCEEDED};
use crate::dyno::{self, App, DynoError, Prepared};
use crate::logs::LineSplitter;
use crate::names::DynoName;
use crate::output::pipe;
use crate::port;
use crate::processes::Command;
use crate::router::BackendId;
use crate::scratch::Scratch;
use crate::supervisor::journal::Journal;
use crate::supervisor::limits::Limits;
use crate::supervisor::memory::Quota;
use crate::terminal::{Received, receive};
use jiff::Timestamp;
use sandbox::{Child, Signal, Stream};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often a starting web dyno's port is tried: often at first, when most servers come up.
const FIRST_PROBE: Duration = Duration::from_millis(10);
const SLOWEST_PROBE: Duration = Duration::from_millis(250);

/// Tells dynos apart, those of the same name too: during a deploy there are two `web.1`.
pub(crate) type Id = u64;

/// A dyno that was started and has not ended.
pub(crate) struct Running {
    pub(crate) name: DynoName,
    pub(crate) phase: Phase,
    /// `PORT`, of web dynos only.
    pub(crate) port: Option<u16>,
    /// What the router calls it.
    pub(crate) backend: Option<BackendId>,
    pub(crate) release: u64,
    pub(crate) command: String,
    /// When it began with what it does now.
    pub(crate) since: Timestamp,
    pub(crate) started: Instant,
    /// When a fresh one takes its place, where one will.
    pub(crate) cycle_at: Option<Instant>,
    /// How much memory it may take, where that is bounded.
    pub(crate) quota: Option<Quota>,
    /// Where the kernel bounds it.
    group: Group,
    /// The name as it stands in the log.
    label: String,
    pub(crate) child: Child,
    output: Option<OwnedFd>,
    lines: LineSplitter,
    scratch: Scratch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A web dyno that has not bound to its port.
    Starting {
        next_probe: Instant,
        pause: Duration,
    },
    Up,
    /// Killed after its boot timeout.
    TimedOut,
    /// It gets no new requests and ends when it has answered those it has.
    Draining {
        until: Instant,
        ending: Ending,
    },
    /// Told to end.
    Stopping {
        /// When SIGKILL follows; nothing once it was sent.
        kill_at: Option<Instant>,
        ending: Ending,
    },
}

/// Why a dyno is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Another one has its place.
    Replaced,
    /// Nobody wants it any longer.
    Down,
    /// Everything ends.
    Quit,
}

/// What looking at a starting dyno's port gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Boot {
    /// Nothing to look at, or not yet.
    Waiting,
    CameUp,
    TimedOut,
}

impl Running {
    /// Starts a dyno; a web dyno counts as starting until it listens on `port`.
    pub(crate) fn start(
        app: &App<'_>,
        name: DynoName,
        command: Command,
        port: Option<u16>,
        release: u64,
        journal: &mut Journal,
    ) -> Result<Self, DynoError> {
        let label = name.to_string();
        let Prepared {
            mut sandbox,
            group,
            scratch,
        } = dyno::prepare(app, &name, &command, port, None)?;
        let watch = |source| DynoError::Watch {
            name: name.clone(),
            source,
        };
        let (read, write) = pipe().map_err(watch)?;
        dyno::give(&write, &sandbox).map_err(watch)?;
        sandbox.stdin = Stream::Null;
        sandbox.stdout = Stream::Fd(write.try_clone().map_err(watch)?);
        // One pipe for both keeps their order.
        sandbox.stderr = Stream::Fd(write);
        let command = command.shown;
        let heading = format!("Starting process with command `{command}`");
        journal.say(&label, &heading);
        let started = Instant::now();
        let child = sandbox::spawn(&sandbox).map_err(|source| DynoError::Start {
            command: command.clone(),
            source,
        })?;
        // Holds the pipe's writing side, whose end would not be seen otherwise.
        drop(sandbox);
        let phase = match port {
            Some(_) => Phase::Starting {
                next_probe: started + FIRST_PROBE,
                pause: FIRST_PROBE,
            },
            None => Phase::Up,
        };
        let running = Self {
            name,
            phase,
            port,
            backend: None,
            release,
            command,
            since: Timestamp::now(),
            started,
            cycle_at: None,
            quota: app.bound.map(|bound| Quota::of(bound.size)),
            group,
            label,
            child,
            output: Some(read),
            lines: LineSplitter::default(),
            scratch,
        };
        if phase == Phase::Up {
            running.say(journal, "State changed from starting to up");
        }
        Ok(running)
    }

    pub(crate) fn say(&self, journal: &mut Journal, text: &str) {
        journal.say(&self.label, text);
    }

    /// The host's pid of the dyno's first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Readable when everything in the dyno has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd()
    }

    /// What the dyno writes; nothing once it has closed it.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Reads once, at most a buffer's worth, so that no dyno keeps the others waiting.
    pub(crate) fn read(
        &mut self,
        journal: &mut Journal,
        buffer: &mut [u8],
    ) -> io::Result<Received> {
        let Some(output) = &self.output else {
            return Ok(Received::End);
        };
        let received = receive(output, buffer)?;
        match received {
            Received::Bytes(count) => {
                let now = Timestamp::now();
                let label = &self.label;
                self.lines.push(&buffer[..count], |line| {
                    journal.line(now, label, line);
                });
            }
            Received::NothingYet => {}
            Received::End => self.output = None,
        }
        Ok(received)
    }

    /// Reads what the dead have left, and a last line without an end.
    fn read_rest(&mut self, journal: &mut Journal, buffer: &mut [u8]) -> io::Result<()> {
        while matches!(self.read(journal, buffer)?, Received::Bytes(_)) {}
        self.output = None;
        let now = Timestamp::now();
        let label = &self.label;
        self.lines.finish(|line| journal.line(now, label, line));
        Ok(())
    }

    /// Looks whether a starting dyno has bound to its port, and kills it when its time is over.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        limits: &Limits,
        journal: &mut Journal,
    ) -> io::Result<Boot> {
        let (Phase::Starting { next_probe, pause }, Some(port)) = (self.phase, self.port) else {
            return Ok(Boot::Waiting);
        };
        if now < next_probe {
            return Ok(Boot::Waiting);
        }
        if port::accepts(port) {
            self.phase = Phase::Up;
            self.since = Timestamp::now();
            self.say(journal, "State changed from starting to up");
            return Ok(Boot::CameUp);
        }
        let deadline = self.started + limits.boot;
        if now < deadline {
            let pause = (pause * 5 / 4).min(SLOWEST_PROBE);
            let next_probe = (now + pause).min(deadline);
            self.phase = Phase::Starting { next_probe, pause };
            return Ok(Boot::Waiting);
        }
        self.time_out(port, limits, journal)?;
        Ok(Boot::TimedOut)
    }

    fn time_out(&mut self, port: u16, limits: &Limits, journal: &mut Journal) -> io::Result<()> {
        let seconds = limits.boot.as_secs();
        let listens_on = port::ports_of(self.child.pid());
        self.say(journal, &format!(
            "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within {seconds} seconds of launch"
        ));
        if !listens_on.is_empty() {
            let ports: Vec<String> = listens_on.iter().map(u16::to_string).collect();
            self.say(
                journal,
                &format!(
                    "It listens on {} instead of $PORT ({port}): have it listen on 0.0.0.0:$PORT",
                    ports.join(", ")
                ),
            );
        }
        self.say(journal, "Stopping process with SIGKILL");
        self.phase = Phase::TimedOut;
        self.child.kill()
    }

    /// Tells all processes of the dyno to end.
    pub(crate) fn stop(
        &mut self,
        ending: Ending,
        limits: &Limits,
        journal: &mut Journal,
    ) -> io::Result<()> {
        if let Phase::Stopping { ending: to, .. } = &mut self.phase {
            *to = ending;
            return Ok(());
        }
        self.phase = Phase::Stopping {
            kill_at: Some(Instant::now() + limits.exit),
            ending,
        };
        self.since = Timestamp::now();
        self.say(journal, "Stopping all processes with SIGTERM");
        self.child.signal_all(Signal::TERM)
    }

    /// Kills what was told to end and has had its time.
    pub(crate) fn kill_if_due(
        &mut self,
        now: Instant,
        limits: &Limits,
        journal: &mut Journal,
    ) -> io::Result<()> {
        match self.phase {
            Phase::Stopping {
                kill_at: Some(kill_at),
                ..
            } if now >= kill_at => {
                let seconds = limits.exit.as_secs();
                self.say(journal, &format!(
                    "Error R12 (Exit timeout) -> At least one process failed to exit within {seconds} seconds of SIGTERM"
                ));
                self.kill(journal)
            }
            _ => Ok(()),
        }
    }

    /// Kills all processes of a dyno that was told to end.
    pub(crate) fn kill(&mut self, journal: &mut Journal) -> io::Result<()> {
        if let Phase::Stopping { kill_at, .. } = &mut self.phase {
            *kill_at = None;
        }
        self.say(journal, "Stopping remaining processes with SIGKILL");
        self.child.kill()
    }

    /// Ends the dyno at once and without a word.
    pub(crate) fn abandon(&mut self) {
        // There is already a failure to report.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Logs the end of a dyno that has ended, and gives its exit code.
    pub(crate) fn end(&mut self, journal: &mut Journal, buffer: &mut [u8]) -> io::Result<i32> {
        let status = self.child.wait()?;
        self.read_rest(journal, buffer)?;
        let code = sandbox::exit_code(status);
        if self.quota.is_some() && self.ran_out_of_memory() {
            self.say(journal, VASTLY_EXCEEDED);
        }
        self.say(journal, &format!("Process exited with status {code}"));
        Ok(code)
    }

    /// Whether the kernel had to kill something in it to keep it to its size.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.group.ran_out_of_memory()
    }

    /// When the loop has to look at it again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { next_probe, .. } => Some(next_probe),
            // Its last answer rings the bell.
            Phase::Draining { until, .. } => Some(until),
            Phase::Stopping { kill_at, .. } => kill_at,
            Phase::Up => self.cycle_at,
            Phase::TimedOut => None,
        }
    }

    /// The folder of an ended dyno, to be removed by dropping it.
    pub(crate) fn into_scratch(self) -> Scratch {
        self.scratch
    }
}

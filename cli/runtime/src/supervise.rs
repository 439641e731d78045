//! The loop that watches running dynos: output, ends, ports, deadlines, signals.

use crate::journal::Journal;
use crate::launch::{LaunchError, Limits};
use crate::logs::{LineSplitter, Source};
use crate::names::DynoName;
use crate::output::{Flow, Output};
use crate::port;
use crate::scratch::Scratch;
use crate::signals::Signals;
use crate::terminal::{Received, receive};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sandbox::{Child, Signal};
use signal_hook::consts::SIGINT;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often a starting web dyno's port is tried: often at first, when most servers come up.
const FIRST_PROBE: Duration = Duration::from_millis(20);
const SLOWEST_PROBE: Duration = Duration::from_millis(250);
/// How long a stopped launch waits for a reader of its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A dyno that was started.
pub(crate) struct Supervised {
    name: DynoName,
    /// The name as it stands in the log.
    label: String,
    child: Child,
    lines: LineSplitter,
    output: Option<OwnedFd>,
    state: State,
    _scratch: Scratch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A web dyno that has not bound to its port.
    Starting {
        port: u16,
        since: Instant,
        next_probe: Instant,
        pause: Duration,
    },
    Up,
    /// Killed after its boot timeout.
    TimedOut,
    Ended,
}

impl Supervised {
    /// `port` is the one that a web dyno has to bind to.
    pub(crate) fn new(
        name: DynoName,
        child: Child,
        output: OwnedFd,
        port: Option<u16>,
        scratch: Scratch,
    ) -> Self {
        let now = Instant::now();
        let state = port.map_or(State::Up, |port| State::Starting {
            port,
            since: now,
            next_probe: now + FIRST_PROBE,
            pause: FIRST_PROBE,
        });
        Self {
            label: name.to_string(),
            name,
            child,
            lines: LineSplitter::default(),
            output: Some(output),
            state,
            _scratch: scratch,
        }
    }

    /// Reads once, at most a buffer's worth, so that no dyno keeps the others waiting.
    fn read(&mut self, into: &mut Journal, buffer: &mut [u8]) -> io::Result<Received> {
        let Some(output) = &self.output else {
            return Ok(Received::End);
        };
        let received = receive(output, buffer)?;
        match received {
            Received::Bytes(count) => {
                let now = Timestamp::now();
                let label = &self.label;
                self.lines.push(&buffer[..count], |line| {
                    into.line(now, Source::App, label, line);
                });
            }
            Received::NothingYet => {}
            Received::End => self.output = None,
        }
        Ok(received)
    }

    /// Reads what the dead have left, and a last line without an end.
    fn read_rest(&mut self, into: &mut Journal, buffer: &mut [u8]) -> io::Result<()> {
        while matches!(self.read(into, buffer)?, Received::Bytes(_)) {}
        self.output = None;
        let now = Timestamp::now();
        let label = &self.label;
        self.lines
            .finish(|line| into.line(now, Source::App, label, line));
        Ok(())
    }
}

/// All dynos of a launch.
pub(crate) struct Supervision {
    dynos: Vec<Supervised>,
    output: Output,
    signals: Signals,
    limits: Limits,
    stop: Option<Stop>,
    exit_code: i32,
    boot_timeout: Option<LaunchError>,
    buffer: Vec<u8>,
}

/// A stop under way.
#[derive(Debug, Clone, Copy)]
struct Stop {
    /// What asked for it; nothing when nobody reads the output.
    signal: Option<i32>,
    /// When SIGKILL follows; nothing once it was sent.
    kill_at: Option<Instant>,
}

/// What the poll found.
struct Ready {
    /// One entry for each dyno.
    output: Vec<bool>,
    ended: Vec<bool>,
}

impl Supervision {
    pub(crate) fn new(output: Output, signals: Signals, limits: Limits) -> Self {
        Self {
            dynos: Vec::new(),
            output,
            signals,
            limits,
            stop: None,
            exit_code: 0,
            boot_timeout: None,
            buffer: vec![0; 64 * 1024],
        }
    }

    /// Logs what happens to a dyno.
    pub(crate) fn say(&mut self, dyno: &DynoName, text: &str) {
        let into = &mut self.output.batch;
        let dyno = dyno.to_string();
        into.line(Timestamp::now(), Source::Heroku, &dyno, text.as_bytes());
    }

    pub(crate) fn add(&mut self, dyno: Supervised) {
        if dyno.state == State::Up {
            let into = &mut self.output.batch;
            tell(&dyno, into, "State changed from starting to up");
        }
        self.dynos.push(dyno);
    }

    /// Ends everything at once, because the launch as a whole failed.
    pub(crate) fn abandon(mut self) {
        for dyno in &mut self.dynos {
            // The failure that led here is the one to report.
            drop(dyno.child.kill());
            drop(dyno.child.wait());
        }
        let deadline = Instant::now() + LAST_LINES;
        drop(self.output.finish(|| Instant::now() < deadline));
    }

    /// Watches until the last dyno has ended, and gives the launch's exit code.
    pub(crate) fn run(mut self) -> Result<i32, LaunchError> {
        match self.watch() {
            Ok(()) => self.finish(),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    fn watch(&mut self) -> Result<(), LaunchError> {
        loop {
            let flow = self.output.flush();
            if self.dynos.iter().all(|dyno| dyno.state == State::Ended) {
                return Ok(());
            }
            if flow == Flow::Closed {
                self.output.batch.printed.clear();
                self.begin_stop(None)?;
            }
            let ready = self
                .wait(flow)
                .map_err(|source| LaunchError::Wait { source })?;
            let arrived = self.signals.take();
            for signal in arrived.map_err(|source| LaunchError::Signals { source })? {
                self.on_signal(signal)?;
            }
            for index in 0..self.dynos.len() {
                if ready.ended[index] {
                    self.on_end(index)?;
                } else if ready.output[index] {
                    let dyno = &mut self.dynos[index];
                    dyno.read(&mut self.output.batch, &mut self.buffer)
                        .map_err(|source| lost(dyno, source))?;
                }
            }
            self.on_time()?;
        }
    }

    /// Sleeps until something happens or a deadline comes. A slow reader of the logs slows the
    /// dynos down, but neither signals nor deadlines.
    fn wait(&self, flow: Flow) -> io::Result<Ready> {
        let mut waits: Vec<PollFd<'_>> = self
            .signals
            .descriptors()
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        // Also tells of a writer that has ended.
        waits.push(PollFd::from_borrowed_fd(self.output.room(), PollFlags::IN));
        let mut places = Vec::with_capacity(self.dynos.len());
        for dyno in &self.dynos {
            let mut place = |descriptor| {
                waits.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
                waits.len() - 1
            };
            let is_running = dyno.state != State::Ended;
            let ended = is_running.then(|| place(dyno.child.pidfd()));
            let output = dyno.output.as_ref().filter(|_| flow != Flow::Full);
            places.push((ended, output.map(|output| place(output.as_fd()))));
        }
        let timeout = self.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, or the loop would turn idly in the last fraction.
            Timespec::try_from(left + Duration::from_micros(100)).unwrap_or_default()
        });
        match poll(&mut waits, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready =
            |place: Option<usize>| place.is_some_and(|place| !waits[place].revents().is_empty());
        Ok(Ready {
            ended: places.iter().map(|(ended, _)| is_ready(*ended)).collect(),
            output: places.iter().map(|(_, output)| is_ready(*output)).collect(),
        })
    }

    fn next_deadline(&self) -> Option<Instant> {
        let kill_at = self.stop.and_then(|stop| stop.kill_at);
        let probes = self.dynos.iter().filter_map(|dyno| match dyno.state {
            State::Starting { next_probe, .. } if self.stop.is_none() => Some(next_probe),
            _ => None,
        });
        probes.chain(kill_at).min()
    }

    fn on_signal(&mut self, signal: i32) -> Result<(), LaunchError> {
        if self.stop.is_none() {
            self.begin_stop(Some(signal))
        } else if signal == SIGINT {
            self.kill_all()
        } else {
            Ok(())
        }
    }

    fn begin_stop(&mut self, signal: Option<i32>) -> Result<(), LaunchError> {
        if self.stop.is_some() {
            return Ok(());
        }
        self.stop = Some(Stop {
            signal,
            kill_at: Some(Instant::now() + self.limits.exit),
        });
        let into = &mut self.output.batch;
        for dyno in self
            .dynos
            .iter_mut()
            .filter(|dyno| dyno.state != State::Ended)
        {
            tell(dyno, into, "Stopping all processes with SIGTERM");
            let sent = dyno.child.signal_all(Signal::TERM);
            sent.map_err(|source| lost(dyno, source))?;
        }
        Ok(())
    }

    fn kill_all(&mut self) -> Result<(), LaunchError> {
        if let Some(stop) = &mut self.stop {
            stop.kill_at = None;
        }
        let into = &mut self.output.batch;
        for dyno in self
            .dynos
            .iter_mut()
            .filter(|dyno| dyno.state != State::Ended)
        {
            tell(dyno, into, "Stopping remaining processes with SIGKILL");
            dyno.child.kill().map_err(|source| lost(dyno, source))?;
        }
        Ok(())
    }

    fn on_time(&mut self) -> Result<(), LaunchError> {
        let now = Instant::now();
        if let Some(kill_at) = self.stop.and_then(|stop| stop.kill_at)
            && now >= kill_at
        {
            let seconds = self.limits.exit.as_secs();
            let text = format!(
                "Error R12 (Exit timeout) -> At least one process failed to exit within {seconds} seconds of SIGTERM"
            );
            let into = &mut self.output.batch;
            for dyno in self
                .dynos
                .iter_mut()
                .filter(|dyno| dyno.state != State::Ended)
            {
                tell(dyno, into, &text);
            }
            self.kill_all()?;
        }
        if self.stop.is_some() {
            return Ok(());
        }
        let into = &mut self.output.batch;
        for dyno in &mut self.dynos {
            let failed = probe(dyno, now, self.limits.boot, into);
            let failed = failed.map_err(|source| lost(dyno, source))?;
            self.boot_timeout = self.boot_timeout.take().or(failed);
        }
        Ok(())
    }

    fn on_end(&mut self, index: usize) -> Result<(), LaunchError> {
        let dyno = &mut self.dynos[index];
        let into = &mut self.output.batch;
        let status = dyno.child.wait().map_err(|source| lost(dyno, source))?;
        dyno.read_rest(into, &mut self.buffer)
            .map_err(|source| lost(dyno, source))?;
        let code = sandbox::exit_code(status);
        tell(dyno, into, &format!("Process exited with status {code}"));
        if self.stop.is_none() {
            let before = match dyno.state {
                State::Up => "up",
                _ => "starting",
            };
            tell(
                dyno,
                into,
                &format!("State changed from {before} to crashed"),
            );
        }
        if self.exit_code == 0 {
            self.exit_code = code;
        }
        dyno.state = State::Ended;
        Ok(())
    }

    fn finish(mut self) -> Result<i32, LaunchError> {
        let signal = self.stop.and_then(|stop| stop.signal);
        let deadline = self.stop.map(|_| Instant::now() + LAST_LINES);
        let signals = &mut self.signals;
        let patience = || match deadline {
            Some(deadline) => Instant::now() < deadline,
            // Nobody is in a hurry until somebody says so.
            None => signals.take().is_ok_and(|arrived| arrived.is_empty()),
        };
        self.output
            .finish(patience)
            .map_err(|source| LaunchError::Output { source })?;
        if let Some(error) = self.boot_timeout {
            return Err(error);
        }
        Ok(signal.map_or(self.exit_code, |number| 128 + number))
    }
}

/// Looks whether a starting web dyno has bound to its port, and kills it when its time is over.
fn probe(
    dyno: &mut Supervised,
    now: Instant,
    limit: Duration,
    into: &mut Journal,
) -> io::Result<Option<LaunchError>> {
    let State::Starting {
        port,
        since,
        next_probe,
        pause,
    } = dyno.state
    else {
        return Ok(None);
    };
    if now < next_probe {
        return Ok(None);
    }
    if port::accepts(port) {
        tell(dyno, into, "State changed from starting to up");
        let address = format!("Listening at http://localhost:{port}");
        tell(dyno, into, &address);
        dyno.state = State::Up;
        return Ok(None);
    }
    if now.duration_since(since) < limit {
        let pause = (pause * 5 / 4).min(SLOWEST_PROBE);
        dyno.state = State::Starting {
            port,
            since,
            next_probe: (now + pause).min(since + limit),
            pause,
        };
        return Ok(None);
    }
    let seconds = limit.as_secs();
    let listens_on = port::ports_of(dyno.child.pid());
    let text = format!(
        "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within {seconds} seconds of launch"
    );
    tell(dyno, into, &text);
    tell(dyno, into, "Stopping process with SIGKILL");
    dyno.state = State::TimedOut;
    dyno.child.kill()?;
    Ok(Some(LaunchError::BootTimeout {
        name: dyno.name.clone(),
        port,
        seconds,
        listens_on,
    }))
}

fn tell(dyno: &Supervised, into: &mut Journal, text: &str) {
    let now = Timestamp::now();
    into.line(now, Source::Heroku, &dyno.label, text.as_bytes());
}

fn lost(dyno: &Supervised, source: io::Error) -> LaunchError {
    LaunchError::Lost {
        name: dyno.name.clone(),
        source,
    }
}

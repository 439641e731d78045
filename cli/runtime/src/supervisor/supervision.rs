//! The loop that watches running dynos: output, ends, ports, deadlines, signals, orders.

use crate::control_groups::ControlGroups;
use crate::dyno::HostFiles;
use crate::metadata::Metadata;
use crate::output::Flow;
use crate::port::PortChoice;
use crate::processes::Processes;
use crate::signals::Signals;
use crate::state::{AppState, Sizes};
use crate::supervisor::chain;
use crate::supervisor::deployed::Deployed;
use crate::supervisor::error::SupervisorError;
use crate::supervisor::formation::lost;
use crate::supervisor::journal::Journal;
use crate::supervisor::limits::Limits;
use crate::supervisor::messages::Quantities;
use crate::supervisor::orders::{Answer, Denied, Envelope, Inbox, Order};
use crate::supervisor::places::{Key, Place};
use crate::supervisor::routing::Routing;
use crate::supervisor::running::{Ending, Id, Running};
use crate::supervisor::sweeper::Sweeper;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a supervisor that was stopped waits for a reader of its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What stays the same for as long as the supervisor lives.
pub(crate) struct Site {
    /// The app's name.
    pub(crate) name: String,
    pub(crate) run_dir: PathBuf,
    pub(crate) host: HostFiles,
    /// Variables of this launch alone, which win over config vars.
    pub(crate) overrides: BTreeMap<String, String>,
    pub(crate) state: AppState,
}

/// Everything that the loop works on.
pub(crate) struct Supervision {
    pub(crate) site: Site,
    pub(crate) deployed: Deployed,
    pub(crate) processes: Processes,
    pub(crate) metadata: Metadata,
    /// The release's config vars and the launch's own variables.
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) wanted: Quantities,
    pub(crate) sizes: Sizes,
    /// Made for the first dyno that has a size.
    pub(crate) groups: Option<ControlGroups>,
    /// When memory is measured next.
    pub(crate) measure_at: Instant,
    pub(crate) places: BTreeMap<Key, Place>,
    pub(crate) running: BTreeMap<Id, Running>,
    pub(crate) next_id: Id,
    pub(crate) journal: Journal,
    pub(crate) routing: Routing,
    pub(crate) limits: Limits,
    pub(crate) stop: Option<Stop>,
    pub(crate) sweeper: Sweeper,
    pub(crate) buffer: Vec<u8>,
    signals: Signals,
    inbox: Inbox,
    pub(crate) since: Timestamp,
}

/// What a supervision begins with.
pub(crate) struct Parts {
    pub(crate) site: Site,
    pub(crate) deployed: Deployed,
    pub(crate) processes: Processes,
    pub(crate) wanted: Quantities,
    pub(crate) journal: Journal,
    /// The router's port.
    pub(crate) port: PortChoice,
    pub(crate) limits: Limits,
    pub(crate) signals: Signals,
    pub(crate) inbox: Inbox,
}

/// What asked for the end of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Signal(i32),
    Command,
    /// Nobody reads the output any longer.
    Unread,
}

/// What the poll found.
struct Ready {
    output: Vec<Id>,
    ended: Vec<Id>,
}

impl Supervision {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            site,
            deployed,
            processes,
            wanted,
            journal,
            port,
            limits,
            signals,
            inbox,
        } = parts;
        let mut supervision = Self {
            metadata: deployed.metadata(&site.name),
            config: BTreeMap::new(),
            site,
            deployed,
            processes,
            wanted,
            sizes: Sizes::new(),
            groups: None,
            measure_at: Instant::now(),
            places: BTreeMap::new(),
            running: BTreeMap::new(),
            next_id: 0,
            journal,
            routing: Routing::new(port, inbox.bell()),
            limits,
            stop: None,
            sweeper: Sweeper::default(),
            buffer: vec![0; 64 * 1024],
            signals,
            inbox,
            since: Timestamp::now(),
        };
        supervision.overlay_config();
        supervision.read_maintenance();
        supervision.read_sizes();
        supervision
    }

    pub(crate) fn overlay_config(&mut self) {
        self.config.clone_from(&self.deployed.config);
        self.config.extend(self.site.overrides.clone());
    }

    fn read_maintenance(&mut self) {
        self.routing.set_maintenance(self.site.state.maintenance());
    }

    pub(crate) fn read_sizes(&mut self) {
        match self.site.state.sizes() {
            Ok(sizes) => self.sizes = sizes,
            // Dynos are more than their sizes.
            Err(error) => self
                .journal
                .say("api", &format!("Error: {}", chain(&error))),
        }
    }

    /// Ends everything at once, because the supervisor as a whole failed.
    pub(crate) fn abandon(mut self) {
        for running in self.running.values_mut() {
            running.abandon();
        }
        let deadline = Instant::now() + LAST_LINES;
        drop(self.journal.finish(|| Instant::now() < deadline));
    }

    /// Watches until somebody stops it, and gives the exit code: 128 + n after signal n.
    pub(crate) fn run(mut self) -> Result<i32, SupervisorError> {
        match self.watch() {
            Ok(stop) => self.finish(stop),
            Err(error) => {
                self.journal
                    .say("api", &format!("Error: {}", chain(&error)));
                self.abandon();
                Err(error)
            }
        }
    }

    fn watch(&mut self) -> Result<Stop, SupervisorError> {
        loop {
            let flow = self.journal.flush();
            if let Some(stop) = self.stop
                && self.running.is_empty()
            {
                return Ok(stop);
            }
            if flow == Flow::Closed {
                self.journal.discard();
                self.begin_stop(Stop::Unread)?;
            }
            let ready = self
                .wait(flow)
                .map_err(|source| SupervisorError::Wait { source })?;
            let arrived = self.signals.take();
            for signal in arrived.map_err(|source| SupervisorError::Signals { source })? {
                self.on_signal(signal)?;
            }
            for id in ready.output {
                if let Some(running) = self.running.get_mut(&id) {
                    running
                        .read(&mut self.journal, &mut self.buffer)
                        .map_err(|source| lost(running, source))?;
                }
            }
            for id in ready.ended {
                self.on_end(id)?;
            }
            for envelope in self.inbox.take() {
                self.on_order(envelope)?;
            }
            self.on_time()?;
            self.routing.take_lines(&mut self.journal);
        }
    }

    /// Sleeps until something happens or a deadline comes. A slow reader of the logs slows the
    /// dynos down, but neither signals nor deadlines.
    fn wait(&self, flow: Flow) -> io::Result<Ready> {
        let own = self
            .signals
            .descriptors()
            .chain([self.inbox.rung()])
            // Also tells of a writer that has ended.
            .chain(self.journal.room());
        let mut waits: Vec<PollFd<'_>> = own
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        let mut places = Vec::with_capacity(self.running.len());
        for (id, running) in &self.running {
            let mut place = |descriptor| {
                waits.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
                waits.len() - 1
            };
            let ended = place(running.pidfd());
            let output = running.output().filter(|_| flow != Flow::Full);
            places.push((*id, ended, output.map(place)));
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
        let is_ready = |place: usize| !waits[place].revents().is_empty();
        let mut ready = Ready {
            output: Vec::new(),
            ended: Vec::new(),
        };
        for (id, ended, output) in places {
            if is_ready(ended) {
                ready.ended.push(id);
            } else if output.is_some_and(is_ready) {
                ready.output.push(id);
            }
        }
        Ok(ready)
    }

    fn on_signal(&mut self, signal: i32) -> Result<(), SupervisorError> {
        if self.stop.is_none() {
            self.begin_stop(Stop::Signal(signal))
        } else if signal == SIGINT {
            for running in self.running.values_mut() {
                let killed = running.kill(&mut self.journal);
                killed.map_err(|source| lost(running, source))?;
            }
            Ok(())
        } else {
            Ok(())
        }
    }

    fn begin_stop(&mut self, stop: Stop) -> Result<(), SupervisorError> {
        if self.stop.is_some() {
            return Ok(());
        }
        self.stop = Some(stop);
        self.routing.begin_stop();
        for running in self.running.values_mut() {
            let stopped = running.stop(Ending::Quit, &self.limits, &mut self.journal);
            stopped.map_err(|source| lost(running, source))?;
        }
        Ok(())
    }

    fn on_order(&mut self, envelope: Envelope) -> Result<(), SupervisorError> {
        let Envelope { order, answer } = envelope;
        let done = match order {
            Order::Status => Ok(()),
            _ if self.stop.is_some() => Err(Denied::Ending),
            Order::Scale(wanted) => {
                self.scale(wanted)?;
                Ok(())
            }
            Order::Restart(target) => self.restart(&target)?,
            Order::Stop(target) => self.stop_target(&target)?,
            Order::Quit => {
                self.begin_stop(Stop::Command)?;
                Ok(())
            }
            Order::Deploy { deployed, overlap } => {
                self.deploy(*deployed, overlap)?;
                Ok(())
            }
            Order::Resize => {
                self.resize()?;
                Ok(())
            }
            Order::Maintenance => {
                self.read_maintenance();
                Ok(())
            }
        };
        let answered: Answer = done.map(|()| self.status());
        // Who asked may have gone away.
        drop(answer.send(answered));
        Ok(())
    }

    fn finish(mut self, stop: Stop) -> Result<i32, SupervisorError> {
        self.routing.finish();
        self.routing.take_lines(&mut self.journal);
        let deadline = Instant::now() + LAST_LINES;
        let journal = std::mem::replace(&mut self.journal, Journal::new(None, None));
        journal
            .finish(|| Instant::now() < deadline)
            .map_err(|source| SupervisorError::Output { source })?;
        self.sweeper.finish();
        Ok(match stop {
            Stop::Signal(number) => 128 + number,
            Stop::Command => 0,
            Stop::Unread => 128 + SIGTERM,
        })
    }
}

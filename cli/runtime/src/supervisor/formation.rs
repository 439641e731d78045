//! Starting, replacing and ending the formation's dynos.

use crate::control_groups::Bound;
use crate::dyno::App;
use crate::names::{DynoName, is_web};
use crate::port;
use crate::router::BackendId;
use crate::supervisor::chain;
use crate::supervisor::cool_off::CoolOff;
use crate::supervisor::deployed::Deployed;
use crate::supervisor::error::SupervisorError;
use crate::supervisor::messages::{Quantities, Target};
use crate::supervisor::orders::Denied;
use crate::supervisor::places::{self, Key, Place, Rest};
use crate::supervisor::running::{Boot, Ending, Id, Phase, Running};
use crate::supervisor::supervision::Supervision;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

impl Supervision {
    /// Starts a dyno in every place that the wanted formation has; the first failure is returned,
    /// for a supervisor that begins with it is none.
    pub(crate) fn begin(&mut self) -> Result<(), SupervisorError> {
        for key in self.missing_places().begin {
            self.places.insert(key.clone(), Place::new(&key));
            self.start_in(&key)?;
        }
        Ok(())
    }

    fn missing_places(&self) -> places::Difference {
        let mut wanted = self.wanted.clone();
        // A type that this release does not have may come back with the next one.
        wanted.retain(|process_type, _| self.processes.start(process_type).is_ok());
        places::difference(&self.places, &wanted)
    }

    /// Brings the formation to the wanted quantities.
    pub(crate) fn scale(&mut self, wanted: Quantities) -> Result<(), SupervisorError> {
        self.wanted = wanted;
        self.fill_places()
    }

    fn fill_places(&mut self) -> Result<(), SupervisorError> {
        let difference = self.missing_places();
        for key in difference.end {
            if let Some(place) = self.places.remove(&key) {
                let announced = place.announced.map(|(_, backend)| backend);
                for backend in place.crashed.into_iter().chain(announced) {
                    self.routing.remove(backend);
                }
                for id in [place.coming, place.serving].into_iter().flatten() {
                    self.retire(id, Ending::Down)?;
                }
            }
        }
        for key in difference.begin {
            self.places.insert(key.clone(), Place::new(&key));
            self.start_or_cool_off(&key);
        }
        Ok(())
    }

    /// Takes another release into use.
    pub(crate) fn deploy(
        &mut self,
        deployed: Deployed,
        overlap: bool,
    ) -> Result<(), SupervisorError> {
        if deployed.version < self.deployed.version {
            // It was made ready more slowly than a later one.
            return Ok(());
        }
        let processes = deployed
            .processes()
            .map_err(|source| SupervisorError::Processes { source })?;
        self.processes = processes;
        self.metadata = deployed.metadata(&self.site.name);
        self.deployed = deployed;
        self.overlay_config();
        let before: Vec<Key> = self.places.keys().cloned().collect();
        self.fill_places()?;
        for key in before {
            self.renew(&key, overlap, "Restarting")?;
        }
        Ok(())
    }

    /// Takes other sizes into use: what is of another size now is replaced.
    pub(crate) fn resize(&mut self) -> Result<(), SupervisorError> {
        let before = std::mem::take(&mut self.sizes);
        self.read_sizes();
        let overlap = self.site.state.preboot();
        let keys: Vec<Key> = self.places.keys().cloned().collect();
        for key in keys {
            if self.sizes.get(&key.0) != before.get(&key.0) {
                self.renew(&key, overlap, "Restarting")?;
            }
        }
        Ok(())
    }

    /// Restarts what `target` names.
    pub(crate) fn restart(
        &mut self,
        target: &Target,
    ) -> Result<Result<(), Denied>, SupervisorError> {
        let keys = match self.keys(target) {
            Ok(keys) => keys,
            Err(denied) => return Ok(Err(denied)),
        };
        let overlap = self.site.state.preboot();
        for key in keys {
            self.renew(&key, overlap, "Restarting")?;
        }
        Ok(Ok(()))
    }

    /// Stops what `target` names until somebody restarts it.
    pub(crate) fn stop_target(
        &mut self,
        target: &Target,
    ) -> Result<Result<(), Denied>, SupervisorError> {
        let keys = match self.keys(target) {
            Ok(keys) => keys,
            Err(denied) => return Ok(Err(denied)),
        };
        for key in keys {
            let Some(place) = self.places.get_mut(&key) else {
                continue;
            };
            let held = [place.coming.take(), place.serving.take()];
            let announced = place.announced.take().map(|(_, backend)| backend);
            for backend in place.crashed.take().into_iter().chain(announced) {
                self.routing.remove(backend);
            }
            place.after = None;
            place.rest = Rest::Down;
            place.since = Timestamp::now();
            for id in held.into_iter().flatten() {
                self.retire(id, Ending::Down)?;
            }
        }
        Ok(Ok(()))
    }

    fn keys(&self, target: &Target) -> Result<Vec<Key>, Denied> {
        let keys: Vec<Key> = self
            .places
            .iter()
            .filter(|(key, place)| target.includes(&place.name, &key.0))
            .map(|(key, _)| key.clone())
            .collect();
        if !keys.is_empty() || *target == Target::All {
            return Ok(keys);
        }
        let there: Vec<String> = match target {
            Target::Type(_) => {
                let types: BTreeSet<&str> = self.places.keys().map(|key| key.0.as_str()).collect();
                types.into_iter().map(str::to_owned).collect()
            }
            _ => self
                .places
                .values()
                .map(|place| place.name.to_string())
                .collect(),
        };
        let there = if there.is_empty() {
            "nothing".to_owned()
        } else {
            there.join(", ")
        };
        Err(Denied::NotFound(match target {
            Target::Type(process_type) => {
                format!(
                    "no dyno of the type {process_type} is part of the formation; it has {there}"
                )
            }
            _ => format!("there is no dyno {target}; the formation has {there}"),
        }))
    }

    /// Gives a place a fresh dyno of the current release; `why` is what the log says.
    pub(crate) fn renew(
        &mut self,
        key: &Key,
        overlap: bool,
        why: &str,
    ) -> Result<(), SupervisorError> {
        let Some(place) = self.places.get_mut(key) else {
            return Ok(());
        };
        place.cool_off = CoolOff::default();
        place.rest = Rest::No;
        if place.after.is_some() {
            // It starts as soon as the one before has ended.
            return Ok(());
        }
        let coming = place.coming.take();
        let serving = place.serving;
        if let Some(id) = coming {
            self.retire(id, Ending::Replaced)?;
        }
        if let Some(id) = serving {
            if let Some(running) = self.running.get_mut(&id) {
                running.say(&mut self.journal, why);
                // One that stays because its successor does not come up is not cycled again.
                running.cycle_at = None;
            }
            if !overlap {
                let announced = if is_web(&key.0) {
                    let name = DynoName::of(&key.0, key.1);
                    // What is in its way now is tried again, and told, when it starts.
                    self.announce(&name.to_string()).ok()
                } else {
                    None
                };
                if let Some(place) = self.places.get_mut(key) {
                    place.serving = None;
                    place.after = Some(id);
                    place.announced = announced;
                }
                return self.retire(id, Ending::Replaced);
            }
        }
        self.start_or_cool_off(key);
        Ok(())
    }

    /// Starts a dyno in a place; one that cannot be started counts as crashed.
    fn start_or_cool_off(&mut self, key: &Key) {
        if let Err(error) = self.start_in(key) {
            let Some(place) = self.places.get(key) else {
                return;
            };
            let text = format!("Error: {}", chain(&error));
            self.journal.say(&place.name.to_string(), &text);
            self.cool_off(key, Duration::ZERO);
        }
    }

    fn start_in(&mut self, key: &Key) -> Result<(), SupervisorError> {
        let (process_type, number) = key;
        let command = self
            .processes
            .start(process_type)
            .map_err(|source| SupervisorError::Processes { source })?;
        let name = DynoName::of(process_type, *number);
        let announced = self.places.get_mut(key);
        let announced = announced.and_then(|place| place.announced.take());
        let listens = match announced {
            None if is_web(process_type) => Some(self.announce(&name.to_string())?),
            announced => announced,
        };
        let release = self.deployed.version;
        let shown = command.shown.clone();
        let port = listens.map(|(port, _)| port);
        let backend = listens.map(|(_, backend)| backend);
        let size = self.size_of(process_type);
        let app = App {
            image: &self.deployed.image,
            lowers: &self.deployed.lowers,
            config_vars: &self.config,
            metadata: Some(&self.metadata),
            host: &self.site.host,
            bound: size
                .zip(self.groups.as_ref())
                .map(|(size, groups)| Bound { size, groups }),
            run_dir: &self.site.run_dir,
        };
        let journal = &mut self.journal;
        let started = Running::start(&app, name, command, port, release, journal);
        let mut running = match started {
            Ok(running) => running,
            Err(error) => {
                if let Some(backend) = backend {
                    self.routing.remove(backend);
                }
                return Err(error.into());
            }
        };
        running.backend = backend;
        running.cycle_at = Some(Instant::now() + self.limits.next_cycle());
        let is_up = running.phase == Phase::Up;
        let id = self.next_id;
        self.next_id += 1;
        self.running.insert(id, running);
        if let Some(place) = self.places.get_mut(key) {
            place.rest = Rest::No;
            if let Some(crashed) = place.crashed.take() {
                self.routing.remove(crashed);
            }
            place.coming = Some(id);
            place.command = shown;
        }
        if is_up {
            return self.take_over(id);
        }
        Ok(())
    }

    /// Chooses a web dyno's port and tells the router before the dyno starts: a request that comes
    /// in between waits for it.
    fn announce(&mut self, name: &str) -> Result<(u16, BackendId), SupervisorError> {
        let announced = self.places.values().filter_map(|place| place.announced);
        let running = self.running.values().filter_map(|running| running.port);
        let taken = running.chain(announced.map(|(port, _)| port));
        let port =
            port::for_dyno(&taken.collect()).map_err(|source| SupervisorError::Port { source })?;
        let backend = self.routing.add(name, port);
        if let Err(error) = self.routing.ensure(&self.limits, &mut self.journal) {
            self.routing.remove(backend);
            return Err(error);
        }
        Ok((port, backend))
    }

    /// A dyno that is up takes its place over from the one before.
    fn take_over(&mut self, id: Id) -> Result<(), SupervisorError> {
        let Some(place) = self.places.values_mut().find(|place| place.holds(id)) else {
            return Ok(());
        };
        place.coming = None;
        if let Some(crashed) = place.crashed.take() {
            self.routing.remove(crashed);
        }
        let before = place.serving.replace(id);
        if let Some(backend) = self.running.get(&id).and_then(|running| running.backend) {
            self.routing.set_ready(backend);
        }
        if let Some(before) = before {
            self.retire(before, Ending::Replaced)?;
        }
        Ok(())
    }

    /// Ends a dyno that is no longer wanted; one that serves requests answers them first.
    fn retire(&mut self, id: Id, ending: Ending) -> Result<(), SupervisorError> {
        let Some(running) = self.running.get_mut(&id) else {
            return Ok(());
        };
        if let (Phase::Up, Some(backend)) = (running.phase, running.backend) {
            self.routing.begin_drain(backend);
            if !self.routing.is_idle(backend) {
                let until = Instant::now() + self.limits.drain;
                running.phase = Phase::Draining { until, ending };
                return Ok(());
            }
        }
        let stopped = running.stop(ending, &self.limits, &mut self.journal);
        stopped.map_err(|source| lost(running, source))
    }

    /// Looks at ports, deadlines and rests.
    pub(crate) fn on_time(&mut self) -> Result<(), SupervisorError> {
        let now = Instant::now();
        let mut came_up = Vec::new();
        for (id, running) in &mut self.running {
            let journal = &mut self.journal;
            let boot = running.look(now, &self.limits, journal);
            match boot.map_err(|source| lost(running, source))? {
                Boot::CameUp => came_up.push(*id),
                Boot::Waiting | Boot::TimedOut => {}
            }
            if let Phase::Draining { until, ending } = running.phase
                && (now >= until || running.backend.is_none_or(|id| self.routing.is_idle(id)))
            {
                let stopped = running.stop(ending, &self.limits, journal);
                stopped.map_err(|source| lost(running, source))?;
            }
            running
                .kill_if_due(now, &self.limits, journal)
                .map_err(|source| lost(running, source))?;
        }
        for id in came_up {
            self.take_over(id)?;
        }
        if self.stop.is_some() {
            return Ok(());
        }
        let due: Vec<Key> = self
            .places
            .iter()
            .filter(
                |(_, place)| matches!(place.rest, Rest::Crashed { retry_at } if now >= retry_at),
            )
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            if let Some(place) = self.places.get(&key) {
                let name = place.name.to_string();
                self.journal
                    .say(&name, "State changed from crashed to starting");
            }
            self.start_or_cool_off(&key);
        }
        self.measure(now)?;
        self.cycle(now)
    }

    /// When [`Self::on_time`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let rests = self.places.values().filter_map(|place| match place.rest {
            Rest::Crashed { retry_at } if self.stop.is_none() => Some(retry_at),
            _ => None,
        });
        let running = self.running.values().filter_map(Running::deadline);
        let measurement = self.next_measurement();
        running.chain(rests).chain(measurement).min()
    }

    /// A dyno has ended: as it was told, or in a crash.
    pub(crate) fn on_end(&mut self, id: Id) -> Result<(), SupervisorError> {
        let Some(mut running) = self.running.remove(&id) else {
            return Ok(());
        };
        let ended = running.end(&mut self.journal, &mut self.buffer);
        ended.map_err(|source| lost(&running, source))?;
        let key = self
            .places
            .iter()
            .find(|(_, place)| place.holds(id) || place.after == Some(id))
            .map(|(key, _)| key.clone());
        let before = match running.phase {
            Phase::Starting { .. } | Phase::TimedOut => Some("starting"),
            Phase::Up | Phase::Draining { .. } => Some("up"),
            Phase::Stopping { ending, .. } => {
                if ending == Ending::Down {
                    running.say(&mut self.journal, "State changed from up to down");
                }
                None
            }
        };
        if let Some(before) = before
            && self.stop.is_none()
        {
            let text = format!("State changed from {before} to crashed");
            running.say(&mut self.journal, &text);
        }
        if let Some(backend) = running.backend {
            let place = key.as_ref().and_then(|key| self.places.get_mut(key));
            match place {
                Some(place) if before.is_some() => {
                    self.routing.set_crashed(backend);
                    if let Some(earlier) = place.crashed.replace(backend) {
                        self.routing.remove(earlier);
                    }
                }
                _ => self.routing.remove(backend),
            }
        }
        let lived = running.started.elapsed();
        self.sweeper.remove(running.into_scratch());
        let Some(key) = key else {
            return Ok(());
        };
        let Some(place) = self.places.get_mut(&key) else {
            return Ok(());
        };
        if place.after.take_if(|after| *after == id).is_some() {
            if self.stop.is_none() {
                self.start_or_cool_off(&key);
            }
            return Ok(());
        }
        place.forget(id);
        // One that is on its way makes up for the one that crashed.
        if before.is_some() && place.coming.is_none() && self.stop.is_none() {
            self.cool_off(&key, lived);
        }
        Ok(())
    }

    fn cool_off(&mut self, key: &Key, lived: Duration) {
        if let Some(place) = self.places.get_mut(key) {
            let wait = place.cool_off.crashed(lived);
            place.rest = Rest::Crashed {
                retry_at: Instant::now() + wait,
            };
            place.since = Timestamp::now();
        }
    }
}

pub(crate) fn lost(running: &Running, source: io::Error) -> SupervisorError {
    SupervisorError::Lost {
        name: running.name.clone(),
        source,
    }
}

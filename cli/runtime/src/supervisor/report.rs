//! What runs, as commands are told.

use crate::supervisor::messages::{DynoState, DynoStatus, Status};
use crate::supervisor::places::Rest;
use crate::supervisor::running::{Phase, Running};
use crate::supervisor::supervision::Supervision;
use std::collections::BTreeSet;

impl Supervision {
    pub(crate) fn status(&self) -> Status {
        Status {
            app: self.site.name.clone(),
            pid: std::process::id(),
            since: self.since,
            release: self.deployed.version,
            image: self.deployed.digest.to_string(),
            port: self.routing.port(),
            maintenance: self.routing.maintenance(),
            formation: self
                .wanted
                .iter()
                .map(|(process_type, count)| (process_type.to_string(), *count))
                .collect(),
            dynos: self.dyno_statuses(),
        }
    }

    /// What `ps` shows.
    fn dyno_statuses(&self) -> Vec<DynoStatus> {
        let mut statuses = Vec::new();
        let mut shown = BTreeSet::new();
        for ((process_type, _), place) in &self.places {
            for id in [place.coming, place.serving].into_iter().flatten() {
                shown.insert(id);
                if let Some(running) = self.running.get(&id) {
                    statuses.push(status(
                        running,
                        process_type.as_str(),
                        place.cool_off.in_a_row(),
                    ));
                }
            }
            let state = match place.rest {
                Rest::No => continue,
                Rest::Crashed { .. } => DynoState::Crashed,
                Rest::Down => DynoState::Down,
            };
            statuses.push(DynoStatus {
                name: place.name.to_string(),
                process_type: process_type.to_string(),
                state,
                since: place.since,
                command: place.command.clone(),
                release: self.deployed.version,
                pid: None,
                port: None,
                size: self.sizes.get(process_type).copied(),
                crashes: place.cool_off.in_a_row(),
            });
        }
        for (id, running) in &self.running {
            if !shown.contains(id) {
                let kind = running.name.to_string();
                let kind = kind.rsplit_once('.').map_or("", |(kind, _)| kind);
                statuses.push(status(running, kind, 0));
            }
        }
        statuses
    }
}

fn status(running: &Running, process_type: &str, crashes: u32) -> DynoStatus {
    DynoStatus {
        name: running.name.to_string(),
        process_type: process_type.to_owned(),
        state: match running.phase {
            Phase::Starting { .. } => DynoState::Starting,
            Phase::Up => DynoState::Up,
            Phase::TimedOut => DynoState::Crashed,
            Phase::Draining { .. } | Phase::Stopping { .. } => DynoState::Stopping,
        },
        since: running.since,
        command: running.command.clone(),
        release: running.release,
        pid: Some(running.pid()),
        port: running.port,
        size: running.quota.map(|quota| quota.size),
        crashes,
    }
}

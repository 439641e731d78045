//! The places of a formation, `web.1`, `web.2` …, and which dyno has each.

use crate::names::DynoName;
use crate::router::BackendId;
use crate::supervisor::cool_off::CoolOff;
use crate::supervisor::running::Id;
use cnb_spec::names::ProcessType;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Instant;

/// A process type and a number from 1.
pub(crate) type Key = (ProcessType, u32);

/// One place of the formation.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: DynoName,
    /// The dyno that does the work.
    pub(crate) serving: Option<Id>,
    /// The one that is starting, and will take over when it is up.
    pub(crate) coming: Option<Id>,
    /// The one whose end has to come first, where two at a time are not wanted.
    pub(crate) after: Option<Id>,
    /// The port of the dyno that follows that one, and what the router knows it as already: requests
    /// wait for it.
    pub(crate) announced: Option<(u16, BackendId)>,
    /// What the router knows the crashed dyno as, until there is another.
    pub(crate) crashed: Option<BackendId>,
    pub(crate) rest: Rest,
    pub(crate) cool_off: CoolOff,
    /// Since when it rests.
    pub(crate) since: Timestamp,
    /// What it ran last, for people.
    pub(crate) command: String,
}

/// Why nothing is started in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It does not rest.
    No,
    /// Until then, after a crash.
    Crashed { retry_at: Instant },
    /// Until somebody asks.
    Down,
}

impl Place {
    pub(crate) fn new((process_type, number): &Key) -> Self {
        Self {
            name: DynoName::of(process_type, *number),
            serving: None,
            coming: None,
            after: None,
            announced: None,
            crashed: None,
            rest: Rest::No,
            cool_off: CoolOff::default(),
            since: Timestamp::now(),
            command: String::new(),
        }
    }

    /// Forgets a dyno that has ended.
    pub(crate) fn forget(&mut self, id: Id) {
        for held in [&mut self.serving, &mut self.coming] {
            if *held == Some(id) {
                *held = None;
            }
        }
    }

    pub(crate) fn holds(&self, id: Id) -> bool {
        self.serving == Some(id) || self.coming == Some(id)
    }
}

/// What has to begin and to end so that there are as many places as wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) begin: Vec<Key>,
    pub(crate) end: Vec<Key>,
}

/// Compares the places with the wanted quantities: the highest numbers go first.
pub(crate) fn difference(
    places: &BTreeMap<Key, Place>,
    wanted: &BTreeMap<ProcessType, u32>,
) -> Difference {
    let is_wanted =
        |(process_type, number): &Key| wanted.get(process_type).is_some_and(|n| number <= n);
    let end = places.keys().rev().filter(|key| !is_wanted(key)).cloned();
    let all = wanted.iter().flat_map(|(process_type, count)| {
        (1..=*count).map(|number| (process_type.clone(), number))
    });
    Difference {
        begin: all.filter(|key| !places.contains_key(key)).collect(),
        end: end.collect(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn key(process_type: &str, number: u32) -> Key {
        (process_type.parse().unwrap(), number)
    }

    fn places(keys: &[Key]) -> BTreeMap<Key, Place> {
        keys.iter()
            .map(|key| (key.clone(), Place::new(key)))
            .collect()
    }

    #[test]
    fn up_and_down() {
        let wanted = BTreeMap::from([
            ("web".parse().unwrap(), 3),
            ("worker".parse().unwrap(), 0),
            ("clock".parse().unwrap(), 1),
        ]);
        let there = places(&[key("web", 1), key("worker", 1), key("worker", 2)]);
        assert_eq!(
            difference(&there, &wanted),
            Difference {
                begin: vec![key("clock", 1), key("web", 2), key("web", 3)],
                end: vec![key("worker", 2), key("worker", 1)],
            }
        );
    }

    #[test]
    fn nothing_to_do() {
        let wanted = BTreeMap::from([("web".parse().unwrap(), 1)]);
        let none = Difference {
            begin: Vec::new(),
            end: Vec::new(),
        };
        assert_eq!(difference(&places(&[key("web", 1)]), &wanted), none);
    }
}

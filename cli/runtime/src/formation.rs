//! Which dynos a launch consists of.

use crate::names::{DynoName, is_web};
use crate::processes::{Command, Processes, ProcessesError};
use cnb_spec::names::ProcessType;

/// A dyno of the formation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) name: DynoName,
    pub(crate) command: Command,
    /// Whether it gets `PORT`.
    pub(crate) is_web: bool,
}

/// One dyno of each type, in the given order; of the default type when none is given.
pub(crate) fn plan(
    processes: &Processes,
    types: &[ProcessType],
) -> Result<Vec<Planned>, ProcessesError> {
    let mut wanted: Vec<ProcessType> = Vec::new();
    for process_type in types {
        if !wanted.contains(process_type) {
            wanted.push(process_type.clone());
        }
    }
    if wanted.is_empty() {
        wanted.push(processes.default_type()?);
    }
    wanted
        .iter()
        .map(|process_type| {
            Ok(Planned {
                name: DynoName::of(process_type, 1),
                command: processes.start(process_type)?,
                is_web: is_web(process_type),
            })
        })
        .collect()
}

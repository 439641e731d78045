//! One more program in a dyno that runs: the same files, environment and processes.

use crate::dyno::DynoError;
use crate::processes::Processes;
use crate::run::{RunError, Terminal, attend};
use oci_image::Image;
use sandbox::{Root, Sandbox, Writable};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What [`run_inside`] needs.
#[derive(Clone, Copy)]
pub struct InsideInputs<'a> {
    /// The dyno's name, for messages.
    pub dyno: &'a str,
    /// The host's pid of the dyno's first process.
    pub pid: u32,
    pub image: &'a Image,
    /// As [`crate::run::RunInputs::command`].
    pub command: &'a [String],
    /// Variables that win over the dyno's own.
    pub env: &'a BTreeMap<String, String>,
    pub terminal: Terminal<'a>,
}

/// Runs a command inside a dyno and returns its exit code, 128 + n when signal n ended it.
///
/// The dyno goes on when it has ended; when the dyno ends first, so does the command.
pub fn run_inside(inputs: &InsideInputs<'_>) -> Result<i32, RunError> {
    let command = Processes::of(inputs.image)
        .and_then(|processes| processes.inside(inputs.command))
        .map_err(|source| RunError::Command { source })?;
    let lost = |source| RunError::Lost {
        name: inputs.dyno.to_owned(),
        source,
    };
    let start = |source| DynoError::Start {
        command: command.shown.clone(),
        source,
    };
    sandbox::require_entrances().map_err(start)?;
    let program = sandbox::program_of(inputs.pid).map_err(lost)?;
    let mut env = environment(program).map_err(lost)?;
    let own = inputs.env.iter();
    env.extend(own.map(|(name, value)| (name.into(), value.into())));
    let term = inputs.terminal.term();
    match term {
        Some(term) => drop(env.insert("TERM".into(), term.into())),
        None => drop(env.remove(&OsString::from("TERM"))),
    }
    let (uid, gid) = ids(program).map_err(lost)?;
    // The root is the dyno's own, whatever is said here.
    let root = Root {
        lower: vec![PathBuf::from("/")],
        writable: Writable::ReadOnly,
    };
    let argv = command.argv.iter().map(OsString::from).collect();
    let mut sandbox = Sandbox::new(root, argv);
    (sandbox.uid, sandbox.gid) = (uid, gid);
    inputs.dyno.clone_into(&mut sandbox.hostname);
    sandbox.cwd = match inputs.image.config.config.working_dir.as_str() {
        "" => PathBuf::from("/"),
        path => Path::new("/").join(path),
    };
    sandbox.env = env.into_iter().collect();
    attend(sandbox, term.is_some(), |sandbox| {
        Ok(sandbox::enter(inputs.pid, sandbox).map_err(start)?)
    })
}

/// What the dyno's program was started with, after profile scripts.
fn environment(program: u32) -> io::Result<BTreeMap<OsString, OsString>> {
    let bytes = fs::read(format!("/proc/{program}/environ"))?;
    let pairs = bytes.split(|byte| *byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (pair[..at].to_vec(), pair[at + 1..].to_vec());
        Some((OsString::from_vec(name), OsString::from_vec(value)))
    });
    Ok(pairs.collect())
}

/// The host's ids of a process. Where the dyno has a map of ids, they are not set but already there.
fn ids(program: u32) -> io::Result<(u32, u32)> {
    let status = fs::read_to_string(format!("/proc/{program}/status"))?;
    let id = |label: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(label));
        let first = line.and_then(|ids| ids.split_ascii_whitespace().next());
        first.and_then(|id| id.parse().ok())
    };
    let ids = id("Uid:").zip(id("Gid:"));
    ids.ok_or_else(|| ErrorKind::InvalidData.into())
}

//! What a test needs of the machine, and how it says that it was not there.

use crate::user::Who;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A program on `PATH`.
    Program(&'static str),
    /// A Docker engine that answers.
    DockerEngine,
    /// The tests run as root.
    Root,
    /// A user other than root.
    PlainUser,
    /// The tests run as root, so that they can take any user id.
    AnyUser,
    /// A Debian mirror among apt's sources, so that a test can stand in between.
    AptMirror,
}

impl Need {
    fn describe(self) -> String {
        match self {
            Self::Program(name) => format!("the program {name}"),
            Self::DockerEngine => "a Docker engine that answers".to_owned(),
            Self::Root | Self::AnyUser => "root".to_owned(),
            Self::PlainUser => "a user other than root".to_owned(),
            Self::AptMirror => "a Debian mirror among apt's sources".to_owned(),
        }
    }
}

/// Whether the machine has it.
pub fn met(need: &Need) -> bool {
    match need {
        Need::Program(name) => on_path(name),
        Need::DockerEngine => on_path("docker") && succeeds(Command::new("docker").arg("version")),
        Need::Root => Who::Root.ids().is_some(),
        Need::AnyUser => Who::Nameless(12_345).ids().is_some(),
        Need::PlainUser => Who::Plain.ids().is_some(),
        Need::AptMirror => crate::mirror::upstream().is_some(),
    }
}

/// Says plainly that the test did nothing.
///
/// # Panics
/// Where `SLUGC_TEST_NO_SKIP` is set: there, everything that can be made ready has been.
pub fn skipped(need: &Need) {
    let what = need.describe();
    // A mirror is the machine's owner's business; pack and the reference lifecycle need a newer Go than every machine
    // has.
    let may_lack = [
        Need::AptMirror,
        Need::Program("pack"),
        Need::Program("upstream-lifecycle"),
    ];
    assert!(
        std::env::var_os("SLUGC_TEST_NO_SKIP").is_none() || may_lack.contains(need),
        "needs {what}, and SLUGC_TEST_NO_SKIP forbids to skip"
    );
    eprintln!("skipped: needs {what}");
}

/// The pids of processes that have `text` in their command line.
pub fn processes_with(text: &str) -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        panic!("cannot read /proc");
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
        })
        .collect()
}

fn on_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| Path::new(&folder).join(name).is_file())
    })
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

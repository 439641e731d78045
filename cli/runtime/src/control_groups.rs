//! Control groups of dynos that have a size (cgroups(7)): the kernel keeps them to their memory and
//! shares processors out by size.
//!
//! ```text
//! <own group, or beside it> / slugc-<pid of the supervisor or one-off> / web.1-7
//! ```
//! Both versions are used as they are found mounted: version 2 where it has the controller, else
//! version 1. Rights on them come from being root or from the user's service manager; without them
//! nothing is limited, and [`ControlGroups::lacking`] says why.

use crate::size::Size;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the names of a supervisor's groups begin with; its pid follows.
const PREFIX: &str = "slugc-";

/// What the log says of a dyno that is killed for it.
pub const VASTLY_EXCEEDED: &str = "Error R15 (Memory quota vastly exceeded)";

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Controller {
    Memory,
    Cpu,
}

/// Which interface a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A mounted hierarchy, and this process's place in it.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// The mount point.
    top: PathBuf,
    /// The folder of this process's own group.
    own: PathBuf,
    /// Of version 1; version 2 says it in a file.
    controllers: BTreeSet<Controller>,
}

/// The group of a whole supervisor in one hierarchy; dynos get groups in it.
#[derive(Debug)]
struct Parent {
    version: Version,
    folder: PathBuf,
    controllers: BTreeSet<Controller>,
}

/// The groups of one supervisor or one-off. They are removed when this is dropped, or by the next
/// one if this process is killed.
#[derive(Debug)]
pub struct ControlGroups {
    parents: Vec<Parent>,
    reasons: Vec<String>,
    /// How many groups were made in it.
    made: AtomicU64,
}

/// The size of a dyno, and where the kernel keeps it to that.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub size: Size,
    pub groups: &'a ControlGroups,
}

/// The group of one dyno. Removed when this is dropped, which is to be after the dyno's end.
#[derive(Debug, Default)]
pub(crate) struct Group {
    folders: Vec<(Version, PathBuf)>,
}

impl ControlGroups {
    /// Makes what this process may make.
    pub fn make() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let found = hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        Self::make_in(&found)
    }

    fn make_in(hierarchies: &[Hierarchy]) -> Self {
        let mut groups = Self {
            parents: Vec::new(),
            reasons: Vec::new(),
            made: AtomicU64::new(0),
        };
        for controller in [Controller::Memory, Controller::Cpu] {
            let mut reason = None;
            let two = |hierarchy: &&Hierarchy| hierarchy.version == Version::Two;
            let one = |hierarchy: &&Hierarchy| {
                hierarchy.version == Version::One && hierarchy.controllers.contains(&controller)
            };
            let candidates = hierarchies.iter().filter(two);
            for hierarchy in candidates.chain(hierarchies.iter().filter(one)) {
                match groups.add(hierarchy, controller) {
                    Ok(true) => {
                        reason = None;
                        break;
                    }
                    Ok(false) => {}
                    Err(why) => reason = Some(why),
                }
            }
            if !groups.controls(controller) {
                groups.reasons.push(reason.unwrap_or_else(|| {
                    format!("no control group has the {} controller", controller.name())
                }));
            }
        }
        groups
    }

    fn controls(&self, controller: Controller) -> bool {
        let mut parents = self.parents.iter();
        parents.any(|parent| parent.controllers.contains(&controller))
    }

    /// Why something is not limited, in words that follow a colon; nothing where all is.
    pub fn lacking(&self) -> Option<String> {
        let mut reasons = self.reasons.clone();
        reasons.dedup();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Takes a hierarchy into use for a controller, unless it does not have it.
    fn add(&mut self, hierarchy: &Hierarchy, controller: Controller) -> Result<bool, String> {
        if hierarchy.version == Version::Two
            && !has_word(&hierarchy.top.join("cgroup.controllers"), controller.name())
        {
            return Ok(false);
        }
        let beside = hierarchy.place();
        sweep(&beside);
        let folder = beside.join(format!("{PREFIX}{}", std::process::id()));
        if hierarchy.version == Version::Two {
            // Without the right to it, it may still be on.
            drop(pass_on(&beside, controller));
        }
        let found = self.parents.iter().position(|it| it.folder == folder);
        let at = if let Some(at) = found {
            at
        } else {
            // Of an earlier process with this pid, whose counts are not ours.
            remove(&folder);
            make_folder(&folder).map_err(|error| cannot_make(&folder, &error))?;
            self.parents.push(Parent {
                version: hierarchy.version,
                folder: folder.clone(),
                controllers: BTreeSet::new(),
            });
            self.parents.len() - 1
        };
        if hierarchy.version == Version::Two {
            pass_on(&folder, controller).map_err(|error| {
                format!(
                    "{} does not pass the {} controller on ({error})",
                    beside.display(),
                    controller.name()
                )
            })?;
        }
        self.parents[at].controllers.insert(controller);
        Ok(true)
    }

    /// Makes the group of a dyno.
    pub(crate) fn group(&self, name: &str, size: Size) -> io::Result<Group> {
        let mut group = Group::default();
        // During a deploy there are two `web.1`.
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        for parent in &self.parents {
            if parent.controllers.is_empty() {
                continue;
            }
            let folder = parent.folder.join(format!("{name}-{number}"));
            make_folder(&folder)?;
            group.folders.push((parent.version, folder.clone()));
            for controller in &parent.controllers {
                limit(&folder, parent.version, *controller, size)?;
            }
        }
        Ok(group)
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        for parent in &self.parents {
            // What is still in use is removed by the next one.
            remove(&parent.folder);
        }
    }
}

impl Group {
    /// What a process writes `0` to so that it is in the group.
    pub(crate) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let mut entrances = Vec::with_capacity(self.folders.len());
        for (_, folder) in &self.folders {
            let file = File::options()
                .write(true)
                .open(folder.join("cgroup.procs"));
            entrances.push(file?.into());
        }
        Ok(entrances)
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.folders.iter().any(|(version, folder)| {
            let file = match version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            };
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.is_some_and(|count| count.trim() != "0")
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (_, folder) in &self.folders {
            // What is still in use goes with the supervisor's group.
            drop(fs::remove_dir(folder));
        }
    }
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }
}

impl Hierarchy {
    /// Where new groups are made: version 2 has no processes in groups that have groups, so beside
    /// the own one, if it is not the root (cgroups(7), "Cgroups v2 \"no internal processes\" rule").
    fn place(&self) -> PathBuf {
        match (self.version, self.own.parent()) {
            (Version::Two, Some(parent)) if self.own != self.top => parent.to_owned(),
            _ => self.own.clone(),
        }
    }
}

/// The hierarchies that are mounted where this process's own group is to be seen (proc(5),
/// `/proc/pid/mountinfo` and `/proc/pid/cgroup`).
fn hierarchies(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let fields: Vec<&str> = before.split(' ').collect();
        let [_, _, _, root, top, ..] = fields[..] else {
            continue;
        };
        let mut after = after.split(' ');
        let version = match after.next() {
            Some("cgroup") => Version::One,
            Some("cgroup2") => Version::Two,
            _ => continue,
        };
        let options: BTreeSet<&str> = after.nth(1).unwrap_or_default().split(',').collect();
        let controllers: BTreeSet<Controller> = [Controller::Memory, Controller::Cpu]
            .into_iter()
            .filter(|controller| version == Version::One && options.contains(controller.name()))
            .collect();
        if version == Version::One && controllers.is_empty() {
            continue;
        }
        let group = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            let is_it = match version {
                Version::Two => names.is_empty(),
                Version::One => names.split(',').any(|name| {
                    controllers
                        .iter()
                        .any(|controller| controller.name() == name)
                }),
            };
            is_it.then_some(path)
        });
        let (Some(group), top) = (group, PathBuf::from(top)) else {
            continue;
        };
        // A container sees its own group as the mount's root.
        let below = Path::new(group)
            .strip_prefix(root)
            .or_else(|_| Path::new(group).strip_prefix("/"));
        let own = match below {
            // Outside of what is to be seen here.
            Ok(below) if below.components().any(|part| part == Component::ParentDir) => continue,
            Ok(below) if !below.as_os_str().is_empty() => top.join(below),
            _ => top.clone(),
        };
        found.push(Hierarchy {
            version,
            top,
            own,
            controllers,
        });
    }
    found
}

fn has_word(file: &Path, word: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_ascii_whitespace().any(|found| found == word)
}

/// Gives a controller to the groups in a group of version 2.
fn pass_on(folder: &Path, controller: Controller) -> io::Result<()> {
    let file = folder.join("cgroup.subtree_control");
    if has_word(&file, controller.name()) {
        return Ok(());
    }
    fs::write(file, format!("+{}", controller.name()))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        // Of a process with this pid that was killed, or of this one for another controller.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn cannot_make(folder: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; with `systemd-run --user --scope slugc launch` a user's service manager gives the right to it"
        }
        _ => "",
    };
    format!(
        "cannot make the control group {} ({error}){advice}",
        folder.display()
    )
}

/// Bounds a dyno's group. Memory and swap together end at twice the quota, where Heroku kills
/// (Dev Center, "Error Codes", R15); processors are shared out, as Heroku does, not rationed.
fn limit(folder: &Path, version: Version, controller: Controller, size: Size) -> io::Result<()> {
    let bytes = size.memory().saturating_mul(2).to_string();
    let write = |file: &str, text: &str| fs::write(folder.join(file), text);
    // Not every kernel counts swap.
    let write_if_there = |file: &str, text: &str| match write(file, text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Kernels that don't count it say so only now.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
            Ok(())
        }
        done => done,
    };
    match (controller, version) {
        (Controller::Memory, Version::One) => {
            write("memory.limit_in_bytes", &bytes)?;
            write_if_there("memory.memsw.limit_in_bytes", &bytes)
        }
        (Controller::Memory, Version::Two) => {
            write("memory.max", &bytes)?;
            write_if_there("memory.swap.max", "0")?;
            // A dyno ends as a whole.
            write_if_there("memory.oom.group", "1")
        }
        (Controller::Cpu, Version::One) => {
            write("cpu.shares", &(size.cpu_share() * 1024).to_string())
        }
        (Controller::Cpu, Version::Two) => {
            write("cpu.weight", &(size.cpu_share() * 100).to_string())
        }
    }
}

/// Removes the groups of supervisors that are no more.
fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_over = pid
            .and_then(|pid| pid.parse::<u32>().ok())
            .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if is_over {
            remove(&entry.path());
        }
    }
}

/// Removes a group and those in it; the kernel keeps what has processes.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            drop(fs::remove_dir(entry.path()));
        }
    }
    drop(fs::remove_dir(folder));
}

#[cfg(test)]
#[path = "control_groups_tests.rs"]
mod tests;

//! Everything the new processes need, in the form the kernel takes it.
//!
//! They are copies of a process that may have had other threads, which may have held the
//! allocator's lock: whatever needs memory is made here, before clone.

use std::ffi::{CString, OsStr, c_char};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use rustix::process::{Gid, Uid};
use seccompiler::sock_filter;

use crate::error::Error;
use crate::spec::{Access, Filter, Network, Sandbox, Tier, Writable};
use crate::step::Step;
use crate::{filter, landlocked, tier, traced};

/// overlayfs takes its options in one page; each directory is `/proc/self/fd/NNNN:` there.
const MAX_LOWER: usize = 180;

/// Bytes; far more than the few frames before exec take, and touched only where they are.
const PROGRAM_STACK: usize = 256 * 1024;

/// Where a shell looks when there is no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Plan {
    pub(crate) tier: Tier,
    /// Present in a user namespace.
    pub(crate) id_maps: Option<IdMaps>,
    pub(crate) files: Files,
    pub(crate) program: Program,
    pub(crate) hostname: Vec<u8>,
    pub(crate) network: Network,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: Vec<Gid>,
    pub(crate) caller_is_root: bool,
    /// Whether the program's ids are set by system calls, not by a map.
    pub(crate) set_ids: bool,
    pub(crate) filters: Vec<&'static [sock_filter]>,
    pub(crate) landlock: Option<OwnedFd>,
    /// What to chroot into, in [`Tier::Chroot`].
    pub(crate) tree: Option<TreeFds>,
    /// Held by init as well, in [`Tier::Traced`]: something in the tree lives.
    pub(crate) lock: Option<OwnedFd>,
    /// What the tracer is told, in [`Tier::Traced`].
    pub(crate) trace: Option<OwnedFd>,
    pub(crate) terminal: bool,
    /// Of [`Sandbox::control_groups`], which outlives the plan's use.
    pub(crate) control_groups: Vec<RawFd>,
    pub(crate) ended_by: EndedBy,
    /// Memory that the program's process runs on until exec; never read as a vector.
    pub(crate) program_stack: Vec<u128>,
    /// The caller's command line and first environment in memory; init wipes its copy, because
    /// `/proc/1/cmdline` is readable by everyone inside.
    pub(crate) caller_strings: [Range<usize>; 2],
}

/// What ends the program when its parent has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// The parent is pid 1 of the program's namespace.
    Namespace,
    /// A signal of the kernel's.
    Parent,
}

/// The laid-out root.
pub(crate) struct TreeFds {
    pub(crate) root: OwnedFd,
    /// Init has it as well: who can lock the tree knows that everything in it has ended.
    pub(crate) lock: OwnedFd,
}

impl TreeFds {
    pub(crate) fn numbers(&self) -> (RawFd, RawFd) {
        (self.root.as_raw_fd(), self.lock.as_raw_fd())
    }
}

/// What the program sees as `/`.
pub(crate) struct Files {
    pub(crate) lower: Vec<CString>,
    /// One slot for each of `lower`, filled in the new mount namespace.
    pub(crate) lower_fds: Vec<Option<OwnedFd>>,
    pub(crate) writable: PlannedWritable,
    /// The overlay's options; its capacity suffices for all of them.
    pub(crate) overlay_options: Vec<u8>,
    /// A directory of the host to build the new root on, inside the new mount namespace.
    pub(crate) staging: CString,
    pub(crate) proc: Target,
    pub(crate) dev: Target,
    /// Unless the caller mounts something there.
    pub(crate) tmp: Option<Target>,
    pub(crate) tmpfs: Vec<Target>,
    pub(crate) tmpfs_options: CString,
    pub(crate) mounts: Vec<PlannedMount>,
}

/// What execve(2) takes.
pub(crate) struct Program {
    pub(crate) cwd: CString,
    /// What to try to execute, in order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: CStringArray,
    pub(crate) env: CStringArray,
}

/// C strings and a NULL-terminated array of pointers to them.
pub(crate) struct CStringArray {
    /// What `pointers` point to.
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStringArray {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        Self { strings, pointers }
    }

    pub(crate) fn strings(&self) -> &[CString] {
        &self.strings
    }

    pub(crate) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

pub(crate) struct IdMaps {
    pub(crate) uid: Vec<u8>,
    pub(crate) gid: Vec<u8>,
}

pub(crate) enum PlannedWritable {
    ReadOnly,
    Tmpfs,
    Dir {
        upper: CString,
        work: CString,
        /// Filled in the new mount namespace, as `work_fd`.
        upper_fd: Option<OwnedFd>,
        work_fd: Option<OwnedFd>,
    },
}

pub(crate) struct PlannedMount {
    pub(crate) source: CString,
    /// Filled in the new mount namespace.
    pub(crate) source_fd: Option<OwnedFd>,
    pub(crate) target: Target,
    pub(crate) read_only: bool,
}

/// A path inside, relative to the new root, with each of its ancestors.
pub(crate) struct Target {
    /// `a`, `a/b`, `a/b/c`; empty for the root itself.
    pub(crate) prefixes: Vec<CString>,
    /// `a`, `b`, `c`.
    pub(crate) names: Vec<CString>,
}

impl Target {
    pub(crate) fn new(what: &'static str, path: &Path) -> Result<Self, Error> {
        let mut prefix = PathBuf::new();
        let mut target = Self {
            prefixes: Vec::new(),
            names: Vec::new(),
        };
        absolute(what, path)?;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    prefix.push(name);
                    target.prefixes.push(c_string(what, prefix.as_os_str())?);
                    target.names.push(c_string(what, name)?);
                }
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(Error::RelativePath {
                        what,
                        path: path.to_path_buf(),
                    });
                }
            }
        }
        Ok(target)
    }
}

impl Plan {
    pub(crate) fn new(sandbox: &Sandbox, tier: Tier) -> Result<Self, Error> {
        let setup = |step: Step| {
            move |source| Error::Setup {
                attempt: step.attempt(),
                tier,
                source,
            }
        };
        let landlock = match tier {
            Tier::Landlock => {
                landlocked::require_possible(sandbox)?;
                Some(landlocked::ruleset(sandbox).map_err(setup(Step::Landlock))?)
            }
            Tier::Root | Tier::UserNamespace | Tier::Chroot | Tier::Traced => None,
        };
        let own_ids = (rustix::process::geteuid(), rustix::process::getegid());
        // The only user there is cannot have files of others.
        let filter = match tier {
            Tier::Traced if sandbox.uid == 0 => Filter::FakeOwnership,
            _ => sandbox.filter,
        };
        Ok(Self {
            tier,
            id_maps: (tier == Tier::UserNamespace).then(|| IdMaps {
                uid: format!("{} {} 1", sandbox.uid, own_ids.0.as_raw()).into_bytes(),
                gid: format!("{} {} 1", sandbox.gid, own_ids.1.as_raw()).into_bytes(),
            }),
            files: Files::new(sandbox, staging().map_err(setup(Step::Staging))?)?,
            program: Program::new(sandbox)?,
            hostname: sandbox.hostname.clone().into_bytes(),
            network: sandbox.network,
            uid: Uid::from_raw(sandbox.uid),
            gid: Gid::from_raw(sandbox.gid),
            groups: sandbox.groups.iter().copied().map(Gid::from_raw).collect(),
            caller_is_root: own_ids.0.is_root(),
            set_ids: match tier {
                Tier::Root | Tier::Chroot => true,
                Tier::UserNamespace | Tier::Traced => false,
                Tier::Landlock => own_ids.0.is_root(),
            },
            filters: filter::programs(filter).map_err(setup(Step::Filter))?,
            landlock,
            tree: None,
            lock: None,
            trace: None,
            terminal: sandbox.terminal,
            control_groups: sandbox
                .control_groups
                .iter()
                .map(AsRawFd::as_raw_fd)
                .collect(),
            ended_by: if tier.has_namespaces() {
                EndedBy::Namespace
            } else {
                EndedBy::Parent
            },
            program_stack: Vec::with_capacity(PROGRAM_STACK / size_of::<u128>()),
            caller_strings: tier::caller_strings(),
        })
    }

    /// The namespaces to clone into.
    pub(crate) fn namespaces(&self) -> libc::c_int {
        let mut flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        match self.tier {
            Tier::Root => {}
            Tier::UserNamespace => flags |= libc::CLONE_NEWUSER,
            Tier::Chroot | Tier::Traced | Tier::Landlock => return 0,
        }
        if self.network == Network::None {
            flags |= libc::CLONE_NEWNET;
        }
        flags
    }
}

impl Files {
    fn new(sandbox: &Sandbox, staging: CString) -> Result<Self, Error> {
        let count = sandbox.root.lower.len();
        if count == 0 || count > MAX_LOWER {
            return Err(Error::LowerCount {
                count,
                max: MAX_LOWER,
            });
        }
        let lower = sandbox
            .root
            .lower
            .iter()
            .map(|path| host_path("root", path));
        let tmpfs = sandbox
            .tmpfs
            .iter()
            .map(|path| Target::new("in-memory directory", path));
        let tmpfs_options = format!("mode=0755,uid={},gid={}", sandbox.uid, sandbox.gid);
        let tmp = Path::new("/tmp");
        let tmp_is_taken = sandbox.mounts.iter().any(|mount| mount.target == tmp);
        let mounts = sandbox.mounts.iter().map(|mount| {
            Ok(PlannedMount {
                source: host_path("mount source", &mount.source)?,
                source_fd: None,
                target: Target::new("mount target", &mount.target)?,
                read_only: mount.access == Access::ReadOnly,
            })
        });
        Ok(Self {
            lower: lower.collect::<Result<_, _>>()?,
            lower_fds: (0..count).map(|_| None).collect(),
            writable: match &sandbox.root.writable {
                Writable::ReadOnly => PlannedWritable::ReadOnly,
                Writable::Tmpfs => PlannedWritable::Tmpfs,
                Writable::Dir { upper, work } => PlannedWritable::Dir {
                    upper: host_path("upper directory", upper)?,
                    work: host_path("work directory", work)?,
                    upper_fd: None,
                    work_fd: None,
                },
            },
            overlay_options: Vec::with_capacity(4096),
            staging,
            proc: Target::new("root", Path::new("/proc"))?,
            dev: Target::new("root", Path::new("/dev"))?,
            tmp: if tmp_is_taken {
                None
            } else {
                Some(Target::new("root", tmp)?)
            },
            tmpfs: tmpfs.collect::<Result<_, _>>()?,
            tmpfs_options: c_string("in-memory directory", OsStr::new(&tmpfs_options))?,
            mounts: mounts.collect::<Result<_, Error>>()?,
        })
    }
}

impl Program {
    fn new(sandbox: &Sandbox) -> Result<Self, Error> {
        let (program, _) = sandbox.argv.split_first().ok_or(Error::NoProgram)?;
        let argv = sandbox
            .argv
            .iter()
            .map(|argument| c_string("argument list", argument));
        let argv = CStringArray::new(argv.collect::<Result<_, _>>()?);
        let env = sandbox.env.iter().map(|(name, value)| {
            let line = [name.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(line).map_err(|_| Error::Nul {
                what: "environment",
            })
        });
        Ok(Self {
            cwd: host_path("working directory", &sandbox.cwd)?,
            candidates: candidates(program, &sandbox.env)?,
            argv,
            env: CStringArray::new(env.collect::<Result<_, _>>()?),
        })
    }
}

impl Program {
    /// The tracer, in the program's place.
    pub(crate) fn tracer() -> Self {
        Self {
            cwd: c"/".to_owned(),
            candidates: vec![traced::EXECUTABLE.to_owned()],
            argv: CStringArray::new(vec![traced::NAME.to_owned()]),
            env: CStringArray::new(Vec::new()),
        }
    }
}

/// The descriptors init has; it closes all others.
#[derive(Clone, Copy)]
pub(crate) struct Descriptors {
    /// Takes a [`crate::step::Failure`]; exec closes it.
    pub(crate) ready: RawFd,
    /// Takes and gives [`crate::child::Message`]s.
    pub(crate) control: RawFd,
    /// Readable when the calling process is dead.
    pub(crate) caller: RawFd,
    pub(crate) streams: [RawFd; 3],
}

fn absolute(what: &'static str, path: &Path) -> Result<(), Error> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(Error::RelativePath {
            what,
            path: path.to_path_buf(),
        })
    }
}

fn host_path(what: &'static str, path: &Path) -> Result<CString, Error> {
    absolute(what, path)?;
    c_string(what, path.as_os_str())
}

fn c_string(what: &'static str, value: &OsStr) -> Result<CString, Error> {
    CString::new(value.as_bytes()).map_err(|_| Error::Nul { what })
}

fn candidates(
    program: &OsStr,
    env: &[(std::ffi::OsString, std::ffi::OsString)],
) -> Result<Vec<CString>, Error> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string("argument list", program)?]);
    }
    let path = env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    path.as_bytes()
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| {
            c_string(
                "PATH",
                Path::new(OsStr::from_bytes(directory))
                    .join(program)
                    .as_os_str(),
            )
        })
        .collect()
}

/// Any directory that is not `/` will do: it is covered up in the new mount namespace only, after
/// everything of the host that is needed has been opened.
fn staging() -> Result<CString, io::Error> {
    const CANDIDATES: [&str; 5] = ["/tmp", "/var", "/usr", "/etc", "/mnt"];
    for candidate in CANDIDATES {
        match fs::metadata(candidate) {
            Ok(metadata) if metadata.is_dir() => {
                return CString::new(candidate).map_err(io::Error::other);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn targets_know_their_ancestors() {
        let target = Target::new("mount target", Path::new("/a//b/./c")).unwrap();
        assert_eq!(
            target.prefixes,
            [c"a".to_owned(), c"a/b".to_owned(), c"a/b/c".to_owned()]
        );
        assert_eq!(
            target.names,
            [c"a".to_owned(), c"b".to_owned(), c"c".to_owned()]
        );
        assert!(
            Target::new("mount target", Path::new("/"))
                .unwrap()
                .names
                .is_empty()
        );
        for bad in ["a", "", "/a/../b"] {
            assert!(matches!(
                Target::new("mount target", Path::new(bad)),
                Err(Error::RelativePath {
                    what: "mount target",
                    ..
                })
            ));
        }
    }

    #[test]
    fn programs_are_looked_up_in_the_given_path_only() {
        let env = [("PATH".into(), "/a:relative::/b".into())];
        assert_eq!(
            candidates(OsStr::new("x"), &env).unwrap(),
            [c"/a/x".to_owned(), c"/b/x".to_owned()]
        );
        assert_eq!(
            candidates(OsStr::new("./x"), &env).unwrap(),
            [c"./x".to_owned()]
        );
        assert!(
            candidates(OsStr::new("x"), &[])
                .unwrap()
                .contains(&c"/usr/bin/x".to_owned())
        );
    }
}

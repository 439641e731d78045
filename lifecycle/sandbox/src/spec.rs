//! What a caller asks for: the root, the mounts, the identity and the program.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// One program in a sandbox of its own. Nothing but what these fields name gets in.
#[derive(Debug)]
pub struct Sandbox {
    /// The directory tree the program sees as `/`.
    pub root: Root,
    /// Directories and files of the host that the program sees as well, mounted in this order.
    pub mounts: Vec<Mount>,
    /// Empty, writable in-memory directories (absolute paths), mounted before [`Sandbox::mounts`].
    /// They belong to `uid`:`gid`. `/tmp` is one already unless a mount has `/tmp` as its target.
    pub tmpfs: Vec<PathBuf>,
    /// The user the program is, as it sees itself. See [`crate::host_ids`].
    pub uid: u32,
    /// The group the program is in, as it sees itself.
    pub gid: u32,
    /// Supplementary groups; [`Tier::Root`] only, a single-id map has no further groups to give.
    pub groups: Vec<u32>,
    /// What `hostname` says inside.
    pub hostname: String,
    /// The whole environment: exactly these, nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory, an absolute path inside.
    pub cwd: PathBuf,
    /// The program and its arguments. A name without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The `cgroup.procs` files, open for writing, of the control groups that everything in the
    /// sandbox belongs to (cgroups(7)). The caller makes the groups and removes them.
    pub control_groups: Vec<OwnedFd>,
    /// Whether the host's network is reachable.
    pub network: Network,
    /// Which system calls are refused or faked.
    pub filter: Filter,
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
    /// Makes standard input's terminal the controlling terminal of the program's session, for job
    /// control and `^C`. It must be the follower of a pty that is nobody's controlling terminal yet:
    /// the caller's own terminal cannot be shared between two sessions.
    pub terminal: bool,
}

impl Sandbox {
    /// A sandbox that runs `argv` in `root` as 1000:1000 with an empty environment, the host's
    /// network, `/` as working directory and the caller's standard streams.
    pub fn new(root: Root, argv: Vec<OsString>) -> Self {
        Self {
            root,
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            hostname: String::from("sandbox"),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            argv,
            control_groups: Vec::new(),
            network: Network::Host,
            filter: Filter::Default,
            stdin: Stream::Inherit,
            stdout: Stream::Inherit,
            stderr: Stream::Inherit,
            terminal: false,
        }
    }
}

/// The directory tree that becomes `/`.
///
/// Missing mount points are created: in the upper directory of [`Writable::Dir`], in memory
/// otherwise. The lower directories are never written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Absolute directories, topmost first, laid over each other by overlayfs with `userxattr`
    /// (whiteouts are character devices 0:0, opaque directories carry `user.overlay.opaque=y`).
    pub lower: Vec<PathBuf>,
    /// Where writes go.
    pub writable: Writable,
}

/// Where writes to [`Root`] go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writable {
    /// Writes are refused. A single lower directory that has all the mount points is bind-mounted
    /// as it is; otherwise an overlay is made and then set read-only.
    ReadOnly,
    /// Writes go to memory and are gone afterwards.
    Tmpfs,
    /// Writes go to `upper` and stay. Both directories must exist, be absolute and lie in the same
    /// file system. Where that file system cannot hold an overlay's upper directory (overlayfs
    /// itself, so most containers), writes go to memory and [`crate::Child::wait`] copies them to `upper`.
    /// In [`Tier::Chroot`] and [`Tier::Traced`] see [`crate::spawn()`].
    Dir {
        /// Receives the changes.
        upper: PathBuf,
        /// overlayfs' own scratch directory, empty. Where [`Tier::lays_out_trees`] the place of trees, which may
        /// be shared and used again; [`crate::recover`] comes before its removal.
        work: PathBuf,
    },
}

/// A directory or file of the host that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// An absolute path on the host; symbolic links are followed.
    pub source: PathBuf,
    /// An absolute path inside; created if absent, as a directory or a file like the source.
    pub target: PathBuf,
    /// What the program may do there.
    pub access: Access,
}

impl Mount {
    /// A mount that refuses writes.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            access: Access::ReadOnly,
        }
    }

    /// A mount whose writes reach the host.
    pub fn read_write(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            access: Access::ReadWrite,
        }
    }
}

/// What a program may do in a mount, on top of the files' own permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and execute.
    ReadOnly,
    /// Everything; writes reach the host.
    ReadWrite,
}

/// The network a program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// A loopback interface of its own and nothing else.
    None,
}

/// Which system calls are refused or faked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Mounting, new namespaces, kernel modules, keyrings, bpf, terminal injection and their like fail with EPERM.
    Default,
    /// As `Default`; besides, changing owners, changing ids and making device nodes do nothing and
    /// report success, so that package scripts run the same with one id as with all of them
    /// (Charliecloud's `--seccomp` does the same).
    FakeOwnership,
}

/// What a standard stream of the program is connected to.
#[derive(Debug)]
pub enum Stream {
    /// The caller's own.
    Inherit,
    /// `/dev/null`.
    Null,
    /// A pipe, whose other end is in the [`crate::Child`].
    Pipe,
    /// This descriptor. The caller keeps its copy; a pipe's reader sees the end when both are closed.
    Fd(OwnedFd),
}

/// How a sandbox is made, from the strongest to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Namespaces made by root, and a real change to the inside ids.
    Root,
    /// A user namespace in which one inside id stands for the caller's own.
    UserNamespace,
    /// No namespaces, but root: the root is laid out as a real directory tree, which the program is
    /// confined to by chroot and a real change to the inside ids. See [`crate::spawn()`].
    Chroot,
    /// No namespaces and no root: the root is laid out as a real directory tree, which a tracer
    /// (ptrace(2)) has the program see as its own, and Landlock keeps it there. Needs
    /// [`crate::trace_if_called`]. See [`crate::spawn()`].
    Traced,
    /// No namespaces: the program runs in the caller's own root, confined by Landlock, seccomp and
    /// `no_new_privs`. See [`crate::spawn()`] for what it can and cannot do.
    Landlock,
}

impl Tier {
    /// Whether inside ids are the host's: files then belong to whom they belong to inside.
    pub fn keeps_ids(self) -> bool {
        matches!(self, Self::Root | Self::Chroot)
    }

    /// Whether the root is a tree in the `work` directory of [`Writable::Dir`].
    pub fn lays_out_trees(self) -> bool {
        matches!(self, Self::Chroot | Self::Traced)
    }

    /// Whether the sandbox has processes and mounts of its own.
    pub fn has_namespaces(self) -> bool {
        matches!(self, Self::Root | Self::UserNamespace)
    }
}

//! Runs a program in namespaces of its own, as root or as a plain user.
//!
//! [`spawn()`] starts one program in a root file system of the caller's choosing: its own pid, mount,
//! ipc, uts and cgroup namespaces, a fresh `/proc`, a minimal `/dev`, no `/sys`, no new privileges,
//! no capabilities (a few for uid 0), a seccomp filter, an environment of exactly what was given.
//!
//! ```text
//! caller ── clone ──► init (pid 1)      builds the root, then reaps orphans, forwards signals
//!                      └── clone ──► program (pid 2)   drops privileges, execs
//! ```
//!
//! Nothing survives: when the program ends, init ends, and with it the pid namespace. Init watches
//! the calling process by a pidfd, so a SIGKILL of the caller ends it too; not by
//! `PR_SET_PDEATHSIG`, which fires when the spawning *thread* ends.
//!
//! [`enter`] starts one more program in a sandbox that runs.
//!
//! Where the kernel or a container refuses namespaces, a weaker kind is made, see [`Tier`] and
//! [`spawn()`]: for root, a chroot into a real tree of hard links; for a plain user, such a tree and
//! a tracer that has the program see it as its root; else Landlock alone. They are found out by
//! trying ([`probe`]).
//!
//! Where `/proc/self/mountinfo` masks parts of `/proc` (a container), a user namespace may not mount
//! a fresh one; the container's own `/proc` is then seen inside.
//!
//! Needs Linux 5.11 (overlayfs with `userxattr`) and a mounted `/proc`.

mod changes;
mod child;
mod chroot;
mod enter;
mod error;
mod filter;
mod init;
mod journal;
mod landlocked;
mod merge;
mod mounts;
mod plan;
mod privileges;
mod program;
mod root;
mod slot;
mod spawn;
mod spec;
mod step;
mod tier;
mod traced;
mod write_back;

pub use child::{Child, Signaller, exit_code};
pub use chroot::recover;
pub use enter::{Visitor, enter, program_of, require_entrances};
pub use error::Error;
pub use rustix::process::Signal;
pub use spawn::{spawn, spawn_at};
pub use spec::{Access, Filter, Mount, Network, Root, Sandbox, Stream, Tier, Writable};
pub use tier::{Probe, Refusal, host_ids, probe, tier};
pub use traced::trace_if_called;

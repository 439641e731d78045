//! System calls that name files, and have their paths replaced by those of the host.

use libc::{c_int, c_long};
use rustix::io::Errno;

use super::memory::read_string;
use super::tracee::{Call, MAX_PATH};
use super::tracer::{Thread, Tracer};
use super::view::Last;

/// A path among a call's arguments.
#[derive(Clone, Copy)]
struct Argument {
    /// Where the directory is given that a relative path begins at, if not the working directory.
    directory: Option<usize>,
    path: usize,
    last: Rule,
}

/// When a link at the path's end is followed.
#[derive(Clone, Copy)]
enum Rule {
    Always,
    Never,
    /// Unless the argument has these bits.
    Unless(usize, c_int),
    /// If the argument has these bits.
    If(usize, c_int),
    /// As the flags of open(2) in this argument say.
    Open(usize),
}

/// What a call does to a file beyond what Landlock watches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing, or what Landlock refuses where it should.
    Watched,
    /// It changes the file's own properties.
    Unwatched,
}
use Effect::{Unwatched, Watched};

const fn at(directory: usize, path: usize, last: Rule) -> Argument {
    Argument {
        directory: Some(directory),
        path,
        last,
    }
}

const fn plain(path: usize, last: Rule) -> Argument {
    Argument {
        directory: None,
        path,
        last,
    }
}

const NO_FOLLOW: c_int = libc::AT_SYMLINK_NOFOLLOW;

/// Each call, what it does and which of its arguments are paths.
const TABLE: &[(c_long, Effect, &[Argument])] = &[
    (libc::SYS_open, Watched, &[plain(0, Rule::Open(1))]),
    (libc::SYS_openat, Watched, &[at(0, 1, Rule::Open(2))]),
    (libc::SYS_creat, Unwatched, &[plain(0, Rule::Always)]),
    (libc::SYS_truncate, Unwatched, &[plain(0, Rule::Always)]),
    (libc::SYS_chdir, Watched, &[plain(0, Rule::Always)]),
    (libc::SYS_chmod, Unwatched, &[plain(0, Rule::Always)]),
    (libc::SYS_fchmodat, Unwatched, &[at(0, 1, Rule::Always)]),
    (libc::SYS_mkdir, Watched, &[plain(0, Rule::Never)]),
    (libc::SYS_mkdirat, Watched, &[at(0, 1, Rule::Never)]),
    (libc::SYS_mknod, Watched, &[plain(0, Rule::Never)]),
    (libc::SYS_mknodat, Watched, &[at(0, 1, Rule::Never)]),
    (libc::SYS_rmdir, Watched, &[plain(0, Rule::Never)]),
    (libc::SYS_unlink, Watched, &[plain(0, Rule::Never)]),
    (libc::SYS_unlinkat, Watched, &[at(0, 1, Rule::Never)]),
    (
        libc::SYS_rename,
        Watched,
        &[plain(0, Rule::Never), plain(1, Rule::Never)],
    ),
    (
        libc::SYS_renameat,
        Watched,
        &[at(0, 1, Rule::Never), at(2, 3, Rule::Never)],
    ),
    (
        libc::SYS_renameat2,
        Watched,
        &[at(0, 1, Rule::Never), at(2, 3, Rule::Never)],
    ),
    (
        libc::SYS_link,
        Watched,
        &[plain(0, Rule::Never), plain(1, Rule::Never)],
    ),
    (
        libc::SYS_linkat,
        Watched,
        &[
            at(0, 1, Rule::If(4, libc::AT_SYMLINK_FOLLOW)),
            at(2, 3, Rule::Never),
        ],
    ),
    (libc::SYS_symlink, Watched, &[plain(1, Rule::Never)]),
    (libc::SYS_symlinkat, Watched, &[at(1, 2, Rule::Never)]),
    (libc::SYS_utime, Unwatched, &[plain(0, Rule::Always)]),
    (libc::SYS_utimes, Unwatched, &[plain(0, Rule::Always)]),
    (libc::SYS_futimesat, Unwatched, &[at(0, 1, Rule::Always)]),
    (
        libc::SYS_utimensat,
        Unwatched,
        &[at(0, 1, Rule::Unless(3, NO_FOLLOW))],
    ),
    (libc::SYS_statfs, Watched, &[plain(0, Rule::Always)]),
    (libc::SYS_setxattr, Unwatched, &[plain(0, Rule::Always)]),
    (libc::SYS_lsetxattr, Unwatched, &[plain(0, Rule::Never)]),
    (libc::SYS_getxattr, Watched, &[plain(0, Rule::Always)]),
    (libc::SYS_lgetxattr, Watched, &[plain(0, Rule::Never)]),
    (libc::SYS_listxattr, Watched, &[plain(0, Rule::Always)]),
    (libc::SYS_llistxattr, Watched, &[plain(0, Rule::Never)]),
    (libc::SYS_removexattr, Unwatched, &[plain(0, Rule::Always)]),
    (libc::SYS_lremovexattr, Unwatched, &[plain(0, Rule::Never)]),
    (
        libc::SYS_inotify_add_watch,
        Watched,
        // As the kernel's IN_DONT_FOLLOW, which has 32 bits without a sign.
        &[plain(1, Rule::Unless(2, 0x0200_0000))],
    ),
];

/// The calls that [`translate`] is for.
pub(super) fn calls() -> impl Iterator<Item = c_long> {
    TABLE.iter().map(|(number, ..)| *number)
}

/// Replaces the paths of a call by those of the host. Whether it names any.
pub(super) fn translate(tracer: &Tracer, thread: Thread, call: &mut Call) -> Result<bool, Errno> {
    let number = call.number();
    let Some((_, effect, arguments)) = TABLE.iter().find(|(known, ..)| *known == number) else {
        return Ok(false);
    };
    let mut scratch = call.scratch();
    for argument in *arguments {
        let address = call.argument(argument.path);
        // utimensat(2) with a descriptor alone.
        if address == 0 {
            if *effect == Unwatched {
                tracer.require_writable_descriptor(thread, call.int(0))?;
            }
            continue;
        }
        let path = read_string(thread.id, address, MAX_PATH)?;
        // The kernel has an error for it, or it stands for the directory's descriptor itself.
        if path.is_empty() {
            if *effect == Unwatched && argument.directory.is_some() {
                tracer.require_writable_descriptor(thread, call.int(0))?;
            }
            continue;
        }
        let directory = argument.directory.map(|index| call.int(index));
        let last = argument.last.of(call);
        let mut host = tracer.host_path(thread, directory, &path, last)?;
        if (*effect == Unwatched || argument.last.truncates(call))
            && !tracer.orders.view.is_writable(&host)
        {
            return Err(Errno::ACCESS);
        }
        if path.ends_with(b"/") {
            host.push(b'/');
        }
        host.push(0);
        let place = scratch.put(thread.id, &host)?;
        call.set_argument(argument.path, place);
    }
    Ok(true)
}

impl Rule {
    fn of(self, call: &Call) -> Last {
        let is_followed = match self {
            Self::Always => true,
            Self::Never => false,
            Self::Unless(index, bits) => call.int(index) & bits == 0,
            Self::If(index, bits) => call.int(index) & bits != 0,
            Self::Open(index) => {
                let flags = call.int(index);
                let new = libc::O_CREAT | libc::O_EXCL;
                flags & libc::O_NOFOLLOW == 0 && flags & new != new
            }
        };
        if is_followed {
            Last::Followed
        } else {
            Last::Itself
        }
    }

    /// Landlock's first versions do not watch it.
    fn truncates(self, call: &Call) -> bool {
        matches!(self, Self::Open(index) if call.int(index) & libc::O_TRUNC != 0)
    }
}

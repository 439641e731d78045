//! System calls that the tracer answers itself: what files are, where links lead, and who one is.
//! The tracer sees the files as the same user and under the same rules as the program.

use std::ffi::CString;

use libc::{c_int, c_long};
use rustix::io::Errno;

use super::memory::{read_string, write};
use super::tracee::{Call, MAX_PATH};
use super::tracer::{Thread, Tracer};
use super::view::{Last, slash_if_empty};
use crate::step::check;

pub(super) const CALLS: [c_long; 34] = [
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
];

/// Of a `struct stat` for x86-64: its size, and where its owner and group are.
const STAT: (usize, usize, usize) = (144, 28, 32);
/// The same of a `struct statx`.
const STATX: (usize, usize, usize) = (256, 20, 24);

/// What the tracer knows without the kernel's help; `None` has the kernel do as asked.
pub(super) fn answer(tracer: &Tracer, thread: Thread, call: &Call) -> Option<Result<u64, Errno>> {
    let ids = (u64::from(tracer.orders.uid), u64::from(tracer.orders.gid));
    let here = Some(libc::AT_FDCWD);
    match call.number() {
        libc::SYS_stat => Some(status(tracer, thread, call, here, 0, 1, 0)),
        libc::SYS_lstat => Some(status(
            tracer,
            thread,
            call,
            here,
            0,
            1,
            libc::AT_SYMLINK_NOFOLLOW,
        )),
        libc::SYS_fstat => Some(status(
            tracer,
            thread,
            call,
            None,
            0,
            1,
            libc::AT_EMPTY_PATH,
        )),
        libc::SYS_newfstatat => Some(status(
            tracer,
            thread,
            call,
            Some(call.int(0)),
            1,
            2,
            call.int(3),
        )),
        libc::SYS_statx => Some(extended_status(tracer, thread, call)),
        libc::SYS_access => Some(access(tracer, thread, call, libc::AT_FDCWD, 0, 0)),
        libc::SYS_faccessat => Some(access(tracer, thread, call, call.int(0), 1, 0)),
        libc::SYS_faccessat2 => Some(access(tracer, thread, call, call.int(0), 1, call.int(3))),
        libc::SYS_readlink => Some(read_link(tracer, thread, call, libc::AT_FDCWD, 0)),
        libc::SYS_readlinkat => Some(read_link(tracer, thread, call, call.int(0), 1)),
        libc::SYS_getcwd => Some(working_directory(tracer, thread, call)),
        // setfsuid(2) tells what it was before, whatever comes of it.
        libc::SYS_getuid | libc::SYS_geteuid | libc::SYS_setfsuid => Some(Ok(ids.0)),
        libc::SYS_getgid | libc::SYS_getegid | libc::SYS_setfsgid => Some(Ok(ids.1)),
        libc::SYS_getresuid => Some(tell_thrice(thread, call, tracer.orders.uid)),
        libc::SYS_getresgid => Some(tell_thrice(thread, call, tracer.orders.gid)),
        libc::SYS_getgroups => Some(groups(thread, call, tracer.orders.gid)),
        libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid => {
            Some(become_ids(call, tracer.orders.uid))
        }
        libc::SYS_setgid | libc::SYS_setregid | libc::SYS_setresgid => {
            Some(become_ids(call, tracer.orders.gid))
        }
        // A single-id map forbids it as well.
        libc::SYS_setgroups => Some(Err(Errno::PERM)),
        libc::SYS_chown | libc::SYS_lchown | libc::SYS_fchown => {
            Some(change_owner(tracer, call, 1))
        }
        libc::SYS_fchownat => Some(change_owner(tracer, call, 2)),
        libc::SYS_fchmod | libc::SYS_fsetxattr | libc::SYS_fremovexattr => tracer
            .require_writable_descriptor(thread, call.int(0))
            .err()
            .map(Err),
        _ => None,
    }
}

/// A call's file.
struct Named {
    host: CString,
    /// `AT_SYMLINK_NOFOLLOW` or nothing.
    flags: c_int,
    /// Whether only a descriptor said which file.
    is_descriptor: bool,
}

impl Named {
    /// What the kernel says, where it knows of descriptors.
    fn failed(&self, errno: Errno) -> Errno {
        match errno {
            Errno::NOENT if self.is_descriptor => Errno::BADF,
            other => other,
        }
    }
}

/// The host's path of a call's file: by its path, or by the descriptor alone.
fn file(
    tracer: &Tracer,
    thread: Thread,
    call: &Call,
    directory: Option<c_int>,
    path: usize,
    flags: c_int,
) -> Result<Named, Errno> {
    let by_descriptor = |descriptor| {
        Ok(Named {
            host: tracer.descriptor_path(thread, descriptor)?,
            flags: 0,
            is_descriptor: true,
        })
    };
    let Some(directory) = directory else {
        return by_descriptor(call.int(0));
    };
    let address = call.argument(path);
    // statx(2) and fstatat(2) take NULL for an empty path since Linux 6.11.
    let path = if address == 0 && flags & libc::AT_EMPTY_PATH != 0 {
        Vec::new()
    } else {
        read_string(thread.id, address, MAX_PATH)?
    };
    if path.is_empty() {
        if flags & libc::AT_EMPTY_PATH == 0 {
            return Err(Errno::NOENT);
        }
        return by_descriptor(directory);
    }
    let is_itself = flags & libc::AT_SYMLINK_NOFOLLOW != 0;
    let last = if is_itself {
        Last::Itself
    } else {
        Last::Followed
    };
    let mut host = tracer.host_path(thread, Some(directory), &path, last)?;
    if path.ends_with(b"/") {
        host.push(b'/');
    }
    Ok(Named {
        host: CString::new(host).map_err(|_| Errno::INVAL)?,
        flags: flags & libc::AT_SYMLINK_NOFOLLOW,
        is_descriptor: false,
    })
}

fn status(
    tracer: &Tracer,
    thread: Thread,
    call: &Call,
    directory: Option<c_int>,
    path: usize,
    result: usize,
    flags: c_int,
) -> Result<u64, Errno> {
    let named = file(tracer, thread, call, directory, path, flags)?;
    let mut bytes = [0_u8; STAT.0];
    // SAFETY: the path is a C string, and the buffer has the size of the kernel's structure.
    check(unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            libc::AT_FDCWD,
            named.host.as_ptr(),
            bytes.as_mut_ptr(),
            named.flags,
        )
    })
    .map_err(|errno| named.failed(errno))?;
    tracer.rename_ids(&mut bytes, STAT.1, STAT.2);
    write(thread.id, call.argument(result), &bytes)?;
    Ok(0)
}

fn extended_status(tracer: &Tracer, thread: Thread, call: &Call) -> Result<u64, Errno> {
    let flags = call.int(2);
    let named = file(tracer, thread, call, Some(call.int(0)), 1, flags)?;
    let others = flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH);
    let mut bytes = [0_u8; STATX.0];
    // SAFETY: the path is a C string, and the buffer has the size of the kernel's structure.
    check(unsafe {
        libc::syscall(
            libc::SYS_statx,
            libc::AT_FDCWD,
            named.host.as_ptr(),
            named.flags | others,
            call.int(3),
            bytes.as_mut_ptr(),
        )
    })
    .map_err(|errno| named.failed(errno))?;
    tracer.rename_ids(&mut bytes, STATX.1, STATX.2);
    write(thread.id, call.argument(4), &bytes)?;
    Ok(0)
}

fn access(
    tracer: &Tracer,
    thread: Thread,
    call: &Call,
    directory: c_int,
    path: usize,
    flags: c_int,
) -> Result<u64, Errno> {
    let named = file(tracer, thread, call, Some(directory), path, flags)?;
    let mode = call.int(path + 1);
    let others = flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH);
    // SAFETY: the path is a C string.
    check(unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            named.host.as_ptr(),
            mode,
            named.flags | others,
        )
    })
    .map_err(|errno| named.failed(errno))?;
    let host = named.host.as_bytes();
    // Modes say nothing of it: all files are the caller's own.
    if mode & libc::W_OK != 0
        && !host.starts_with(b"/dev/")
        && !host.starts_with(b"/proc/")
        && !tracer.orders.view.is_writable(host)
    {
        return Err(Errno::ACCESS);
    }
    Ok(0)
}

fn read_link(
    tracer: &Tracer,
    thread: Thread,
    call: &Call,
    directory: c_int,
    path: usize,
) -> Result<u64, Errno> {
    let address = call.argument(path);
    let name = read_string(thread.id, address, MAX_PATH)?;
    let inside = if name.is_empty() {
        return Err(Errno::NOENT);
    } else {
        tracer.inside_path(thread, Some(directory), &name, Last::Itself)?
    };
    let target = tracer.orders.view.link(tracer.onlooker(thread), &inside)?;
    let room = call.int(path + 2);
    let room = usize::try_from(room).map_err(|_| Errno::INVAL)?;
    if room == 0 {
        return Err(Errno::INVAL);
    }
    let told = &target[..target.len().min(room)];
    write(thread.id, call.argument(path + 1), told)?;
    Ok(told.len() as u64)
}

fn working_directory(tracer: &Tracer, thread: Thread, call: &Call) -> Result<u64, Errno> {
    let mut inside = slash_if_empty(tracer.working_directory(thread)?);
    inside.push(0);
    if inside.len() as u64 > call.argument(1) {
        return Err(Errno::RANGE);
    }
    write(thread.id, call.argument(0), &inside)?;
    Ok(inside.len() as u64)
}

fn tell_thrice(thread: Thread, call: &Call, id: u32) -> Result<u64, Errno> {
    for index in 0..3 {
        write(thread.id, call.argument(index), &id.to_ne_bytes())?;
    }
    Ok(0)
}

fn groups(thread: Thread, call: &Call, gid: u32) -> Result<u64, Errno> {
    match call.int(0) {
        0 => {}
        count if count > 0 => write(thread.id, call.argument(1), &gid.to_ne_bytes())?,
        _ => return Err(Errno::INVAL),
    }
    Ok(1)
}

/// All of a call's ids, of which there are as many as its name has letters for: each is the only
/// one that there is, or -1.
fn become_ids(call: &Call, own: u32) -> Result<u64, Errno> {
    let count = match call.number() {
        libc::SYS_setuid | libc::SYS_setgid => 1,
        libc::SYS_setreuid | libc::SYS_setregid => 2,
        _ => 3,
    };
    let is_own = |index| {
        let id = call.int(index).cast_unsigned();
        id == own || (id == u32::MAX && count > 1)
    };
    if (0..count).all(is_own) {
        Ok(0)
    } else {
        Err(Errno::PERM)
    }
}

/// Nothing changes, for there is one owner and one group only.
fn change_owner(tracer: &Tracer, call: &Call, first: usize) -> Result<u64, Errno> {
    let is = |index, own| {
        let id = call.int(index).cast_unsigned();
        id == own || id == u32::MAX
    };
    if is(first, tracer.orders.uid) && is(first + 1, tracer.orders.gid) {
        Ok(0)
    } else {
        Err(Errno::PERM)
    }
}

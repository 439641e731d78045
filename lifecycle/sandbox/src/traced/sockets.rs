//! Sockets with paths (unix(7)).

use libc::c_long;
use rustix::io::Errno;

use super::memory::{read, read_word, write};
use super::tracee::{Call, Scratch};
use super::tracer::{Thread, Tracer};
use super::view::Last;

pub(super) const CALLS: [c_long; 6] = [
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

/// The family, then the path; with it comes a NUL where there is room.
const FAMILY: usize = 2;
const MOST: usize = 110;

/// Replaces the path of a socket's address by that of the host.
pub(super) fn translate(tracer: &mut Tracer, thread: Thread, call: &mut Call) -> Result<(), Errno> {
    let mut scratch = call.scratch();
    let found = match call.number() {
        libc::SYS_bind | libc::SYS_connect => Some((1, 2)),
        libc::SYS_sendto => Some((4, 5)),
        _ => None,
    };
    if let Some((address, length)) = found {
        // The kernel takes lengths as `int`.
        let given = (call.argument(address), call.argument(length) & 0xffff_ffff);
        let last = if call.number() == libc::SYS_bind {
            Last::Itself
        } else {
            Last::Followed
        };
        if let Some((place, size)) = replace(tracer, thread, &mut scratch, given, last)? {
            call.set_argument(address, place);
            call.set_argument(length, size);
        }
        return Ok(());
    }
    if call.number() == libc::SYS_sendmsg {
        let header = call.argument(1);
        let given = (
            read_word(thread.id, header)?,
            read_word(thread.id, header + 8)? & 0xffff_ffff,
        );
        if let Some((place, size)) = replace(tracer, thread, &mut scratch, given, Last::Followed)? {
            let mut copy = [0; 56];
            read(thread.id, header, &mut copy)?;
            copy[..8].copy_from_slice(&place.to_ne_bytes());
            copy[8..16].copy_from_slice(&size.to_ne_bytes());
            let header = scratch.put(thread.id, &copy)?;
            call.set_argument(1, header);
        }
    }
    Ok(())
}

/// sendmmsg(2) has an array of messages: none of them may have a path.
pub(super) fn refuse_paths(thread: Thread, call: &Call) -> Result<(), Errno> {
    let count = u64::from(call.int(2).cast_unsigned()).min(1024);
    for index in 0..count {
        let header = call.argument(1) + index * 64;
        let given = (
            read_word(thread.id, header)?,
            read_word(thread.id, header + 8)? & 0xffff_ffff,
        );
        if path_of(thread, given)?.is_some() {
            return Err(Errno::OPNOTSUPP);
        }
    }
    Ok(())
}

/// The path in an address, if it is one of a file.
fn path_of(thread: Thread, (address, length): (u64, u64)) -> Result<Option<Vec<u8>>, Errno> {
    let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
    if address == 0 || length <= FAMILY || length > MOST {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    read(thread.id, address, &mut bytes)?;
    let (family, path) = bytes.split_at(FAMILY);
    // The abstract ones have no path, and Landlock watches them.
    if family != libc::AF_UNIX.to_ne_bytes()[..FAMILY].as_ref() || path[0] == 0 {
        return Ok(None);
    }
    let end = path.iter().position(|byte| *byte == 0);
    Ok(Some(path[..end.unwrap_or(path.len())].to_vec()))
}

fn replace(
    tracer: &mut Tracer,
    thread: Thread,
    scratch: &mut Scratch,
    given: (u64, u64),
    last: Last,
) -> Result<Option<(u64, u64)>, Errno> {
    let Some(path) = path_of(thread, given)? else {
        return Ok(None);
    };
    let host = tracer.host_path(thread, None, &path, last)?;
    // A path of the host may be longer than an address can be.
    let host = if host.len() + 1 > MOST - FAMILY {
        tracer.shorten(&host)?
    } else {
        host
    };
    let family = libc::AF_UNIX.to_ne_bytes();
    let bytes = [&family[..FAMILY], &host, &[0]].concat();
    let place = scratch.put(thread.id, &bytes)?;
    Ok(Some((place, bytes.len() as u64)))
}

/// After getsockname(2) and getpeername(2): the path as it is inside.
pub(super) fn rename(
    tracer: &Tracer,
    thread: Thread,
    before: &Call,
    room: u32,
) -> Result<(), Errno> {
    let (address, length) = (before.argument(1), before.argument(2));
    let mut size = [0; 4];
    read(thread.id, length, &mut size)?;
    let size = u64::from(u32::from_ne_bytes(size));
    let Some(host) = path_of(thread, (address, size.min(u64::from(room))))? else {
        return Ok(());
    };
    let Some(inside) = tracer.lengthen(&host) else {
        return Ok(());
    };
    let family = libc::AF_UNIX.to_ne_bytes();
    let bytes = [&family[..FAMILY], &inside, &[0]].concat();
    let told = bytes.len().min(usize::try_from(room).unwrap_or(0));
    write(thread.id, address, &bytes[..told])?;
    let size = u32::try_from(bytes.len()).map_err(|_| Errno::OVERFLOW)?;
    write(thread.id, length, &size.to_ne_bytes())
}

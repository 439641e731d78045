//! Mounting by descriptor, without memory allocation and without following links out of the root.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, unlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind_recursive};

use crate::plan::Target;
use crate::step::check;

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = PATH_ONLY.union(OFlags::DIRECTORY);

/// `/proc/self/fd/N`: mount(2) takes paths, and a path of a descriptor cannot be swapped for a
/// link in between, holds no character that overlayfs' options need escaped, and is short.
pub(crate) struct FdPath([u8; 32]);

impl FdPath {
    pub(crate) fn new(fd: BorrowedFd<'_>) -> Self {
        const PREFIX: &[u8] = b"/proc/self/fd/";
        let mut bytes = [0; 32];
        let mut digits = [0; 10];
        let mut rest = fd.as_raw_fd().unsigned_abs();
        let mut count = 0;
        while count == 0 || rest > 0 {
            digits[count] = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
        }
        bytes[..PREFIX.len()].copy_from_slice(PREFIX);
        for (place, digit) in digits[..count].iter().rev().enumerate() {
            bytes[PREFIX.len() + place] = *digit;
        }
        Self(bytes)
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// Opens a directory of the host as a place, not for reading.
pub(crate) fn open_directory(path: &CStr) -> Result<OwnedFd, Errno> {
    openat(CWD, path, DIRECTORY, Mode::empty())
}

/// Opens a file or directory of the host as a place, not for reading.
pub(crate) fn open_place(path: &CStr) -> Result<OwnedFd, Errno> {
    openat(CWD, path, PATH_ONLY, Mode::empty())
}

/// Opens what is at a path inside; symbolic links stay inside.
pub(crate) fn open_inside(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    resolve(root, path, PATH_ONLY)
}

fn open_directory_inside(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    resolve(root, path, DIRECTORY)
}

fn resolve(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
    const ATTEMPTS: usize = 10_000;
    // openat2(2): EAGAIN if anything on the machine is renamed or mounted while `..` is resolved.
    for _ in 1..ATTEMPTS {
        match openat2(root, path, flags, Mode::empty(), INSIDE) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    openat2(root, path, flags, Mode::empty(), INSIDE)
}

/// The directory at `target`, made with its ancestors where it is missing.
pub(crate) fn ensure_directory(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    ensure_directories(root, target, target.names.len())
}

/// The file at `target`, made empty with its ancestors where it is missing. A link that leads
/// nowhere (Debian's `/etc/resolv.conf` on some machines) is replaced.
pub(crate) fn ensure_file(root: BorrowedFd<'_>, target: &Target) -> Result<OwnedFd, Errno> {
    let (Some(path), Some(name)) = (target.prefixes.last(), target.names.last()) else {
        return Err(Errno::ISDIR);
    };
    match open_inside(root, path) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let parent = ensure_directories(root, target, target.names.len() - 1)?;
    let create = || create_file(&parent, name);
    match create() {
        Err(Errno::EXIST) => {
            unlinkat(&parent, name.as_c_str(), AtFlags::empty())?;
            create()?;
        }
        other => other?,
    }
    open_inside(root, path)
}

/// Makes an empty file that was not there.
pub(crate) fn create_file(directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

fn ensure_directories(
    root: BorrowedFd<'_>,
    target: &Target,
    depth: usize,
) -> Result<OwnedFd, Errno> {
    let deepest = match depth.checked_sub(1) {
        None => c".",
        Some(last) => target.prefixes[last].as_c_str(),
    };
    match open_directory_inside(root, deepest) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let mut directory = open_directory_inside(root, c".")?;
    for (prefix, name) in target.prefixes.iter().zip(&target.names).take(depth) {
        directory = match open_directory_inside(root, prefix) {
            Err(Errno::NOENT) => {
                mkdirat(&directory, name.as_c_str(), Mode::from_raw_mode(0o755))?;
                open_directory_inside(root, prefix)?
            }
            other => other?,
        };
    }
    Ok(directory)
}

/// Whether all of `target` is there already.
pub(crate) fn is_present(root: BorrowedFd<'_>, target: &Target) -> bool {
    target
        .prefixes
        .last()
        .is_none_or(|path| open_inside(root, path).is_ok())
}

/// Mounts a new in-memory file system on `place`.
pub(crate) fn mount_tmpfs(
    place: BorrowedFd<'_>,
    flags: MountFlags,
    options: &CStr,
) -> Result<(), Errno> {
    mount(
        c"tmpfs",
        FdPath::new(place).as_c_str(),
        c"tmpfs",
        flags | MountFlags::NOSUID | MountFlags::NODEV,
        options,
    )
}

/// Mounts `source`, with what is mounted below it, on `place`. Without the latter a user namespace
/// would be refused: what a mount hides must stay hidden.
pub(crate) fn bind(source: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    mount_bind_recursive(
        FdPath::new(source).as_c_str(),
        FdPath::new(place).as_c_str(),
    )
}

/// How far [`restrict`] reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This mount.
    One,
    /// And those below it.
    All,
}

/// What [`restrict`] takes away.
pub(crate) const NO_DEVICES_NO_SETUID: u64 = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID;
/// Besides, writing.
pub(crate) const NO_WRITES: u64 = NO_DEVICES_NO_SETUID | libc::MOUNT_ATTR_RDONLY;

/// Adds restrictions to the mount whose root is `mounted`.
pub(crate) fn restrict(
    mounted: BorrowedFd<'_>,
    attributes: u64,
    reach: Reach,
) -> Result<(), Errno> {
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let recursive = if reach == Reach::All {
        libc::AT_RECURSIVE
    } else {
        0
    };
    // SAFETY: the path is a C string and `attr` is a mount_attr of the size given.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mounted.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    });
    match result {
        // Before Linux 5.12, or a container whose filter does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => remount(mounted, attributes),
        other => other.map(drop),
    }
}

/// The old way, one mount at a time. Flags that the mount has must be given again: a user namespace
/// may not drop them.
fn remount(mounted: BorrowedFd<'_>, attributes: u64) -> Result<(), Errno> {
    const PAIRS: [(u64, MountFlags); 5] = [
        (libc::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (libc::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (libc::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (libc::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (libc::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
    ];
    // The ST_ bits of statfs are the MS_ bits for the first four; these two differ only in name.
    let present = rustix::fs::fstatvfs(mounted)?.f_flag.bits();
    let mut flags = MountFlags::BIND;
    for (attribute, flag) in PAIRS {
        if attributes & attribute != 0 || present & u64::from(flag.bits()) != 0 {
            flags |= flag;
        }
    }
    if present & libc::ST_RELATIME != 0 {
        flags |= MountFlags::RELATIME;
    }
    rustix::mount::mount_remount(FdPath::new(mounted).as_c_str(), flags, c"")
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;

    #[test]
    fn descriptors_become_paths() {
        for (fd, path) in [
            (0, c"/proc/self/fd/0"),
            (40, c"/proc/self/fd/40"),
            (i32::MAX, c"/proc/self/fd/2147483647"),
        ] {
            // SAFETY: only its number is used.
            let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
            assert_eq!(FdPath::new(borrowed).as_c_str(), path);
        }
    }
}

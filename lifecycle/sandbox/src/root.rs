//! The new root file system, built in the new mount namespace and then made `/`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};

use crate::mounts::{
    FdPath, NO_DEVICES_NO_SETUID, NO_WRITES, Reach, bind, create_file, ensure_directory,
    ensure_file, is_present, mount_tmpfs, open_directory, open_inside, open_place, restrict,
};
use crate::plan::{Plan, PlannedWritable, Target};
use crate::step::{At, Failure, Step};

/// Device nodes that programs take for granted; the last may be missing in a container.
const DEVICES: [(&CStr, &CStr); 6] = [
    (c"null", c"/dev/null"),
    (c"zero", c"/dev/zero"),
    (c"full", c"/dev/full"),
    (c"random", c"/dev/random"),
    (c"urandom", c"/dev/urandom"),
    (c"tty", c"/dev/tty"),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

/// What the host's uid 0 could change, even without capabilities and under another name.
const READ_ONLY_IN_PROC: [&CStr; 5] = [c"bus", c"fs", c"irq", c"sys", c"sysrq-trigger"];

/// What would tell about the host.
const HIDDEN_IN_PROC: [&CStr; 6] = [
    c"kcore",
    c"keys",
    c"kallsyms",
    c"latency_stats",
    c"sched_debug",
    c"timer_list",
];

/// Cuts mount events off from the host's namespace. Comes before any mount.
pub(crate) fn detach_propagation() -> Result<(), Failure> {
    mount_change(
        c"/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .at(Step::Propagation)
}

/// A fresh in-memory file system on a directory of the host, seen in this namespace only.
pub(crate) fn stage(plan: &Plan) -> Result<OwnedFd, Failure> {
    let place = open_directory(&plan.files.staging).at(Step::Staging)?;
    mount_tmpfs(place.as_fd(), MountFlags::empty(), c"mode=0755").at(Step::Staging)?;
    open_directory(&plan.files.staging).at(Step::Staging)
}

/// Builds the root and enters it. Gives back the in-memory upper directory when writes were meant
/// for [`PlannedWritable::Dir`] but its file system cannot take them.
pub(crate) fn enter(plan: &mut Plan) -> Result<Option<OwnedFd>, Failure> {
    detach_propagation()?;
    open_sources(plan)?;
    let devices = open_devices()?;
    let base = stage(plan)?;
    let (root, stand_in) = mount_root(plan, &base)?;
    populate(plan, root.as_fd(), &devices)?;
    let read_only = matches!(plan.files.writable, PlannedWritable::ReadOnly);
    restrict(
        root.as_fd(),
        if read_only {
            NO_WRITES
        } else {
            NO_DEVICES_NO_SETUID
        },
        Reach::One,
    )
    .at(Step::BindRoot)?;
    pivot(&root)?;
    Ok(stand_in)
}

/// Opens all that is of the host, before anything is mounted over it.
fn open_sources(plan: &mut Plan) -> Result<(), Failure> {
    for (index, (path, fd)) in plan
        .files
        .lower
        .iter()
        .zip(&mut plan.files.lower_fds)
        .enumerate()
    {
        *fd = Some(open_directory(path).at_nth(Step::Lower, index)?);
    }
    if let PlannedWritable::Dir {
        upper,
        work,
        upper_fd,
        work_fd,
    } = &mut plan.files.writable
    {
        *upper_fd = Some(open_directory(upper).at_nth(Step::Upper, 0)?);
        *work_fd = Some(open_directory(work).at_nth(Step::Upper, 1)?);
    }
    for (index, mount) in plan.files.mounts.iter_mut().enumerate() {
        mount.source_fd = Some(open_place(&mount.source).at_nth(Step::Source, index)?);
    }
    Ok(())
}

fn open_devices() -> Result<[Option<OwnedFd>; DEVICES.len()], Failure> {
    let mut fds = [const { None }; DEVICES.len()];
    for (fd, (_, path)) in fds.iter_mut().zip(DEVICES) {
        *fd = match open_place(path) {
            Ok(opened) => Some(opened),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).at(Step::Device),
        };
    }
    Ok(fds)
}

fn mount_root(plan: &mut Plan, base: &OwnedFd) -> Result<(OwnedFd, Option<OwnedFd>), Failure> {
    let everyone_reads = Mode::from_raw_mode(0o755);
    mkdirat(base, c"root", everyone_reads).at(Step::Staging)?;
    let place = open_inside(base.as_fd(), c"root").at(Step::Staging)?;
    let bindable = can_bind(plan);
    let upper_and_work = match &mut plan.files.writable {
        PlannedWritable::ReadOnly if bindable => {
            let Some(Some(lower)) = plan.files.lower_fds.first() else {
                return Err(Errno::BADF).at(Step::Lower);
            };
            bind(lower.as_fd(), place.as_fd()).at(Step::BindRoot)?;
            let root = open_inside(base.as_fd(), c"root").at(Step::BindRoot)?;
            restrict(root.as_fd(), NO_WRITES, Reach::All).at(Step::BindRoot)?;
            return Ok((root, None));
        }
        PlannedWritable::ReadOnly | PlannedWritable::Tmpfs => None,
        PlannedWritable::Dir {
            upper_fd, work_fd, ..
        } => upper_fd.take().zip(work_fd.take()),
    };
    let mut top = None;
    if let Some((upper, work)) = upper_and_work {
        match mount_overlay(plan, None, &upper, &work, place.as_fd()) {
            Ok(()) => return Ok((open_inside(base.as_fd(), c"root").at(Step::Overlay)?, None)),
            // What overlayfs says to an upper directory on overlayfs, NFS and their like.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => top = Some(upper),
            Err(errno) => return Err(errno).at(Step::Overlay),
        }
    }
    mkdirat(base, c"upper", everyone_reads).at(Step::Staging)?;
    mkdirat(base, c"work", everyone_reads).at(Step::Staging)?;
    let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = openat(base, c"upper", readable, Mode::empty()).at(Step::Staging)?;
    let work = openat(base, c"work", readable, Mode::empty()).at(Step::Staging)?;
    let topmost = top
        .as_ref()
        .or(plan.files.lower_fds.first().and_then(Option::as_ref));
    if let Some(topmost) = topmost {
        imitate(topmost, &upper).at(Step::Staging)?;
    }
    mount_overlay(plan, top.as_ref(), &upper, &work, place.as_fd()).at(Step::Overlay)?;
    let root = open_inside(base.as_fd(), c"root").at(Step::Overlay)?;
    Ok((root, top.is_some().then_some(upper)))
}

/// Whether one directory, as it is, can be the read-only root: nothing needs to be created in it.
fn can_bind(plan: &Plan) -> bool {
    let (PlannedWritable::ReadOnly, [_]) = (&plan.files.writable, plan.files.lower.as_slice())
    else {
        return false;
    };
    let Some(Some(lower)) = plan.files.lower_fds.first() else {
        return false;
    };
    [&plan.files.proc, &plan.files.dev]
        .into_iter()
        .chain(&plan.files.tmp)
        .chain(&plan.files.tmpfs)
        .chain(plan.files.mounts.iter().map(|mount| &mount.target))
        .all(|target| is_present(lower.as_fd(), target))
}

/// The upper directory's own mode and owner are what `/` has inside.
fn imitate(original: &OwnedFd, copy: &OwnedFd) -> Result<(), Errno> {
    let stat = fstat(original)?;
    fchmod(copy, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    match fchown(
        copy,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    ) {
        // In a user namespace only one owner exists; the directory has it already.
        Err(Errno::INVAL | Errno::PERM) => Ok(()),
        other => other,
    }
}

fn mount_overlay(
    plan: &mut Plan,
    top: Option<&OwnedFd>,
    upper: &OwnedFd,
    work: &OwnedFd,
    place: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let options = &mut plan.files.overlay_options;
    options.clear();
    let mut separator: &[u8] = b"userxattr,lowerdir=";
    for lower in top.into_iter().chain(plan.files.lower_fds.iter().flatten()) {
        push(options, separator)?;
        push(options, FdPath::new(lower.as_fd()).as_c_str().to_bytes())?;
        separator = b":";
    }
    push(options, b",upperdir=")?;
    push(options, FdPath::new(upper.as_fd()).as_c_str().to_bytes())?;
    push(options, b",workdir=")?;
    push(
        options,
        FdPath::new(work.as_fd()).as_c_str().to_bytes_with_nul(),
    )?;
    let options = CStr::from_bytes_with_nul(options).map_err(|_| Errno::INVAL)?;
    mount(
        c"overlay",
        FdPath::new(place).as_c_str(),
        c"overlay",
        MountFlags::NODEV | MountFlags::NOSUID,
        options,
    )
}

/// Appends within the memory there is.
fn push(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Errno> {
    if buffer.capacity() - buffer.len() < bytes.len() {
        return Err(Errno::TOOBIG);
    }
    buffer.extend_from_slice(bytes);
    Ok(())
}

fn populate(plan: &Plan, root: BorrowedFd<'_>, devices: &[Option<OwnedFd>]) -> Result<(), Failure> {
    mount_proc(plan, root)?;
    mount_dev(root, &plan.files.dev, devices).at(Step::Device)?;
    if let Some(tmp) = &plan.files.tmp {
        let place = ensure_directory(root, tmp).at(Step::Tmp)?;
        mount_tmpfs(place.as_fd(), MountFlags::empty(), c"mode=1777").at(Step::Tmp)?;
    }
    for (index, target) in plan.files.tmpfs.iter().enumerate() {
        let place = ensure_directory(root, target).at_nth(Step::TmpfsTarget, index)?;
        mount_tmpfs(
            place.as_fd(),
            MountFlags::empty(),
            &plan.files.tmpfs_options,
        )
        .at_nth(Step::TmpfsTarget, index)?;
    }
    for (index, mount) in plan.files.mounts.iter().enumerate() {
        let Some(source) = &mount.source_fd else {
            return Err(Errno::BADF).at_nth(Step::Source, index);
        };
        let attributes = if mount.read_only {
            NO_WRITES
        } else {
            NO_DEVICES_NO_SETUID
        };
        mount_at(root, source.as_fd(), &mount.target, attributes).at_nth(Step::Target, index)?;
    }
    Ok(())
}

fn mount_at(
    root: BorrowedFd<'_>,
    source: BorrowedFd<'_>,
    target: &Target,
    attributes: u64,
) -> Result<(), Errno> {
    let is_directory = rustix::fs::FileType::from_raw_mode(fstat(source)?.st_mode).is_dir();
    let place = if is_directory {
        ensure_directory(root, target)?
    } else {
        ensure_file(root, target)?
    };
    bind(source, place.as_fd())?;
    let path = target.prefixes.last().map_or(c".", |path| path.as_c_str());
    restrict(open_inside(root, path)?.as_fd(), attributes, Reach::All)
}

fn mount_proc(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let place = ensure_directory(root, &plan.files.proc).at(Step::Proc)?;
    match mount(
        c"proc",
        FdPath::new(place.as_fd()).as_c_str(),
        c"proc",
        flags,
        None,
    ) {
        Ok(()) => {}
        // A container that hides parts of /proc lets nobody mount one that shows them.
        Err(Errno::PERM) => {
            let outer = open_directory(c"/proc").at(Step::Proc)?;
            bind(outer.as_fd(), place.as_fd()).at(Step::Proc)?;
        }
        Err(errno) => return Err(errno).at(Step::Proc),
    }
    if plan.caller_is_root {
        protect_proc(root, &plan.files.proc).at(Step::Masks)?;
    }
    Ok(())
}

fn protect_proc(root: BorrowedFd<'_>, proc: &Target) -> Result<(), Errno> {
    let proc = ensure_directory(root, proc)?;
    for name in READ_ONLY_IN_PROC {
        match open_inside(proc.as_fd(), name) {
            Ok(place) => {
                bind(place.as_fd(), place.as_fd())?;
                restrict(
                    open_inside(proc.as_fd(), name)?.as_fd(),
                    NO_WRITES,
                    Reach::All,
                )?;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    let null = open_place(c"/dev/null")?;
    for name in HIDDEN_IN_PROC {
        match open_inside(proc.as_fd(), name) {
            Ok(place) => bind(null.as_fd(), place.as_fd())?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn mount_dev(
    root: BorrowedFd<'_>,
    target: &Target,
    devices: &[Option<OwnedFd>],
) -> Result<(), Errno> {
    let place = ensure_directory(root, target)?;
    mount_tmpfs(place.as_fd(), MountFlags::NOEXEC, c"mode=0755")?;
    let dev = ensure_directory(root, target)?;
    for ((name, _), device) in DEVICES.into_iter().zip(devices) {
        if let Some(device) = device {
            create_file(&dev, name)?;
            bind(device.as_fd(), open_inside(dev.as_fd(), name)?.as_fd())?;
        }
    }
    for (destination, name) in LINKS {
        symlinkat(destination, &dev, name)?;
    }
    let directory = Mode::from_raw_mode(0o755);
    mkdirat(&dev, c"shm", directory)?;
    mount_tmpfs(
        open_inside(dev.as_fd(), c"shm")?.as_fd(),
        MountFlags::NOEXEC,
        c"mode=1777",
    )?;
    mkdirat(&dev, c"pts", directory)?;
    mount(
        c"devpts",
        FdPath::new(open_inside(dev.as_fd(), c"pts")?.as_fd()).as_c_str(),
        c"devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=0620",
    )?;
    restrict(dev.as_fd(), NO_WRITES, Reach::One)
}

/// `pivot_root(2)`: with both arguments `.` the old root ends up on top of the new one, where it is
/// detached.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).at(Step::Pivot)?;
    rustix::process::pivot_root(c".", c".").at(Step::Pivot)?;
    unmount(c".", UnmountFlags::DETACH).at(Step::Pivot)?;
    rustix::process::chdir(c"/").at(Step::Pivot)
}

//! The first process: pid 1 of the sandbox.
//!
//! Builds the root, starts the program, then reaps orphans and forwards signals until the program
//! or the caller ends. As pid 1 of its namespace, its own end is everybody's end. The chroot,
//! traced and Landlock tiers have no such namespace: there it is a subreaper and kills what is left by hand.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{WaitOptions, umask};

use crate::child::Message;
use crate::mounts::open_place;
use crate::plan::{Descriptors, Plan, TreeFds};
use crate::spec::{Network, Tier};
use crate::step::{At, Failure, Step, check};
use crate::{privileges, program, root};

/// The exit status of an init that ended because the caller did, or that could not start the program.
const ABANDONED: libc::c_int = 125;

/// The life of the first process.
pub(crate) fn live(plan: &mut Plan, descriptors: &Descriptors) -> ! {
    match start(plan, descriptors) {
        Ok((main, signals)) => watch(plan.tier, main, &signals, descriptors),
        Err(failure) => {
            report(descriptors.ready, failure);
            end(ABANDONED)
        }
    }
}

/// Only tries what the tier needs of the kernel.
pub(crate) fn rehearse(plan: &mut Plan, descriptors: &Descriptors) -> ! {
    let rehearsal = || {
        if plan.tier.has_namespaces() {
            enter_namespaces(plan)?;
            root::detach_propagation()?;
            root::stage(plan)?;
        } else {
            rustix::process::chroot(c"/").at(Step::Chroot)?;
        }
        // Root of a user namespace may have one id only.
        privileges::become_program(plan).at(Step::Privileges)
    };
    if let Err(failure) = rehearsal() {
        report(descriptors.ready, failure);
    }
    end(0)
}

fn start(plan: &mut Plan, descriptors: &Descriptors) -> Result<(libc::pid_t, OwnedFd), Failure> {
    program::reset_handlers();
    umask(Mode::empty());
    enter_control_groups(plan)?;
    close_others(plan, descriptors).at(Step::Descriptors)?;
    // For whoever looks at the host's processes; also the mark by which a program knows its init.
    rustix::thread::set_name(c"sandbox-init").at(Step::Signals)?;
    // Out of the caller's session: its terminal's ^C is for the caller to handle.
    rustix::process::setsid().at(Step::Signals)?;
    let signals = take_signals().at(Step::Signals)?;
    if plan.tier.has_namespaces() {
        enter_namespaces(plan)?;
        if let Some(stand_in) = root::enter(plan)? {
            Message::send_upper(descriptors.control, &stand_in).at(Step::HandOver)?;
        }
    } else {
        let own = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(own).at(Step::Fork)?;
    }
    privileges::hide().at(Step::Privileges)?;
    let null = open_null().at(Step::Streams)?;
    let main = start_program(plan, descriptors).at(Step::Fork)?;
    privileges::become_init(plan).at(Step::Privileges)?;
    wipe_caller_strings(plan);
    for stream in descriptors.streams.into_iter().filter(|stream| *stream > 2) {
        close(stream);
    }
    for number in 0..3 {
        program::replace(null.as_fd(), number).at(Step::Streams)?;
    }
    close(descriptors.ready);
    Ok((main, signals))
}

/// Before anything is started, so that everything is in the groups; a new namespace then has them
/// as its root.
fn enter_control_groups(plan: &Plan) -> Result<(), Failure> {
    for (index, group) in plan.control_groups.iter().enumerate() {
        // SAFETY: the caller holds the descriptors, this process has copies of them.
        let group = unsafe { BorrowedFd::borrow_raw(*group) };
        // "0" is the writer itself (cgroups(7), "Moving a process to a cgroup").
        rustix::io::write(group, b"0").at_nth(Step::ControlGroup, index)?;
    }
    if plan.tier.has_namespaces() && !plan.control_groups.is_empty() {
        // SAFETY: only namespaces of this process change, and it has one thread.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWCGROUP) };
        check(libc::c_long::from(unshared)).at(Step::ControlGroup)?;
    }
    Ok(())
}

fn enter_namespaces(plan: &Plan) -> Result<(), Failure> {
    if let Some(maps) = &plan.id_maps {
        privileges::map_ids(maps).at(Step::IdMap)?;
    }
    if plan.tier.has_namespaces() && !plan.hostname.is_empty() {
        set_host_name(&plan.hostname).at(Step::Hostname)?;
    }
    if plan.tier.has_namespaces() && plan.network == Network::None {
        raise_loopback().at(Step::Loopback)?;
    }
    Ok(())
}

/// A copy of a process inherits its descriptors, and close-on-exec does not help one that never
/// execs: a pipe held open here would never end for its reader.
fn close_others(plan: &Plan, descriptors: &Descriptors) -> Result<(), Errno> {
    let [input, output, error] = descriptors.streams;
    let landlock = plan.landlock.as_ref().map_or(0, AsRawFd::as_raw_fd);
    let orders = plan.trace.as_ref().map_or(0, AsRawFd::as_raw_fd);
    let held = plan.lock.as_ref().map_or(0, AsRawFd::as_raw_fd);
    let (tree, lock) = plan.tree.as_ref().map_or((0, 0), TreeFds::numbers);
    let mut kept = [
        0,
        1,
        2,
        landlock,
        orders,
        held,
        tree,
        lock,
        input,
        output,
        error,
        descriptors.ready,
        descriptors.control,
        descriptors.caller,
    ];
    kept.sort_unstable();
    let mut next = 0;
    for fd in kept {
        if fd > next {
            close_range(next.unsigned_abs(), fd.unsigned_abs() - 1)?;
        }
        next = next.max(fd.saturating_add(1));
    }
    close_range(next.unsigned_abs(), u32::MAX)
}

pub(crate) fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: this process is a copy that uses none of the descriptors in between.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

fn close(fd: RawFd) {
    // SAFETY: the caller passed the descriptor on for this process to keep or close.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

fn open_null() -> Result<OwnedFd, Errno> {
    // A root without /dev/null exists in the rehearsed corner of containers only; a place of any kind will do then.
    match openat(
        CWD,
        c"/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Err(Errno::NOENT) => open_place(c"/"),
        other => other,
    }
}

/// Every signal becomes readable; all are blocked since before clone.
fn take_signals() -> Result<OwnedFd, Errno> {
    // SAFETY: sigfillset initializes the set that signalfd reads.
    unsafe {
        let mut all = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        let fd = libc::signalfd(-1, all.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(libc::c_long::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Starts the program's process. It borrows this one's memory, and this one sleeps, until exec:
/// a second copy of a large caller's page tables would double what a start costs.
fn start_program(plan: &mut Plan, descriptors: &Descriptors) -> Result<libc::pid_t, Errno> {
    let stack = plan
        .program_stack
        .spare_capacity_mut()
        .as_mut_ptr_range()
        .end;
    let mut handed = (plan, descriptors);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the program's alone, aligned by its type and grows down from its end;
    // `handed` outlives the borrow, because with CLONE_VFORK this call returns after exec or exit.
    let pid = unsafe { libc::clone(run_program, stack.cast(), flags, (&raw mut handed).cast()) };
    check(libc::c_long::from(pid))?;
    Ok(pid)
}

extern "C" fn run_program(handed: *mut libc::c_void) -> libc::c_int {
    // SAFETY: what `start_program` handed over; it sleeps meanwhile.
    let (plan, descriptors) = unsafe { &*handed.cast::<(&mut Plan, &Descriptors)>() };
    report(descriptors.ready, program::become_it(plan, descriptors));
    end(127)
}

fn wipe_caller_strings(plan: &Plan) {
    for range in &plan.caller_strings {
        // SAFETY: the kernel said that the caller's strings lie here, on its stack, which this
        // process has a copy of; nothing here reads argv or the environment.
        unsafe { std::ptr::write_bytes(range.start as *mut u8, 0, range.len()) };
    }
}

fn set_host_name(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are one slice's.
    check(libc::c_long::from(unsafe {
        libc::sethostname(name.as_ptr().cast(), name.len())
    }))
    .map(drop)
}

fn raise_loopback() -> Result<(), Errno> {
    /// `IFF_UP` in the width that ifreq has for it.
    const UP: libc::c_short = 1;
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    // SAFETY: ifreq is plain data, read and written by the two calls.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
            *place = byte.cast_signed();
        }
        check(libc::c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS,
            &raw mut request,
        )))?;
        request.ifr_ifru.ifru_flags |= UP;
        check(libc::c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )))?;
    }
    Ok(())
}

pub(crate) fn report(ready: RawFd, failure: Failure) {
    // SAFETY: open in this process until exec or `close`.
    let ready = unsafe { BorrowedFd::borrow_raw(ready) };
    // If the caller is gone there is nobody to tell, and this process ends next.
    let _ = rustix::io::write(ready, &failure.encode());
}

/// Waits for the program, for orders, for signals and for the caller's end.
fn watch(tier: Tier, main: libc::pid_t, signals: &OwnedFd, descriptors: &Descriptors) -> ! {
    // SAFETY: both stay open for the life of this process.
    let (caller, control) = unsafe {
        (
            BorrowedFd::borrow_raw(descriptors.caller),
            BorrowedFd::borrow_raw(descriptors.control),
        )
    };
    let mut orders = true;
    loop {
        let mut polled = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(&caller, PollFlags::IN),
            PollFd::new(&control, PollFlags::IN),
        ];
        let count = if orders { 3 } else { 2 };
        match poll(&mut polled[..count], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => finish(tier, main, ABANDONED),
        }
        let [signalled, abandoned, ordered] = polled.map(|polled| !polled.revents().is_empty());
        if abandoned {
            finish(tier, main, ABANDONED);
        }
        if signalled {
            take_signal(tier, main, signals, control);
        }
        if ordered && orders {
            orders = obey(tier, main, control);
        }
    }
}

fn take_signal(tier: Tier, main: libc::pid_t, signals: &OwnedFd, control: BorrowedFd<'_>) {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    while let Ok(length) = rustix::io::read(signals, &mut info) {
        let [n0, n1, n2, n3, ..] = info;
        let number = u32::from_ne_bytes([n0, n1, n2, n3]).cast_signed();
        if length != info.len() {
            break;
        }
        if number == libc::SIGCHLD {
            reap(tier, main, control);
        } else {
            signal_group(main, number);
        }
    }
}

/// Collects all that ended; ends itself when the program is among them.
fn reap(tier: Tier, main: libc::pid_t, control: BorrowedFd<'_>) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == main {
            let raw = status.as_raw();
            tell(control, raw);
            let code = status
                .exit_status()
                .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
            finish(tier, main, code.unwrap_or(ABANDONED));
        }
    }
}

/// Tells the program's wait status. If the caller gave up its end, init's own exit status still does.
fn tell(control: BorrowedFd<'_>, status: libc::c_int) {
    let _ = rustix::net::send(
        control,
        &Message::Ended(status).encode(),
        SendFlags::NOSIGNAL,
    );
}

/// Whether more orders may come.
fn obey(tier: Tier, main: libc::pid_t, control: BorrowedFd<'_>) -> bool {
    let mut bytes = [0; Message::SIZE];
    match rustix::net::recv(control, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((_, Message::SIZE)) => {
            match Message::decode(bytes) {
                Some(Message::SignalGroup(number)) => signal_group(main, number),
                Some(Message::SignalAll(number)) => signal_all(tier, main, number),
                Some(Message::Kill) => {
                    tell(control, libc::SIGKILL);
                    finish(tier, main, 128 + libc::SIGKILL)
                }
                Some(Message::Ended(_) | Message::Upper) | None => {}
            }
            true
        }
        Err(Errno::AGAIN | Errno::INTR) => true,
        Ok(_) | Err(_) => false,
    }
}

fn signal_group(main: libc::pid_t, number: libc::c_int) {
    // Fails only when the group is gone already.
    // SAFETY: takes numbers only.
    unsafe { libc::kill(-main, number) };
}

fn signal_all(tier: Tier, main: libc::pid_t, number: libc::c_int) {
    if tier.has_namespaces() {
        // Everyone this process may signal: all in the pid namespace, but not itself.
        // SAFETY: takes numbers only.
        unsafe { libc::kill(-1, number) };
        return;
    }
    signal_group(main, number);
    for_each_child(|child| {
        if child != main {
            // SAFETY: takes numbers only; a child that was not waited for keeps its pid.
            unsafe { libc::kill(child, number) };
        }
    });
}

fn finish(tier: Tier, main: libc::pid_t, code: libc::c_int) -> ! {
    if !tier.has_namespaces() {
        kill_descendants(main);
    }
    end(code)
}

/// Kills children until there are none: each death makes the grandchildren children of this subreaper.
fn kill_descendants(main: libc::pid_t) {
    signal_group(main, libc::SIGKILL);
    loop {
        for_each_child(|child| {
            // SAFETY: takes numbers only; a child that was not waited for keeps its pid.
            unsafe { libc::kill(child, libc::SIGKILL) };
        });
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn for_each_child(mut act: impl FnMut(libc::pid_t)) {
    const CHILDREN: &CStr = c"/proc/thread-self/children";
    let Ok(file) = openat(
        CWD,
        CHILDREN,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return;
    };
    let mut pid: libc::pid_t = 0;
    let mut buffer = [0; 1024];
    while let Ok(length) = rustix::io::read(&file, &mut buffer) {
        if length == 0 {
            return;
        }
        for byte in buffer.iter().take(length) {
            if byte.is_ascii_digit() {
                pid = pid
                    .saturating_mul(10)
                    .saturating_add(libc::pid_t::from(byte - b'0'));
            } else if pid > 0 {
                act(pid);
                pid = 0;
            }
        }
    }
}

pub(crate) fn end(code: libc::c_int) -> ! {
    // SAFETY: ends this process without running what the caller registered for its own end.
    unsafe { libc::_exit(code) }
}

//! The life of the tracer: it waits for what the threads stop for, and lets them go on.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_int, pid_t};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::memory::read;
use super::orders::Orders;
use super::tracee::{Call, Onward, event_message, go_on, process_of};
use super::view::{Last, Onlooker, read_link};
use super::{answers, exec, paths, sockets};

/// A thread that stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread {
    pub(super) id: pid_t,
    pub(super) process: pid_t,
}

/// What remains to be done when a system call returns.
#[derive(Default)]
enum Pending {
    #[default]
    Nothing,
    /// The registers get the arguments that the program gave.
    Restore(Call),
    /// An address of so many bytes at most gets its name inside.
    Rename(Call, u32),
    /// The call is made again, with the memory that the tracer has there by then.
    Again(Call),
}

#[derive(Default)]
struct State {
    process: pid_t,
    pending: Pending,
    /// What execve(2) is about to run, inside.
    program: Option<Vec<u8>>,
    memory: Memory,
}

/// The memory that the tracer has in a process for a thread.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Memory {
    #[default]
    Unknown,
    /// From this address on.
    Mapped(u64),
    /// The kernel gave none.
    Refused,
}

pub(super) struct Tracer {
    pub(super) orders: Orders,
    main: pid_t,
    own: (u32, u32),
    threads: HashMap<pid_t, State>,
    /// Those that stopped before their makers did, and wait for their news.
    early: HashSet<pid_t>,
    /// What each process runs, inside.
    programs: HashMap<pid_t, Vec<u8>>,
    /// Memory of threads that have ended, by their processes.
    spare: HashMap<pid_t, Vec<u64>>,
    /// Directories that sockets with long paths are in.
    shortened: Vec<(Vec<u8>, OwnedFd)>,
}

impl Tracer {
    pub(super) fn new(orders: Orders, main: pid_t) -> Self {
        let state = State {
            process: main,
            ..State::default()
        };
        Self {
            orders,
            main,
            own: (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            ),
            threads: HashMap::from([(main, state)]),
            early: HashSet::new(),
            programs: HashMap::new(),
            spare: HashMap::new(),
            shortened: Vec::new(),
        }
    }

    /// Until the program ends; its wait status.
    pub(super) fn run(&mut self) -> Result<c_int, Errno> {
        loop {
            let mut status = 0;
            // SAFETY: the kernel stores an int.
            let id = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
            if id < 0 {
                match std::io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => continue,
                    other => return Err(Errno::from_raw_os_error(other.unwrap_or(libc::EIO))),
                }
            }
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.forget(id);
                if id == self.main {
                    return Ok(status);
                }
                continue;
            }
            match self.stopped(id, status) {
                // Killed meanwhile, which the next wait tells.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn forget(&mut self, id: pid_t) {
        if let Some(State {
            process,
            memory: Memory::Mapped(address),
            ..
        }) = self.threads.remove(&id)
            && process != id
        {
            self.spare.entry(process).or_default().push(address);
        }
        self.early.remove(&id);
        self.programs.remove(&id);
        self.spare.remove(&id);
    }

    fn stopped(&mut self, id: pid_t, status: c_int) -> Result<(), Errno> {
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_SECCOMP => self.called(id),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let child = event_message(id)?;
                let alone = !Call::of(id)?.shares_memory();
                self.made(id, child, alone);
                go_on(id, Onward::Freely, 0)
            }
            libc::PTRACE_EVENT_EXEC => {
                self.replaced(id, event_message(id)?);
                go_on(id, Onward::Freely, 0)
            }
            libc::PTRACE_EVENT_STOP => match signal {
                libc::SIGTRAP if self.threads.contains_key(&id) => go_on(id, Onward::Freely, 0),
                libc::SIGTRAP => {
                    self.early.insert(id);
                    Ok(())
                }
                _ => go_on(id, Onward::Stopped, 0),
            },
            0 if signal == libc::SIGTRAP | 0x80 => self.returned(id),
            0 => go_on(id, Onward::Freely, signal),
            _ => go_on(id, Onward::Freely, 0),
        }
    }

    /// A thread made another, or a process, which has a copy of its memory or has it for itself
    /// until exec.
    fn made(&mut self, maker: pid_t, child: pid_t, alone: bool) {
        let process = process_of(child).unwrap_or(child);
        if process == child {
            let of = self
                .threads
                .get(&maker)
                .map_or(maker, |state| state.process);
            if let Some(program) = self.programs.get(&of).cloned() {
                self.programs.insert(child, program);
            }
        }
        let memory = match self.threads.get(&maker) {
            Some(state) if alone => state.memory,
            _ => Memory::Unknown,
        };
        let state = State {
            process,
            memory,
            ..State::default()
        };
        self.threads.insert(child, state);
        if self.early.remove(&child) {
            // Whether it is still there, the next wait tells.
            let _ = go_on(child, Onward::Freely, 0);
        }
    }

    /// A thread's program was replaced; it has the number of its process since.
    fn replaced(&mut self, id: pid_t, before: pid_t) {
        let program = self.threads.remove(&before).and_then(|state| state.program);
        if let Some(program) = program {
            self.programs.insert(id, program);
        }
        self.spare.remove(&id);
        let state = State {
            process: id,
            ..State::default()
        };
        self.threads.insert(id, state);
    }

    fn called(&mut self, id: pid_t) -> Result<(), Errno> {
        let process = match self.threads.get(&id) {
            Some(state) => state.process,
            None => process_of(id).unwrap_or(id),
        };
        let thread = Thread { id, process };
        self.threads.entry(id).or_default().process = process;
        let mut call = Call::of(id)?;
        if !answers::CALLS.contains(&call.number()) && !self.has_memory(thread, &mut call) {
            let before = call;
            call.map_scratch();
            call.store(id)?;
            self.threads.entry(id).or_default().pending = Pending::Again(before);
            return go_on(id, Onward::ToReturn, 0);
        }
        let pending = match self.handle(thread, &mut call) {
            Ok(pending) => pending,
            Err(Answer(result)) => {
                call.skip(result);
                Pending::Nothing
            }
        };
        let onward = match &pending {
            Pending::Nothing => Onward::Freely,
            Pending::Restore(_) | Pending::Rename(..) | Pending::Again(_) => Onward::ToReturn,
        };
        call.store(id)?;
        self.threads.entry(id).or_default().pending = pending;
        go_on(id, onward, 0)
    }

    /// Whether a call may be handled: there is memory for it, or there is none to be had.
    fn has_memory(&mut self, thread: Thread, call: &mut Call) -> bool {
        let state = self.threads.entry(thread.id).or_default();
        if state.memory == Memory::Unknown
            && let Some(spare) = self.spare.get_mut(&thread.process)
            && let Some(address) = spare.pop()
        {
            state.memory = Memory::Mapped(address);
        }
        match state.memory {
            Memory::Unknown => return false,
            Memory::Mapped(address) => call.use_scratch(Some(address)),
            Memory::Refused => {}
        }
        true
    }

    /// What is to be done with a call, or its result.
    fn handle(&mut self, thread: Thread, call: &mut Call) -> Result<Pending, Answer> {
        let before = *call;
        match call.number() {
            libc::SYS_execve => {
                let program = exec::translate(self, thread, call)?;
                let state = self.threads.entry(thread.id).or_default();
                state.program = Some(program);
                return Ok(Pending::Restore(before));
            }
            libc::SYS_bind | libc::SYS_connect | libc::SYS_sendto | libc::SYS_sendmsg => {
                sockets::translate(self, thread, call)?;
                return Ok(if call.is_as(&before) {
                    Pending::Nothing
                } else {
                    Pending::Restore(before)
                });
            }
            libc::SYS_sendmmsg => {
                sockets::refuse_paths(thread, call)?;
                return Ok(Pending::Nothing);
            }
            libc::SYS_getsockname | libc::SYS_getpeername => {
                let mut room = [0; 4];
                // The kernel has an error for a bad address.
                let room = match read(thread.id, call.argument(2), &mut room) {
                    Ok(()) => u32::from_ne_bytes(room),
                    Err(_) => return Ok(Pending::Nothing),
                };
                return Ok(Pending::Rename(before, room));
            }
            _ => {}
        }
        if let Some(result) = answers::answer(self, thread, call) {
            return Err(Answer(result));
        }
        if paths::translate(self, thread, call)? {
            return Ok(Pending::Restore(before));
        }
        Ok(Pending::Nothing)
    }

    fn returned(&mut self, id: pid_t) -> Result<(), Errno> {
        let state = self.threads.entry(id).or_default();
        let process = state.process;
        let pending = std::mem::take(&mut state.pending);
        state.program = None;
        match pending {
            Pending::Nothing => {}
            Pending::Restore(before) => {
                let mut call = Call::of(id)?;
                call.restore_arguments(&before);
                call.store(id)?;
            }
            Pending::Again(mut before) => {
                state.memory = match u64::try_from(Call::of(id)?.result()) {
                    Ok(address) => Memory::Mapped(address),
                    Err(_) => Memory::Refused,
                };
                before.again();
                before.store(id)?;
            }
            Pending::Rename(before, room) => {
                if Call::of(id)?.result() == 0 {
                    let thread = Thread { id, process };
                    // Memory that became unwritable meanwhile keeps what the kernel wrote.
                    let _ = sockets::rename(self, thread, &before, room);
                }
            }
        }
        go_on(id, Onward::Freely, 0)
    }

    pub(super) fn onlooker(&self, thread: Thread) -> Onlooker<'_> {
        Onlooker {
            thread: thread.id,
            process: thread.process,
            programs: &self.programs,
        }
    }

    /// Where a path leads, inside, that begins at a directory's descriptor or the working directory.
    pub(super) fn inside_path(
        &self,
        thread: Thread,
        directory: Option<c_int>,
        path: &[u8],
        last: Last,
    ) -> Result<Vec<u8>, Errno> {
        let from = if path.starts_with(b"/") {
            Vec::new()
        } else {
            match directory {
                None | Some(libc::AT_FDCWD) => self.working_directory(thread)?,
                Some(descriptor) => self.descriptor(thread, descriptor)?,
            }
        };
        self.orders
            .view
            .resolve(self.onlooker(thread), &from, path, last)
    }

    /// The same on the host.
    pub(super) fn host_path(
        &self,
        thread: Thread,
        directory: Option<c_int>,
        path: &[u8],
        last: Last,
    ) -> Result<Vec<u8>, Errno> {
        let inside = self.inside_path(thread, directory, path, last)?;
        let host = self.orders.view.to_host(&inside);
        Ok(super::view::slash_if_empty(host))
    }

    /// Inside. What was removed is nowhere.
    pub(super) fn working_directory(&self, thread: Thread) -> Result<Vec<u8>, Errno> {
        let link = format!("/proc/{}/task/{}/cwd", thread.process, thread.id);
        let host = read_link(link.as_bytes())?;
        // As the kernel says of what was removed; a directory may be called so, too.
        if host.ends_with(b" (deleted)") && rustix::fs::lstat(host.as_slice()).is_err() {
            return Err(Errno::NOENT);
        }
        self.orders.view.to_inside(&host).ok_or(Errno::NOENT)
    }

    fn descriptor(&self, thread: Thread, descriptor: c_int) -> Result<Vec<u8>, Errno> {
        let host = self.descriptor_target(thread, descriptor)?;
        self.orders.view.to_inside(&host).ok_or(Errno::NOTDIR)
    }

    fn descriptor_target(&self, thread: Thread, descriptor: c_int) -> Result<Vec<u8>, Errno> {
        let link = self.descriptor_path(thread, descriptor)?;
        match read_link(link.as_bytes()) {
            Err(Errno::NOENT) => Err(Errno::BADF),
            other => other,
        }
    }

    /// A path of the host to what a thread's descriptor is for, whatever that is.
    #[expect(clippy::unused_self, reason = "said of a thread of this tracer")]
    pub(super) fn descriptor_path(
        &self,
        thread: Thread,
        descriptor: c_int,
    ) -> Result<CString, Errno> {
        let Thread { id, process } = thread;
        let path = match descriptor {
            libc::AT_FDCWD => format!("/proc/{process}/task/{id}/cwd"),
            0.. => format!("/proc/{process}/task/{id}/fd/{descriptor}"),
            _ => return Err(Errno::BADF),
        };
        CString::new(path).map_err(|_| Errno::INVAL)
    }

    /// Only what may be written may have its properties changed; pipes and their like may.
    pub(super) fn require_writable_descriptor(
        &self,
        thread: Thread,
        descriptor: c_int,
    ) -> Result<(), Errno> {
        let host = self.descriptor_target(thread, descriptor)?;
        if host.starts_with(b"/")
            && !host.starts_with(b"/memfd:")
            && !host.starts_with(b"/dev/")
            && !self.orders.view.is_writable(&host)
        {
            return Err(Errno::ACCESS);
        }
        Ok(())
    }

    /// The ids that the program believes to have, in place of the caller's.
    pub(super) fn rename_ids(&self, bytes: &mut [u8], uid: usize, gid: usize) {
        for (at, own, inside) in [
            (uid, self.own.0, self.orders.uid),
            (gid, self.own.1, self.orders.gid),
        ] {
            if let Some(field) = bytes.get_mut(at..at + 4)
                && *field == own.to_ne_bytes()
            {
                field.copy_from_slice(&inside.to_ne_bytes());
            }
        }
    }

    /// A path of the host to the same file that fits into a socket's address.
    pub(super) fn shorten(&mut self, host: &[u8]) -> Result<Vec<u8>, Errno> {
        let at = host
            .iter()
            .rposition(|byte| *byte == b'/')
            .ok_or(Errno::NAMETOOLONG)?;
        let (directory, name) = host.split_at(at);
        // What was removed or moved is no longer what its name says.
        self.shortened.retain(|(path, open)| {
            let now = rustix::fs::stat(path.as_slice());
            let then = rustix::fs::fstat(open);
            matches!((now, then), (Ok(now), Ok(then)) if (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino))
        });
        let known = self.shortened.iter().find(|(known, _)| known == directory);
        let number = if let Some((_, open)) = known {
            open.as_raw_fd()
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let open = openat(CWD, directory, flags, Mode::empty())?;
            let number = open.as_raw_fd();
            self.shortened.push((directory.to_vec(), open));
            number
        };
        let own = std::process::id();
        Ok([format!("/proc/{own}/fd/{number}").as_bytes(), name].concat())
    }

    /// The path inside of a socket's address, as [`Tracer::shorten`] made it or not.
    pub(super) fn lengthen(&self, host: &[u8]) -> Option<Vec<u8>> {
        let own = format!("/proc/{}/fd/", std::process::id());
        let Some(rest) = host.strip_prefix(own.as_bytes()) else {
            return self.orders.view.to_inside(host);
        };
        let at = rest.iter().position(|byte| *byte == b'/')?;
        let (number, name) = rest.split_at(at);
        let number: c_int = std::str::from_utf8(number).ok()?.parse().ok()?;
        let (directory, _) = self
            .shortened
            .iter()
            .find(|(_, open)| open.as_raw_fd() == number)?;
        self.orders.view.to_inside(&[directory, name].concat())
    }
}

/// A call's result, which the tracer gives in the kernel's place.
struct Answer(Result<u64, Errno>);

impl From<Errno> for Answer {
    fn from(errno: Errno) -> Self {
        Self(Err(errno))
    }
}

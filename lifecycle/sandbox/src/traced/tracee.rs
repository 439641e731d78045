//! One traced thread: its registers, its memory, and how it goes on.

use std::io;
use std::path::PathBuf;

use libc::{c_int, c_long, c_void, pid_t, user_regs_struct};
use rustix::io::Errno;

use super::memory::write;
use crate::step::check;

/// Longer paths the kernel refuses as well (`PATH_MAX`).
pub(super) const MAX_PATH: usize = 4096;

/// Bytes of a [`Call::map_scratch`]: two paths, or the arguments of an ordinary command.
pub(super) const SCRATCH: u64 = 32 * 1024;

/// What must not be written below the stack pointer (System V ABI for x86-64, 3.2.2).
const RED_ZONE: u64 = 128;

/// What a thread asks of the kernel: the registers at a system call.
#[derive(Clone, Copy)]
pub(super) struct Call {
    registers: user_regs_struct,
    /// The thread's own [`Scratch`], if it has one.
    region: Option<u64>,
}

impl Call {
    pub(super) fn of(pid: pid_t) -> Result<Self, Errno> {
        // SAFETY: all of it is integers, for which zero is a value.
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel fills the structure, which is of the type that it expects.
        unsafe { request(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers).cast())? };
        Ok(Self {
            registers,
            region: None,
        })
    }

    pub(super) fn store(&self, pid: pid_t) -> Result<(), Errno> {
        let registers = (&raw const self.registers).cast_mut().cast();
        // SAFETY: the kernel reads the structure, which is of the type that it expects.
        unsafe { request(libc::PTRACE_SETREGS, pid, 0, registers) }
    }

    /// Of 32 bits, as the kernel and its filters have it: the program may set the register's other half to anything.
    pub(super) fn number(&self) -> c_long {
        let [a, b, c, d, ..] = self.registers.orig_rax.to_le_bytes();
        c_long::from(i32::from_le_bytes([a, b, c, d]))
    }

    pub(super) fn argument(&self, index: usize) -> u64 {
        let registers = &self.registers;
        match index {
            0 => registers.rdi,
            1 => registers.rsi,
            2 => registers.rdx,
            3 => registers.r10,
            4 => registers.r8,
            _ => registers.r9,
        }
    }

    /// An argument of the type `int`, whose upper half means nothing.
    pub(super) fn int(&self, index: usize) -> c_int {
        let [b0, b1, b2, b3, ..] = self.argument(index).to_ne_bytes();
        c_int::from_ne_bytes([b0, b1, b2, b3])
    }

    pub(super) fn set_argument(&mut self, index: usize, value: u64) {
        let registers = &mut self.registers;
        *match index {
            0 => &mut registers.rdi,
            1 => &mut registers.rsi,
            2 => &mut registers.rdx,
            3 => &mut registers.r10,
            4 => &mut registers.r8,
            _ => &mut registers.r9,
        } = value;
    }

    /// Puts back what the call was made with: system calls keep their arguments' registers.
    pub(super) fn restore_arguments(&mut self, before: &Self) {
        for index in 0..6 {
            self.set_argument(index, before.argument(index));
        }
    }

    /// Whether it is made with the same arguments.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        (0..6).all(|index| self.argument(index) == other.argument(index))
    }

    pub(super) fn result(&self) -> i64 {
        self.registers.rax.cast_signed()
    }

    pub(super) fn set_result(&mut self, result: i64) {
        self.registers.rax = result.cast_unsigned();
    }

    /// Has the kernel do nothing, so that the result is what was set (seccomp(2), `SECCOMP_RET_TRACE`).
    pub(super) fn skip(&mut self, result: Result<u64, Errno>) {
        self.registers.orig_rax = u64::MAX;
        self.set_result(match result {
            Ok(value) => value.cast_signed(),
            Err(errno) => -i64::from(errno.raw_os_error()),
        });
    }

    /// Has the kernel map memory for the tracer instead of what was asked for. Below a stack there
    /// may be little room: Go's begin with 2 KiB, and what is below belongs to others.
    pub(super) fn map_scratch(&mut self) {
        self.registers.orig_rax = libc::SYS_mmap.cast_unsigned();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let arguments = [
            0,
            SCRATCH,
            u64::from(protection.unsigned_abs()),
            u64::from(flags.unsigned_abs()),
            u64::MAX,
            0,
        ];
        for (index, argument) in arguments.into_iter().enumerate() {
            self.set_argument(index, argument);
        }
    }

    /// Has the thread make this call once more, which has returned meanwhile as another.
    pub(super) fn again(&mut self) {
        /// Bytes of the instruction `syscall`.
        const INSTRUCTION: u64 = 2;
        self.registers.rip -= INSTRUCTION;
        self.registers.rax = self.registers.orig_rax;
        // No call is going on that the kernel could think of restarting.
        self.registers.orig_rax = u64::MAX;
    }

    pub(super) fn use_scratch(&mut self, region: Option<u64>) {
        self.region = region;
    }

    /// Whether a new process shares the memory of the one that makes it, which goes on meanwhile.
    pub(super) fn shares_memory(&self) -> bool {
        let shared = self.int(0) & libc::CLONE_VM != 0 && self.int(0) & libc::CLONE_VFORK == 0;
        self.number() == libc::SYS_clone && shared
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch {
            end: match self.region {
                Some(start) => start + SCRATCH,
                None => self.below_stack(),
            },
            start: self.region.unwrap_or(0),
            below_stack: self.below_stack(),
        }
    }

    fn below_stack(&self) -> u64 {
        self.registers.rsp.saturating_sub(RED_ZONE) & !15
    }
}

/// A thread's memory for what the kernel is to read there.
pub(super) struct Scratch {
    start: u64,
    end: u64,
    /// Where to go on if there is no room left.
    below_stack: u64,
}

impl Scratch {
    /// Puts bytes there, aligned for pointers; where they are.
    pub(super) fn put(&mut self, pid: pid_t, bytes: &[u8]) -> Result<u64, Errno> {
        let length = u64::try_from(bytes.len()).map_err(|_| Errno::NOMEM)?;
        if self.end.saturating_sub(length) & !15 < self.start {
            (self.start, self.end) = (0, self.below_stack);
        }
        self.end = self.end.checked_sub(length).ok_or(Errno::FAULT)? & !15;
        write(pid, self.end, bytes)?;
        Ok(self.end)
    }
}

/// ptrace(2), for requests whose result is no more than success.
///
/// # Safety
/// `data` is what the request wants it to be.
unsafe fn request(what: u32, pid: pid_t, address: usize, data: *mut c_void) -> Result<(), Errno> {
    // SAFETY: the caller's promise; the address is a number or ignored.
    check(unsafe { libc::ptrace(what, pid, address as *mut c_void, data) }).map(drop)
}

/// Becomes the tracer of a process, and of all that it will start. They die with this process.
pub(super) fn seize(pid: pid_t) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: the data are options, no address.
    unsafe { request(libc::PTRACE_SEIZE, pid, 0, number(options)) }
}

/// How a stopped thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Onward {
    /// To its next stop.
    Freely,
    /// To the end of the system call that it is in.
    ToReturn,
    /// It stays stopped, until a signal continues it.
    Stopped,
}

/// Lets a stopped thread go on, with a signal or with none (0).
pub(super) fn go_on(pid: pid_t, onward: Onward, signal: c_int) -> Result<(), Errno> {
    let what = match onward {
        Onward::Freely => libc::PTRACE_CONT,
        Onward::ToReturn => libc::PTRACE_SYSCALL,
        Onward::Stopped => libc::PTRACE_LISTEN,
    };
    // SAFETY: the data are a signal's number, no address.
    unsafe { request(what, pid, 0, number(signal)) }
}

fn number(value: c_int) -> *mut c_void {
    usize::try_from(value).unwrap_or_default() as *mut c_void
}

/// What an event of ptrace is about: mostly the number of another process.
pub(super) fn event_message(pid: pid_t) -> Result<pid_t, Errno> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel stores an unsigned long.
    unsafe {
        request(
            libc::PTRACE_GETEVENTMSG,
            pid,
            0,
            (&raw mut message).cast::<c_void>(),
        )?;
    }
    pid_t::try_from(message).map_err(|_| Errno::SRCH)
}

/// Which process a thread belongs to.
pub(super) fn process_of(thread: pid_t) -> io::Result<pid_t> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{thread}/status")))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

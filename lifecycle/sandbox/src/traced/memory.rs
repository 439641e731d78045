//! The memory of a traced thread.

use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_long, c_void, pid_t};
use rustix::io::Errno;

use crate::step::check;

/// Bytes that ptrace(2) moves at once.
const WORD: usize = size_of::<c_long>();

/// Docker's filters before version 22 allow ptrace(2) and yet refuse what is made for this.
static ONLY_WORDS: AtomicBool = AtomicBool::new(false);

/// Reads as much as there is at an address, at most what fits.
fn read_some(pid: pid_t, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: into.len(),
    };
    if !ONLY_WORDS.load(Ordering::Relaxed) {
        // SAFETY: `local` is a slice of this process; the other's address is checked by the kernel.
        let read = check(unsafe {
            libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) as c_long
        });
        match read {
            Err(Errno::PERM | Errno::NOSYS) => ONLY_WORDS.store(true, Ordering::Relaxed),
            read => return usize::try_from(read?).map_err(|_| Errno::FAULT),
        }
    }
    read_words(pid, address, into)
}

fn read_words(pid: pid_t, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let mut length = 0;
    while length < into.len() {
        let (start, skipped) = word_of(address + length as u64);
        let word = match peek(pid, start) {
            Err(Errno::IO | Errno::FAULT) if length > 0 => break,
            word => word?,
        };
        let fresh = &word[skipped..];
        let count = fresh.len().min(into.len() - length);
        into[length..length + count].copy_from_slice(&fresh[..count]);
        length += count;
    }
    Ok(length)
}

fn write_words(pid: pid_t, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let mut length = 0;
    while length < bytes.len() {
        let (start, skipped) = word_of(address + length as u64);
        let count = (WORD - skipped).min(bytes.len() - length);
        let mut word = if count == WORD {
            [0; WORD]
        } else {
            peek(pid, start)?
        };
        word[skipped..skipped + count].copy_from_slice(&bytes[length..length + count]);
        // SAFETY: the data are a word, no address; where it goes is checked by the kernel.
        check(unsafe {
            libc::syscall(
                libc::SYS_ptrace,
                libc::PTRACE_POKEDATA,
                pid,
                start,
                c_long::from_ne_bytes(word),
            )
        })?;
        length += count;
    }
    Ok(())
}

/// The word that an address is in, and how many of its bytes are before it.
fn word_of(address: u64) -> (u64, usize) {
    let skipped = address % WORD as u64;
    (
        address - skipped,
        usize::try_from(skipped).unwrap_or_default(),
    )
}

fn peek(pid: pid_t, address: u64) -> Result<[u8; WORD], Errno> {
    let mut word: c_long = 0;
    // SAFETY: the kernel, unlike the C library's function, stores the word where the data point to.
    let peeked = check(unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_PEEKDATA,
            pid,
            address,
            &raw mut word,
        )
    });
    match peeked {
        Err(Errno::IO) => Err(Errno::FAULT),
        other => other.map(|_| word.to_ne_bytes()),
    }
}

/// Fills a buffer from a thread's memory.
pub(super) fn read(pid: pid_t, address: u64, into: &mut [u8]) -> Result<(), Errno> {
    if read_some(pid, address, into)? == into.len() {
        Ok(())
    } else {
        Err(Errno::FAULT)
    }
}

/// Reads a pointer.
pub(super) fn read_word(pid: pid_t, address: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    read(pid, address, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Writes to a thread's memory.
pub(super) fn write(pid: pid_t, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: bytes.len(),
    };
    if !ONLY_WORDS.load(Ordering::Relaxed) {
        // SAFETY: `local` is a slice of this process and only read; the other's address is checked by the kernel.
        let written = check(unsafe {
            libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) as c_long
        });
        match written {
            Err(Errno::PERM | Errno::NOSYS) => ONLY_WORDS.store(true, Ordering::Relaxed),
            written if usize::try_from(written?) == Ok(bytes.len()) => return Ok(()),
            _ => return Err(Errno::FAULT),
        }
    }
    write_words(pid, address, bytes)
}

/// Reads a C string of at most so many bytes, without its end.
pub(super) fn read_string(pid: pid_t, address: u64, longest: usize) -> Result<Vec<u8>, Errno> {
    const PAGE: u64 = 4096;
    let mut string = Vec::new();
    let mut next = address;
    while string.len() <= longest {
        // Up to the page's end at most: the next one may be nobody's.
        let length = usize::try_from((PAGE - next % PAGE).min(256)).unwrap_or(256);
        let mut piece = [0; 256];
        let read = read_some(pid, next, &mut piece[..length])?;
        let piece = &piece[..read];
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            string.extend_from_slice(&piece[..end]);
            return Ok(string);
        }
        if piece.is_empty() {
            return Err(Errno::FAULT);
        }
        string.extend_from_slice(piece);
        next += read as u64;
    }
    Err(Errno::NAMETOOLONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_their_addresses() {
        assert_eq!(word_of(16), (16, 0));
        assert_eq!(word_of(23), (16, 7));
        assert_eq!(word_of(0), (0, 0));
    }
}

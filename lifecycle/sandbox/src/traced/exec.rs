//! Starting programs: the kernel would look for scripts' and programs' interpreters on the host.
//!
//! A program that is linked dynamically is run by its dynamic loader, which takes a program as
//! argument (ld.so(8)) and opens everything else by itself.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::memory::{read_string, read_word};
use super::tracee::{Call, MAX_PATH};
use super::tracer::{Thread, Tracer};
use super::view::Last;

/// As many interpreters of interpreters as the kernel tries (execve(2)).
const DEEPEST: usize = 5;
/// What the kernel reads of a script to find its interpreter.
const FIRST_LINE: usize = 256;
/// More arguments than the kernel takes at all.
const MOST_ARGUMENTS: usize = 1 << 18;

/// What a file begins with.
enum Kind {
    /// A program that the kernel starts by itself.
    Static,
    /// A program that names its loader.
    Dynamic { loader: Vec<u8> },
    Script {
        interpreter: Vec<u8>,
        argument: Option<Vec<u8>>,
    },
}

/// Has execve(2) run what the program means; where that is inside.
pub(super) fn translate(
    tracer: &Tracer,
    thread: Thread,
    call: &mut Call,
) -> Result<Vec<u8>, Errno> {
    let mut path = read_string(thread.id, call.argument(0), MAX_PATH)?;
    let given = pointers(thread, call.argument(1))?;
    // What comes in place of the first argument, when something does.
    let mut front: Option<Vec<Vec<u8>>> = None;
    for _ in 0..DEEPEST {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let inside = tracer.inside_path(thread, None, &path, Last::Followed)?;
        let mut host = tracer.orders.view.to_host(&inside);
        match kind(&host)? {
            Kind::Script {
                interpreter,
                argument,
            } => {
                let mut next = vec![interpreter.clone()];
                next.extend(argument);
                next.push(path);
                next.extend(front.into_iter().flatten().skip(1));
                front = Some(next);
                path = interpreter;
                continue;
            }
            Kind::Static => {}
            Kind::Dynamic { loader } => {
                host = tracer.host_path(thread, None, &loader, Last::Followed)?;
                require_executable(&host)?;
                let name = match (&front, given.first()) {
                    (Some(front), _) => front.first().cloned().unwrap_or_default(),
                    (None, Some(address)) => read_string(thread.id, *address, 1 << 17)?,
                    (None, None) => path.clone(),
                };
                let mut next = vec![loader, b"--argv0".to_vec(), name, inside.clone()];
                next.extend(front.into_iter().flatten().skip(1));
                front = Some(next);
            }
        }
        store(thread, call, host, front, &given)?;
        return Ok(inside);
    }
    Err(Errno::LOOP)
}

/// Puts the host's path and the arguments where the call finds them.
fn store(
    thread: Thread,
    call: &mut Call,
    mut host: Vec<u8>,
    front: Option<Vec<Vec<u8>>>,
    given: &[u64],
) -> Result<(), Errno> {
    let mut scratch = call.scratch();
    if let Some(front) = front {
        let mut addresses = Vec::with_capacity(front.len() + given.len());
        for mut argument in front {
            argument.push(0);
            addresses.push(scratch.put(thread.id, &argument)?);
        }
        addresses.extend(given.iter().skip(1));
        addresses.push(0);
        let bytes: Vec<u8> = addresses.into_iter().flat_map(u64::to_ne_bytes).collect();
        let place = scratch.put(thread.id, &bytes)?;
        call.set_argument(1, place);
    }
    host.push(0);
    let place = scratch.put(thread.id, &host)?;
    call.set_argument(0, place);
    Ok(())
}

/// The addresses in an array that ends with NULL; none at all for NULL.
fn pointers(thread: Thread, array: u64) -> Result<Vec<u64>, Errno> {
    let mut found = Vec::new();
    if array == 0 {
        return Ok(found);
    }
    loop {
        let address = read_word(thread.id, array + 8 * found.len() as u64)?;
        if address == 0 {
            return Ok(found);
        }
        if found.len() == MOST_ARGUMENTS {
            return Err(Errno::TOOBIG);
        }
        found.push(address);
    }
}

fn require_executable(host: &[u8]) -> Result<(), Errno> {
    let path = CString::new(host).map_err(|_| Errno::INVAL)?;
    accessat(CWD, path.as_c_str(), Access::EXEC_OK, AtFlags::EACCESS)
}

fn kind(host: &[u8]) -> Result<Kind, Errno> {
    let of = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let path = Path::new(OsStr::from_bytes(host));
    if !std::fs::metadata(path).map_err(of)?.is_file() {
        return Err(Errno::ACCESS);
    }
    require_executable(host)?;
    let file = File::open(path).map_err(of)?;
    let mut start = [0; FIRST_LINE];
    let length = read_up_to(&file, &mut start).map_err(of)?;
    let start = &start[..length];
    if let Some(line) = start.strip_prefix(b"#!") {
        return script(line).ok_or(Errno::NOEXEC);
    }
    elf(&file, start)
}

fn read_up_to(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match file.read_at(&mut into[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// The rest of a script's first line: an interpreter, and everything after it as one argument.
fn script(line: &[u8]) -> Option<Kind> {
    let end = line.iter().position(|byte| *byte == b'\n');
    let line = line[..end.unwrap_or(line.len())].trim_ascii();
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let (interpreter, argument) = match line.iter().position(blank) {
        Some(at) => (&line[..at], Some(line[at..].trim_ascii().to_vec())),
        None => (line, None),
    };
    (!interpreter.is_empty()).then(|| Kind::Script {
        interpreter: interpreter.to_vec(),
        argument,
    })
}

/// elf(5): a 64-bit program for x86-64, and its `PT_INTERP` if it has one.
fn elf(file: &File, start: &[u8]) -> Result<Kind, Errno> {
    const X86_64: u16 = 62;
    const PT_INTERP: u32 = 3;
    let bad = || Errno::NOEXEC;
    let number = |bytes: &[u8], at: usize| -> Result<u64, Errno> {
        let bytes = bytes.get(at..at + 8).ok_or_else(bad)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| bad())?))
    };
    let short = |bytes: &[u8], at: usize| -> Result<u16, Errno> {
        let bytes = bytes.get(at..at + 2).ok_or_else(bad)?;
        Ok(u16::from_le_bytes(bytes.try_into().map_err(|_| bad())?))
    };
    if !start.starts_with(b"\x7fELF\x02\x01") || short(start, 18)? != X86_64 {
        return Err(bad());
    }
    let (offset, size, count) = (number(start, 32)?, short(start, 54)?, short(start, 56)?);
    if usize::from(size) < 56 {
        return Err(bad());
    }
    let mut table = vec![0; usize::from(size) * usize::from(count)];
    file.read_exact_at(&mut table, offset).map_err(|_| bad())?;
    for header in table.chunks_exact(usize::from(size)) {
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if kind == PT_INTERP {
            let length = usize::try_from(number(header, 32)?).map_err(|_| bad())?;
            if !(2..=MAX_PATH).contains(&length) {
                return Err(bad());
            }
            let mut loader = vec![0; length];
            file.read_exact_at(&mut loader, number(header, 8)?)
                .map_err(|_| bad())?;
            let end = loader.iter().position(|byte| *byte == 0);
            loader.truncate(end.ok_or_else(bad)?);
            return Ok(Kind::Dynamic { loader });
        }
    }
    Ok(Kind::Static)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<(String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match script(line.as_bytes())? {
            Kind::Script {
                interpreter,
                argument,
            } => Some((text(interpreter), argument.map(text))),
            _ => None,
        }
    }

    #[test]
    fn a_script_s_first_line_has_one_argument() {
        let some = |interpreter: &str, argument: Option<&str>| {
            Some((interpreter.to_owned(), argument.map(str::to_owned)))
        };
        assert_eq!(parsed("/bin/sh\necho"), some("/bin/sh", None));
        assert_eq!(
            parsed(" /usr/bin/env  -S a b \n"),
            some("/usr/bin/env", Some("-S a b"))
        );
        assert_eq!(parsed("/bin/sh"), some("/bin/sh", None));
        assert_eq!(parsed(" \n/bin/sh"), None);
    }

    #[test]
    fn programs_name_their_loader() {
        let own = kind(b"/proc/self/exe");
        assert!(
            matches!(&own, Ok(Kind::Dynamic { loader }) if loader.starts_with(b"/lib")),
            "{:?}",
            own.err()
        );
        assert!(matches!(kind(b"/proc/self/environ"), Err(Errno::ACCESS)));
        assert!(matches!(kind(b"/"), Err(Errno::ACCESS)));
    }
}

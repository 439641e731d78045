//! What the caller tells the tracer: a file in memory that outlives exec.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::MemfdFlags;

use super::view::{Place, View};
use crate::plan::Program;
use crate::spec::Sandbox;

/// What to run and what it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) view: View,
    /// The ids that the program believes to have.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Inside.
    pub(crate) cwd: Vec<u8>,
    /// What to try to execute, in order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
}

impl Orders {
    /// To run a plan's program in a sandbox that sees this.
    pub(crate) fn of(program: &Program, sandbox: &Sandbox, view: View) -> Self {
        Self {
            view,
            uid: sandbox.uid,
            gid: sandbox.gid,
            cwd: sandbox.cwd.as_os_str().as_bytes().to_vec(),
            candidates: program.candidates.clone(),
            argv: program.argv.strings().to_vec(),
            env: program.env.strings().to_vec(),
        }
    }

    /// Writes them down.
    pub(crate) fn seal(&self) -> io::Result<OwnedFd> {
        let mut bytes = Vec::new();
        put_number(&mut bytes, self.view.places.len());
        for place in &self.view.places {
            put(&mut bytes, &place.inside);
            put(&mut bytes, &place.host);
            bytes.push(u8::from(place.writable));
        }
        bytes.extend(self.uid.to_ne_bytes());
        bytes.extend(self.gid.to_ne_bytes());
        put(&mut bytes, &self.cwd);
        for strings in [&self.candidates, &self.argv, &self.env] {
            put_number(&mut bytes, strings.len());
            for string in strings {
                put(&mut bytes, string.as_bytes());
            }
        }
        let memory = rustix::fs::memfd_create(c"sandbox-orders", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(memory);
        file.write_all(&bytes)?;
        file.rewind()?;
        Ok(file.into())
    }

    /// Reads what [`Orders::seal`] wrote.
    pub(super) fn open(from: OwnedFd) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::from(from).read_to_end(&mut bytes)?;
        Reader(&bytes)
            .orders()
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn put_number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend(number.to_ne_bytes());
}

fn put(bytes: &mut Vec<u8>, value: &[u8]) {
    put_number(bytes, value.len());
    bytes.extend(value);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = self.take(size_of::<usize>())?;
        Some(usize::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn id(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let length = self.number()?;
        Some(self.take(length)?.to_vec())
    }

    fn strings(&mut self) -> Option<Vec<CString>> {
        let count = self.number()?;
        (0..count)
            .map(|_| CString::new(self.value()?).ok())
            .collect()
    }

    fn orders(mut self) -> Option<Orders> {
        let count = self.number()?;
        let places = (0..count)
            .map(|_| {
                Some(Place {
                    inside: self.value()?,
                    host: self.value()?,
                    writable: self.take(1)? == [1],
                })
            })
            .collect::<Option<_>>()?;
        Some(Orders {
            view: View { places },
            uid: self.id()?,
            gid: self.id()?,
            cwd: self.value()?,
            candidates: self.strings()?,
            argv: self.strings()?,
            env: self.strings()?,
        })
    }
}

/// A path inside as a [`View`] has it.
pub(crate) fn inside(path: &Path) -> Vec<u8> {
    let mut inside = path.components().collect::<std::path::PathBuf>();
    if inside == Path::new("/") {
        inside = std::path::PathBuf::new();
    }
    OsString::from(inside).into_vec()
}

/// A path of the host as a [`View`] has it.
pub(crate) fn host(path: &Path) -> io::Result<Vec<u8>> {
    let path = std::fs::canonicalize(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let bytes = OsStr::new(&path).as_bytes();
    Ok(if bytes == b"/" {
        Vec::new()
    } else {
        bytes.to_vec()
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn orders_survive_the_memory_file() {
        let orders = Orders {
            view: View {
                places: vec![Place {
                    inside: Vec::new(),
                    host: b"/host\n".to_vec(),
                    writable: true,
                }],
            },
            uid: 1000,
            gid: 7,
            cwd: b"/workspace".to_vec(),
            candidates: vec![c"/bin/sh".to_owned()],
            argv: vec![c"sh".to_owned(), c"".to_owned()],
            env: vec![],
        };
        assert_eq!(Orders::open(orders.seal().unwrap()).unwrap(), orders);
        let cut = rustix::fs::memfd_create(c"cut", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&cut, &[9; 20]).unwrap();
        assert!(Orders::open(cut).is_err());
    }

    #[test]
    fn the_root_is_the_empty_path() {
        assert_eq!(inside(Path::new("/")), b"");
        assert_eq!(inside(Path::new("/a//b/")), b"/a/b");
    }
}

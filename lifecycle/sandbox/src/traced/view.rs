//! Paths as the program sees them, and where they are on the host.
//!
//! A path inside is kept without a slash at its end: `/` is the empty one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::io::Errno;

/// As many as the kernel follows (`path_resolution(7)`).
const MOST_LINKS: u32 = 40;

/// A directory or file of the host and where it is inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Empty for the root.
    pub(crate) inside: Vec<u8>,
    /// Without symbolic links on the way.
    pub(crate) host: Vec<u8>,
    pub(crate) writable: bool,
}

/// All that the program sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// The root among them.
    pub(crate) places: Vec<Place>,
}

/// Who looks at a path: `/proc/self` is somebody else for each.
#[derive(Clone, Copy)]
pub(super) struct Onlooker<'a> {
    pub(super) thread: i32,
    pub(super) process: i32,
    /// What a process runs, inside.
    pub(super) programs: &'a HashMap<i32, Vec<u8>>,
}

/// Whether a symbolic link at a path's end is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Followed,
    Itself,
}

/// What a link leads to that the kernel makes up.
enum Magic {
    /// It is no such link.
    No,
    /// The kernel itself follows it best.
    Kept,
    Leads(Vec<u8>),
}

impl View {
    /// Where a path inside is on the host, links aside.
    pub(super) fn to_host(&self, inside: &[u8]) -> Vec<u8> {
        let best = self
            .places
            .iter()
            .filter_map(|place| Some((place, below(inside, &place.inside)?)))
            .max_by_key(|(place, _)| place.inside.len());
        best.map_or_else(
            || inside.to_vec(),
            |(place, rest)| [&place.host, rest].concat(),
        )
    }

    /// Where a place of the host is inside, if it is to be seen there.
    pub(super) fn to_inside(&self, host: &[u8]) -> Option<Vec<u8>> {
        let (place, rest) = self.place_of(host)?;
        Some([&place.inside, rest].concat())
    }

    /// Whether the program may change what is at a place of the host.
    pub(super) fn is_writable(&self, host: &[u8]) -> bool {
        self.place_of(host).is_some_and(|(place, _)| place.writable)
    }

    fn place_of<'a>(&self, host: &'a [u8]) -> Option<(&Place, &'a [u8])> {
        self.places
            .iter()
            .filter_map(|place| Some((place, below(host, &place.host)?)))
            .max_by_key(|(place, _)| place.host.len())
    }

    /// Follows a path from a directory inside, as `path_resolution(7)` has it. What comes out is
    /// inside too, and has no links on its way.
    pub(super) fn resolve(
        &self,
        who: Onlooker<'_>,
        from: &[u8],
        path: &[u8],
        last: Last,
    ) -> Result<Vec<u8>, Errno> {
        let followed = last == Last::Followed || path.ends_with(b"/") || path.ends_with(b"/.");
        let mut here = if path.starts_with(b"/") {
            Vec::new()
        } else {
            from.to_vec()
        };
        let mut waiting = names(path);
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == b".." {
                let parent = here.iter().rposition(|byte| *byte == b'/');
                here.truncate(parent.unwrap_or_default());
                continue;
            }
            let is_last = waiting.is_empty();
            let next = [&here[..], b"/", &name].concat();
            if is_last && !followed {
                return Ok(next);
            }
            let target = match self.magic(who, &next) {
                Magic::Leads(target) => target,
                Magic::Kept if is_last => return Ok(next),
                Magic::Kept => self.link(who, &next)?,
                Magic::No => match read_link(&self.to_host(&next)) {
                    Ok(target) => target,
                    Err(Errno::INVAL) => {
                        here = next;
                        continue;
                    }
                    Err(Errno::NOENT) if is_last => return Ok(next),
                    Err(errno) => return Err(errno),
                },
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            if target.starts_with(b"/") {
                here.clear();
            }
            waiting.extend(names(&target));
        }
        Ok(here)
    }

    /// What readlink(2) says of a path inside whose way is resolved.
    pub(super) fn link(&self, who: Onlooker<'_>, path: &[u8]) -> Result<Vec<u8>, Errno> {
        match self.magic(who, path) {
            Magic::Leads(target) => Ok(target),
            Magic::Kept | Magic::No => {
                let target = read_link(&self.to_host(path))?;
                if path.starts_with(b"/proc/") && target.starts_with(b"/") {
                    return Ok(self.to_inside(&target).unwrap_or(target));
                }
                Ok(target)
            }
        }
    }

    /// proc(5): links that are another's for each onlooker, or lead to where only the host has something.
    fn magic(&self, who: Onlooker<'_>, path: &[u8]) -> Magic {
        let Some(rest) = path.strip_prefix(b"/proc/") else {
            return Magic::No;
        };
        match rest {
            b"self" => return Magic::Leads(who.process.to_string().into_bytes()),
            b"thread-self" => {
                return Magic::Leads(format!("{}/task/{}", who.process, who.thread).into_bytes());
            }
            _ => {}
        }
        let mut names = rest.split(|byte| *byte == b'/');
        let process = names.next().and_then(number);
        let Some(process) = process else {
            return Magic::No;
        };
        let mut names: Vec<&[u8]> = names.collect();
        if let [b"task", _, own @ ..] = names.as_slice() {
            names = own.to_vec();
        }
        match names.as_slice() {
            [b"exe"] => who
                .programs
                .get(&process)
                .map_or(Magic::Kept, |program| Magic::Leads(program.clone())),
            [b"root"] => Magic::Leads(b"/".to_vec()),
            [b"cwd"] => match read_link(path).map(|host| self.to_inside(&host)) {
                Ok(Some(inside)) => Magic::Leads(slash_if_empty(inside)),
                _ => Magic::Kept,
            },
            // Pipes, sockets and what was removed have no path to follow.
            [b"fd", _] => Magic::Kept,
            _ => Magic::No,
        }
    }
}

/// A path inside as programs are told of it.
pub(super) fn slash_if_empty(inside: Vec<u8>) -> Vec<u8> {
    if inside.is_empty() {
        b"/".to_vec()
    } else {
        inside
    }
}

/// What is left of a path below a directory: nothing, or something with a slash before it.
pub(super) fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// A path's names, the first one at the end.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .rev()
        .collect()
}

fn number(name: &[u8]) -> Option<i32> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

pub(super) fn read_link(host: &[u8]) -> Result<Vec<u8>, Errno> {
    match std::fs::read_link(Path::new(OsStr::from_bytes(host))) {
        Ok(target) => Ok(target.into_os_string().into_vec()),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;

//! Whiteouts of a layer as overlayfs's marks.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::{Entry, Place, There, UnpackError, failed, refused};

impl Place<'_> {
    /// Hides what lower layers have: `hidden` is what follows `.wh.` in the entry's name.
    pub(in crate::unpack) fn whiteout(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
        hidden: &[u8],
    ) -> Result<(), UnpackError> {
        let Some((_, parent)) = components.split_last() else {
            return Ok(());
        };
        match hidden {
            b".wh..opq" => {
                self.parent(entry, components)?;
                return self.mark_opaque(entry, parent);
            }
            b"" | b"." | b".." => return Err(refused(&entry.path, "it is a whiteout of nothing")),
            // What AUFS keeps for itself.
            _ if hidden.starts_with(b".wh.") => return Ok(()),
            _ => {}
        }
        let hidden_path = [parent, &[hidden]].concat();
        match self.there(entry, &hidden_path)? {
            There::Nothing => {}
            There::Directory => return self.mark_opaque(entry, &hidden_path),
            // The layer has something of that name: it hides what is below by itself.
            There::Whiteout | There::LinkToDirectory | There::Other => return Ok(()),
        }
        let directory = self.parent(entry, components)?;
        let name = OsStr::from_bytes(hidden);
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::mknodat(directory, name, FileType::CharacterDevice, mode, 0) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::OPNOTSUPP) => {
                self.marked_file(entry, parent, name)
            }
            Err(error) => Err(failed(entry, error)),
        }
    }

    /// A whiteout without a device (Linux 6.7): an empty file with an attribute, in a directory that says so.
    fn marked_file(
        &mut self,
        entry: &Entry,
        parent: &[&[u8]],
        name: &OsStr,
    ) -> Result<(), UnpackError> {
        let directory = self.open_directory(entry, parent)?;
        let mut mark = [0; 1];
        let opaque = rustix::fs::fgetxattr(&directory, "user.overlay.opaque", &mut mark);
        if opaque.is_ok() && &mark == b"y" {
            return Ok(());
        }
        set_attribute(&directory, "user.overlay.opaque", b"x")
            .map_err(|error| failed(entry, error))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failed(entry, error))?;
        set_attribute(&file, "user.overlay.whiteout", b"y").map_err(|error| failed(entry, error))
    }

    pub(super) fn mark_opaque(
        &mut self,
        entry: &Entry,
        components: &[&[u8]],
    ) -> Result<(), UnpackError> {
        let directory = self.open_directory(entry, components)?;
        set_attribute(&directory, "user.overlay.opaque", b"y").map_err(|error| failed(entry, error))
    }
}

fn set_attribute(file: impl AsFd, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}

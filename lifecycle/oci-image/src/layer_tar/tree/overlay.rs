//! The marks that overlayfs leaves in an upper directory, as entries.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Child, Header, Kind, LayerError, Times, Walk};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

// The attributes of an overlay that root mounted, and of one with `userxattr`.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];
const WHITEOUT: [&str; 2] = ["trusted.overlay.whiteout", "user.overlay.whiteout"];
const REDIRECT: [&str; 2] = ["trusted.overlay.redirect", "user.overlay.redirect"];
const METACOPY: [&str; 2] = ["trusted.overlay.metacopy", "user.overlay.metacopy"];

#[derive(PartialEq, Eq)]
enum Opaque {
    No,
    Yes,
    /// Whiteouts here are empty files with an attribute (Linux 6.7).
    HasMarkedFiles,
}

impl Walk<'_, '_> {
    /// What is in a directory, whiteouts first; the mark of an opaque directory is added at once.
    pub(super) fn translated_listing(
        &mut self,
        directory: &OwnedFd,
    ) -> Result<Vec<Child>, LayerError> {
        let mut children = self.listing(directory)?;
        let opaque = self.opaque_mark(directory)?;
        if opaque == Opaque::Yes {
            self.marker(OPAQUE_MARKER)?;
        }
        for child in &mut children {
            child.is_whiteout = match child.kind {
                FileType::CharacterDevice | FileType::Unknown => {
                    let mark = self.enter(child.name.as_bytes());
                    let stat = self.stat(directory, &child.name)?;
                    self.leave(&mark);
                    FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == 0
                }
                // The form with an attribute exists only in directories that say so.
                FileType::RegularFile if opaque == Opaque::HasMarkedFiles => {
                    self.is_marked_file(directory, &child.name)?
                }
                _ => false,
            };
        }
        children.sort_by_key(|child| !child.is_whiteout);
        Ok(children)
    }

    fn opaque_mark(&self, directory: &OwnedFd) -> Result<Opaque, LayerError> {
        self.refuse_attributes(directory, &REDIRECT)?;
        for attribute in OPAQUE {
            match self.attribute(directory, attribute)? {
                Some(b'y') => return Ok(Opaque::Yes),
                Some(b'x') => return Ok(Opaque::HasMarkedFiles),
                _ => {}
            }
        }
        Ok(Opaque::No)
    }

    /// The content of what has these attributes is elsewhere, in a layer below.
    fn refuse_attributes(
        &self,
        file: &OwnedFd,
        attributes: &[&'static str; 2],
    ) -> Result<(), LayerError> {
        for attribute in attributes {
            if self.attribute(file, attribute)?.is_some() {
                return Err(LayerError::Overlay {
                    path: self.host_path(),
                    attribute,
                });
            }
        }
        Ok(())
    }

    fn is_marked_file(&self, directory: &OwnedFd, name: &CStr) -> Result<bool, LayerError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => file,
            // A symbolic link or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Ok(false),
            Err(error) => return Err(self.read_error(error)),
        };
        for attribute in WHITEOUT {
            if self.attribute(&file, attribute)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The value of an extended attribute of one byte, zero for any other length.
    fn attribute(&self, file: &OwnedFd, name: &str) -> Result<Option<u8>, LayerError> {
        let mut value = [0_u8; 1];
        match rustix::fs::fgetxattr(file, name, &mut value) {
            Ok(_) => Ok(Some(value[0])),
            // It is longer.
            Err(Errno::RANGE) => Ok(Some(0)),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(self.read_error(error)),
        }
    }

    /// Adds the entry that hides a name.
    pub(super) fn whiteout(&mut self, name: &[u8]) -> Result<(), LayerError> {
        self.marker(&[WHITEOUT_PREFIX, name].concat())
    }

    /// A file of which the upper directory has all but the content is refused.
    pub(super) fn refuse_metacopy(&self, file: &OwnedFd) -> Result<(), LayerError> {
        self.refuse_attributes(file, &METACOPY)
    }

    /// Adds the empty file that marks a whiteout or an opaque directory.
    fn marker(&mut self, name: &[u8]) -> Result<(), LayerError> {
        let mark = self.enter(name);
        let mtime = match self.rules.times {
            Times::Fixed(time) => time,
            Times::Keep { clamp } => clamp,
        };
        self.tar.header(&Header {
            kind: Kind::File,
            name: &self.name,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime,
            device: (0, 0),
        })?;
        self.leave(&mark);
        Ok(())
    }
}

//! What the processes between clone and exec tell the caller: which step failed, on what, and why.
//!
//! They may not allocate, so a failure is three integers; the caller gives them names again.

use rustix::io::Errno;

/// A step on the way from clone to exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Step {
    Descriptors,
    IdMap,
    Propagation,
    Lower,
    Source,
    Upper,
    Staging,
    Overlay,
    BindRoot,
    Target,
    TmpfsTarget,
    Proc,
    Device,
    Tmp,
    Masks,
    Pivot,
    Hostname,
    Loopback,
    Signals,
    Fork,
    Streams,
    Terminal,
    Privileges,
    WorkingDirectory,
    Landlock,
    Filter,
    Exec,
    HandOver,
    Chroot,
    Enter,
    Trace,
    ControlGroup,
}

impl Step {
    const ALL: [Self; 32] = [
        Self::Descriptors,
        Self::IdMap,
        Self::Propagation,
        Self::Lower,
        Self::Source,
        Self::Upper,
        Self::Staging,
        Self::Overlay,
        Self::BindRoot,
        Self::Target,
        Self::TmpfsTarget,
        Self::Proc,
        Self::Device,
        Self::Tmp,
        Self::Masks,
        Self::Pivot,
        Self::Hostname,
        Self::Loopback,
        Self::Signals,
        Self::Fork,
        Self::Streams,
        Self::Terminal,
        Self::Privileges,
        Self::WorkingDirectory,
        Self::Landlock,
        Self::Filter,
        Self::Exec,
        Self::HandOver,
        Self::Chroot,
        Self::Enter,
        Self::Trace,
        Self::ControlGroup,
    ];

    /// The step in words that follow "cannot".
    pub(crate) fn attempt(self) -> &'static str {
        match self {
            Self::Descriptors => "close inherited descriptors",
            Self::IdMap => "map user and group ids",
            Self::Propagation => "detach mounts from the host's",
            Self::Lower => "open the root's directories",
            Self::Source => "open what is to be mounted",
            Self::Upper => "open the root's upper directory",
            Self::Staging => "mount a temporary file system",
            Self::Overlay => "mount the root with overlayfs",
            Self::BindRoot => "mount the root",
            Self::Target => "mount what was asked for",
            Self::TmpfsTarget => "mount an in-memory directory",
            Self::Proc => "mount /proc",
            Self::Device => "set up /dev",
            Self::Tmp => "mount /tmp",
            Self::Masks => "protect /proc",
            Self::Pivot => "change the root",
            Self::Hostname => "set the host name",
            Self::Loopback => "bring up the loopback interface",
            Self::Signals => "take over signals",
            Self::Fork => "start the program's process",
            Self::Streams => "connect the standard streams",
            Self::Terminal => {
                "make standard input the controlling terminal (is it another session's?)"
            }
            Self::Privileges => "drop privileges",
            Self::WorkingDirectory => "enter the working directory",
            Self::Landlock => "restrict file access with Landlock",
            Self::Filter => "install the system-call filter",
            Self::Exec => "run the program",
            Self::HandOver => "hand the in-memory upper directory to the caller",
            Self::Chroot => "enter the root by chroot",
            Self::Enter => "join the namespaces",
            Self::Trace => "trace the program",
            Self::ControlGroup => "enter its control groups",
        }
    }
}

/// A failed step; `index` says which of several (a lower directory, a mount).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) index: u32,
    pub(crate) errno: Errno,
}

impl Failure {
    pub(crate) const SIZE: usize = 12;

    pub(crate) fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&(self.step as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.index.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.errno.raw_os_error().to_ne_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; Self::SIZE]) -> Option<Self> {
        let [s0, s1, s2, s3, i0, i1, i2, i3, e0, e1, e2, e3] = bytes;
        let step = usize::try_from(u32::from_ne_bytes([s0, s1, s2, s3])).ok()?;
        Some(Self {
            step: *Step::ALL.get(step)?,
            index: u32::from_ne_bytes([i0, i1, i2, i3]),
            errno: Errno::from_raw_os_error(i32::from_ne_bytes([e0, e1, e2, e3])),
        })
    }
}

/// Names the step of a failed system call.
pub(crate) trait At<T> {
    /// The only one of its kind.
    fn at(self, step: Step) -> Result<T, Failure>;
    /// The `index`th of its kind.
    fn at_nth(self, step: Step, index: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.at_nth(step, 0)
    }

    fn at_nth(self, step: Step, index: usize) -> Result<T, Failure> {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.map_err(|errno| Failure { step, index, errno })
    }
}

/// The error of the C library call that just returned `result`, if it failed.
///
/// Async-signal-safe, unlike going through [`std::io::Error`]'s richer forms.
pub(crate) fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 {
        // SAFETY: errno is thread-local and always readable.
        Err(Errno::from_raw_os_error(unsafe {
            *libc::__errno_location()
        }))
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_step_survives_the_pipe() {
        for (number, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, number);
            let failure = Failure {
                step,
                index: 7,
                errno: Errno::ACCESS,
            };
            assert_eq!(Failure::decode(failure.encode()).unwrap(), failure);
        }
        assert_eq!(Failure::decode([255; Failure::SIZE]), None);
    }
}

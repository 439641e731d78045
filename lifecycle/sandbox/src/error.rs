//! Why a sandbox did not start.

use std::io;
use std::path::PathBuf;

use crate::spec::Tier;
use crate::tier::Refusal;

/// Why [`crate::spawn()`] did not start the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `argv` is empty.
    #[error("no program was given to run in the sandbox")]
    NoProgram,
    /// A path, argument or variable that the kernel cannot take.
    #[error("the sandbox's {what} contains a NUL byte")]
    Nul {
        /// Which field; never its value, which may be secret.
        what: &'static str,
    },
    /// Paths must be absolute: the caller's working directory means nothing inside.
    #[error("the sandbox's {what} {} is not an absolute path", path.display())]
    RelativePath {
        /// Which field.
        what: &'static str,
        /// The path as given.
        path: PathBuf,
    },
    /// `root.lower` is empty or longer than the kernel's option string allows.
    #[error(
        "the sandbox's root needs 1 to {max} lower directories, not {count}; join some of them"
    )]
    LowerCount {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The sandbox asks for what only namespaces give, and they are forbidden here.
    #[error(
        "{wanted} needs namespaces, which are refused here: {}",
        crate::tier::explain(refusals)
    )]
    NeedsNamespaces {
        /// What was asked for.
        wanted: String,
        /// Why each stronger tier failed, and what to change.
        refusals: Vec<Refusal>,
    },
    /// The sandbox to enter does not run, or is not the caller's.
    #[error("cannot find the running sandbox of process {init}")]
    Gone {
        /// The sandbox's init.
        init: u32,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A directory or file that should be seen inside cannot be opened.
    #[error("cannot open {} for the sandbox", path.display())]
    Source {
        /// The path on the host.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// overlayfs refused.
    #[error(
        "cannot lay the sandbox's root out of {} with overlayfs; it needs Linux 5.11, and directories that no other mount sits in",
        lower.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Overlay {
        /// The lower directories.
        lower: Vec<PathBuf>,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The root's tree cannot be laid out, where [`Tier::lays_out_trees`].
    #[error("cannot lay out the sandbox's root in {}", path.display())]
    Tree {
        /// The directory it is made in.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A mount point cannot be created or mounted on.
    #[error("cannot mount {} in the sandbox", target.display())]
    Mount {
        /// The path inside.
        target: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The working directory does not exist inside or is closed to the user.
    #[error("cannot enter the working directory {} in the sandbox", path.display())]
    WorkingDirectory {
        /// The path inside.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The program was not found or is not executable. [`io::Error::kind`] tells which.
    #[error("cannot run {} in the sandbox", program.display())]
    Exec {
        /// `argv[0]`.
        program: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Any other step of the way in.
    #[error("cannot {attempt} for a sandbox of the {tier} tier")]
    Setup {
        /// What was attempted.
        attempt: &'static str,
        /// Where it was attempted.
        tier: Tier,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::UserNamespace => "user-namespace",
            Self::Chroot => "chroot",
            Self::Traced => "traced",
            Self::Landlock => "Landlock",
        })
    }
}

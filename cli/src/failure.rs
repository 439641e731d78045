//! The one error type that reaches `main`: what failed, why, what to do next, and the exit code.

use std::error::Error;
use std::fmt;

/// Documented exit codes (README, "Exit codes"). The lifecycle's own phases keep the codes that
/// the CNB platform specification gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    General,
    /// The command line is wrong (clap's own code).
    Usage,
    /// The app, its settings or another input file is missing, unreadable or malformed.
    Input,
    /// A server could not be reached, or what it sent cannot be trusted.
    Network,
    /// The store could not be read or written (full disk, rights, damage).
    Store,
    /// This machine forbids what the sandbox needs.
    Sandbox,
    /// The release command failed; the release before it stays in effect.
    Release,
    /// An image's signature is missing, or not one that the given key made over this image.
    Unverified,
    /// A phase of the lifecycle failed; the code is the specification's.
    Lifecycle(u8),
    /// Stopped by a signal: 128 + its number.
    Signal(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::General => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Network => 4,
            Self::Store => 5,
            Self::Sandbox => 6,
            Self::Release => 7,
            Self::Unverified => 8,
            Self::Lifecycle(code) => code,
            Self::Signal(number) => 128_u8.saturating_add(number),
        }
    }
}

/// A failed command: printed once by `ui::error::print`, its sources joined by colons.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Adds the underlying error.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what the user can do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Turns any error into a [`Failure`] that says what was attempted.
pub(crate) trait OrFail<T> {
    /// `message` names the attempt and the object; the error itself becomes the source.
    fn or_fail(self, exit: Exit, message: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, exit: Exit, message: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, message()).because(error))
    }
}

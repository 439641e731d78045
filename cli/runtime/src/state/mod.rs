//! What an app is besides its code: releases with their config vars, quantities of dynos,
//! maintenance mode. Everything is a small file in the app's folder.
//!
//! ```text
//! releases/vN.json   one release, config values inside; 0600
//! formation.json     how many dynos of each type
//! sizes.json         how large the dynos of a type are
//! no-preboot         there while old dynos are to end before new ones start
//! maintenance        there while maintenance mode is on
//! state.lock         held while a release is made
//! ```
//!
//! Each file is replaced by one rename, so that whoever is killed leaves the old one or the new
//! one. Readers need no lock.

pub mod config_vars;
pub mod env_file;

mod app_state;
pub(crate) mod files;
mod lock;
mod release;

pub use app_state::{AppState, Formation, Sizes};
pub use config_vars::ConfigVars;
pub use lock::StateLock;
pub use release::{NewRelease, Release, ReleaseImage, Status};

use std::io;
use std::path::PathBuf;

/// Why an app's state could not be read or changed. No message contains a config var's value.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot understand {}: {place}", path.display())]
    Understand {
        path: PathBuf,
        /// Line and column, without the text there: it may be a value.
        place: String,
    },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("there is no release v{version}")]
    NoRelease { version: u64 },
    #[error("the release v{version} has already ended")]
    Ended { version: u64 },
}

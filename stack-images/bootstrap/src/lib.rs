//! Makes a root filesystem out of signed Debian packages.
//!
//! ```text
//! InRelease ─► signature, dates ─► Packages ─► resolve ─► lock
//! lock ─► download (8 threads) ─► unpack (all cores) ─┬─► configure run ─► run layer
//!                                                     └─► configure build over run ─► build layer
//! ```
//!
//! The real dpkg configures the packages, in a sandbox that the caller provides ([`Configure`]); all
//! before that happens outside, as whoever calls. Nothing on disk belongs to anybody else: owners
//! come from the packages' headers and the recipe, and exist only in the layers.
//!
//! The same recipe and [`Lock`] make layers with the same diffIDs, for every user, on every machine.
//! A root has no apt sources: they would name the mirror it was made from.
//!
//! No clock, environment or working directory is read here, and no mirror is known by name.

#![forbid(unsafe_code)]

mod bootstrap;
mod builtin;
mod configure;
pub mod control;
mod deb;
mod dpkg;
mod fetch;
mod finish;
mod glob;
mod lock;
pub mod mirrors;
mod packages;
mod pipeline;
mod recipe;
mod relation;
mod release;
mod resolve;
mod resolver;
mod settle;
mod signature;
mod suites;
mod unpack;
pub mod version;
mod workspace;

#[cfg(test)]
#[path = "../tests/support/deb.rs"]
mod test_deb;
#[cfg(test)]
#[path = "../tests/support/key.rs"]
mod test_key;

pub use bootstrap::{Dirs, Error, Inputs, Progress, Stack, StackLayer, architecture_of, bootstrap};
pub use builtin::{DEFAULT, builtin_lock, builtin_recipe, builtin_text};
pub use configure::{Configure, ConfigureRequest, Target};
pub use deb::DebError;
pub use dpkg::DatabaseError;
pub use fetch::FetchError;
pub use finish::FinishError;
pub use lock::{Layer, Lock, LockError, LockedPackage, LockedSuite};
pub use mirrors::Mirrors;
pub use recipe::{
    Archive, Content, ExtraFile, OwnerRule, PathFilters, Recipe, RecipeError, Suite, User,
};
pub use release::ReleaseError;
pub use resolve::ResolveError;
pub use settle::SettleError;
pub use signature::{Keyring, KeyringError, SignatureError};
pub use unpack::UnpackError;

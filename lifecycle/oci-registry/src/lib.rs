//! A client for OCI registries: push and pull between a registry and a [`BlobStore`](oci_image::BlobStore).
//!
//! Blocking, with threads. Neither the environment nor any file is read that the caller does not name. An upload
//! goes: HEAD, POST with `mount`, one sized PUT; chunks only after a 413. Downloads go on where they broke off.
//! Digests are checked both ways, credentials stay with their registry, and no wait is endless.
//!
//! [`engine`] is the other way to where images run: Docker's and podman's sockets.

#![forbid(unsafe_code)]

pub mod engine;
pub mod keychain;
pub mod referrers;

mod client;
mod download;
mod login;
mod proxy;
mod pull;
mod push;
mod transport;
mod upload;

pub use client::{Client, ClientError, Options, Timeouts};
pub use engine::{Engine, EngineError};
pub use keychain::{Credentials, Found, Keychain, KeychainError};
pub use proxy::proxy_for;
pub use pull::{
    PullError, PullOptions, Pulled, Wanted, pull, pull_all_documents, pull_blobs, pull_documents,
};
pub use push::{PushError, PushOptions, Pushed, check_push, push};
pub use transport::certificates::Identity;
pub use transport::error::{Reason, RegistryMessage, RequestError};
pub use transport::retry::RetryPolicy;

/// What is told about transfers while they run, from several threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// How many bytes are to be transferred at most.
    Total(u64),
    /// These many more bytes passed, or need not pass as the other side has them.
    Passed(u64),
    /// These many bytes have to pass again.
    Repeated(u64),
}

/// Receives [`Progress`].
pub type Watch<'a> = &'a (dyn Fn(Progress) + Sync);

/// Tells whether an image is known to have a blob.
pub type Knows<'a> = &'a (dyn Fn(&oci_image::Reference, &oci_image::Digest) -> bool + Sync);

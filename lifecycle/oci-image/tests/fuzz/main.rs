//! What comes from registries, archives and users, mutated: names, documents, layers, archives. What is mutated is what
//! the crate itself writes.
//!
//! `FUZZ_SECONDS=60 cargo test -p oci-image --test fuzz` does it for so long with each.

#![expect(clippy::unwrap_used, reason = "tests")]

mod documents;
mod layers;
mod names;
mod tars;

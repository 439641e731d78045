//! What lies under the registry protocol: first contact, authentication, retries, errors, addresses.

pub(crate) mod bearer;
pub(crate) mod certificates;
pub(crate) mod error;
pub(crate) mod exchange;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod ping;
pub(crate) mod resolver;
pub(crate) mod retry;
pub(crate) mod url;

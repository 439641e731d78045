//! End-to-end tests: the built `slugc`, as root and as a plain user, over the fixtures.
//!
//! They need a Debian mirror and a Python package index. What else a machine may lack is said by
//! the test that wants it (`skipped: needs …`). The first one bootstraps the stack; the store stays
//! in the target folder for the next run.

#![expect(clippy::unwrap_used, reason = "tests")]

mod addons;
mod apps;
mod aptfile;
mod attachments;
mod attestations;
mod bad_app;
mod bad_machine;
mod bad_mirror;
mod bad_platform;
mod bases;
mod build;
mod build_again;
mod builders;
mod cache;
mod cache_image;
mod config;
mod containerd;
mod descriptions;
mod doctor;
mod hostile_layers;
mod images;
mod inspect;
mod large_app;
mod launch;
mod logins;
mod logs;
mod manifests;
mod mirrors;
mod one_offs;
mod pack;
mod places;
mod platform;
mod projects;
mod ps;
mod published;
mod push;
mod registry;
mod registry_faults;
mod releases;
mod run;
mod sandbox;
mod sbom;
mod signing;
mod stack;
mod tools;
mod traced;
mod wheels;
mod without_namespaces;
mod zstd;

use test_support::{Binary, TestContext, Who};

const BINARY: Binary = Binary {
    slugc: env!("CARGO_BIN_EXE_slugc"),
    scratch: env!("CARGO_TARGET_TMPDIR"),
};

/// A test in the shared store; `None` where the machine has no such user.
fn context(who: Who) -> Option<TestContext> {
    TestContext::new(BINARY, who)
}

/// Defines a test that runs as root and, in another store, as a plain user.
macro_rules! as_each_user {
    ($(#[doc = $doc:literal])* fn $name:ident($context:ident: &TestContext) $body:block) => {
        $(#[doc = $doc])*
        mod $name {
            use super::*;

            fn check($context: &TestContext) $body

            #[test]
            fn as_root() {
                if let Some(context) = crate::context(test_support::Who::Root) {
                    check(&context);
                }
            }

            #[test]
            fn as_plain_user() {
                if let Some(context) = crate::context(test_support::Who::Plain) {
                    check(&context);
                }
            }
        }
    };
}
use as_each_user;

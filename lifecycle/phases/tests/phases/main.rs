//! Detection, build, restoration and export with real buildpacks, written in bash by the tests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod app;
mod build;
mod detection;
mod image;
mod large_app;
mod rebuild;
mod world;

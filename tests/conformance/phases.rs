//! The tables, one test each.

use crate::case;
use crate::world::turn;
use test_support::{Need, requires};

/// Tables whose cases need a registry.
fn with_registry(name: &str) {
    let _turn = turn();
    requires!(Need::Program("docker-registry"));
    case::check(name);
}

#[test]
fn arguments() {
    let _turn = turn();
    case::check("arguments.toml");
}

#[test]
fn detect() {
    let _turn = turn();
    case::check("detect.toml");
}

#[test]
fn plan() {
    let _turn = turn();
    case::check("plan.toml");
}

#[test]
fn extensions() {
    let _turn = turn();
    case::check("extensions.toml");
}

#[test]
fn build() {
    let _turn = turn();
    case::check("build.toml");
}

#[test]
fn bad_files() {
    let _turn = turn();
    case::check("bad_files.toml");
}

#[test]
fn analyze() {
    with_registry("analyze.toml");
}

#[test]
fn restore() {
    with_registry("restore.toml");
}

#[test]
fn export() {
    with_registry("export.toml");
}

#[test]
fn create() {
    with_registry("create.toml");
}

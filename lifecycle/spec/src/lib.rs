//! The file formats, labels, environment names and exit codes of Cloud Native Buildpacks.
//!
//! One module per file of the Platform (0.7–0.15) and Buildpack (0.7–0.12) specifications. Nothing here
//! runs a process or knows where a platform keeps its files; reading and writing one named file is all the
//! I/O there is ([`toml_file`]).
//!
//! Where the reference lifecycle and the specification differ, the types follow the lifecycle, because its
//! labels and files are what platforms read today.

#![forbid(unsafe_code)]

pub mod analyzed;
pub mod api;
pub mod build_plan;
pub mod build_toml;
pub mod buildpack;
pub mod env_delta;
pub mod env_vars;
pub mod exit_code;
pub mod group;
pub mod json;
pub mod labels;
pub mod launch;
pub mod launch_toml;
pub mod layer;
pub mod metadata;
pub mod names;
pub mod order;
pub mod paths;
pub mod plan;
pub mod project;
pub mod report;
pub mod run;
pub mod sbom;
pub mod store;
pub mod target;
pub mod toml_file;

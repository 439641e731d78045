//! Compiles the static programs that travel inside slugc and writes the table that embeds them.
//!
//! They run inside foreign images, so they are linked against nothing; they are built one by one,
//! with a target folder and `--target` of their own, so that cargo does not unify their features
//! with slugc's.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program: its package, and where it is laid out.
const PROGRAMS: [(&str, &str); 5] = [
    ("cnb-launcher", "lifecycle/launcher"),
    ("cnb-lifecycle", "lifecycle/lifecycle"),
    ("python-buildpack", "buildpacks/python/bin/build"),
    ("procfile-buildpack", "buildpacks/procfile/bin/build"),
    ("aptfile-buildpack", "buildpacks/aptfile/bin/build"),
];

/// Files that are laid out as they stand in the repository.
const FILES: [(&str, &str); 3] = [
    (
        "buildpacks/python/buildpack.toml",
        "buildpacks/python/buildpack.toml",
    ),
    (
        "buildpacks/procfile/buildpack.toml",
        "buildpacks/procfile/buildpack.toml",
    ),
    (
        "buildpacks/aptfile/buildpack.toml",
        "buildpacks/aptfile/buildpack.toml",
    ),
];

/// What the programs are made of: a change here rebuilds them.
const SOURCES: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "lifecycle/spec",
    "lifecycle/launcher",
    "lifecycle/oci-image",
    "lifecycle/oci-registry",
    "lifecycle/phases",
    "lifecycle/cmd",
    "buildpacks/python",
    "buildpacks/procfile",
    "buildpacks/aptfile",
    "stack-images/slug-13/lock.toml",
];

fn main() -> Result<(), Box<dyn Error>> {
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .parent()
        .ok_or("the package has no parent folder")?
        .to_owned();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let mut parts = Vec::new();
    for (package, place) in PROGRAMS {
        parts.push((place, 0o755, build(&workspace, &out, package)?));
    }
    for (file, place) in FILES {
        parts.push((place, 0o644, workspace.join(file)));
    }

    let mut identity = DefaultHasher::new();
    let mut table = String::from("&[\n");
    for (place, mode, file) in &parts {
        let content =
            fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        identity.write(place.as_bytes());
        identity.write(&content);
        writeln!(
            table,
            "    Part {{ place: {place:?}, mode: 0o{mode:o}, content: include_bytes!({:?}) }},",
            file.to_str()
                .ok_or("the target folder's path is not UTF-8")?
        )?;
    }
    table.push(']');
    fs::write(out.join("parts.rs"), table)?;
    println!("cargo::rustc-env=SLUGC_PARTS_ID={:016x}", identity.finish());
    Ok(())
}

/// Builds one program and returns where it is.
fn build(workspace: &Path, out: &Path, package: &str) -> Result<PathBuf, Box<dyn Error>> {
    let target = env::var("TARGET")?;
    let folder = target_folder(out)?;
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--quiet",
            "--profile",
            "static",
            "--package",
            package,
        ])
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&folder);
    // Clippy's wrapper and the outer build's flags belong to the outer build.
    for name in [
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
    ] {
        cargo.env_remove(name);
    }
    // Images hold the launcher, and their digest must not depend on the folder of a checkout.
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Crelocation-model=static".to_owned(),
        format!("--remap-path-prefix={}=slugc", workspace.display()),
    ];
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    cargo.env("RUSTFLAGS", flags.join(" "));
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("cargo could not build {package} ({status})").into());
    }
    Ok(folder.join(target).join("static").join(package))
}

/// A folder beside the outer build's profiles, so that `dev` and `release` share the result:
/// `OUT_DIR` is `<target>[/<triple>]/<profile>/build/<package>/out`.
fn target_folder(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut folder = out
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR is not inside a target folder")?;
    let target = env::var("TARGET")?;
    if folder.file_name().is_some_and(|name| *name == *target)
        && let Some(parent) = folder.parent()
    {
        folder = parent;
    }
    Ok(folder.join("static-parts"))
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

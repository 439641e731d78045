//! Another base than the stack's own: brought once, then checked for what the build will need of it.

use crate::bases::Base;
use crate::build::foundation::Foundation;
use crate::failure::{Exit, Failure, OrFail};
use crate::place::{Place, Source};
use crate::platform::pull::Puller;
use crate::stack::Stack;
use crate::store::Store;
use crate::transfer::{Fetched, Transfer};
use crate::ui::printer::Printer;
use cnb_phases::analyze;
use cnb_spec::metadata::{BuildMetadata, Command, Process};
use cnb_spec::target::{Distro, Target};
use cnb_spec::{paths, toml_file};
use oci_image::Image;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// How many links a path may go through, as for the kernel (`path_resolution(7)`).
const MOST_LINKS: usize = 40;
/// The shell that processes of Procfiles run in.
const BASH: &str = "/bin/bash";
/// Larger ones are no os-release(5).
const LONGEST_OS_RELEASE: u64 = 64 << 10;

/// The base that `--run-image` names. A registry's is pulled by the policy: unless that says otherwise once, and then
/// is in the store under its name, so that a build that changes nothing needs no network.
pub(crate) fn find(
    transfer: &Transfer<'_>,
    puller: &Puller<'_>,
    text: &str,
) -> Result<Base, Failure> {
    if let Some(stack) = Stack::read_if_named(transfer.store, text)? {
        return Base::of_stack(transfer, &stack);
    }
    let source = Source::find(transfer.store, text)?;
    let of_registry = match &source {
        Source::Stored { .. } => text.contains('/'),
        Source::Elsewhere(place) => matches!(place, Place::Registry(_)),
    };
    let Fetched { manifest, name, .. } = if of_registry {
        puller.image(text)?
    } else {
        transfer.fetch(&source)?
    };
    let digest = manifest.digest;
    let documents = transfer.stored(manifest, name.clone())?;
    // A path on this machine would say nothing to anybody else, and makes other images of the same app.
    let (name, reference) = match name {
        Some(name) if text.contains('/') => (
            name.clone().or_latest().familiar(),
            format!("{}@{digest}", name.name()),
        ),
        Some(name) => (name.familiar(), digest.to_string()),
        None => (digest.to_string(), digest.to_string()),
    };
    Ok(Base {
        name,
        shown: text.to_owned(),
        reference,
        documents,
    })
}

/// Whether what is built on the stack can run on the base: the same machine, and, with a warning only, the same
/// distribution.
pub(super) fn check_target(
    printer: &Printer,
    store: &Store,
    stack: &Foundation,
    base: &Base,
) -> Result<(), Failure> {
    let stack_image = Image::load(store.blobs(), &stack.run_image.digest)
        .or_fail(Exit::Store, || {
            format!("cannot read the run image of the stack {}", stack.name)
        })?;
    let wanted = analyze::target(&stack_image);
    let mut found = analyze::target(&base.documents.image);
    if (&found.os, &found.arch) != (&wanted.os, &wanted.arch) {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "the run image {} is for {}/{}, and the stack {} builds for {}/{}",
                base.shown, found.os, found.arch, stack.name, wanted.os, wanted.arch
            ),
        )
        .hint("name a run image for this machine with --run-image"));
    }
    if found.distro.is_none() {
        found.distro = distro_in(&unpacked(store, base)?);
    }
    if found.distro != wanted.distro {
        printer.warning(&format!(
            "the run image {} is of {}, and the stack {} builds on {}: what is compiled there may lack libraries",
            base.shown,
            shown(&found),
            stack.name,
            shown(&wanted)
        ));
    }
    Ok(())
}

/// Whether the base has what the built layers point to: the interpreter that a virtual environment was made with, and
/// the shell that processes start in.
pub(super) fn check_files(store: &Store, base: &Base, layers_dir: &Path) -> Result<(), Failure> {
    let lowers = unpacked(store, base)?;
    let mut missing: Vec<String> = Vec::new();
    for needed in needed(layers_dir)? {
        if !exists(&lowers, Path::new(&needed)) {
            missing.push(needed);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Input,
        format!(
            "the run image {} lacks what the app needs: {}",
            base.shown,
            missing.join(", ")
        ),
    )
    .hint("take a run image that has them, or leave out --run-image"))
}

fn unpacked(store: &Store, base: &Base) -> Result<Vec<PathBuf>, Failure> {
    let what = format!("the run image {}", base.shown);
    store.unpacked(&base.documents.image, &what)
}

fn shown(target: &Target) -> String {
    target.distro.as_ref().map_or_else(
        || "an unknown distribution".to_owned(),
        |distro| {
            format!("{} {}", distro.name, distro.version)
                .trim_end()
                .to_owned()
        },
    )
}

/// What os-release(5) says.
fn distro_in(lowers: &[PathBuf]) -> Option<Distro> {
    let file = find_in(lowers, Path::new("/etc/os-release"))?;
    fs::symlink_metadata(&file)
        .ok()
        .filter(|found| found.is_file() && found.len() <= LONGEST_OS_RELEASE)?;
    let text = fs::read_to_string(&file).ok()?;
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim_matches(['"', '\'']).to_owned())
    };
    Some(Distro {
        name: value("ID")?,
        version: value("VERSION_ID").unwrap_or_default(),
    })
}

/// Absolute paths outside of the layers that links in launch layers lead to, and the shell if a process wants one.
fn needed(layers_dir: &Path) -> Result<BTreeSet<String>, Failure> {
    let looking = || format!("cannot look at the layers in {}", layers_dir.display());
    let mut needed = BTreeSet::new();
    let mut folders = vec![layers_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        // The platform's own folders there, and build layers' programs, are not in the image.
        for entry in fs::read_dir(&folder).or_fail(Exit::Store, looking)? {
            let entry = entry.or_fail(Exit::Store, looking)?;
            let kind = entry.file_type().or_fail(Exit::Store, looking)?;
            if kind.is_dir() && is_launched(layers_dir, &entry.path()) {
                folders.push(entry.path());
            } else if kind.is_symlink()
                && entry.path().parent().is_some_and(|it| it.ends_with("bin"))
            {
                let target = fs::read_link(entry.path()).or_fail(Exit::Store, looking)?;
                let inside = ["/layers", "/workspace", "/proc", "/dev"];
                if target.is_absolute() && !inside.iter().any(|it| target.starts_with(it)) {
                    needed.insert(target.display().to_string());
                }
            }
        }
    }
    let metadata: BuildMetadata =
        toml_file::read(&paths::build_metadata(layers_dir)).or_fail(Exit::Store, looking)?;
    let in_shell = |process: &Process| match &process.command {
        Command::Text(_) => true,
        Command::List(words) => words.first().is_some_and(|word| word == "bash"),
    };
    if metadata.processes.iter().any(in_shell) {
        needed.insert(BASH.to_owned());
    }
    Ok(needed)
}

/// Whether a folder of the layers folder ends in the image: below the buildpacks' folders, those of launch layers.
fn is_launched(layers_dir: &Path, folder: &Path) -> bool {
    let Ok(relative) = folder.strip_prefix(layers_dir) else {
        return false;
    };
    let parts: Vec<Component<'_>> = relative.components().collect();
    let [buildpack, layer, ..] = parts.as_slice() else {
        return true;
    };
    let settings = layers_dir
        .join(buildpack)
        .join(format!("{}.toml", Path::new(layer).display()));
    toml_file::read::<toml::Table>(&settings).is_ok_and(|settings| {
        let types = settings.get("types").and_then(toml::Value::as_table);
        types.and_then(|types| types.get("launch")) == Some(&toml::Value::Boolean(true))
    })
}

fn exists(lowers: &[PathBuf], path: &Path) -> bool {
    find_in(lowers, path).is_some()
}

/// Where a path of an image is in its unpacked layers, the topmost first; links are followed inside of them.
pub(crate) fn find_in(lowers: &[PathBuf], path: &Path) -> Option<PathBuf> {
    let mut waiting: Vec<std::ffi::OsString> = Vec::new();
    let push = |waiting: &mut Vec<_>, path: &Path| {
        let parts: Vec<Component<'_>> = path.components().collect();
        waiting.extend(parts.into_iter().rev().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        }));
    };
    push(&mut waiting, path);
    let (mut at, mut real, mut links) = (PathBuf::new(), None, 0);
    while let Some(name) = waiting.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let found = lowers.iter().find_map(|lower| {
            // A link that upper layers hide leads out of this one.
            let mut above = next.ancestors().skip(1);
            let is_inside = above.all(|it| {
                it.as_os_str().is_empty()
                    || fs::symlink_metadata(lower.join(it)).is_ok_and(|found| found.is_dir())
            });
            let path = lower.join(&next);
            let found = fs::symlink_metadata(&path).ok().filter(|_| is_inside)?;
            Some((path, found))
        });
        let (path, meta) = found?;
        // A whiteout of overlayfs: a lower layer's file that is gone.
        if meta.file_type().is_char_device() && meta.rdev() == 0 {
            return None;
        }
        if meta.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return None;
            }
            let target = fs::read_link(&path).ok()?;
            if target.is_absolute() {
                at = PathBuf::new();
            }
            push(&mut waiting, &target);
        } else {
            at = next;
        }
        real = Some(path);
    }
    real
}

/// What of it decides what the image will be.
pub(super) fn fingerprint(base: Option<&Base>) -> String {
    base.map_or_else(String::new, |base| {
        format!("{}\n{}\n", base.name, base.documents.manifest.digest)
    })
}

#[cfg(test)]
#[path = "run_image_tests.rs"]
mod tests;

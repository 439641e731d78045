//! Words about failed installs, by what pip or uv printed.

mod archives;
mod build;
mod git;
mod indexes;
mod lock;
mod names;
mod syntax;
mod tools;

use super::Explanation;
use super::known::{between, find};
use crate::install::InstallError;
use crate::project::Source;

pub(super) fn explain(error: &InstallError) -> Explanation {
    let output = error.source.output();
    let (title, advice) = if output.is_empty() {
        (
            format!("{} could not be run", error.installer),
            format!("{}.", super::chain(&error.source)),
        )
    } else {
        cause(error, output)
    };
    Explanation::new(
        title,
        format!(
            "{} could not install {}; its own words are above.\n\n{advice}",
            error.installer, error.file
        ),
    )
}

/// The package that uv would have to build and may not.
pub(super) fn without_wheel(output: &str) -> Option<&str> {
    between(output, "Wheels are required for `", "`").or_else(|| {
        let found = between(output, "Distribution `", "`")?;
        let package = found.split([' ', '=']).next()?;
        output.contains("marked as `--no-build`").then_some(package)
    })
}

/// Title and advice. The order matters: a failed build may contain the words of all other failures.
fn cause(error: &InstallError, output: &str) -> (String, String) {
    let has = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if has(&["No space left on device", "os error 28"]) {
        return pair(
            "The disk is full",
            "Make room (slugc cache prune shows what can go) and build again.",
        );
    }
    if has(&["Read-only file system", "os error 30"]) {
        return pair(
            "The disk can't be written to",
            "The file system that holds the build is read-only, or became so after an error of the disk. Look at the machine's \
             kernel log\n(dmesg), make it writable and build again.",
        );
    }
    if let Some(found) = find(git::TABLE, output).or_else(|| find(archives::TABLE, output)) {
        return found;
    }
    if let Some(package) = build::failed(output) {
        return build::explain(&package, output);
    }
    let is_other_file = has(&[
        "Hash mismatch",
        "DO NOT MATCH THE HASHES",
        "did not match any known checksums",
        "Expected sha256",
    ]);
    if is_other_file && error.source_file != Source::Requirements {
        return (
            format!(
                "A downloaded package is not the one that {} expects",
                error.file
            ),
            format!(
                "A file from the index has another sha256 than {0} says. Either it was published again, in which case the lock \
                 has to be\nmade again, or the index, a proxy or a mirror serves something else. Find out which before making \
                 {0} again.",
                error.file
            ),
        );
    }
    if is_other_file {
        return pair(
            "A downloaded package is not the one that requirements.txt expects",
            "The file from the index has another sha256 than the --hash in requirements.txt. Either the hash belongs to \
             another\nfile of that version (write the hashes of all its files: uv pip compile --generate-hashes), or the \
             index, a proxy\nor a mirror serves something else. Do not remove the hash before you know which.",
        );
    }
    if let Some(found) = find(archives::HASHES, output)
        .or_else(|| lock::cause(error, output))
        .or_else(|| missing_folder(output))
        .or_else(|| find(tools::FIRST, output))
        .or_else(|| find(indexes::TABLE, output))
        .or_else(|| syntax::cause(error, output))
        .or_else(|| find(indexes::FILES, output))
        .or_else(|| names::of_other_system(output))
        .or_else(|| unknown_package(output))
    {
        return found;
    }
    resolution(error, output)
}

/// A folder or an archive that a requirement names.
fn missing_folder(output: &str) -> Option<(String, String)> {
    let path = between(output, "Distribution not found at: ", "\n").or_else(|| {
        between(
            output,
            "due to an OSError: [Errno 2] No such file or directory: '",
            "'",
        )
    })?;
    Some((
        "A package that should be in a folder is not there".to_owned(),
        format!(
            "{path}\ndoes not exist in the build. A path from another machine (pip freeze of a conda environment writes such \
             lines)\nhas to be replaced by a version, NAME==1.2; a folder of the app has to be committed and not excluded \
             (.slugignore,\nproject.toml)."
        ),
    ))
}

/// All versions that there are come before a final one (PEP 440: a, b, rc, dev).
fn pre_release(output: &str) -> Option<(String, String)> {
    let listed = between(output, "(from versions: ", ")")
        .map(|versions| versions.split(", ").map(str::to_owned).collect::<Vec<_>>())
        .or_else(|| {
            let only = between(output, "Because only ", " is available")?;
            Some(vec![only.split_once("==")?.1.to_owned()])
        })?;
    let is_early = |version: &String| {
        ["a", "b", "rc", "dev"]
            .iter()
            .any(|mark| version.contains(mark))
    };
    listed.iter().all(is_early).then(|| {
        pair(
            "Only pre-releases fit",
            "There are alpha, beta or release candidate versions of the package, and no final one that is asked for. Ask for one \
             of them\n(NAME==2.0b1), or allow them all: -e PIP_PRE=1",
        )
    })
}

fn pair(title: &str, advice: &str) -> (String, String) {
    (title.to_owned(), advice.to_owned())
}

fn unknown_package(output: &str) -> Option<(String, String)> {
    let by_uv = output
        .split_once(" was not found in the package registry")
        .or_else(|| output.split_once(" was not found in the provided package locations"))
        .and_then(|(before, _)| before.rsplit([' ', '\n']).next());
    let by_pip = output
        .contains("(from versions: none)")
        .then(|| between(output, "No matching distribution found for ", "\n"))
        .flatten();
    let package = by_uv.or(by_pip)?;
    if let Some(advice) = names::advice(package) {
        return Some((format!("There is no package {package}"), advice));
    }
    Some((
        format!("There is no package {package}"),
        format!(
            "The package index knows nothing by the name {package}. Check its spelling: the name to install is not always the \
             one\nto import (import yaml: PyYAML; import cv2: opencv-python; import dotenv: python-dotenv). A package of your \
             own\nneeds its index: -e PIP_EXTRA_INDEX_URL=... or a line --extra-index-url in requirements.txt.{}",
            if by_uv.is_none() {
                "\npip says the same where the index refuses or can't be reached, and where no file of the package fits this system; \
                 -e PIP_VERBOSE=1\nshows what the index answered."
            } else {
                ""
            }
        ),
    ))
}

fn resolution(error: &InstallError, output: &str) -> (String, String) {
    let has = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if has(&[
        "does not satisfy Python",
        "The requested interpreter resolved to Python",
        "requires Python >",
        "requires Python <",
        "require a different python version",
        "requires a different Python",
        "is not allowed by the project",
        "is not supported by the project",
        "which is incompatible with the project's Python requirement",
        "no wheels with a matching Python",
        "Python ABI tag",
    ]) {
        return pair(
            "A requirement does not support this Python",
            "A version that is asked for supports other Pythons than the one of this build. Ask for a newer version of the \
             package,\nor choose a Python that it supports in a file .python-version.",
        );
    }
    if let Some(found) = pre_release(output).or_else(|| find(tools::TABLE, output)) {
        return found;
    }
    let version = between(output, "there is no version of ", " and")
        .or_else(|| between(output, "No matching distribution found for ", "\n"));
    if let Some(requirement) = version {
        return (
            format!("There is no {requirement}"),
            format!(
                "The package exists, but not in that version. Check the number in the requirements; the versions that exist:\n    \
                 pip index versions {}",
                requirement
                    .split(['=', '<', '>', '!', '~', '['])
                    .next()
                    .unwrap_or(requirement)
            ),
        );
    }
    if has(&[
        "unsatisfiable",
        "ResolutionImpossible",
        "conflicting dependencies",
        "No solution found",
    ]) {
        return pair(
            "The requirements contradict each other",
            "Two requirements ask for versions of one package that exclude each other; the message above names them.\n\
             Loosen or change one of the pins. To find versions that fit together, list only what the app itself imports \
             in\nrequirements.in and let uv choose: uv pip compile requirements.in --output-file requirements.txt",
        );
    }
    if error.source_file != Source::Requirements {
        return pair(
            "The packages could not be installed",
            "The last lines above say why.",
        );
    }
    pair(
        "The requirements could not be installed",
        "The last lines above say why. To see the same on your machine, in a fresh virtual environment:\n    \
         pip install -r requirements.txt",
    )
}

//! Words about failed installs, by what pip or uv printed.

use super::Explanation;
use crate::install::InstallError;
use crate::project::Source;

mod build;
mod lock;
mod names;

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

/// Title and advice. The order matters: a failed build may contain the words of all other failures.
fn cause(error: &InstallError, output: &str) -> (String, String) {
    let has = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if has(&["No space left on device", "os error 28"]) {
        return pair(
            "The disk is full",
            "Make room (slugc cache prune shows what can go) and build again.",
        );
    }
    if has(&["Git operation failed", "Cannot find command 'git'"])
        || has(&["git clone", "git fetch"]) && has(&["did not run successfully"])
    {
        return pair(
            "A requirement from a git repository could not be fetched",
            "Check the address and the branch, tag or commit behind \"@\". A private repository needs a token in the address: \
             write\n    git+https://${GIT_TOKEN}@host/owner/name.git@v1.2\n\
             in requirements.txt and pass -e GIT_TOKEN=... to the build. ssh addresses have no key in a build.",
        );
    }
    if let Some(package) = build::failed(output) {
        return build::explain(&package, output);
    }
    if has(&["Hash mismatch", "DO NOT MATCH THE HASHES"])
        && error.source_file != Source::Requirements
    {
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
    if has(&["Hash mismatch", "DO NOT MATCH THE HASHES"]) {
        return pair(
            "A downloaded package is not the one that requirements.txt expects",
            "The file from the index has another sha256 than the --hash in requirements.txt. Either the hash belongs to \
             another\nfile of that version (write the hashes of all its files: uv pip compile --generate-hashes), or the \
             index, a proxy\nor a mirror serves something else. Do not remove the hash before you know which.",
        );
    }
    if let Some(found) = lock::cause(error, output) {
        return found;
    }
    if let Some(found) = access(output) {
        return found;
    }
    if let Some(found) = syntax(error, output) {
        return found;
    }
    if let Some(found) = unknown_package(output) {
        return found;
    }
    resolution(error, output)
}

/// Indexes and folders that can't be reached, or that refuse.
fn access(output: &str) -> Option<(String, String)> {
    let has = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if has(&[
        "401 Unauthorized",
        "403 Forbidden",
        "401 Client Error",
        "403 Client Error",
        "status code 401",
        "status code 403",
    ]) {
        return Some(pair(
            "The package index refused access",
            "The index wants a name and a password or token, or refused those it got. Pass them to the build:\n    \
             -e PIP_INDEX_URL=https://NAME:TOKEN@index.example/simple\n\
             They are used during the build only, and appear neither in the image nor in its log.",
        ));
    }
    if has(&[
        "UnknownIssuer",
        "CERTIFICATE_VERIFY_FAILED",
        "invalid peer certificate",
    ]) {
        return Some(pair(
            "The package index shows a certificate that is not trusted",
            "The authority behind it is not among those that this build trusts; a proxy that reads TLS, or an index of your own, \
             has\none. Name a file with its certificate (PEM) that the build can read:\n    \
             -e PIP_CERT=/workspace/ca.pem\n\
             If the certificate has expired, renew it; the machine's clock may be wrong as well.",
        ));
    }
    if has(&[
        "407 Proxy Authentication Required",
        "Tunnel connection failed: 407",
    ]) {
        return Some(pair(
            "The proxy refused access",
            "The proxy wants a name and a password: -e HTTPS_PROXY=http://NAME:PASSWORD@proxy.example:3128",
        ));
    }
    if let Some(path) = between(output, "Distribution not found at: ", "\n") {
        return Some((
            "A package that should be in a folder is not there".to_owned(),
            format!(
                "{path}\ndoes not exist in the build. A path from another machine (pip freeze of a conda environment writes such \
                 lines)\nhas to be replaced by a version, NAME==1.2; a folder of the app has to be committed and not excluded \
                 (.slugignore,\nproject.toml)."
            ),
        ));
    }
    if has(NO_NETWORK) {
        return Some(pair(
            "The package index could not be reached",
            "If the network was down for a moment, build again. If packages come from an index or a mirror of your own, \
             set\nPIP_INDEX_URL (-e PIP_INDEX_URL=...); behind a proxy, set HTTPS_PROXY.",
        ));
    }
    None
}

const NO_NETWORK: &[&str] = &[
    "error sending request",
    "dns error",
    "Could not connect",
    "Failed to establish a new connection",
    "ConnectTimeoutError",
    "NewConnectionError",
    "Temporary failure in name resolution",
    "Max retries exceeded",
];

fn pair(title: &str, advice: &str) -> (String, String) {
    (title.to_owned(), advice.to_owned())
}

fn syntax(error: &InstallError, output: &str) -> Option<(String, String)> {
    let in_pip = between(output, "Invalid requirement: ", "\n");
    if in_pip.is_none()
        && ![
            "Couldn't parse requirement",
            "Unexpected ",
            "no such option",
        ]
        .iter()
        .any(|text| output.contains(text))
    {
        return None;
    }
    let place = error
        .location
        .as_ref()
        .map(|at| format!("{}, line {}", at.file, at.line))
        .or_else(|| {
            let (_, rest) = output.split_once("(from line ")?;
            let (line, rest) = rest.split_once(" of ")?;
            Some(format!("{}, line {line}", rest.split_once(')')?.0))
        });
    Some((
        "A line of the requirements is not understood".to_owned(),
        format!(
            "{} is not a requirement. A line names one package, with the versions that will do:\n    \
             flask>=3.0,<4\n\
             Comments begin with \" #\"; options begin with \"--\".",
            place.unwrap_or_else(|| "The line shown above".to_owned())
        ),
    ))
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
             own\nneeds its index: -e PIP_EXTRA_INDEX_URL=... or a line --extra-index-url in requirements.txt."
        ),
    ))
}

fn resolution(error: &InstallError, output: &str) -> (String, String) {
    if let Some(found) = names::of_other_system(output) {
        return found;
    }
    let has = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if has(&[
        "does not satisfy Python",
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

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inner, _)| inner.trim())
}

//! Words about failed installs, by what pip or uv printed.

use super::Explanation;
use crate::install::InstallError;

mod lock;

/// Headers and programs that builds of common packages miss, with Debian's package for them and, where
/// there is one, a package that needs no compiler.
const LIBRARIES: [(&str, &str, Option<&str>); 17] = [
    ("Python.h", "python3-dev", None),
    (
        "pg_config",
        "libpq-dev",
        Some("psycopg[binary] or psycopg2-binary"),
    ),
    (
        "libpq-fe.h",
        "libpq-dev",
        Some("psycopg[binary] or psycopg2-binary"),
    ),
    (
        "mysql_config",
        "default-libmysqlclient-dev",
        Some("PyMySQL"),
    ),
    (
        "MYSQLCLIENT_CFLAGS",
        "default-libmysqlclient-dev",
        Some("PyMySQL"),
    ),
    ("mysql.h", "default-libmysqlclient-dev", Some("PyMySQL")),
    ("ffi.h", "libffi-dev", None),
    ("openssl/", "libssl-dev", None),
    ("libxml/", "libxml2-dev and libxslt1-dev", None),
    ("xslt-config", "libxml2-dev and libxslt1-dev", None),
    ("jpeglib.h", "libjpeg-dev", None),
    ("zlib.h", "zlib1g-dev", None),
    ("lber.h", "libldap-dev and libsasl2-dev", None),
    ("cairo", "libcairo2-dev", None),
    ("gdal-config", "libgdal-dev", None),
    ("portaudio.h", "portaudio19-dev", None),
    ("sql.h", "unixodbc-dev", None),
];

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
    if let Some(package) = failed_build(output) {
        return build(&package, output);
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
    if has(&[
        "401 Unauthorized",
        "403 Forbidden",
        "401 Client Error",
        "403 Client Error",
        "status code 401",
        "status code 403",
    ]) {
        return pair(
            "The package index refused access",
            "The index wants a name and a password or token, or refused those it got. Pass them to the build:\n    \
             -e PIP_INDEX_URL=https://NAME:TOKEN@index.example/simple\n\
             They are used during the build only, and appear neither in the image nor in its log.",
        );
    }
    if has(NO_NETWORK) {
        return pair(
            "The package index could not be reached",
            "If the network was down for a moment, build again. If packages come from an index or a mirror of your own, \
             set\nPIP_INDEX_URL (-e PIP_INDEX_URL=...); behind a proxy, set HTTPS_PROXY.",
        );
    }
    if let Some(found) = syntax(error, output) {
        return found;
    }
    if let Some(found) = unknown_package(output) {
        return found;
    }
    resolution(output)
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

fn failed_build(output: &str) -> Option<String> {
    for (start, end) in [
        ("Failed to build `", "`"),
        ("Failed to download and build `", "`"),
        ("Failed building wheel for ", "\n"),
        ("Failed building editable for ", "\n"),
        (
            "Failed to build installable wheels for some pyproject.toml based projects (",
            ")",
        ),
    ] {
        if let Some(package) = between(output, start, end) {
            return Some(package.to_owned());
        }
    }
    ["metadata-generation-failed", "subprocess-exited-with-error"]
        .iter()
        .any(|mark| output.contains(mark))
        .then(|| {
            output
                .lines()
                .filter_map(|line| {
                    let line = line.trim();
                    line.strip_prefix("Collecting ")
                        .or_else(|| line.strip_prefix("Processing "))
                })
                .next_back()
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|name| name.rsplit('/').next())
                .unwrap_or("a package")
                .to_owned()
        })
}

fn build(package: &str, output: &str) -> (String, String) {
    let title = format!("{package} could not be built from its source");
    let missing_header = between(output, "fatal error: ", ": No such file");
    let library = LIBRARIES.iter().find(|(sign, ..)| match missing_header {
        Some(header) => header.contains(sign),
        None => {
            output.contains(&format!("{sign}: not found"))
                || output.contains(&format!("{sign} executable not found"))
                || output.contains(&format!("{sign} not found"))
                || output.contains(&format!("'{sign}'"))
        }
    });
    let from_source = "There is no ready-made file (wheel) of this version for this Python and processor, so it is compiled.";
    if let Some((sign, debian, alternative)) = library {
        let alternative = alternative.map_or_else(String::new, |name| {
            format!("\n  * Or use {name}, which is not compiled.")
        });
        return (
            title,
            format!(
                "{from_source}\n{sign} is missing, which Debian has in {debian}.\n\nWhat to do:\n  \
                 * Use a version of the package that has a wheel for this Python (often the newest one).{alternative}\n  \
                 * Or build on a stack whose build image has {debian}."
            ),
        );
    }
    if let Some(header) = missing_header {
        return (
            title,
            format!(
                "{from_source}\nThe header {header} is missing. Use a version that has a wheel for this Python, or build on a \
                 stack whose\nbuild image has the development package with that header."
            ),
        );
    }
    if [
        "unable to execute 'gcc'",
        "command 'gcc' failed: No such file",
        "No such file or directory: 'gcc'",
        "can't find Rust compiler",
        "Cargo, the Rust package manager, is not installed",
    ]
    .iter()
    .any(|sign| output.contains(sign))
    {
        return (
            title,
            format!(
                "{from_source}\nThe build image has no compiler for it. Use a version that has a wheel for this Python, or \
                 build on a stack\nwith compilers (slug-13 has C and C++)."
            ),
        );
    }
    if output.contains("No module named 'distutils")
        || output.contains("No module named 'imp'")
        || output.contains("pkgutil.ImpImporter")
    {
        return (
            title,
            "This version is older than this Python and uses modules that Python no longer has. Use a newer version of the \
             package,\nor an older Python (a file .python-version with, for example, 3.11)."
                .to_owned(),
        );
    }
    (
        title,
        format!(
            "{from_source}\nIts build script failed. Use a version that has a wheel for this Python (often the newest one), or \
             see what the\nbuild asks for in its output above."
        ),
    )
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
        .and_then(|(before, _)| before.rsplit([' ', '\n']).next());
    let by_pip = output
        .contains("(from versions: none)")
        .then(|| between(output, "No matching distribution found for ", "\n"))
        .flatten();
    let package = by_uv.or(by_pip)?;
    Some((
        format!("There is no package {package}"),
        format!(
            "The package index knows nothing by the name {package}. Check its spelling: the name to install is not always the \
             one\nto import (import yaml: PyYAML; import cv2: opencv-python; import dotenv: python-dotenv). A package of your \
             own\nneeds its index: -e PIP_EXTRA_INDEX_URL=... or a line --extra-index-url in requirements.txt."
        ),
    ))
}

fn resolution(output: &str) -> (String, String) {
    let has = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if has(&[
        "does not satisfy Python",
        "require a different python version",
        "requires a different Python",
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

//! Words about the stack and the tools.

use super::{BuildpackError, Explanation, chain};
use crate::interpreter::InterpreterError;
use crate::layers::pip::PipError;
use crate::layers::project_tool::ProjectToolError;
use crate::layers::python::{NOT_IN_CATALOGUE, PythonError};
use crate::layers::uv::{UV_VERSION, UvError};
use crate::python_version::{Implementation, PYTHON_VERSION_FILE};
use std::error::Error;

pub(super) fn no_python() -> Explanation {
    Explanation::new(
        "The stack has no Python",
        format!(
            "There is no python3 on the build image's PATH, and no {PYTHON_VERSION_FILE} asks for another one.\n\
             Build on a stack with Python (slug-13 has one), or name a version in {PYTHON_VERSION_FILE}."
        ),
    )
}

pub(super) fn python(error: &PythonError) -> Explanation {
    let PythonError::Install {
        request,
        stack,
        source,
    } = error
    else {
        return broken(error);
    };
    let is_damaged = ["Hash mismatch", "Failed to extract archive"]
        .iter()
        .any(|text| source.output().contains(text));
    if is_damaged {
        return Explanation::new(
            format!("The downloaded Python {request} is not the expected one"),
            "uv knows the sha256 of each build of Python, and what it downloaded has another; its own words are above.\n\
             The mirror (UV_PYTHON_INSTALL_MIRROR, for PyPy UV_PYPY_INSTALL_MIRROR) or a proxy serves something else, or a download that was cut off: copy \
             the\nfile to the mirror again.",
        );
    }
    let (makers, variable, example) = match request.variety.implementation {
        Implementation::CPython => (
            "python-build-standalone",
            "UV_PYTHON_INSTALL_MIRROR",
            "https://mirror.example/python-build-standalone",
        ),
        Implementation::PyPy => (
            "PyPy's own",
            "UV_PYPY_INSTALL_MIRROR",
            "https://mirror.example/pypy",
        ),
    };
    if source.output().contains(NOT_IN_CATALOGUE) {
        return Explanation::new(
            format!("There is no Python {request} to download"),
            format!(
                "{} asks for it, and the catalogue of uv {UV_VERSION} has no such build for this kind of machine. What it has:\n    \
                 uv python list --only-downloads",
                request.file
            ),
        );
    }
    let use_stack = stack.map_or_else(String::new, |series| {
        format!(
            "  * Or use the stack's Python, which needs no download: write \"{series}\" in {PYTHON_VERSION_FILE}.\n"
        )
    });
    Explanation::new(
        format!("Python {request} could not be installed"),
        format!(
            "{file} asks for Python {request}. The stack does not have it, so uv tried to download a \
             build of it\n({makers}), which failed; its own words are above.\n\n\
             What to do:\n  \
             * If the network was down for a moment, build again.\n  \
             * If this network has no way to that site, mirror the builds and name the mirror:\n    \
             -e {variable}={example}\n{use_stack}",
            file = request.file
        ),
    )
}

pub(super) fn uv(error: &UvError) -> Explanation {
    match error {
        UvError::Fetch(_) => Explanation::new(
            format!("uv {UV_VERSION} could not be fetched"),
            format!(
                "The requirements are installed by uv, which comes from the package index that pip is set to; \
                 fetching it\nfailed, pip's own words are above.\n\n\
                 What to do:\n  \
                 * If the network was down for a moment, build again.\n  \
                 * If packages come from an index of your own, set PIP_INDEX_URL (-e PIP_INDEX_URL=...), and see that \
                 it has\n    uv {UV_VERSION} with the same files as the public index.\n  \
                 * Or install with pip, which the stack has: -e BP_PYTHON_INSTALLER=pip"
            ),
        ),
        UvError::Link { .. } => broken(error),
        UvError::NoPython => Explanation::new(
            "uv can't be fetched without a Python",
            format!(
                "The stack has neither python3 nor uv {UV_VERSION}, and one of them is needed to begin with.\n\
                 Build on a stack with Python (slug-13 has one)."
            ),
        ),
    }
}

pub(super) fn project_tool(error: &ProjectToolError) -> Explanation {
    match error {
        ProjectToolError::Version { kind, value } => Explanation::new(
            format!("{} names no version", kind.version_variable()),
            format!(
                "{} is \"{value}\". It takes one exact version of {}, such as 2.1.0, or is left unset for the one that \
                 this\nbuildpack is tested with.",
                kind.version_variable(),
                kind.name()
            ),
        ),
        ProjectToolError::Install { kind, version, .. } => Explanation::new(
            format!("{} {version} could not be fetched", kind.name()),
            format!(
                "The packages are installed by {name}, which comes from the package index that pip is set to; uv could \
                 not\ninstall it, its own words are above.\n\n\
                 What to do:\n  \
                 * If the network was down for a moment, build again.\n  \
                 * If packages come from an index of your own, set PIP_INDEX_URL (-e PIP_INDEX_URL=...), and see that it \
                 has\n    {name} {version} and what it needs, with the same files as the public index.\n  \
                 * If {variable} is set, check that this version exists.",
                name = kind.name(),
                variable = kind.version_variable(),
            ),
        ),
        ProjectToolError::Prepare { .. } => broken(error),
    }
}

pub(super) fn pip(error: &PipError) -> Explanation {
    Explanation::new(
        "pip can't be used",
        format!(
            "{}.\n{}\nBP_PYTHON_INSTALLER=pip needs the pip that Python brings along (Debian: python3-venv). Build on \
             a stack\nthat has it, or leave BP_PYTHON_INSTALLER unset to install with uv.",
            chain(error),
            match error {
                PipError::Unpack(source) => source.output(),
                PipError::List { .. } => "",
            }
        ),
    )
}

pub(super) fn interpreter(error: &InterpreterError) -> Explanation {
    let output = match error {
        InterpreterError::Probe { source, .. } => source.output().trim(),
        InterpreterError::Answer { .. } => "",
    };
    Explanation::new(
        "A Python does not run",
        format!(
            "{}.\n{output}\n\nThe stack's or the downloaded Python does not work on this build image. Build on a stack \
             with a working Python\n(slug-13 has one), or name another version in {PYTHON_VERSION_FILE}.",
            chain(error)
        ),
    )
}

/// Only the wheel store's own log has it: the build goes on without the store.
pub(super) fn not_shared(error: &BuildpackError) -> Explanation {
    Explanation::new(
        "The packages are not for the wheel store",
        format!("{error}.\nThe app gets the same packages, fetched for it alone."),
    )
}

/// Failures that no setting of the user's causes.
pub(super) fn broken(error: &dyn Error) -> Explanation {
    Explanation::new(
        "The build could not go on",
        format!(
            "{}.\n\nIf the disk is full, make room and build again. If not, build once more with a cleared cache; if \
             it happens\nagain, report it with this text.",
            chain(error)
        ),
    )
}

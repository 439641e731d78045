//! Words about packages that were installed and can't be believed.

use super::{Explanation, chain, environment};
use crate::layers::venv::VenvError;
use crate::records::{Intruder, Place, RecordError};
use std::error::Error;
use std::io;

const MAKE_SURE: &str = "Make sure of the package's name (a similar one may be an attack), and of the index that it comes from. If \
                         it is your own, build\nit again with a build tool.";

pub(super) fn venv(error: &VenvError) -> Explanation {
    let intruder = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref::<Intruder>());
    let Some(intruder) = intruder else {
        return environment::broken(error);
    };
    let package = name(&intruder.package);
    let (title, what) = match intruder.place {
        Place::Outside => (
            format!("The package {package} has a file outside of its place"),
            "leads out of the virtual environment, which no honest package's file does",
        ),
        Place::OfEnvironment => (
            format!("The package {package} takes the place of a part of the environment"),
            "is the environment's own, and no package's",
        ),
    };
    Explanation::new(
        title,
        format!(
            "{package} lists the file {}, which {what}. The build stops here, and nothing of it is kept.\n{MAKE_SURE}",
            intruder.file
        ),
    )
}

pub(super) fn record(error: &RecordError) -> Explanation {
    let RecordError::Lie(lie) = error else {
        return environment::broken(error);
    };
    Explanation::new(
        format!(
            "The package {} is not what its list of files says",
            name(&lie.package)
        ),
        format!(
            "{}.\nIt was changed after it was built, or was not made by a build tool.\n{MAKE_SURE}",
            chain(lie)
        ),
    )
}

fn name(info: &str) -> &str {
    info.strip_suffix(".dist-info").unwrap_or(info)
}

//! Pythons beside the released `CPython`: `PyPy`, builds without the global interpreter lock, what is not out yet. They are
//! spelled as uv and pyenv spell them.

use super::Series;

/// Which of the Pythons of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variety {
    pub(crate) implementation: Implementation,
    /// Without the global interpreter lock (PEP 703).
    pub(crate) free_threaded: bool,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Implementation {
    #[default]
    CPython,
    PyPy,
}

/// How far a version is (PEP 440, pre-releases).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Released,
    /// `3.16-dev`: the newest of a series, released or not.
    Development,
    Alpha(u16),
    Beta(u16),
    Candidate(u16),
}

/// Parses `pypy3.11`, `3.13t`, `3.14.0rc1`, `3.16-dev` and what `plain` takes; `None` if it is none of them.
pub(super) fn parse(
    text: &str,
    plain: impl Fn(&str) -> Option<(Series, Option<u16>)>,
) -> Option<(Series, Option<u16>, Variety)> {
    let lower = text.to_ascii_lowercase();
    let (implementation, rest) = if let Some(rest) = lower.strip_prefix("pypy") {
        (Implementation::PyPy, rest)
    } else {
        (
            Implementation::CPython,
            lower.strip_prefix("cpython").unwrap_or(&lower),
        )
    };
    let rest = if rest.len() == lower.len() {
        rest
    } else {
        rest.strip_prefix(['-', '@']).unwrap_or(rest)
    };
    let (rest, is_development) = match rest.strip_suffix("-dev") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let without_lock = rest
        .strip_suffix("+freethreaded")
        .or_else(|| rest.strip_suffix('t'));
    let rest_of_version = without_lock.unwrap_or(rest);
    let (version, stage) = stage(rest_of_version)?;
    let (series, patch) = plain(version)?;
    let stage = match (is_development, stage) {
        (false, stage) => stage,
        (true, Stage::Released) if patch.is_none() => Stage::Development,
        (true, _) => return None,
    };
    // Only a whole version has stages before it is out.
    let is_exact = matches!(stage, Stage::Released | Stage::Development) || patch == Some(0);
    let variety = Variety {
        implementation,
        free_threaded: without_lock.is_some(),
        stage,
    };
    let is_possible = implementation == Implementation::CPython
        || variety
            == Variety {
                implementation,
                ..Variety::default()
            };
    (is_exact && is_possible).then_some((series, patch, variety))
}

/// What stands before and what is at the end: `3.14.0` and `rc1`.
fn stage(text: &str) -> Option<(&str, Stage)> {
    let Some(at) = text.find(|c: char| c.is_ascii_alphabetic()) else {
        return Some((text, Stage::Released));
    };
    let (version, end) = text.split_at(at);
    let number = |prefix: &str| {
        let digits = end.strip_prefix(prefix)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    };
    let stage = number("a")
        .map(Stage::Alpha)
        .or_else(|| number("b").map(Stage::Beta))
        .or_else(|| number("rc").map(Stage::Candidate))?;
    Some((version, stage))
}

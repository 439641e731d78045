//! Which Python an app asks for (`.python-version`, `runtime.txt`), and which Pythons there are.

mod variety;

use crate::python_range::Range;
use crate::text_file::{self, TextFileError};
use std::fmt;
use std::path::Path;

pub(crate) use variety::{Implementation, Stage, Variety};

/// The file that names the version.
pub(crate) const PYTHON_VERSION_FILE: &str = ".python-version";
/// Its predecessor, read with a deprecation warning.
pub(crate) const RUNTIME_TXT: &str = "runtime.txt";

/// A release series such as 3.13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) major: u16,
    pub(crate) minor: u16,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A released version such as 3.13.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PythonVersion {
    pub(crate) series: Series,
    pub(crate) patch: u16,
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.series, self.patch)
    }
}

/// What the app asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) series: Series,
    /// The exact patch release, if one was named.
    pub(crate) patch: Option<u16>,
    pub(crate) variety: Variety,
    /// The file that asks.
    pub(crate) file: &'static str,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.variety.implementation == Implementation::PyPy {
            f.write_str("pypy")?;
        }
        write!(f, "{}", self.series)?;
        if let Some(patch) = self.patch {
            write!(f, ".{patch}")?;
        }
        match self.variety.stage {
            Stage::Released => {}
            Stage::Development => f.write_str("-dev")?,
            Stage::Alpha(number) => write!(f, "a{number}")?,
            Stage::Beta(number) => write!(f, "b{number}")?,
            Stage::Candidate(number) => write!(f, "rc{number}")?,
        }
        f.write_str(if self.variety.free_threaded { "t" } else { "" })
    }
}

impl Request {
    /// As uv takes it: it has no word for what is in development, but takes that where nothing is released.
    pub(crate) fn for_uv(self) -> String {
        let text = self.to_string();
        text.replace("-dev", "")
    }
}

/// What the project's version files say together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Requested {
    /// `None`: no file names a version.
    pub(crate) request: Option<Request>,
    /// What `.python-version` says, where it names a range.
    pub(crate) range: Option<Range>,
    /// Whether there is a `runtime.txt`, used or not.
    pub(crate) runtime_txt: bool,
}

/// How far a series is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// Gets security fixes until the month given.
    Until(&'static str),
    /// Gets none since the month given, but can still be installed.
    Ended(&'static str),
    /// Is not out yet.
    Coming,
}

/// The series that can be used, with the month in which upstream's support ends.
const SERIES: [(u16, Support); 6] = [
    (10, Support::Ended("October 2026")),
    (11, Support::Until("October 2027")),
    (12, Support::Until("October 2028")),
    (13, Support::Until("October 2029")),
    (14, Support::Until("October 2030")),
    (15, Support::Until("October 2031")),
];

/// The newest patch release of each series in the catalogue of the uv that this buildpack uses.
const NEWEST_PATCHES: [(u16, u16); 6] = [(10, 22), (11, 18), (12, 16), (13, 18), (14, 10), (15, 2)];

/// The months in which the support of older series ended, for the error that refuses them.
const RETIRED: [(Series, &str); 6] = [
    (series(3, 9), "October 2025"),
    (series(3, 8), "October 2024"),
    (series(3, 7), "June 2023"),
    (series(3, 6), "December 2021"),
    (series(3, 5), "September 2020"),
    (series(2, 7), "January 2020"),
];

const fn series(major: u16, minor: u16) -> Series {
    Series { major, minor }
}

/// The oldest series that can be used.
pub(crate) const OLDEST: Series = series(3, 10);
/// The newest released series that this buildpack knows.
pub(crate) const NEWEST: Series = series(3, 15);

/// The first with builds without the global interpreter lock (PEP 703).
pub(crate) const OLDEST_FREE_THREADED: Series = series(3, 13);

/// A version file that could not be understood, or that asks for a Python that can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonVersionError {
    #[error("could not use the version file")]
    Read(#[source] TextFileError),
    #[error("{file} names no version")]
    Empty { file: &'static str },
    #[error("{file} names several versions")]
    Several {
        file: &'static str,
        lines: Vec<usize>,
    },
    #[error("{file} line {line}: \"{text}\" is not a version")]
    Malformed {
        file: &'static str,
        line: usize,
        text: String,
    },
    #[error("Python {} is past its end of life", .request.series)]
    EndOfLife {
        request: Request,
        since: Option<&'static str>,
    },
    #[error("Python {} is not known", .request.series)]
    Unknown { request: Request },
    #[error("{} asks for {request}, {} for {range}", .request.file, .range.file)]
    Conflict { request: Request, range: Range },
    #[error("there is no {request}")]
    NoSuchVariety { request: Request },
    #[error("no Python is in all ranges")]
    NothingFits { ranges: Vec<Range> },
}

/// Reads the version files. `.python-version` wins over `runtime.txt`.
pub(crate) fn read_request(app_dir: &Path) -> Result<Requested, PythonVersionError> {
    let read =
        |name: &str| text_file::read(app_dir, Path::new(name)).map_err(PythonVersionError::Read);
    let runtime_txt = read(RUNTIME_TXT)?;
    let mut range = None;
    let request = if let Some(text) = read(PYTHON_VERSION_FILE)? {
        let (line, entry) = only_entry(PYTHON_VERSION_FILE, &text)?;
        range = entry
            .starts_with(['<', '>', '=', '~', '!', '^'])
            .then(|| Range::parse(PYTHON_VERSION_FILE, entry))
            .flatten();
        match range {
            Some(_) => None,
            None => Some(parse(PYTHON_VERSION_FILE, "", line, entry)?),
        }
    } else if let Some(text) = &runtime_txt {
        let (line, entry) = only_entry(RUNTIME_TXT, text)?;
        Some(parse(RUNTIME_TXT, "python-", line, entry)?)
    } else {
        None
    };
    Ok(Requested {
        request,
        range,
        runtime_txt: runtime_txt.is_some(),
    })
}

/// How the series asked for is supported; an error when it can't be used at all.
pub(crate) fn support(request: Request) -> Result<Support, PythonVersionError> {
    if request.variety.free_threaded && request.series < OLDEST_FREE_THREADED {
        return Err(PythonVersionError::NoSuchVariety { request });
    }
    if request.variety.stage != Stage::Released && request.series > NEWEST {
        return Ok(Support::Coming);
    }
    if let Some(known) = support_of(request.series) {
        return Ok(known);
    }
    if request.series < OLDEST {
        let since = RETIRED
            .iter()
            .find(|(series, _)| *series == request.series)
            .map(|(_, month)| *month);
        return Err(PythonVersionError::EndOfLife { request, since });
    }
    Err(PythonVersionError::Unknown { request })
}

/// How a series is supported, if it is one of those that can be asked for.
pub(crate) fn support_of(wanted: Series) -> Option<Support> {
    SERIES
        .iter()
        .find(|(minor, _)| wanted == series(3, *minor))
        .map(|(_, support)| *support)
}

/// Parses `3.13`, `3.13.5`, or what three numbers Python's own tools print.
pub(crate) fn parse_version(text: &str) -> Option<(Series, Option<u16>)> {
    let mut numbers = text.split('.').map(number);
    let series = series(numbers.next()??, numbers.next()??);
    let patch = match numbers.next() {
        None => None,
        Some(patch) => Some(patch?),
    };
    numbers.next().is_none().then_some((series, patch))
}

/// Digits only: `u16::from_str` alone would take a sign.
fn number(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The newest series that is in all ranges.
pub(crate) fn newest_in(ranges: &[Range]) -> Option<Series> {
    SERIES
        .iter()
        .rev()
        .map(|(minor, _)| series(3, *minor))
        .find(|series| ranges.iter().all(|range| range.allows_series(*series)))
}

/// The newest Python of a series that is in all ranges, where that is not the newest of the series; `None` where it is,
/// or where no patch release that was out when this buildpack was made fits.
pub(crate) fn pinned_patch(wanted: Series, ranges: &[Range]) -> Option<u16> {
    let newest = newest_patch(wanted)?;
    let fits = |patch: &u16| {
        let version = PythonVersion {
            series: wanted,
            patch: *patch,
        };
        ranges.iter().all(|range| range.allows(version))
    };
    (0..=newest)
        .rev()
        .find(fits)
        .filter(|patch| *patch != newest)
}

/// The newest patch release of a series that was out when this buildpack was made.
pub(crate) fn newest_patch(wanted: Series) -> Option<u16> {
    NEWEST_PATCHES
        .iter()
        .find(|(minor, _)| wanted == series(3, *minor))
        .map(|(_, patch)| *patch)
}

/// The one line of a version file that is neither empty nor a comment.
fn only_entry<'a>(
    file: &'static str,
    text: &'a str,
) -> Result<(usize, &'a str), PythonVersionError> {
    let entries: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let without_comment = line.split_once('#').map_or(line, |(before, _)| before);
            (index + 1, without_comment.trim())
        })
        .filter(|(_, line)| !line.is_empty())
        .collect();
    match entries.as_slice() {
        [] => Err(PythonVersionError::Empty { file }),
        [only] => Ok(*only),
        several => Err(PythonVersionError::Several {
            file,
            lines: several.iter().map(|(line, _)| *line).collect(),
        }),
    }
}

fn parse(
    file: &'static str,
    prefix: &str,
    line: usize,
    entry: &str,
) -> Result<Request, PythonVersionError> {
    entry
        .strip_prefix(prefix)
        .and_then(|text| variety::parse(text, parse_version))
        .map(|(series, patch, variety)| Request {
            series,
            patch,
            variety,
            file,
        })
        .ok_or_else(|| PythonVersionError::Malformed {
            file,
            line,
            text: entry.to_owned(),
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<String, String> {
        only_entry(PYTHON_VERSION_FILE, text)
            .and_then(|(line, entry)| parse(PYTHON_VERSION_FILE, "", line, entry))
            .map(|request| request.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn versions_with_comments_and_blank_lines() {
        for text in ["3.13", "3.13\r\n", "# why\n\n  3.13 # here\n"] {
            assert_eq!(request(text).unwrap(), "3.13", "{text:?}");
        }
        assert_eq!(request("3.13.5").unwrap(), "3.13.5");
    }

    #[test]
    fn other_builds_of_python() {
        for (text, shown, for_uv) in [
            ("pypy3.11", "pypy3.11", "pypy3.11"),
            ("pypy-3.11", "pypy3.11", "pypy3.11"),
            ("PyPy@3.11", "pypy3.11", "pypy3.11"),
            ("cpython-3.13", "3.13", "3.13"),
            ("3.13t", "3.13t", "3.13t"),
            ("3.13.2+freethreaded", "3.13.2t", "3.13.2t"),
            ("3.16.0a2", "3.16.0a2", "3.16.0a2"),
            ("3.15.0b1", "3.15.0b1", "3.15.0b1"),
            ("3.14.0rc1", "3.14.0rc1", "3.14.0rc1"),
            ("3.14.0rc1t", "3.14.0rc1t", "3.14.0rc1t"),
            ("3.16-dev", "3.16-dev", "3.16"),
            ("3.16t-dev", "3.16-devt", "3.16t"),
        ] {
            let (line, entry) = only_entry(PYTHON_VERSION_FILE, text).unwrap();
            let found = parse(PYTHON_VERSION_FILE, "", line, entry).unwrap();
            assert_eq!(found.to_string(), shown, "{text}");
            assert_eq!(found.for_uv(), for_uv, "{text}");
            let ordinary = shown == "3.13";
            assert_eq!(found.variety == Variety::default(), ordinary, "{text}");
        }
    }

    #[test]
    fn what_is_not_one_version_is_refused_with_its_line() {
        for (text, expected) in [
            ("", ".python-version names no version"),
            ("# 3.13\n", ".python-version names no version"),
            ("3.12\n3.13\n", ".python-version names several versions"),
            ("\n3\n", ".python-version line 2: \"3\" is not a version"),
            (
                "3.13.5.1",
                ".python-version line 1: \"3.13.5.1\" is not a version",
            ),
            (
                "3.+13",
                ".python-version line 1: \"3.+13\" is not a version",
            ),
            (
                "pypy3.10t",
                ".python-version line 1: \"pypy3.10t\" is not a version",
            ),
            (
                "3.13rc1",
                ".python-version line 1: \"3.13rc1\" is not a version",
            ),
            (
                "3.13.0rc",
                ".python-version line 1: \"3.13.0rc\" is not a version",
            ),
            (
                "graalpy-24",
                ".python-version line 1: \"graalpy-24\" is not a version",
            ),
        ] {
            assert_eq!(request(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn python_version_wins_over_runtime_txt() {
        let app = tempfile::tempdir().unwrap();
        std::fs::write(app.path().join(RUNTIME_TXT), "python-3.11.6\n").unwrap();
        let requested = read_request(app.path()).unwrap();
        assert!(requested.runtime_txt);
        assert_eq!(requested.request.unwrap().to_string(), "3.11.6");

        std::fs::write(app.path().join(PYTHON_VERSION_FILE), "3.12\n").unwrap();
        let requested = read_request(app.path()).unwrap();
        assert!(requested.runtime_txt);
        assert_eq!(requested.request.unwrap().file, PYTHON_VERSION_FILE);
    }

    #[test]
    fn a_range_in_the_version_file() {
        let app = tempfile::tempdir().unwrap();
        std::fs::write(
            app.path().join(PYTHON_VERSION_FILE),
            "# ours\n>=3.11,<3.14\n",
        )
        .unwrap();
        let requested = read_request(app.path()).unwrap();
        assert_eq!(requested.request, None);
        let range = requested.range.unwrap();
        assert_eq!(newest_in(&[range]).unwrap(), series(3, 13));
        let none = Range::parse(PYTHON_VERSION_FILE, "<3.9").unwrap();
        assert_eq!(newest_in(&[none]), None);
    }

    #[test]
    fn ranges_that_leave_out_the_newest_patch() {
        for (text, expected) in [
            ("==3.12.4", Some(4)),
            ("3.13.2", Some(2)),
            ("<3.12.5,>=3.12", Some(4)),
            ("~=3.12.3,!=3.12.16", Some(15)),
            (">=3.11", None),
            ("==3.12.16", None),
            ("==3.12.*", None),
            // Later than all that are known: its own error follows.
            ("==3.12.59", None),
        ] {
            let ranges = [Range::parse("Pipfile", text).unwrap()];
            let series = newest_in(&ranges).unwrap();
            assert_eq!(pinned_patch(series, &ranges), expected, "{text}");
        }
    }

    #[test]
    fn every_series_has_an_answer() {
        let ask = |minor| {
            support(Request {
                series: series(3, minor),
                patch: None,
                variety: Variety::default(),
                file: PYTHON_VERSION_FILE,
            })
        };
        assert!(matches!(
            ask(9),
            Err(PythonVersionError::EndOfLife {
                since: Some("October 2025"),
                ..
            })
        ));
        assert!(matches!(ask(10), Ok(Support::Ended(_))));
        for minor in 11..=15 {
            assert!(matches!(ask(minor), Ok(Support::Until(_))), "{minor}");
        }
        assert!(matches!(ask(16), Err(PythonVersionError::Unknown { .. })));
    }
}

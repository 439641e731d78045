//! The `Aptfile`: names of Debian packages, as Heroku's apt buildpack reads them.
//!
//! ```text
//! # a comment
//! libgdal36
//! ffmpeg graphicsmagick     # several on a line
//! libpq5=17.6-0+deb13u1     # exactly this version
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The file's name.
pub(crate) const APTFILE: &str = "Aptfile";

/// Real ones have a few lines, in bytes.
const LONGEST: u64 = 64 * 1024;

/// A package that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

impl fmt::Display for Wanted {
    /// As apt-get takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some(version) => write!(f, "={version}"),
            None => Ok(()),
        }
    }
}

/// A word that names no package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) problem: Problem,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// `:repo:`, a further archive.
    Repository,
    /// A file, by its address or path.
    File,
    /// `-t`, `--force-yes` …
    Option,
    /// Names are separated by commas.
    Comma,
    /// A name in upper case; the right one.
    Case(String),
    /// Nothing that Debian would name a package.
    Name,
    /// Nothing that Debian would name a version.
    Version,
}

/// Why there are no packages to ask for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AptfileError {
    #[error("could not read {APTFILE}")]
    Read(#[source] io::Error),
    #[error("{APTFILE} is longer than {LONGEST} bytes")]
    TooLong,
    #[error("{APTFILE} is not UTF-8")]
    NotUtf8 { line: usize },
    #[error("{APTFILE} has words that name no package")]
    Mistakes(Vec<Mistake>),
}

/// Reads the file; the packages are sorted, each once.
pub(crate) fn read(app_dir: &Path) -> Result<Vec<Wanted>, AptfileError> {
    let path = app_dir.join(APTFILE);
    // A pipe would never end.
    if !path.metadata().map_err(AptfileError::Read)?.is_file() {
        return Err(AptfileError::Read(io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(AptfileError::Read)?;
    if bytes.len() as u64 > LONGEST {
        return Err(AptfileError::TooLong);
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<Wanted>, AptfileError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        AptfileError::NotUtf8 {
            line: before.split(|byte| *byte == b'\n').count(),
        }
    })?;
    let mut wanted = Vec::new();
    let mut mistakes = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut mistake = |text: &str, problem| {
            mistakes.push(Mistake {
                line: index + 1,
                text: text.to_owned(),
                problem,
            });
        };
        if line.starts_with(":repo:") {
            mistake(line, Problem::Repository);
            continue;
        }
        for word in line.split_whitespace() {
            match package(word) {
                Ok(package) => wanted.push(package),
                Err(problem) => mistake(word, problem),
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(AptfileError::Mistakes(mistakes));
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

/// `name` or `name=version`, by Debian's Policy (§5.6.1, §5.6.12).
fn package(word: &str) -> Result<Wanted, Problem> {
    if word.starts_with('-') {
        return Err(Problem::Option);
    }
    let extension = Path::new(word).extension();
    if word.contains("://")
        || word.starts_with(['/', '.'])
        || extension.is_some_and(|extension| extension.eq_ignore_ascii_case("deb"))
    {
        return Err(Problem::File);
    }
    if word.contains(',') {
        return Err(Problem::Comma);
    }
    let (name, version) = match word.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (word, None),
    };
    let is_name = |name: &str| {
        name.len() > 1
            && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
            // apt-get takes these for wishes: to remove the package, to install it.
            && (!name.ends_with(['-', '+']) || name.ends_with("++"))
    };
    if !is_name(name) {
        let lower = name.to_ascii_lowercase();
        return Err(if lower != name && is_name(&lower) {
            Problem::Case(lower)
        } else {
            Problem::Name
        });
    }
    let is_version = |version: &str| {
        version.starts_with(|first: char| first.is_ascii_digit())
            && version
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".+-:~".contains(&byte))
    };
    if version.is_some_and(|version| !is_version(version)) {
        return Err(Problem::Version);
    }
    Ok(Wanted {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::cell::Cell;
    use test_support::{Seeds, fuzz};

    fn names(text: &str) -> Vec<String> {
        parse(text.as_bytes())
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn names_versions_and_comments() {
        let text = "\u{feff}# libs\r\n\r\n  libgdal36 libc6-dev\t# both\r\ng++\nlibpq5=1:17.6-0+deb13u1~x\nlibgdal36\n";
        assert_eq!(
            names(text),
            ["g++", "libc6-dev", "libgdal36", "libpq5=1:17.6-0+deb13u1~x"]
        );
        assert_eq!(names("\n# nothing\n"), [] as [&str; 0]);
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "ok\n:repo:deb http://host.example/ trixie main\nhttps://host.example/x.deb\n\n--force-yes ./x.deb\na1,b1\nLibPQ5\nx\nab-\nlibpq5=$(id)\nlibpq5=\n;id\n";
        let Err(AptfileError::Mistakes(found)) = parse(text.as_bytes()) else {
            unreachable!("no mistakes found");
        };
        let found: Vec<_> = found
            .into_iter()
            .map(|mistake| (mistake.line, mistake.problem))
            .collect();
        assert_eq!(
            found,
            [
                (2, Problem::Repository),
                (3, Problem::File),
                (5, Problem::Option),
                (5, Problem::File),
                (6, Problem::Comma),
                (7, Problem::Case("libpq5".to_owned())),
                (8, Problem::Name),
                (9, Problem::Name),
                (10, Problem::Version),
                (11, Problem::Version),
                (12, Problem::Name),
            ]
        );
        let error = parse(b"ab\n\xff").unwrap_err();
        assert!(matches!(error, AptfileError::NotUtf8 { line: 2 }));
    }

    /// What gets through are names and versions by Debian's Policy, none of which is an option, an address or a wish to
    /// apt-get. A dot in a name would be a pattern to it, if its settings did not forbid that.
    #[test]
    fn fuzz_aptfiles() {
        let inputs = [
            b"# libs\r\nlibgdal36 ffmpeg # both\ng++\nlibpq5=1:17.6-0+deb13u1~x\nlibpq5\n".to_vec(),
            Vec::new(),
        ];
        let words = [
            "=", "-", "+", ".", "~", ":", ",", "/", "*", "[", "$", "#", "\n", "\u{a0}", "é", "A",
            ".deb", ":repo:", "--", "++", "\0",
        ];
        let seeds = Seeds {
            inputs: &inputs,
            words: &words,
        };
        let some = Cell::new(0_u32);
        fuzz("Aptfile", seeds, |bytes| {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            match parse(bytes) {
                Ok(wanted) => {
                    some.set(some.get() + u32::from(!wanted.is_empty()));
                    assert!(wanted.is_sorted_by(|one, other| one < other), "{wanted:?}");
                    for package in &wanted {
                        assert!(is_package(&package.to_string()), "{package}");
                    }
                }
                Err(AptfileError::Mistakes(mistakes)) => {
                    assert!(!mistakes.is_empty());
                    assert!(mistakes.iter().all(|it| (1..=lines).contains(&it.line)));
                }
                Err(AptfileError::NotUtf8 { line }) => assert!((1..=lines).contains(&line)),
                Err(error) => panic!("{error}"),
            }
        });
        assert!(some.get() > 10, "{} of them name packages", some.get());
    }

    /// `[a-z0-9][a-z0-9+.-]+(=[0-9][A-Za-z0-9.+:~-]*)?`, where `-` and a single `+` are no end of a name.
    fn is_package(word: &str) -> bool {
        let all = |text: &str, more: &str| {
            text.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
        };
        let (name, version) = word.split_once('=').unwrap_or((word, "0"));
        let ends_well = !name.ends_with('-') && (!name.ends_with('+') || name.ends_with("++"));
        name.len() > 1
            && all(&name[..1], "")
            && all(name, "+.-")
            && ends_well
            && all(&version.to_ascii_lowercase(), ".+:~-")
            && version.starts_with(|c: char| c.is_ascii_digit())
    }
}

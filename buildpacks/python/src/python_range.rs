//! Ranges of Python versions: the specifiers of PEP 440, and Poetry's own (`^`, `~`, `||`).

use crate::python_version::{PythonVersion, Series};
use std::fmt;

/// More patch releases than any series has had.
const PATCHES: u16 = 60;

/// A range, with the place that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The file that asks.
    pub(crate) file: &'static str,
    text: String,
    /// One of these has to hold; each holds if all its clauses do.
    alternatives: Vec<Vec<Clause>>,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A comparison, reduced to limits.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Clause {
    AtLeast([u16; 3]),
    Above([u16; 3]),
    Below([u16; 3]),
    AtMost([u16; 3]),
    /// Begins with these numbers.
    Is(Vec<u16>),
    IsNot(Vec<u16>),
}

impl Range {
    /// Reads a range; `None` when it is not understood.
    pub(crate) fn parse(file: &'static str, text: &str) -> Option<Self> {
        let alternatives = text
            .split("||")
            .flat_map(|part| part.split('|'))
            .map(|part| {
                let mut clauses = Vec::new();
                for clause in words(part) {
                    clauses.extend(parse_clause(&clause)?);
                }
                Some(clauses)
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            file,
            text: text.trim().to_owned(),
            alternatives,
        })
    }

    /// Whether a version is in the range.
    pub(crate) fn allows(&self, version: PythonVersion) -> bool {
        let numbers = [version.series.major, version.series.minor, version.patch];
        self.alternatives
            .iter()
            .any(|clauses| clauses.iter().all(|clause| clause.allows(numbers)))
    }

    /// Whether any release of a series can be in the range.
    pub(crate) fn allows_series(&self, series: Series) -> bool {
        (0..PATCHES).any(|patch| self.allows(PythonVersion { series, patch }))
    }
}

impl Clause {
    fn allows(&self, version: [u16; 3]) -> bool {
        match self {
            Self::AtLeast(limit) => version >= *limit,
            Self::Above(limit) => version > *limit,
            Self::Below(limit) => version < *limit,
            Self::AtMost(limit) => version <= *limit,
            Self::Is(prefix) => version.starts_with(prefix),
            Self::IsNot(prefix) => !version.starts_with(prefix),
        }
    }
}

/// Clauses are separated by commas, in Poetry's grammar also by spaces; an operator may stand apart from its
/// version.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
        match words.last_mut() {
            Some(last) if last.chars().all(|c| "<>=!~^".contains(c)) => last.push_str(word),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

fn parse_clause(text: &str) -> Option<Vec<Clause>> {
    let operators = ["===", "==", "~=", "!=", ">=", "<=", ">", "<", "^", "~", "="];
    let (operator, rest) = operators
        .into_iter()
        .find_map(|operator| Some((operator, text.strip_prefix(operator)?)))
        .unwrap_or(("", text));
    if rest == "*" {
        return matches!(operator, "" | "==").then(Vec::new);
    }
    let (rest, is_wild) = match rest.strip_suffix(".*") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let numbers = numbers(rest)?;
    if is_wild && !matches!(operator, "" | "=" | "==" | "===" | "!=") {
        return None;
    }
    let limit = padded(&numbers);
    // The version after all those that begin with the first `kept` numbers.
    let after = |kept: usize| {
        let mut limit = padded(&numbers[..kept]);
        limit[kept - 1] += 1;
        Clause::Below(limit)
    };
    Some(match operator {
        ">=" => vec![Clause::AtLeast(limit)],
        ">" => vec![Clause::Above(limit)],
        "<=" => vec![Clause::AtMost(limit)],
        "<" => vec![Clause::Below(limit)],
        // "3.11" alone can only mean the series: nobody has 3.11.0 and nothing later in mind.
        "" | "=" | "==" | "===" => vec![Clause::Is(numbers)],
        "!=" if is_wild || numbers.len() == 3 => vec![Clause::IsNot(numbers)],
        "!=" => vec![Clause::IsNot(limit.to_vec())],
        "^" => vec![Clause::AtLeast(limit), after(1)],
        "~=" if numbers.len() > 1 => vec![Clause::AtLeast(limit), after(numbers.len() - 1)],
        "~" => vec![Clause::AtLeast(limit), after(numbers.len().min(2))],
        _ => return None,
    })
}

/// One to three numbers; what marks a pre-release is left aside.
fn numbers(text: &str) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    for part in text.split('.').take(3) {
        let digits = part
            .find(|character: char| !character.is_ascii_digit())
            .map_or(part, |end| &part[..end]);
        // The largest number would leave no next one.
        numbers.push(digits.parse().ok().filter(|number| *number < u16::MAX)?);
    }
    Some(numbers)
}

fn padded(numbers: &[u16]) -> [u16; 3] {
    let mut padded = [0; 3];
    for (place, number) in padded.iter_mut().zip(numbers) {
        *place = *number;
    }
    padded
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::python_version::parse_version;

    fn allows(range: &str, version: &str) -> bool {
        let (series, patch) = parse_version(version).unwrap();
        let patch = patch.unwrap();
        Range::parse("pyproject.toml", range)
            .unwrap()
            .allows(PythonVersion { series, patch })
    }

    #[test]
    fn specifiers() {
        for (range, inside, outside) in [
            (">=3.10", "3.10.0", "3.9.20"),
            (">=3.10,<3.13", "3.12.4", "3.13.0"),
            (">= 3.10, < 4", "3.15.2", "4.0.0"),
            ("~=3.11", "3.14.1", "3.10.9"),
            ("~=3.11.4", "3.11.9", "3.12.0"),
            ("==3.12.*", "3.12.7", "3.13.1"),
            ("==3.12", "3.12.7", "3.13.1"),
            ("!=3.12.*,>=3.11", "3.13.0", "3.12.3"),
            ("!=3.12.3", "3.12.4", "3.12.3"),
            (">3.11", "3.12.0", "3.10.1"),
            ("<=3.12.5", "3.12.5", "3.12.6"),
            ("^3.11", "3.15.0", "3.10.0"),
            ("~3.11", "3.11.8", "3.12.0"),
            ("~3", "3.15.1", "2.7.18"),
            (">=3.9 <3.12", "3.11.2", "3.12.0"),
            ("^3.9 || ^2.7", "2.7.18", "2.6.0"),
            (">=3.13.0rc1", "3.13.0", "3.12.9"),
            ("3.11", "3.11.9", "3.12.1"),
        ] {
            assert!(allows(range, inside), "{range} allows {inside}");
            assert!(!allows(range, outside), "{range} does not allow {outside}");
        }
        assert!(allows("*", "3.10.0"));
    }

    #[test]
    fn what_is_no_range() {
        for text in [">=three", "latest", "~=3", ">=3.*", ">=", "^", "99999.1"] {
            assert_eq!(Range::parse("pyproject.toml", text), None, "{text}");
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        let alphabet = [
            "3", ".", "*", ">", "=", "<", "~", "^", "|", ",", " ", "6", "é",
        ];
        for a in alphabet {
            for b in alphabet {
                for c in alphabet {
                    for d in alphabet {
                        let _ = Range::parse("pyproject.toml", &format!("{a}{b}{c}{d}"));
                    }
                }
            }
        }
    }
}

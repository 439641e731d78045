//! Relationships between packages (Debian Policy §7.1): `a (>= 1) | b, c`.

use std::cmp::Ordering;

use crate::version;

/// One alternative of a relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relation<'a> {
    /// The package, real or virtual; an architecture qualifier such as `:any` is dropped.
    pub(crate) name: &'a str,
    /// What its version must be.
    pub(crate) version: Option<(Operator, &'a str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Relation<'_> {
    /// Whether a real package of this version satisfies the relation.
    pub(crate) fn admits(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else {
            return true;
        };
        let order = version::compare(version, wanted);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }

    /// Whether a `Provides` of this name satisfies it: an unversioned one only satisfies an
    /// unversioned relation (Policy §7.5).
    pub(crate) fn admits_provided(&self, version: Option<&str>) -> bool {
        match (self.version, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(version)) => self.admits(version),
        }
    }
}

impl std::fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        if let Some((operator, version)) = self.version {
            let sign = match operator {
                Operator::Earlier => "<<",
                Operator::EarlierOrEqual => "<=",
                Operator::Equal => "=",
                Operator::LaterOrEqual => ">=",
                Operator::Later => ">>",
            };
            write!(f, " ({sign} {version})")?;
        }
        Ok(())
    }
}

/// The groups of a relationship field; each group is a list of alternatives.
pub(crate) fn parse(field: &str) -> impl Iterator<Item = Vec<Relation<'_>>> {
    field
        .split(',')
        .map(|group| group.split('|').filter_map(relation).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
}

fn relation(text: &str) -> Option<Relation<'_>> {
    let text = text.trim();
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '<'))
        .unwrap_or(text.len());
    let name = text[..end]
        .split(':')
        .next()
        .filter(|name| !name.is_empty())?;
    let version = text[end..]
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .and_then(|(constraint, _)| constraint_of(constraint.trim()));
    Some(Relation { name, version })
}

fn constraint_of(text: &str) -> Option<(Operator, &str)> {
    // Longest first: `<` and `>` alone are the historical spellings of `<=` and `>=`.
    const OPERATORS: [(&str, Operator); 7] = [
        ("<<", Operator::Earlier),
        ("<=", Operator::EarlierOrEqual),
        (">=", Operator::LaterOrEqual),
        (">>", Operator::Later),
        ("=", Operator::Equal),
        ("<", Operator::EarlierOrEqual),
        (">", Operator::LaterOrEqual),
    ];
    OPERATORS.iter().find_map(|(sign, operator)| {
        text.strip_prefix(sign)
            .map(|version| (*operator, version.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_alternatives_and_qualifiers() {
        let groups: Vec<_> =
            parse("libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0,\n perl:any, python3 (<<3.14)")
                .map(|group| group.iter().map(ToString::to_string).collect::<Vec<_>>())
                .collect();
        assert_eq!(
            groups,
            [
                vec!["libc6 (>= 2.38)"],
                vec!["debconf (>= 0.5)", "debconf-2.0"],
                vec!["perl"],
                vec!["python3 (<< 3.14)"],
            ]
        );
    }

    #[test]
    fn provided_versions() {
        let versioned = Relation {
            name: "a",
            version: Some((Operator::LaterOrEqual, "2")),
        };
        assert!(!versioned.admits_provided(None));
        assert!(!versioned.admits_provided(Some("1")));
        assert!(versioned.admits_provided(Some("2")));
        let plain = Relation {
            name: "a",
            version: None,
        };
        assert!(plain.admits_provided(None));
    }

    #[test]
    fn an_empty_field_has_no_groups() {
        assert_eq!(parse("  ").count(), 0);
    }
}

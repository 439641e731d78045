//! Guessing which name was meant.

/// The known name that was probably meant by one that is not known: a third of its letters may be
/// wrong, and never more than two.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (distance(name, wanted), name))
        .filter(|(distance, name)| *distance <= name.len().min(6) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, to) in right.iter().enumerate() {
            let substitute = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = substitute.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let known = ["DATABASE_URL", "DEBUG", "A"];
        for (wanted, meant) in [
            ("DATABSE_URL", Some("DATABASE_URL")),
            ("DEBUT", Some("DEBUG")),
            ("SECRET", None),
            ("B", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, known), meant, "{wanted}");
        }
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [("web", "web", 0), ("web", "wbe", 2), ("", "ab", 2)] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}

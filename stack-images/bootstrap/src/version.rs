//! The order of Debian version numbers (Debian Policy §5.6.12).

use std::cmp::Ordering;

/// Compares two version strings as `dpkg --compare-versions` does.
///
/// An absent epoch counts as `0` and an absent revision as the empty string, which sorts like `0`.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_upstream, left_revision) = split(left);
    let (right_epoch, right_upstream, right_revision) = split(right);
    compare_part(left_epoch, right_epoch)
        .then_with(|| compare_part(left_upstream, right_upstream))
        .then_with(|| compare_part(left_revision, right_revision))
}

fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Compares alternating runs of non-digits and digits; `~` sorts before everything, even the end.
fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        loop {
            let a = left.first().filter(|byte| !byte.is_ascii_digit());
            let b = right.first().filter(|byte| !byte.is_ascii_digit());
            if a.is_none() && b.is_none() {
                break;
            }
            match weight(a).cmp(&weight(b)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
            left = &left[1..];
            right = &right[1..];
        }
        let (left_number, left_rest) = number(left);
        let (right_number, right_rest) = number(right);
        // Leading zeros are gone, so a longer number is a larger one.
        let order = left_number
            .len()
            .cmp(&right_number.len())
            .then_with(|| left_number.cmp(right_number));
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

fn number(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(end);
    let zeros = digits
        .iter()
        .position(|byte| *byte != b'0')
        .unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_order() {
        let ascending = [
            "~~",
            "~~a",
            "~",
            "",
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0-1",
            "1.0-1+b2",
            "1.0-1+deb13u1",
            "1.0-1.1",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.0.1-1",
            "1.2",
            "1.10",
            "9",
            "10",
            "a",
            "1:0.1",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(
                    compare(left, right),
                    at.cmp(&other),
                    "{left:?} against {right:?}"
                );
            }
        }
    }

    #[test]
    fn equal_versions_are_written_in_several_ways() {
        for (left, right) in [
            ("0:1.0", "1.0"),
            ("1.0-0", "1.0"),
            ("1.00", "1.0"),
            ("1.007-1", "1.7-01"),
            ("00:1", "1"),
        ] {
            assert_eq!(
                compare(left, right),
                Ordering::Equal,
                "{left} against {right}"
            );
        }
    }

    #[test]
    fn the_last_hyphen_starts_the_revision() {
        assert_eq!(compare("1-2-3", "1-2-4"), Ordering::Less);
        assert_eq!(compare("1-10-1", "1-9-1"), Ordering::Greater);
    }

    #[test]
    fn numbers_longer_than_any_integer_type() {
        assert_eq!(
            compare("99999999999999999999999999", "100000000000000000000000000"),
            Ordering::Less
        );
    }
}

//! Patterns of Go's `path/filepath.Match`, which slices are written in.

/// A pattern, checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `*`: any characters but `/`, also none.
    Many,
    /// `?`: one character but `/`.
    One,
    /// `[a-z]` or `[^a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Itself; a backslash in front takes away its meaning.
    Literal(char),
}

impl Pattern {
    /// `None` when it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut chars = text.chars().peekable();
        let mut tokens = Vec::new();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => Token::Literal(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.peek() != Some(&']') {
                        let low = class_char(&mut chars)?;
                        let high = match chars.next_if_eq(&'-') {
                            Some(_) => class_char(&mut chars)?,
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    chars.next();
                    Token::Class { negated, ranges }
                }
                literal => Token::Literal(literal),
            });
        }
        Some(Self(tokens))
    }
}

/// One end of a range; `-` and `]` need a backslash, and something has to follow.
fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let c = match chars.next()? {
        '-' | ']' => return None,
        '\\' => chars.next()?,
        c => c,
    };
    chars.peek().map(|_| c)
}

/// Whether the whole of `path` matches. Bytes that are not UTF-8 count as one unknown character.
pub(super) fn matches(pattern: &Pattern, path: &[u8]) -> bool {
    let path: Vec<char> = String::from_utf8_lossy(path).chars().collect();
    match_from(&pattern.0, &path)
}

fn match_from(tokens: &[Token], path: &[char]) -> bool {
    let Some((token, tokens_left)) = tokens.split_first() else {
        return path.is_empty();
    };
    let one = |accepts: &dyn Fn(char) -> bool| {
        path.split_first()
            .is_some_and(|(&c, left)| accepts(c) && match_from(tokens_left, left))
    };
    match token {
        Token::Many => {
            let reach = path.iter().position(|&c| c == '/').unwrap_or(path.len());
            (0..=reach).any(|skipped| match_from(tokens_left, &path[skipped..]))
        }
        Token::One => one(&|c| c != '/'),
        Token::Literal(literal) => one(&|c| c == *literal),
        Token::Class { negated, ranges } => {
            one(&|c| ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        // From the cases of Go's own documentation of Match and its edge cases.
        for (pattern, path, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("a?b", "a/b", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-]", "-", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a\\", "a", None),
            ("", "", Some(true)),
        ] {
            let found = Pattern::parse(pattern).map(|pattern| matches(&pattern, path.as_bytes()));
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }
}

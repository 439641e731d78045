//! Credentials in URLs (`https://user:password@host/`) never reach a log line or an error.

use std::borrow::Cow;

/// The text with the user information of every URL replaced by `****`.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let authority_end = after
            .find(|c: char| {
                matches!(c, '/' | '?' | '#' | '"' | '\'' | '`' | '>' | ')') || c.is_whitespace()
            })
            .unwrap_or(after.len());
        out.push_str(before);
        // A password may hold an unescaped `@`: everything before the last one is user information.
        if let Some(user_end) = after[..authority_end].rfind('@') {
            out.push_str("****");
            rest = &after[user_end..];
        } else {
            rest = after;
        }
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_is_replaced() {
        for (text, expected) in [
            ("no url", "no url"),
            ("https://host/a@b", "https://host/a@b"),
            ("https://u:p@host/x", "https://****@host/x"),
            ("git+ssh://git@host/x", "git+ssh://****@host/x"),
            (
                "a http://u:p@w@h b http://t@h/",
                "a http://****@h b http://****@h/",
            ),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
    }
}

//! Debian's control file format (deb822), read without copying.
//!
//! The index of a suite has fifty megabytes and seventy thousand paragraphs; a reader that allocates
//! per field would take longer than its download.

/// The paragraphs of a control file, in order.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('\n');
        if rest.is_empty() {
            return None;
        }
        let (paragraph, after) = rest.split_once("\n\n").unwrap_or((rest, ""));
        rest = after;
        Some(Paragraph(paragraph))
    })
}

/// One paragraph: fields, each a name and a value whose continuation lines begin with white space.
#[derive(Clone, Copy, Debug)]
pub struct Paragraph<'a>(&'a str);

impl<'a> Paragraph<'a> {
    /// Takes a whole text as one paragraph.
    pub fn new(text: &'a str) -> Self {
        Self(text.trim_matches('\n'))
    }

    /// Name and raw value of every field; the value keeps its continuation lines, without the
    /// white space around it.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let end = field_end(rest);
                let field = &rest[..end];
                rest = rest[end..].trim_start_matches('\n');
                if field.starts_with('#') {
                    continue;
                }
                if let Some((name, value)) = field.split_once(':') {
                    return Some((name, value.trim()));
                }
            }
            None
        })
    }

    /// The value of a field; names are compared without regard to case, as Policy §5.1 wants.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.fields()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

fn field_end(text: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find('\n') {
        let end = from + at;
        match text.as_bytes().get(end + 1) {
            Some(b' ' | b'\t') => from = end + 1,
            _ => return end,
        }
    }
    text.len()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const TEXT: &str = "\n\nPackage: a\nVersion:1\nDescription: one\n two\n .\n three\n\nPackage: b\n# note\nEmpty:\nLast: x";

    #[test]
    fn fields_and_continuation_lines() {
        let all: Vec<_> = paragraphs(TEXT).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("package"), Some("a"));
        assert_eq!(all[0].get("Version"), Some("1"));
        assert_eq!(all[0].get("Description"), Some("one\n two\n .\n three"));
        assert_eq!(all[0].get("Last"), None);
        assert_eq!(all[1].get("Empty"), Some(""));
        assert_eq!(all[1].get("Last"), Some("x"));
        assert_eq!(all[1].fields().count(), 3);
    }

    #[test]
    fn a_value_that_ends_the_text() {
        let paragraph = paragraphs("A: 1\n 2\n").next().unwrap();
        assert_eq!(paragraph.get("A"), Some("1\n 2"));
    }
}

//! Tables of what tools print, with what it means: each row is one cause with one title.

/// A failure that a tool's words give away.
#[derive(Debug)]
pub(super) struct Known {
    /// Any of these rows has to be in the output with all its texts.
    signs: &'static [&'static [&'static str]],
    /// Texts around the name that stands for `{}` in title and advice; the first pair that is found counts.
    name: &'static [(&'static str, &'static str)],
    title: &'static str,
    advice: &'static str,
}

/// A row without a name.
pub(super) const fn plain(
    signs: &'static [&'static [&'static str]],
    title: &'static str,
    advice: &'static str,
) -> Known {
    named(signs, &[], title, advice)
}

/// A row whose title or advice holds a name from the output.
pub(super) const fn named(
    signs: &'static [&'static [&'static str]],
    name: &'static [(&'static str, &'static str)],
    title: &'static str,
    advice: &'static str,
) -> Known {
    Known {
        signs,
        name,
        title,
        advice,
    }
}

impl Known {
    fn explain(&self, output: &str) -> Option<(String, String)> {
        let is_it = self
            .signs
            .iter()
            .any(|texts| texts.iter().all(|text| output.contains(text)));
        if !is_it {
            return None;
        }
        if self.name.is_empty() {
            return Some((self.title.to_owned(), self.advice.to_owned()));
        }
        let name = self
            .name
            .iter()
            .find_map(|(start, end)| between(output, start, end))?;
        let filled = |text: &str| text.replace("{}", name);
        Some((filled(self.title), filled(self.advice)))
    }
}

/// Title and advice of the first row that fits.
pub(super) fn find(table: &[Known], output: &str) -> Option<(String, String)> {
    table.iter().find_map(|known| known.explain(output))
}

/// The text between two others, on one line.
pub(super) fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(start) {
        let line = if end == "\n" {
            after.split('\n').next()
        } else {
            after
                .split_once(end)
                .map(|(inner, _)| inner)
                .filter(|inner| !inner.contains('\n'))
        };
        match line.map(str::trim).filter(|inner| !inner.is_empty()) {
            Some(inner) => return Some(inner),
            None => rest = after,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_needs_all_texts_of_one_of_its_signs_and_its_name() {
        let table = [named(
            &[&["refused", "by `"]],
            &[("by `", "`")],
            "{} refused",
            "Ask {}.",
        )];
        let found = find(&table, "x\nrefused by `me`\n");
        assert_eq!(found, Some(("me refused".to_owned(), "Ask me.".to_owned())));
        assert_eq!(find(&table, "refused\n"), None);
        assert_eq!(find(&table, "refused by `me\nyou`\n"), None);
    }
}

//! Shell patterns over whole paths, as dpkg's path filters use them, and the filters themselves.

use crate::recipe::PathFilters;

/// Whether a pattern with `*`, `?` and `[…]` matches all of `text`; `*` also matches `/`, as
/// fnmatch(3) without flags.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    loop {
        if let Some(after) = one(pattern, p, text.get(t)) {
            match after {
                Step::Star => {
                    retry = Some((p + 1, t));
                    p += 1;
                    continue;
                }
                Step::End => return true,
                Step::Next(next) => {
                    p = next;
                    t += 1;
                    continue;
                }
            }
        }
        // Let the last star take one byte more.
        match retry {
            Some((after_star, taken)) if taken < text.len() => {
                retry = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
            _ => return false,
        }
    }
}

enum Step {
    Star,
    End,
    Next(usize),
}

fn one(pattern: &[u8], at: usize, byte: Option<&u8>) -> Option<Step> {
    match (pattern.get(at), byte) {
        (Some(b'*'), _) => Some(Step::Star),
        (None, None) => Some(Step::End),
        (None, Some(_)) | (Some(_), None) => None,
        (Some(b'?'), Some(_)) => Some(Step::Next(at + 1)),
        (Some(b'['), Some(byte)) => {
            let length = pattern[at + 1..]
                .iter()
                .skip(1)
                .position(|end| *end == b']')?
                + 1;
            let set = &pattern[at + 1..=at + length];
            let (negated, set) = match set {
                [b'!' | b'^', rest @ ..] => (true, rest),
                set => (false, set),
            };
            (in_set(set, *byte) != negated).then_some(Step::Next(at + length + 2))
        }
        (Some(b'\\'), Some(byte)) if pattern.get(at + 1) == Some(byte) => Some(Step::Next(at + 2)),
        (Some(literal), Some(byte)) => (literal == byte).then_some(Step::Next(at + 1)),
    }
}

fn in_set(mut set: &[u8], byte: u8) -> bool {
    while let Some((first, rest)) = set.split_first() {
        if let [b'-', last, after @ ..] = rest {
            if (*first..=*last).contains(&byte) {
                return true;
            }
            set = after;
        } else {
            if *first == byte {
                return true;
            }
            set = rest;
        }
    }
    false
}

impl PathFilters {
    /// Whether this path (with its leading slash) is left out. An excluded link stays if it may lead
    /// to something included. dpkg keeps such directories too (its `lib/dpkg/filters.c`), hundreds
    /// of them, empty; here they come to be with the first file in them.
    pub(crate) fn skips(&self, path: &str, is_link: bool) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, path));
        if !any(&self.exclude) || any(&self.include) {
            return false;
        }
        !(is_link
            && self
                .include
                .iter()
                .any(|pattern| may_lead_to(path, pattern)))
    }

    /// The same rules as a file for `/etc/dpkg/dpkg.cfg.d`.
    pub(crate) fn as_dpkg_configuration(&self) -> String {
        let lines = |option: &str, patterns: &[String]| {
            patterns.iter().fold(String::new(), |text, pattern| {
                text + option + "=" + pattern + "\n"
            })
        };
        lines("path-exclude", &self.exclude) + &lines("path-include", &self.include)
    }
}

/// Whether a path matches the beginning of a pattern, component by component.
fn may_lead_to(path: &str, pattern: &str) -> bool {
    let (mut names, mut patterns) = (path.split('/'), pattern.split('/'));
    names.all(|name| {
        patterns
            .next()
            .is_some_and(|pattern| matches(pattern, name))
    }) && patterns.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("/usr/share/doc/*", "/usr/share/doc/a/b", true),
            ("/usr/share/doc/*", "/usr/share/doc", false),
            ("*/copyright", "/usr/share/doc/a/copyright", true),
            ("*/copyright", "/usr/share/doc/a/copyrights", false),
            ("/a?c", "/abc", true),
            ("/a[b-d]e", "/ace", true),
            ("/a[!b-d]e", "/ace", false),
            ("/a[]x]e", "/a]e", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*", "", true),
            ("", "", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn dpkgs_filters() {
        let filters = PathFilters {
            exclude: vec!["/usr/share/doc/*".into(), "/usr/share/man/*".into()],
            include: vec![
                "/usr/share/doc/*/copyright".into(),
                "/usr/share/man/index".into(),
            ],
        };
        assert!(!filters.skips("/usr/share/doc/a/copyright", false));
        assert!(filters.skips("/usr/share/doc/a/README", false));
        assert!(!filters.skips("/usr/share/doc/a", true));
        assert!(filters.skips("/usr/share/doc/a", false));
        assert!(filters.skips("/usr/share/doc/a/b", true));
        assert!(filters.skips("/usr/share/man/man1", true));
        assert!(!filters.skips("/usr/bin/a", false));
        assert_eq!(
            filters.as_dpkg_configuration(),
            "path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-include=/usr/share/doc/*/copyright\npath-include=/usr/share/man/index\n"
        );
    }
}

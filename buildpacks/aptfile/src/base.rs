//! Which packages an image that runs the app has for certain: they need not be brought.
//!
//! A buildpack sees the build image, which has more than the run image has. What the run image of slugc's own stack has
//! is known from its lock; of another one only the packages that every Debian system has, with what they need.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The lock of slugc's stack.
const LOCK: &str = include_str!("../../../stack-images/slug-13/lock.toml");

/// Set where the app will run on another image than its stack's: only what every Debian system has counts then.
pub(crate) const OTHER_RUN_IMAGE_VARIABLE: &str = "BP_APT_OTHER_RUN_IMAGE";

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    layer: String,
}

/// A paragraph of dpkg's list of installed packages.
struct Paragraph<'a> {
    text: &'a str,
    fields: BTreeMap<String, &'a str>,
}

impl<'a> Paragraph<'a> {
    /// One line of each field is enough for what is asked here.
    fn new(text: &'a str) -> Self {
        let fields = text
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        Self { text, fields }
    }

    fn get(&self, name: &str) -> &'a str {
        self.fields.get(name).copied().unwrap_or_default()
    }

    fn name(&self) -> &'a str {
        self.get("package")
    }

    /// The names in a field of relations, alternatives among them.
    fn names(&self, field: &str) -> impl Iterator<Item = &'a str> {
        self.get(field).split([',', '|']).filter_map(|relation| {
            let name = relation.trim().split([' ', '(', ':', '[']).next()?;
            (!name.is_empty()).then_some(name)
        })
    }
}

/// The part of dpkg's list that holds for the run image as well. `knows_stack`: whether that may be slugc's own.
pub(crate) fn status(of_build_image: &str, knows_stack: bool) -> String {
    let paragraphs: Vec<Paragraph<'_>> = paragraphs(of_build_image).collect();
    let installed: BTreeSet<&str> = paragraphs.iter().map(Paragraph::name).collect();
    let of_stack = if knows_stack { of_stack() } else { None };
    let kept = match &of_stack {
        Some(names) if names.iter().all(|name| installed.contains(name.as_str())) => {
            names.iter().map(String::as_str).collect()
        }
        _ => minimal(&paragraphs),
    };
    let mut text = String::new();
    for paragraph in paragraphs {
        if kept.contains(paragraph.name()) {
            // Writing into a String can't fail.
            let _ = write!(text, "{}\n\n", paragraph.text.trim_matches('\n'));
        }
    }
    text
}

/// The names of the packages in dpkg's list that are installed, and not only known.
pub(crate) fn installed(status: &str) -> BTreeSet<&str> {
    paragraphs(status)
        .map(|paragraph| paragraph.name())
        .collect()
}

fn paragraphs(status: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let all = status.split("\n\n").map(Paragraph::new);
    all.filter(|paragraph| {
        !paragraph.name().is_empty() && paragraph.get("status").ends_with(" installed")
    })
}

/// The packages of the run image of slugc's stack.
fn of_stack() -> Option<BTreeSet<String>> {
    let lock: Lock = toml::from_str(LOCK).ok()?;
    let names = lock
        .package
        .into_iter()
        .filter(|package| package.layer == "run")
        .map(|package| package.name);
    Some(names.collect())
}

/// What every Debian system has, with all that it may need.
fn minimal<'a>(paragraphs: &[Paragraph<'a>]) -> BTreeSet<&'a str> {
    let mut providers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, paragraph) in paragraphs.iter().enumerate() {
        for name in paragraph.names("provides").chain([paragraph.name()]) {
            providers.entry(name).or_default().push(index);
        }
    }
    let mut waiting: Vec<usize> = (0..paragraphs.len())
        .filter(|index| {
            let paragraph = &paragraphs[*index];
            paragraph.get("essential") == "yes" || paragraph.get("priority") == "required"
        })
        .collect();
    let mut kept = BTreeSet::new();
    while let Some(index) = waiting.pop() {
        let paragraph = &paragraphs[index];
        if !kept.insert(paragraph.name()) {
            continue;
        }
        for name in paragraph
            .names("depends")
            .chain(paragraph.names("pre-depends"))
        {
            waiting.extend(providers.get(name).into_iter().flatten());
        }
    }
    kept
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const INSTALLED: &str = "Status: install ok installed";

    fn names(status: &str) -> Vec<&str> {
        status
            .lines()
            .filter_map(|line| line.strip_prefix("Package: "))
            .collect()
    }

    #[test]
    fn of_an_unknown_stack_what_every_system_has() {
        let text = format!(
            "Package: base\n{INSTALLED}\nEssential: yes\nPre-Depends: libc6 (>= 2) | other, awk\n\n\
             Package: libc6\n{INSTALLED}\n\nPackage: mawk\n{INSTALLED}\nProvides: awk\n\n\
             Package: gcc\n{INSTALLED}\nDepends: libc6\n\n\
             Package: gone\nStatus: deinstall ok config-files\nPriority: required\n"
        );
        assert_eq!(names(&status(&text, true)), ["base", "libc6", "mawk"]);
        assert_eq!(
            installed(&text),
            BTreeSet::from(["base", "gcc", "libc6", "mawk"])
        );
    }

    #[test]
    fn of_our_stack_what_its_run_image_has() {
        let mut text = String::new();
        let names = of_stack().unwrap();
        assert!(names.contains("libpq5") && names.contains("libc6") && !names.contains("gcc"));
        for name in names.iter().map(String::as_str).chain(["gcc"]) {
            let _ = write!(text, "Package: {name}\n{INSTALLED}\n\n");
        }
        let kept = status(&text, true);
        assert!(kept.contains("Package: libpq5\n") && !kept.contains("Package: gcc\n"));
        assert_eq!(status(&text, false), "");
    }
}

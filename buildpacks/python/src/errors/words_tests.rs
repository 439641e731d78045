//! What is said about each text in `tests/words`, which the tools printed themselves.

use super::{Explanation, django, install};
use crate::command::CommandError;
use crate::django::DjangoError;
use crate::install::InstallError;
use crate::project::Source;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

const WORDS: [(&str, &str); 6] = [
    ("django", include_str!("../../tests/words/django.txt")),
    ("literal", include_str!("../../tests/words/literal.txt")),
    ("pip", include_str!("../../tests/words/pip.txt")),
    ("pipenv", include_str!("../../tests/words/pipenv.txt")),
    ("poetry", include_str!("../../tests/words/poetry.txt")),
    ("uv", include_str!("../../tests/words/uv.txt")),
];

/// Titles that say nothing but that it failed.
const EMPTY_TITLES: [&str; 3] = [
    "The packages could not be installed",
    "The requirements could not be installed",
    "Static files could not be collected",
];

/// Each text with its name and the command that printed it.
fn entries(words: &str) -> Vec<(String, String, String)> {
    words
        .split("==== ")
        .skip(1)
        .filter_map(|entry| {
            let (head, text) = entry.split_once('\n')?;
            let (name, command) = head.split_once(": ")?;
            Some((name.to_owned(), command.to_owned(), text.to_owned()))
        })
        .collect()
}

fn explained(command: &str, output: &str) -> Explanation {
    let failed = |program: &str| CommandError::Failed {
        program: program.to_owned(),
        status: ExitStatus::from_raw(256),
        output: output.to_owned(),
    };
    if command.contains("manage.py") {
        return django::explain(&DjangoError::Collect {
            manage: Path::new("manage.py").to_path_buf(),
            source: failed("python"),
        });
    }
    let source_file = match command.split(' ').next() {
        Some("poetry") => Source::PoetryLock,
        Some("pipenv") => Source::PipfileLock,
        Some("uv") if command.starts_with("uv sync") => Source::UvLock,
        _ => Source::Requirements,
    };
    install::explain(&InstallError {
        installer: "TOOL".to_owned(),
        file: source_file.to_string(),
        source_file,
        location: None,
        source: failed("tool"),
    })
}

#[test]
fn every_text_has_its_explanation() {
    let mut told: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut count = 0;
    for (tool, words) in WORDS {
        for (name, command, text) in entries(words) {
            count += 1;
            let explanation = explained(&command, &text);
            if EMPTY_TITLES.contains(&explanation.title.as_str()) {
                unexplained.push(format!("{tool} {name}"));
            }
            told.entry((explanation.title, explanation.body))
                .or_default()
                .push(format!("{tool} {name}"));
        }
    }
    let mut snapshot = String::new();
    for ((title, body), names) in &told {
        // Writing into a String can't fail.
        let _ = writeln!(snapshot, "[{title}]\n{body}\n<- {}\n", names.join(", "));
    }
    insta::assert_snapshot!("words", snapshot);
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(count > 200, "{count}");
    assert!(told.len() > 100, "{} different explanations", told.len());
}

/// Whatever a tool prints, cut anywhere, is explained without a panic.
#[test]
fn any_part_of_any_text_is_explained() {
    let mut seed = 1_u64;
    for (_, words) in WORDS {
        for (_, command, text) in entries(words) {
            for _ in 0..8 {
                // A linear congruential generator: the same run each time.
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let start = usize::try_from(seed >> 33).unwrap_or(0) % (text.len() + 1);
                let start = text.floor_char_boundary(start);
                let explanation = explained(&command, &text[start..]);
                assert!(!explanation.title.is_empty());
            }
        }
    }
}

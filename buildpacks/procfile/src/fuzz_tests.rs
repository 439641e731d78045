//! Procfiles, mutated. `FUZZ_SECONDS=60 cargo test -p procfile-buildpack fuzz` does it for so long.

use crate::procfile::{LONGEST_NAME, parse};
use std::collections::BTreeSet;
use test_support::{Seeds, fuzz};

#[test]
fn procfiles() {
    let inputs = [
        b"web: gunicorn shop.wsgi --bind 0.0.0.0:$PORT\nworker: python worker.py\n\n# no process\n"
            .to_vec(),
        b"release: ./manage.py migrate \\\n  --noinput\r\nweb-2 : a: b # c\r\n".to_vec(),
    ];
    let words = [
        ":", "web", "\\\n", "#", "\u{feff}", "\0", " ", "\t", "\u{a0}", "-", "_", "A", "é",
        "\u{85}",
    ];
    let seeds = Seeds {
        inputs: &inputs,
        words: &words,
    };
    fuzz("Procfile", seeds, |bytes| {
        let lines = bytes.split(|byte| *byte == b'\n').count();
        match parse(bytes) {
            Ok(procfile) => {
                let mut names = BTreeSet::new();
                for process in &procfile.processes {
                    assert!(names.insert(&process.name), "{} twice", process.name);
                    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                    assert!(process.name.chars().all(good), "{:?}", process.name);
                    assert!((1..=LONGEST_NAME).contains(&process.name.len()));
                    assert!(!process.command.contains(['\0', '\n']));
                    assert!((1..=lines).contains(&process.line));
                }
            }
            Err(mistakes) => {
                assert!(!mistakes.is_empty());
                assert!(mistakes.iter().all(|it| (1..=lines).contains(&it.line)));
            }
        }
    });
}

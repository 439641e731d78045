#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

/// Names and commands, in order.
fn processes(procfile: &Procfile) -> Vec<(&str, &str)> {
    procfile
        .processes
        .iter()
        .map(|process| (process.name.as_str(), process.command.as_str()))
        .collect()
}

#[test]
fn lines_that_are_right() {
    let web = &[("web", "serve")][..];
    for (text, expected) in [
        ("web: serve", web),
        ("web:serve\n", web),
        ("web:\t serve\r\n", web),
        ("\n\nweb: serve\n \t\n", web),
        ("web: serve\n  ", web),
        ("web: serve\n  # comment: not a process", web),
        ("#web: old\nweb: serve", web),
        ("web: serve # kept  ", &[("web", "serve # kept  ")]),
        ("web: a: b::c", &[("web", "a: b::c")]),
        ("web: # only\n", &[("web", "# only")]),
        (
            "a: 1\nb-2: 2\n3: 3",
            &[("a", "1"), ("b-2", "2"), ("3", "3")],
        ),
        ("web: ünï → 🐍", &[("web", "ünï → 🐍")]),
        ("web: tail \\\n", &[("web", "tail \\")]),
    ] {
        let procfile = parse(text.as_bytes()).unwrap();
        assert_eq!(processes(&procfile), expected, "{text:?}");
        assert_eq!(procfile.warnings, [], "{text:?}");
    }
}

#[test]
fn files_without_a_process() {
    for text in ["", "\n", " \t", "# nothing", "\r\n", "# nothing\n   "] {
        let procfile = parse(text.as_bytes()).unwrap();
        assert_eq!(procfile.processes, [], "{text:?}");
        assert_eq!(procfile.warnings, [Warning::Empty], "{text:?}");
        assert_eq!(procfile.default_process(), None);
    }
}

#[test]
fn names_that_are_corrected() {
    for (text, written, name) in [
        ("Web: x", "Web", "web"),
        ("  web: x", "  web", "web"),
        ("\tmy_WORKER__2: x", "\tmy_WORKER__2", "my-worker--2"),
    ] {
        let procfile = parse(text.as_bytes()).unwrap();
        assert_eq!(processes(&procfile), [(name, "x")]);
        let expected = Warning::Corrected {
            line: 1,
            text: text.to_owned(),
            written: written.to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(procfile.warnings, [expected], "{text:?}");
    }
}

#[test]
fn the_last_of_the_same_name_counts() {
    let procfile = parse(b"Web: 1\nworker: 2\nweb: 3\nweb: 4\n").unwrap();
    assert_eq!(processes(&procfile), [("worker", "2"), ("web", "4")]);
    let repeated: Vec<_> = procfile
        .warnings
        .iter()
        .filter_map(|warning| match warning {
            Warning::Repeated { line, earlier, .. } => Some((*line, *earlier)),
            _ => None,
        })
        .collect();
    assert_eq!(repeated, [(3, 1), (4, 3)]);
}

#[test]
fn default_processes() {
    for (text, expected) in [
        ("a: 1\nweb: 2\nb: 3", Some("web")),
        ("worker: 1", Some("worker")),
        ("worker: 1\nclock: 2", None),
        ("a: 1\nWEB: 2", Some("web")),
    ] {
        let procfile = parse(text.as_bytes()).unwrap();
        assert_eq!(procfile.default_process(), expected, "{text:?}");
    }
}

#[test]
fn lines_that_are_wrong() {
    let no_colon = Problem::NoColon { continued: false };
    let long = format!("{}: x", "a".repeat(64));
    for (text, problem) in [
        ("web gunicorn app", no_colon),
        ("web gunicorn app:app", no_colon),
        ("web", no_colon),
        (": serve", Problem::NoName),
        ("  : serve", Problem::NoName),
        ("web : serve", Problem::SpaceBeforeColon),
        ("web.1: serve", Problem::Character('.')),
        ("wéb: serve", Problem::Character('é')),
        ("w\u{200b}eb: serve", Problem::Character('\u{200b}')),
        ("-web: serve", Problem::Edge('-')),
        ("web_: serve", Problem::Edge('_')),
        ("_: serve", Problem::Edge('_')),
        (&long, Problem::TooLong(64)),
        ("web:", Problem::NoCommand),
        ("web: \t ", Problem::NoCommand),
        ("web: a\0b", Problem::Nul),
    ] {
        let mistake = Mistake {
            line: 2,
            text: text.to_owned(),
            problem,
        };
        let file = format!("ok: fine\n{text}\nalso: fine");
        assert_eq!(parse(file.as_bytes()), Err(vec![mistake]), "{text:?}");
    }
    assert!(
        parse(&long.as_bytes()[1..]).is_ok(),
        "63 characters are fine"
    );
}

#[test]
fn all_wrong_lines_are_told() {
    let mistakes = parse(b"web\nok: x\n:y\nweb: a \\\n  --b c\n").unwrap_err();
    let told: Vec<_> = mistakes.iter().map(|m| (m.line, m.problem)).collect();
    assert_eq!(
        told,
        [
            (1, Problem::NoColon { continued: false }),
            (3, Problem::NoName),
            (5, Problem::NoColon { continued: true }),
        ]
    );
}

#[test]
fn encodings() {
    let problems = |bytes: &[u8]| -> Vec<(usize, Problem)> {
        let mistakes = parse(bytes).unwrap_err();
        mistakes.iter().map(|m| (m.line, m.problem)).collect()
    };
    assert_eq!(
        problems(b"\xef\xbb\xbfweb: x"),
        [(1, Problem::ByteOrderMark)]
    );
    assert_eq!(problems(b"\xef\xbb\xbf"), [(1, Problem::ByteOrderMark)]);
    assert_eq!(problems(b"\xff\xfew\0e\0b\0:\0"), [(1, Problem::Utf16)]);
    assert_eq!(problems(b"\xfe\xff\0w\0e\0b\0:"), [(1, Problem::Utf16)]);
    assert_eq!(problems(b"a: b\nweb: caf\xe9\n"), [(2, Problem::NotUtf8)]);
}

/// A small generator of pseudo-random numbers (xorshift), the same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn text(&mut self, alphabet: &[&str], longest: usize) -> String {
        let length = self.below(longest + 1);
        (0..length)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }
}

#[test]
fn any_bytes_are_read_or_refused_line_by_line() {
    let pieces: [&[u8]; 16] = [
        b"web",
        b"W",
        b"_",
        b"-",
        b":",
        b" ",
        b"\t",
        b"\n",
        b"\r\n",
        b"\r",
        b"#",
        b"\\",
        b"\0",
        b"\xff",
        "é\u{feff}\u{a0}".as_bytes(),
        b"\xfe\xff",
    ];
    let mut random = Random(0x5eed);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.below(24) {
            bytes.extend_from_slice(pieces[random.below(pieces.len())]);
        }
        let lines = bytes.split(|&byte| byte == b'\n').count();
        match parse(&bytes) {
            Ok(procfile) => {
                read += 1;
                let mut names: Vec<_> = procfile.processes.iter().map(|p| &p.name).collect();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), procfile.processes.len(), "{bytes:?}");
                for process in &procfile.processes {
                    assert!((1..=lines).contains(&process.line), "{bytes:?}");
                    assert!(!process.command.trim().is_empty(), "{bytes:?}");
                    // What was accepted needs no further correction.
                    let again = format!("{}: {}", process.name, process.command);
                    let again = parse(again.as_bytes()).unwrap();
                    assert_eq!(again.processes[0].command, process.command);
                    assert_eq!(again.warnings, [], "{bytes:?}");
                }
            }
            Err(mistakes) => {
                refused += 1;
                assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    assert!((1..=lines).contains(&mistake.line), "{bytes:?}");
                }
            }
        }
    }
    assert!(
        read > 1000 && refused > 1000,
        "{read} read, {refused} refused"
    );
}

#[test]
fn what_is_written_is_read() {
    let edges = ["a", "z", "0", "9", "web"];
    let inner = ["a", "b", "7", "-", "--"];
    let commands = [
        "x", " ", "\t", "#", ":", "\\", "$PORT", "'", "\"", "é", "\u{2028}", "\r",
    ];
    let mut random = Random(42);
    for _ in 0..5_000 {
        let mut expected: Vec<(String, String)> = Vec::new();
        let mut file = String::new();
        for _ in 0..random.below(6) {
            let name = random.text(&edges, 1) + "n" + &random.text(&inner, 8) + "e";
            // The end must not look like the end of a line.
            let command = "c".to_owned() + &random.text(&commands, 12) + ".";
            let separator = ["", " ", "\t "][random.below(3)];
            let end = ["\n", "\r\n", "\n\n", "\n# note: x\n"][random.below(4)];
            for part in [&name, ":", separator, &command, end] {
                file.push_str(part);
            }
            expected.retain(|(earlier, _)| *earlier != name);
            expected.push((name, command));
        }
        let procfile = parse(file.as_bytes()).unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, c)| (n.as_str(), c.as_str()))
            .collect();
        assert_eq!(processes(&procfile), expected, "{file:?}");
    }
}

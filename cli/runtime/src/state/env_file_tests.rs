//! What other tools mangle, and what is refused with its place.

use super::*;
use crate::state::config_vars::shell_quoted;

fn parsed(text: &str) -> Vec<(String, Option<String>)> {
    match parse(text.as_bytes()) {
        Ok(entries) => entries
            .into_iter()
            .map(|entry| (entry.name, entry.value))
            .collect(),
        Err(error) => panic!("{text:?}: {error}"),
    }
}

fn value(text: &str) -> String {
    match parsed(text).as_slice() {
        [(_, Some(value))] => value.clone(),
        other => panic!("{text:?}: {} entries", other.len()),
    }
}

fn refusal(bytes: &[u8]) -> String {
    match parse(bytes) {
        Ok(entries) => panic!("{entries:?}"),
        Err(error) => error.to_string(),
    }
}

/// Lines that each of heroku local, foreman, honcho and dotenvy gets wrong in its own way.
#[test]
fn what_others_mangle() {
    for (line, expected) in [
        ("B=a#b", "a#b"),
        ("C=a # c", "a"),
        ("F=\"exp $A\"", "exp $A"),
        ("F=\"$A y ${B}\"", "$A y ${B}"),
        ("G=$A", "$A"),
        ("I=sp ace", "sp ace"),
        ("M=\"one\ntwo\"", "one\ntwo"),
        ("M='one\r\ntwo'", "one\ntwo"),
        ("P=it's", "it's"),
        ("export J=1", "1"),
        ("L=", ""),
    ] {
        assert_eq!(value(line), expected, "{line}");
    }
    assert_eq!(parsed("export J=1")[0].0, "J");
}

#[test]
fn the_grammar() {
    for (line, expected) in [
        ("A=b", "b"),
        ("  A = b  ", "b"),
        ("A=b=c==", "b=c=="),
        ("A= # c", ""),
        ("A=#b", "#b"),
        ("A=a\u{a0}#b", "a"),
        ("A='b'#c", "b"),
        ("A=\"b\" # c", "b"),
        ("A='b # c'", "b # c"),
        ("A='it\\'s \\\\ \\n'", "it's \\ \\n"),
        ("A=\"\\\"q\\\" \\n\\t\\\\ \\x\"", "\"q\" \n\t\\ \\x"),
        ("A=\"\\$B \\`\"", "$B `"),
        ("A=b\\nc", "b\\nc"),
        ("A=b\"c\"", "b\"c\""),
        ("'A'=b", "b"),
        ("export=b", "b"),
        ("export = b", "b"),
        ("\u{feff}A=b", "b"),
        ("A=ü", "ü"),
        ("A=\"\"", ""),
    ] {
        assert_eq!(value(line), expected, "{line}");
    }
    let several = "# one\n\n A=1\r\nB\rC=3 \n#end";
    let expected = [("A", Some("1")), ("B", None), ("C", Some("3"))];
    let expected = expected
        .map(|(name, value): (&str, Option<&str>)| (name.to_owned(), value.map(str::to_owned)));
    assert_eq!(parsed(several), expected);
    assert_eq!(parsed(""), []);
}

#[test]
fn places() {
    let places: Vec<Place> = parse(b"\n  A='x\ny'\nexport B=1")
        .into_iter()
        .flatten()
        .map(|entry| entry.place)
        .collect();
    let place = |line, column| Place { line, column };
    assert_eq!(places, [place(2, 3), place(4, 8)]);
}

#[test]
fn errors_name_the_place_and_never_the_text() {
    for (text, expected) in [
        (
            "A=1\nhunter2 secret",
            "line 2, column 9: after the name there has to be =",
        ),
        (
            "A=1\nB='hunter2\n\n",
            "line 2, column 3: the quote that begins here is never closed",
        ),
        (
            "A=\"hunter2\" x",
            "line 1, column 13: after the closing quote there may only be a comment",
        ),
        (
            "ä-hunter2=1",
            "line 1, column 1: here has to be a variable's name: letters, digits and underscores, no digit first",
        ),
        (
            "=hunter2",
            "line 1, column 1: here has to be a variable's name: letters, digits and underscores, no digit first",
        ),
        (
            "export 1A=hunter2",
            "line 1, column 8: here has to be a variable's name: letters, digits and underscores, no digit first",
        ),
    ] {
        assert_eq!(refusal(text.as_bytes()), expected, "{text}");
    }
    assert_eq!(
        refusal(b"A=1\nB=x\xff"),
        "line 2, column 4: this is not UTF-8"
    );
}

/// `config -s` writes what is read here.
#[test]
fn what_is_printed_for_a_shell_reads_back() {
    for text in [
        "",
        "plain",
        "two words",
        "it's",
        "a\nb\r\nc",
        "#a # b",
        "$A ${B} `c`",
        r"a\b\\c\",
        "\"q\"",
        "~/x",
        " lead and trail ",
        "it's \"$5\"\n\\",
        "ünïcödé \u{1f600}",
        "a!b",
        "\t",
    ] {
        assert_eq!(
            value(&format!("A={}", shell_quoted(text))),
            text,
            "{text:?}"
        );
    }
}

#[test]
fn fuzzed_files() {
    let inputs = [
        b"# ours\nA=1\nexport B='two words' # why\nC=\"x\\n$HOME\"\n\nD=\nE\n".to_vec(),
        b"KEY=\"-----BEGIN\nlines\n-----END\"\r\nF='it'\\''s'\r\n".to_vec(),
    ];
    let seeds = test_support::Seeds {
        inputs: &inputs,
        words: &[
            "'", "\"", "\\", "=", "#", "\n", "export ", "$", "`", "\u{feff}", "\0", "é",
        ],
    };
    test_support::fuzz(".env", seeds, |bytes| match parse(bytes) {
        Ok(entries) => {
            for entry in entries {
                let first = entry.name.bytes().next();
                assert!(
                    first.is_some_and(|byte| !byte.is_ascii_digit()),
                    "{}",
                    entry.name
                );
                let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                assert!(entry.name.bytes().all(good), "{}", entry.name);
            }
        }
        Err(error) => assert!(error.to_string().starts_with("line ")),
    });
}

//! Whether README.md keeps its word: every MUST has a test that exists, or a reason.

use crate::case;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How many MUSTs and SHALLs the Platform API 0.15 and the Buildpack API 0.12 have.
const MUSTS: [(&str, usize); 2] = [("- P ", 221), ("- B ", 165)];

#[test]
fn every_must_has_its_test() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(top.join("tests/conformance/README.md")).unwrap();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (mark, count) in MUSTS {
        let lines = text.lines().filter(|line| line.starts_with(mark));
        let found = lines.clone().count();
        if found != count {
            wrong.push(format!(
                "{found} lines begin with {mark:?}, and there are {count} MUSTs"
            ));
        }
        for line in lines {
            // The specification's own words stand between the quotation marks.
            let answer = line.rsplit_once("”: ").map_or("", |(_, answer)| answer);
            let tests = answer.split('`').skip(1).step_by(2);
            let tests: Vec<&str> = tests
                .filter(|it| it.starts_with("cases/") || it.contains("::"))
                .collect();
            if tests.is_empty() && !answer.starts_with("not ours: ") {
                wrong.push(format!("neither a test nor a reason: {line}"));
            }
            for test in tests {
                if !exists(&top, test, &mut tables, &mut sources) {
                    wrong.push(format!("there is no {test}: {line}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether there is such a case, or such a function marked as a test.
fn exists(
    top: &Path,
    test: &str,
    tables: &mut BTreeMap<String, Vec<String>>,
    sources: &mut BTreeMap<String, String>,
) -> bool {
    if let Some((table, name)) = test
        .strip_prefix("cases/")
        .and_then(|test| test.split_once(": "))
    {
        let cases = tables.entry(table.to_owned()).or_insert_with(|| {
            let table = case::read(table);
            table.case.into_iter().map(|case| case.name).collect()
        });
        return cases.iter().any(|case| case == name);
    }
    let Some((path, function)) = test.split_once("::") else {
        return false;
    };
    let source = sources
        .entry(path.to_owned())
        .or_insert_with(|| fs::read_to_string(top.join(path)).unwrap_or_default());
    let line = format!("fn {function}(");
    source
        .split_once(&line)
        .is_some_and(|(before, _)| before.trim_end().ends_with("#[test]"))
}

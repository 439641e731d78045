#![expect(clippy::expect_used, reason = "tests")]

use super::*;
use cnb_spec::build_plan::{BuildPlan, Provide};

/// A buildpack in short: name, `?` when optional, then its alternatives separated by `|`, each a list of
/// `+provided` and `-required`; or `fail`, or `error`.
fn group(text: &str) -> Vec<(Done, Run)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, rest) = line.split_once(':').expect("a colon");
            let verdict = match rest.trim() {
                "fail" => Verdict::Fail,
                "error" => Verdict::Error {
                    code: Some(1),
                    reason: None,
                },
                plan => Verdict::Pass(build_plan(plan)),
            };
            let done = Done {
                element: GroupElement::new(name.trim_end_matches('?'), "1"),
                optional: name.ends_with('?'),
                kind: if name.starts_with("ext") {
                    Kind::Extension
                } else {
                    Kind::Buildpack
                },
            };
            let run = Run {
                verdict,
                output: String::new(),
            };
            (done, run)
        })
        .collect()
}

fn build_plan(text: &str) -> BuildPlan {
    let mut alternatives = text.split('|').map(|words| {
        let named = |mark: char| {
            let words: Vec<_> = words
                .split_whitespace()
                .filter_map(|word| word.strip_prefix(mark))
                .collect();
            words.into_iter().map(str::to_owned)
        };
        PlanSections {
            provides: named('+').map(|name| Provide { name }).collect(),
            requires: named('-')
                .map(|name| Require {
                    name,
                    version: None,
                    metadata: toml::Table::new(),
                })
                .collect(),
        }
    });
    let top = alternatives.next().unwrap_or_default();
    BuildPlan {
        provides: top.provides,
        requires: top.requires,
        or: alternatives.collect(),
    }
}

/// The outcome in short: the group's names, then `dependency<providers×requirements` for each entry.
fn outcome(text: &str) -> String {
    let group = group(text);
    let done: Vec<_> = group.iter().map(|(done, _)| done.clone()).collect();
    let run = |wanted: &Done| {
        let found = group.iter().find(|(done, _)| done == wanted);
        &found.expect("it is of the group").1
    };
    match resolve(&done, run, &mut Vec::new()) {
        Resolution::Failed { with_errors: true } => "errors".to_owned(),
        Resolution::Failed { with_errors: false } => "failed".to_owned(),
        Resolution::Passed(group, plan) => {
            let all = group.group_extensions.iter().chain(&group.group);
            let names: Vec<_> = all.map(|element| element.id.as_str()).collect();
            let entries: Vec<_> = plan
                .entries
                .iter()
                .map(|entry| {
                    let providers: Vec<_> = entry
                        .providers
                        .iter()
                        .map(|provider| provider.id.as_str())
                        .collect();
                    format!(
                        "{}<{}×{}",
                        entry.requires[0].name,
                        providers.join("+"),
                        entry.requires.len()
                    )
                })
                .collect();
            format!("{} {}", names.join(","), entries.join(" "))
                .trim()
                .to_owned()
        }
    }
}

#[test]
fn plans_resolve_as_in_the_reference_lifecycle() {
    for (what, group, expected) in [
        ("no plans at all", "a:\nb:", "a,b"),
        ("own provision", "a: +x -x", "a x<a×1"),
        ("later requirement", "a: +x\nb: -x", "a,b x<a×1"),
        ("unmet requirement", "a: -x", "failed"),
        ("requirement before provision", "a: -x\nb: +x", "failed"),
        ("unused provision", "a: +x", "failed"),
        ("two providers", "a: +x\nb: +x -x\nc: -x", "a,b,c x<a+b×2"),
        (
            "a provider after the last requirement is unused",
            "a: +x -x\nb: +x",
            "failed",
        ),
        ("optional unused provider goes", "a:\nb?: +x", "a"),
        ("optional unmet requirer goes", "a:\nb?: -x", "a"),
        (
            "who goes takes a need along, and its provider fails",
            "a: +x\nb?: -x -y",
            "failed",
        ),
        (
            "who goes takes a need along, and its provider goes too",
            "a?: +x\nb?: -x -y\nc:",
            "c",
        ),
        ("nothing is left", "a?: +x", "failed"),
        ("first alternative wins", "a: +x | +y\nb: -x", "a,b x<a×1"),
        ("second alternative", "a: +x | +y\nb: -y", "a,b y<a×1"),
        (
            "depth first: the right one varies first",
            "a: +x | +y\nb: -y | -x",
            "a,b x<a×1",
        ),
        (
            "an optional buildpack goes only with its last alternative",
            "a?: +x | +y\nb: -y",
            "a,b y<a×1",
        ),
        ("and then it goes", "a?: +x | +y\nb:", "b"),
        ("an extension provides", "ext?: +x\na: -x", "ext,a x<ext×1"),
        ("an unused extension goes", "ext?: +x\na:", "a"),
        ("extensions alone are no group", "ext?:\na?: fail", "failed"),
        ("required refusal", "a:\nb: fail", "failed"),
        ("optional refusal", "a:\nb?: fail", "a"),
        ("all optional refusals", "a?: fail\nb?: fail", "failed"),
        ("required error", "a:\nb: error", "errors"),
        ("optional error", "a:\nb?: error", "a"),
        (
            "an error of an optional one beside a refusal of a required one",
            "a: fail\nb?: error",
            "errors",
        ),
    ] {
        assert_eq!(outcome(group), expected, "{what}");
    }
}

//! Decides whether a group passes: every required buildpack said yes, and one of the plans that their
//! alternatives allow is complete (Buildpack API, "Phase #1: Detection").

use super::executable::{Run, Verdict};
use crate::log::Level;
use cnb_spec::build_plan::{PlanSections, Require};
use cnb_spec::buildpack::Kind;
use cnb_spec::group::{Group, GroupElement};
use cnb_spec::plan::{Plan, PlanEntry, Provider};

/// A component buildpack of the group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Done {
    /// As it is written to group.toml.
    pub(crate) element: GroupElement,
    /// Whether the group can do without it.
    pub(crate) optional: bool,
    pub(crate) kind: Kind,
}

/// Whether a group passes.
#[derive(Debug, PartialEq)]
pub(crate) enum Resolution {
    Passed(Group, Plan),
    Failed { with_errors: bool },
}

type Lines = Vec<(Level, String)>;

const FAILED: Resolution = Resolution::Failed { with_errors: false };

pub(crate) fn resolve<'r>(
    done: &[Done],
    run: impl Fn(&Done) -> &'r Run,
    lines: &mut Lines,
) -> Resolution {
    for done in done {
        log_output(done, run(done), lines);
    }
    lines.push((Level::Debug, "======== Results ========".to_owned()));
    let (mut required_failed, mut errors) = (false, false);
    let mut passed = Vec::new();
    for done in done {
        let name = &done.element;
        match &run(done).verdict {
            Verdict::Pass(plan) => {
                lines.push((Level::Debug, format!("pass: {name}")));
                passed.push((done, plan.alternatives()));
            }
            Verdict::Fail => {
                let verdict = if done.optional { "skip" } else { "fail" };
                lines.push((Level::Debug, format!("{verdict}: {name}")));
                required_failed |= !done.optional;
            }
            Verdict::Error { code, .. } => {
                let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
                lines.push((Level::Info, format!("err:  {name}{code}")));
                errors = true;
                required_failed |= !done.optional;
            }
        }
    }
    if required_failed {
        return Resolution::Failed {
            with_errors: errors,
        };
    }
    if passed.iter().all(|(done, _)| done.kind == Kind::Extension) {
        lines.push((
            Level::Debug,
            "fail: no viable buildpacks in group".to_owned(),
        ));
        return FAILED;
    }

    let mut tries = 0;
    let Some((trial, needs)) = first_trial(&passed, Vec::new(), &mut |trial| {
        tries += 1;
        lines.push((Level::Debug, format!("Resolving plan... (try #{tries})")));
        run_trial(trial, lines)
    }) else {
        return FAILED;
    };
    if trial.len() != done.len() {
        let line = format!("{} of {} buildpacks participating", trial.len(), done.len());
        lines.push((Level::Info, line));
    }
    let width = trial
        .iter()
        .map(|entry| entry.done.element.id.len())
        .max()
        .unwrap_or(0);
    for GroupElement { id, version, .. } in trial.iter().map(|entry| &entry.done.element) {
        lines.push((Level::Info, format!("{id:width$} {version}")));
    }
    let of = |kind| -> Vec<GroupElement> {
        let entries = trial.iter().filter(|entry| entry.done.kind == kind);
        entries.map(|entry| entry.done.element.clone()).collect()
    };
    let group = Group {
        group: of(Kind::Buildpack),
        group_extensions: of(Kind::Extension),
    };
    let entries = needs.into_iter().map(Need::into_entry).collect();
    Resolution::Passed(group, Plan { entries })
}

fn log_output(done: &Done, run: &Run, lines: &mut Lines) {
    let name = &done.element;
    let (level, reason) = match &run.verdict {
        Verdict::Pass(_) | Verdict::Fail => (Level::Debug, None),
        Verdict::Error { reason, .. } => (Level::Info, reason.as_ref()),
    };
    if !run.output.is_empty() {
        lines.push((level, format!("======== Output: {name} ========")));
        lines.push((level, run.output.trim_end().to_owned()));
    }
    if let Some(reason) = reason {
        lines.push((level, format!("======== Error: {name} ========")));
        lines.push((level, reason.clone()));
    }
}

/// A buildpack with one of its alternatives.
#[derive(Clone)]
struct TrialEntry<'a> {
    done: &'a Done,
    sections: &'a PlanSections,
    optional: bool,
}

type Trial<'a> = Vec<TrialEntry<'a>>;

/// Tries all choices of alternatives, leftmost buildpack slowest, and returns the first that `check` accepts.
///
/// A buildpack may only be dropped from a plan with its last alternative: before that, the next alternative is
/// what an unmet need leads to.
fn first_trial<'a>(
    rest: &'a [(&'a Done, Vec<PlanSections>)],
    chosen: Trial<'a>,
    check: &mut dyn FnMut(Trial<'a>) -> Option<(Trial<'a>, Vec<Need>)>,
) -> Option<(Trial<'a>, Vec<Need>)> {
    let Some(((done, alternatives), rest)) = rest.split_first() else {
        return check(chosen);
    };
    alternatives
        .iter()
        .enumerate()
        .find_map(|(index, sections)| {
            let mut chosen = chosen.clone();
            chosen.push(TrialEntry {
                done,
                sections,
                optional: done.optional && index + 1 == alternatives.len(),
            });
            first_trial(rest, chosen, check)
        })
}

/// Drops optional buildpacks until nothing is unmet or unused; `None` when a required one would have to go.
fn run_trial<'a>(mut trial: Trial<'a>, lines: &mut Lines) -> Option<(Trial<'a>, Vec<Need>)> {
    loop {
        let needs = needs(&trial);
        let unmet = needs.iter().flat_map(|need| {
            let early = need.early_requires.iter();
            early.map(|&index| (index, format!("requires {}", need.name)))
        });
        let unused = needs.iter().flat_map(|need| {
            let unused = need.unused_provides.iter();
            unused.map(|&index| (index, format!("provides unused {}", need.name)))
        });
        let mut dropped = Vec::new();
        for (index, reason) in unmet.chain(unused) {
            let entry = &trial[index];
            let verdict = if entry.optional { "skip" } else { "fail" };
            lines.push((
                Level::Debug,
                format!("{verdict}: {} {reason}", entry.done.element),
            ));
            if !entry.optional {
                return None;
            }
            dropped.push(index);
        }
        if dropped.is_empty() {
            if trial.iter().all(|it| it.done.kind == Kind::Extension) {
                lines.push((
                    Level::Debug,
                    "fail: no viable buildpacks in group".to_owned(),
                ));
                return None;
            }
            return Some((trial, needs));
        }
        let mut index = 0;
        trial.retain(|_| {
            index += 1;
            !dropped.contains(&(index - 1))
        });
    }
}

/// A dependency that somebody in the trial provides or requires; buildpacks by their place in the trial.
#[derive(Debug, Default)]
struct Need {
    name: String,
    providers: Vec<Provider>,
    requires: Vec<Require>,
    /// Required before anybody provided it.
    early_requires: Vec<usize>,
    /// Provided, and required by nobody since.
    unused_provides: Vec<usize>,
}

impl Need {
    fn into_entry(self) -> PlanEntry {
        PlanEntry {
            providers: self.providers,
            requires: self.requires,
        }
    }
}

/// The dependencies of a trial, in the order in which they are first named.
fn needs(trial: &Trial<'_>) -> Vec<Need> {
    fn find<'n>(needs: &'n mut Vec<Need>, name: &str) -> &'n mut Need {
        let index = needs
            .iter()
            .position(|need| need.name == name)
            .unwrap_or_else(|| {
                needs.push(Need {
                    name: name.to_owned(),
                    ..Need::default()
                });
                needs.len() - 1
            });
        &mut needs[index]
    }
    let mut needs = Vec::new();
    for (index, entry) in trial.iter().enumerate() {
        for provide in &entry.sections.provides {
            find(&mut needs, &provide.name).unused_provides.push(index);
        }
        for require in &entry.sections.requires {
            let need = find(&mut needs, &require.name);
            for provider in std::mem::take(&mut need.unused_provides) {
                let Done { element, kind, .. } = trial[provider].done;
                need.providers.push(Provider {
                    id: element.id.clone(),
                    version: element.version.clone(),
                    extension: *kind == Kind::Extension,
                });
            }
            if need.providers.is_empty() {
                need.early_requires.push(index);
            } else {
                need.requires.push(require.clone());
            }
        }
    }
    needs
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;

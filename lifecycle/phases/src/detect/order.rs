//! Goes through an order, depth first, and expands composite buildpacks on the way.

use super::executable::{self, Run};
use super::resolve::{self, Done, Resolution};
use super::{DetectError, Detected, Inputs};
use crate::api_check;
use crate::log::Level;
use cnb_spec::buildpack::{Buildpack, Kind};
use cnb_spec::group::{Group, GroupElement};
use cnb_spec::order::OrderGroup;
use cnb_spec::plan::Plan;
use std::collections::HashMap;
use std::rc::Rc;

/// Detection in progress.
pub(crate) struct Detector<'a> {
    inputs: &'a Inputs<'a>,
    buildpacks: HashMap<Name, Rc<Buildpack>>,
    /// A buildpack runs once, however many groups name it.
    runs: HashMap<Name, Run>,
    lines: Vec<(Level, String)>,
}

/// `<id>@<version>` of a buildpack or an extension.
type Name = (Kind, String);

/// What is still to be looked at.
#[derive(Clone)]
enum Candidate {
    Element {
        kind: Kind,
        element: GroupElement,
        /// The composite buildpacks it was found in, the outermost first.
        within: Rc<Vec<String>>,
    },
    /// The groups of image extensions, of which one may pass.
    Extensions,
}

/// How a group or an order ended.
enum Attempt {
    Passed(Group, Plan),
    Failed { with_errors: bool },
}

impl<'a> Detector<'a> {
    pub(crate) fn new(inputs: &'a Inputs<'a>) -> Self {
        Self {
            inputs,
            buildpacks: HashMap::new(),
            runs: HashMap::new(),
            lines: Vec::new(),
        }
    }

    pub(crate) fn into_lines(self) -> Vec<(Level, String)> {
        self.lines
    }

    pub(crate) fn detect(&mut self) -> Result<Detected, DetectError> {
        let app_dir = self.inputs.platform.app_dir.to_owned();
        let order = &self.inputs.order;
        let first: &[Candidate] = match order.order_extensions.as_slice() {
            [] => &[],
            _ => &[Candidate::Extensions],
        };
        let mut errors = false;
        for group in &order.order {
            let elements = candidates(Kind::Buildpack, group, &Rc::default());
            let group = [first, &elements].concat();
            match self.try_group(&group, Vec::new())? {
                Attempt::Failed { with_errors } => errors |= with_errors,
                Attempt::Passed(group, plan) => return Ok(Detected { group, plan }),
            }
        }
        Err(if errors {
            DetectError::NoGroupWithErrors { app_dir }
        } else {
            DetectError::NoGroup { app_dir }
        })
    }

    /// Tries each group of `order`, each followed by the elements `next`; an optional order may also be left out.
    fn try_order(
        &mut self,
        kind: Kind,
        order: &[OrderGroup],
        within: &Rc<Vec<String>>,
        done: &[Done],
        next: &[Candidate],
        optional: bool,
    ) -> Result<Attempt, DetectError> {
        let mut errors = false;
        for group in order {
            let group = [candidates(kind, group, within).as_slice(), next].concat();
            match self.try_group(&group, done.to_vec())? {
                Attempt::Failed { with_errors } => errors |= with_errors,
                passed @ Attempt::Passed(..) => return Ok(passed),
            }
        }
        if optional {
            return self.try_group(next, done.to_vec());
        }
        Ok(Attempt::Failed {
            with_errors: errors,
        })
    }

    fn try_group(
        &mut self,
        group: &[Candidate],
        mut done: Vec<Done>,
    ) -> Result<Attempt, DetectError> {
        for (index, candidate) in group.iter().enumerate() {
            let Candidate::Element {
                kind,
                element,
                within,
            } = candidate
            else {
                let extensions = &self.inputs.order.order_extensions;
                let next = &group[index + 1..];
                return self.try_order(
                    Kind::Extension,
                    extensions,
                    &Rc::default(),
                    &done,
                    next,
                    true,
                );
            };
            let is_same = |done: &Done| done.kind == *kind && done.element.id == element.id;
            if done.iter().any(is_same) {
                continue;
            }
            let name = element.to_string();
            let buildpack = self.buildpack(*kind, element)?;
            if buildpack.is_composite() {
                let mut within = within.to_vec();
                let cycle = within.contains(&name);
                within.push(name.clone());
                if cycle {
                    return Err(DetectError::Cycle {
                        buildpack: name,
                        path: within,
                    });
                }
                let (within, next) = (Rc::new(within), &group[index + 1..]);
                let order = &buildpack.order;
                return self.try_order(*kind, order, &within, &done, next, element.optional);
            }
            if !self.fits_exec_env(&buildpack) {
                self.lines.push((
                    Level::Debug,
                    format!(
                        "skip: {name} is not for execution environment {}",
                        self.inputs.platform.exec_env
                    ),
                ));
                continue;
            }
            // An optional buildpack for another target runs all the same, as in the reference lifecycle.
            if !element.optional && !self.fits_target(&buildpack) {
                let reason = format!(
                    "the buildpack's targets {:?} do not match the run image's {:?}",
                    buildpack.targets, self.inputs.platform.target
                );
                self.runs.insert((*kind, name), Run::error(reason));
            }
            done.push(Done {
                element: GroupElement {
                    api: Some(buildpack.api),
                    homepage: buildpack.info.homepage.clone(),
                    ..element.bare()
                },
                optional: element.optional,
                kind: *kind,
            });
        }
        self.run_missing(&done);
        let resolution = resolve::resolve(
            &done,
            |done| &self.runs[&(done.kind, done.element.to_string())],
            &mut self.lines,
        );
        Ok(match resolution {
            Resolution::Passed(group, plan) => Attempt::Passed(group, plan),
            Resolution::Failed { with_errors } => Attempt::Failed { with_errors },
        })
    }

    fn buildpack(
        &mut self,
        kind: Kind,
        element: &GroupElement,
    ) -> Result<Rc<Buildpack>, DetectError> {
        let name = element.to_string();
        let key = (kind, name.clone());
        if let Some(buildpack) = self.buildpacks.get(&key) {
            return Ok(Rc::clone(buildpack));
        }
        let (platform, id, version) = (&self.inputs.platform, &element.id, &element.version);
        let found = match kind {
            Kind::Buildpack => Buildpack::find(platform.buildpacks_dir, id, version),
            Kind::Extension => Buildpack::find_extension(platform.extensions_dir, id, version),
        };
        let buildpack = Rc::new(found.map_err(|source| DetectError::Descriptor {
            buildpack: name.clone(),
            source,
        })?);
        api_check::check(&name, buildpack.api)?;
        self.buildpacks.insert(key, Rc::clone(&buildpack));
        Ok(buildpack)
    }

    /// Execution environments exist since Platform API 0.15 and Buildpack API 0.12.
    fn fits_exec_env(&self, buildpack: &Buildpack) -> bool {
        let platform = &self.inputs.platform;
        let supported = &buildpack.info.exec_env;
        !platform.api.at_least(15)
            || !buildpack.api.at_least(12)
            || supported.is_empty()
            || supported
                .iter()
                .any(|name| name == "*" || name == platform.exec_env)
    }

    /// Targets exist since Platform API 0.12; a buildpack without any fits.
    fn fits_target(&self, buildpack: &Buildpack) -> bool {
        let platform = &self.inputs.platform;
        !platform.api.at_least(12)
            || buildpack.targets.is_empty()
            || buildpack
                .targets
                .iter()
                .any(|target| platform.target.satisfies(target))
    }

    /// Runs, all at once, those of `done` that no earlier group ran.
    fn run_missing(&mut self, done: &[Done]) {
        let missing: Vec<(Name, &Buildpack)> = done
            .iter()
            .map(|done| (done.kind, done.element.to_string()))
            .filter(|name| !self.runs.contains_key(name))
            .map(|name| {
                let buildpack = &*self.buildpacks[&name];
                (name, buildpack)
            })
            .collect();
        let platform = &self.inputs.platform;
        let runs: Vec<(Name, Run)> = std::thread::scope(|scope| {
            let threads: Vec<_> = missing
                .into_iter()
                .map(|(name, buildpack)| {
                    (name, scope.spawn(|| executable::run(platform, buildpack)))
                })
                .collect();
            threads
                .into_iter()
                .map(|(name, thread)| {
                    let run = thread
                        .join()
                        .unwrap_or_else(|_| Run::error("the thread that ran it panicked"));
                    (name, run)
                })
                .collect()
        });
        self.runs.extend(runs);
    }
}

/// The elements of a group. Image extensions are all optional.
fn candidates(kind: Kind, group: &OrderGroup, within: &Rc<Vec<String>>) -> Vec<Candidate> {
    let elements = group.group.iter().map(|element| Candidate::Element {
        kind,
        element: GroupElement {
            optional: element.optional || kind == Kind::Extension,
            ..element.clone()
        },
        within: Rc::clone(within),
    });
    elements.collect()
}

//! A case of a table: what is there, what runs, what must come of it.

use crate::lifecycle::Which;
use crate::registry::{self, Registry};
use crate::world::{Ended, World, is_root};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A table: `cases/<name>.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) case: Vec<Case>,
}

/// A case. Its texts may have the names of [`Places`] in them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Variables of all phases.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Groups of buildpacks: `a@1 b?`.
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    buildpacks: BTreeMap<String, Buildpack>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// The phases, one after the other.
    run: Vec<Run>,
    /// Files that must be there afterwards, with their content: TOML as a document, others as texts. The empty text
    /// stands for a file that must not be there, `*` for any content, `*…*` for content with that in it.
    #[serde(default)]
    made: BTreeMap<String, String>,
    /// Where the reference lifecycle does something else.
    upstream: Option<Difference>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Buildpack {
    #[serde(default = "default_api")]
    api: String,
    #[serde(default)]
    detect: String,
    #[serde(default)]
    build: String,
    /// More lines of `buildpack.toml`, in its `[buildpack]` table at first.
    #[serde(default)]
    more: String,
}

fn default_api() -> String {
    "0.10".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    phase: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    code: i32,
    /// Parts of the log, of both lifecycles.
    #[serde(default)]
    log: Vec<String>,
    /// Parts of our log, whose words are our own.
    #[serde(default)]
    ours: Vec<String>,
    /// What the log must not have.
    #[serde(default)]
    silent: Vec<String>,
    /// As root; the case is passed over where the tests are not.
    #[serde(default)]
    root: bool,
}

/// What the reference lifecycle does instead.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    why: String,
    /// Exit codes of the phases, where they are others.
    #[serde(default)]
    codes: Vec<i32>,
    /// Parts of the last phase's log, instead of `log`.
    log: Option<Vec<String>>,
    #[serde(default)]
    made: BTreeMap<String, String>,
    /// It does nothing that could be compared: a version of an API that it does not have, or a crash.
    #[serde(default)]
    skip: bool,
}

pub(crate) fn read(name: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/conformance/cases")
        .join(name);
    let text = fs::read_to_string(&path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs all cases of a table with each lifecycle; prints what went wrong, all of it, before it panics.
pub(crate) fn check(name: &str) {
    let table = read(name);
    assert!(!table.case.is_empty(), "{name} has no cases");
    let world = World::new();
    let mut wrong = Vec::new();
    for case in &table.case {
        for which in Which::all() {
            if let Err(problem) = case.check(&world, which) {
                wrong.push(format!("{name}: {} ({which:?}): {problem}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

impl Case {
    fn check(&self, world: &World, which: Which) -> Result<(), String> {
        if self.run.is_empty() {
            return Err("nothing runs".to_owned());
        }
        if self.upstream.as_ref().is_some_and(|it| it.why.is_empty()) {
            return Err("a difference without a reason".to_owned());
        }
        let difference = self.upstream.as_ref().filter(|_| which == Which::Upstream);
        if difference.is_some_and(|it| it.skip) {
            return Ok(());
        }
        if self.run.iter().any(|run| run.root) && !is_root() {
            eprintln!("skipped: {}, which only root can try", self.name);
            return Ok(());
        }
        let places = Places::new(self, world)?;
        self.lay_out(world, &places);
        for (index, run) in self.run.iter().enumerate() {
            let args: Vec<String> = run.args.iter().map(|arg| places.fill(arg)).collect();
            let env = self.env.iter();
            let env = env
                .map(|(name, value)| (name.clone(), places.fill(value)))
                .collect();
            let ended = world.run(which, &run.phase, &args, &env, run.root);
            let is_last = index + 1 == self.run.len();
            let code = difference
                .and_then(|it| it.codes.get(index).copied())
                .unwrap_or(run.code);
            let other_log = difference.and_then(|it| it.log.as_ref());
            let log = other_log.filter(|_| is_last).unwrap_or(&run.log);
            run.check(&ended, code, log, which, &places)?;
            if ended.code != 0 && which == Which::Upstream && code != run.code {
                break;
            }
        }
        let mut made = self.made.clone();
        if let Some(difference) = difference {
            made.extend(difference.made.clone());
        }
        for (path, expected) in &made {
            check_file(world, path, &places.fill(expected))?;
        }
        Ok(())
    }

    fn lay_out(&self, world: &World, places: &Places) {
        world.clear();
        let order: Vec<&str> = self.order.iter().map(String::as_str).collect();
        if !order.is_empty() {
            world.order(&order);
        }
        for (name, it) in &self.buildpacks {
            let [more, detect, build] = [&it.more, &it.detect, &it.build].map(|it| places.fill(it));
            world.buildpack(name, &more, &it.api, [&detect, &build]);
        }
        for (name, content) in &self.files {
            world.write(name, &places.fill(content));
        }
        world.hand_over();
    }

    fn needs_registry(&self) -> bool {
        let text = format!("{self:?}");
        Places::OF_REGISTRY.iter().any(|name| text.contains(name))
    }
}

impl Run {
    fn check(
        &self,
        ended: &Ended,
        code: i32,
        log: &[String],
        which: Which,
        places: &Places,
    ) -> Result<(), String> {
        let Ended {
            code: found,
            log: text,
        } = ended;
        if *found != code {
            return Err(format!(
                "{} ended with {found} and not {code}:\n{text}",
                self.phase
            ));
        }
        let own: &[String] = match which {
            Which::Ours => &self.ours,
            Which::Upstream => &[],
        };
        for part in log.iter().chain(own) {
            let part = places.fill(part);
            if !text.contains(&part) {
                return Err(format!(
                    "the log of {} has no {part:?}:\n{text}",
                    self.phase
                ));
            }
        }
        let unwanted = self.silent.iter().map(|part| places.fill(part));
        match unwanted.into_iter().find(|part| text.contains(part)) {
            Some(part) => Err(format!("the log of {} has {part:?}:\n{text}", self.phase)),
            None => Ok(()),
        }
    }
}

fn check_file(world: &World, path: &str, expected: &str) -> Result<(), String> {
    let found = fs::read_to_string(world.path(path)).ok();
    let part = expected
        .strip_prefix('*')
        .and_then(|rest| rest.strip_suffix('*'));
    let Some(text) = &found else {
        return if expected.is_empty() {
            Ok(())
        } else {
            Err(format!("there is no {path}"))
        };
    };
    let same = match part {
        _ if expected.is_empty() => false,
        _ if expected == "*" => true,
        Some(part) => text.contains(part),
        None if Path::new(path).extension().is_some_and(|it| it == "toml") => {
            let parse = |text: &str| text.parse::<toml::Table>().map_err(|it| it.to_string());
            parse(text)? == parse(expected)?
        }
        None => text.trim_end() == expected.trim_end(),
    };
    if same {
        return Ok(());
    }
    Err(format!("{path} is\n{text}\nand not\n{expected}"))
}

/// Where a case runs: `{root}` is the folder of all that phases read and write. With a registry, `{app}` and `{cache}`
/// are images of its own that are not there yet, `{run}` the run image and `{run-digest}` its digest.
struct Places {
    root: String,
    registry: Option<(&'static Registry, String)>,
}

impl Places {
    const OF_REGISTRY: [&str; 4] = ["{app}", "{cache}", "{run}", "{run-digest}"];

    fn new(case: &Case, world: &World) -> Result<Self, String> {
        let registry = if case.needs_registry() {
            let registry = registry::started().ok_or("no registry")?;
            Some((registry, registry.folder()))
        } else {
            None
        };
        Ok(Self {
            root: world.root().display().to_string(),
            registry,
        })
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("{root}", &self.root);
        if let Some((registry, folder)) = &self.registry {
            let of_case = |name: &str| format!("{}/{folder}/{name}", registry.host);
            let values = [
                of_case("app"),
                of_case("cache"),
                registry.run_image.clone(),
                registry.run_digest.clone(),
            ];
            for (name, value) in Self::OF_REGISTRY.iter().zip(values) {
                text = text.replace(name, &value);
            }
        }
        text
    }
}

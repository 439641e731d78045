//! How an image came to be, for those who have to trust it: an in-toto statement with SLSA v1 provenance.
//!
//! What only the build knows is written down when it ends; what the image tells is added when the statement is made.
//! Values of variables are secrets for all we know: only their names are told.

mod git;

use crate::app::{self, App};
use crate::build::Request;
use crate::build::foundation::Foundation;
use crate::failure::{Exit, Failure};
use crate::place::Source;
use crate::sbom::Bill;
use crate::signing::statement;
use crate::store::Store;
use cnb_spec::group::Group;
use git::Revision;
use jiff::Timestamp;
use oci_image::{Descriptor, Digest, Reference};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// SLSA's provenance, version 1.
pub(crate) const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";

/// A build by Cloud Native Buildpacks on somebody's machine.
const BUILD_TYPE: &str = "urn:slugc:build:buildpacks:v1";
const BUILDER: &str = "urn:slugc:builder";

/// How many builds of an app are remembered.
const REMEMBERED: usize = 20;

/// `provenance.json` of an app: its last builds, the newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Builds {
    builds: Vec<Build>,
}

/// What only the build knows.
#[derive(Debug, Serialize, Deserialize)]
struct Build {
    /// The image's manifest.
    image: String,
    app: String,
    slugc: String,
    revision: Option<Revision>,
    stack: String,
    running_base: String,
    building_base: String,
    buildpacks: Vec<Buildpack>,
    /// Names of variables that were given to the build.
    variables: Vec<String>,
    /// To the nanosecond: two builds may end in one second.
    started_on: Timestamp,
    finished_on: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Buildpack {
    id: String,
    version: String,
}

/// A build that runs.
pub(crate) struct Begun {
    started: Timestamp,
    revision: Option<Revision>,
}

impl Begun {
    /// Notes when and from which revision of a folder a build begins.
    pub(crate) fn note(folder: &Path) -> Self {
        Self {
            started: Timestamp::now(),
            revision: git::revision(folder),
        }
    }

    /// Remembers the build for the statement on its image.
    pub(crate) fn remember(
        self,
        request: &Request<'_>,
        stack: &Foundation,
        group: &Group,
        manifest: &Descriptor,
    ) -> Result<(), Failure> {
        let build = Build {
            image: manifest.digest.to_string(),
            app: request.app.name.as_str().to_owned(),
            slugc: env!("CARGO_PKG_VERSION").to_owned(),
            revision: self.revision,
            stack: stack.name.clone(),
            running_base: request
                .run_image
                .map_or(stack.run_image.digest, |base| {
                    base.documents.manifest.digest
                })
                .to_string(),
            building_base: stack.build_image.to_string(),
            buildpacks: group
                .group
                .iter()
                .map(|element| Buildpack {
                    id: element.id.clone(),
                    version: element.version.clone(),
                })
                .collect(),
            variables: request.env.keys().cloned().collect(),
            started_on: self.started,
            finished_on: Timestamp::now(),
        };
        add(request.app, build)
    }
}

/// Remembers that the last build's image was described anew, as that of another revision.
pub(crate) fn renew(
    app: &App,
    folder: &Path,
    last: &Digest,
    manifest: &Descriptor,
) -> Result<(), Failure> {
    let builds = read(app).unwrap_or_default().builds;
    let last = last.to_string();
    match builds.into_iter().find(|build| build.image == last) {
        Some(build) => {
            let build = Build {
                image: manifest.digest.to_string(),
                revision: git::revision(folder),
                ..build
            };
            add(app, build)
        }
        None => Ok(()),
    }
}

fn add(app: &App, build: Build) -> Result<(), Failure> {
    // A file that cannot be read is begun anew.
    let mut builds = read(app).unwrap_or_default();
    builds.builds.retain(|known| known.image != build.image);
    builds.builds.push(build);
    let surplus = builds.builds.len().saturating_sub(REMEMBERED);
    builds.builds.drain(..surplus);
    // A build must not take longer for it, and what a power cut takes is only provenance.
    app::write_json_unsynced(&file(app), &builds)
}

fn file(app: &App) -> PathBuf {
    app.folder().join("provenance.json")
}

fn read(app: &App) -> Result<Builds, Failure> {
    Ok(app::read_json(&file(app))?.unwrap_or_default())
}

/// The statement on an image that is or will be at `target`.
pub(crate) fn statement(
    store: &Store,
    source: &Source,
    manifest: &Descriptor,
    target: &Reference,
    bill: &Bill,
) -> Result<Value, Failure> {
    let digest = manifest.digest.to_string();
    let of_app = |app: App| {
        // What cannot be read tells nothing.
        let builds = read(&app).unwrap_or_default().builds;
        builds.into_iter().find(|build| build.image == digest)
    };
    let builds = App::all(store)?.into_iter().filter_map(of_app);
    let Some(build) = told(builds, source) else {
        return Err(Failure::new(
            Exit::Input,
            format!("nothing is known about the build of {source}"),
        )
        .hint("only what this slugc built has provenance; build again with --refresh, or leave the provenance out"));
    };
    Ok(statement::on_image(
        &target.name(),
        manifest.digest,
        PREDICATE_TYPE,
        &predicate(&build, bill),
    ))
}

/// The same source makes the same image in every app: told is the build of the app that is meant, else the newest.
fn told(builds: impl Iterator<Item = Build>, source: &Source) -> Option<Build> {
    builds.max_by_key(|build| (source.is_of_app(&build.app), build.finished_on))
}

/// In-toto's `Timestamp` (`spec/v1/field_types.md`), which has whole seconds.
fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn predicate(build: &Build, bill: &Bill) -> Value {
    let sha256 = |digest: &str| json!({ "sha256": digest.trim_start_matches("sha256:") });
    let mut dependencies: Vec<Value> = build.revision.iter().map(Revision::descriptor).collect();
    for (name, image) in [
        ("run image", &build.running_base),
        ("build image", &build.building_base),
    ] {
        dependencies.push(json!({
            "name": format!("{} {name}", build.stack),
            "uri": format!("urn:slugc:stack:{}", build.stack),
            "digest": sha256(image),
        }));
    }
    for Buildpack { id, version } in &build.buildpacks {
        dependencies
            .push(json!({ "name": id, "uri": format!("urn:cnb:buildpack:{id}@{version}") }));
    }
    for (purl, hashes) in bill.dependencies() {
        let mut dependency = json!({ "uri": purl });
        let sha256 = hashes.iter().find(|(algorithm, _)| algorithm == "SHA-256");
        if let Some((_, hash)) = sha256 {
            dependency["digest"] = json!({ "sha256": hash });
        }
        dependencies.push(dependency);
    }
    let mut external = json!({ "app": build.app, "variables": build.variables });
    if let Some(revision) = &build.revision {
        external["source"] = revision.descriptor();
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": external,
            "internalParameters": {
                "stack": build.stack,
                "buildpacks": build.buildpacks,
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": { "id": BUILDER, "version": { "slugc": build.slugc } },
            "metadata": {
                "startedOn": instant(build.started_on),
                "finishedOn": instant(build.finished_on),
            },
        },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::app::AppName;
    use crate::place::Place;

    /// As it is in the file, where builds of older versions have whole seconds.
    fn build(app: &str, finished: &str) -> Build {
        serde_json::from_value(json!({
            "image": "sha256:1",
            "app": app,
            "slugc": "1.0.0",
            "revision": null,
            "stack": "slug-13",
            "running_base": "sha256:2",
            "building_base": "sha256:3",
            "buildpacks": [],
            "variables": [],
            "started_on": "2026-11-24T03:14:15Z",
            "finished_on": finished,
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_of_several_builds_in_one_second() {
        let elsewhere = Source::Elsewhere(Place::Registry("r.example/shop:1".parse().unwrap()));
        let (late, early) = ("2026-11-24T03:14:16.1Z", "2026-11-24T03:14:16.000000002Z");
        let whole = "2026-11-24T03:14:16Z";
        for (first, second, expected) in [
            (late, early, "a"),
            (early, late, "b"),
            (whole, early, "b"),
            (early, whole, "a"),
        ] {
            let builds = || [build("a", first), build("b", second)].into_iter();
            let found = told(builds(), &elsewhere).unwrap();
            assert_eq!(found.app, expected, "{first} {second}");
            // Whatever is the newest, an app that is named has its own.
            let manifest = Descriptor::new("x", Digest::of(b""), 0);
            let named = Source::app(&AppName::parse("a").unwrap(), manifest).unwrap();
            assert_eq!(told(builds(), &named).unwrap().app, "a");
        }
        let written = serde_json::to_value(build("a", early)).unwrap();
        assert_eq!(written["finished_on"], early);
        assert_eq!(instant(build("a", early).finished_on), whole);
    }
}

//! How an image came to be, for those who have to trust it: an in-toto statement with SLSA v1 provenance.
//!
//! What only the build knows is written down when it ends; what the image tells is added when the statement is made.
//! Values of variables are secrets for all we know: only their names are told.

mod git;

use crate::app::{self, App};
use crate::build::Request;
use crate::build::foundation::Foundation;
use crate::failure::{Exit, Failure, OrFail};
use crate::place::Source;
use crate::sbom::Bill;
use crate::signing::statement;
use crate::store::Store;
use cnb_spec::group::Group;
use git::Revision;
use oci_image::{Descriptor, Digest, Reference};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write;
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
    started_on: String,
    finished_on: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Buildpack {
    id: String,
    version: String,
}

/// A build that runs.
pub(crate) struct Begun {
    started: jiff::Timestamp,
    revision: Option<Revision>,
}

impl Begun {
    /// Notes when and from which revision of a folder a build begins.
    pub(crate) fn note(folder: &Path) -> Self {
        Self {
            started: jiff::Timestamp::now(),
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
        let instant = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
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
            started_on: instant(self.started),
            finished_on: instant(jiff::Timestamp::now()),
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
    write(app, &builds)
}

/// Staged and renamed, but not waited for until it is on disk: a build must not take longer for it, and what a power
/// cut takes is only provenance.
fn write(app: &App, builds: &Builds) -> Result<(), Failure> {
    let path = file(app);
    let attempt = || -> std::io::Result<()> {
        let mut staged = tempfile::Builder::new()
            .prefix(".tmp-")
            .tempfile_in(app.folder())?;
        staged.write_all(&serde_json::to_vec(builds)?)?;
        staged.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().or_fail(Exit::Store, || format!("cannot write {}", path.display()))
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
    // The same source makes the same image in every app: told is the build of the app that is meant, else the newest.
    let named = |build: &Build| Source::is_of_app(source, &build.app);
    let found = builds.max_by(|a, b| (named(a), &a.finished_on).cmp(&(named(b), &b.finished_on)));
    let Some(build) = found else {
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
            "metadata": { "startedOn": build.started_on, "finishedOn": build.finished_on },
        },
    })
}

//! The exporter: the image, and the cache for the next build.

use crate::Failure;
use crate::analyzer;
use crate::build_cache::{self, CacheRepository};
use crate::images::{Found, Images, Published};
use crate::inputs::Inputs;
use crate::output::Output;
use crate::phases;
use crate::scratch::Scratch;
use cnb_phases::cache::restored::Restored;
use cnb_phases::cache::{self, LayerCache, save};
use cnb_phases::export::{self, Exported};
use cnb_phases::log::{Level, Logger};
use cnb_phases::record::LayerSettings;
use cnb_spec::analyzed::Analyzed;
use cnb_spec::api;
use cnb_spec::group::Group;
use cnb_spec::labels::{LauncherGit, LauncherMetadata, LauncherSource};
use cnb_spec::project::ProjectMetadata;
use cnb_spec::report::Report;
use cnb_spec::run::RunImageNames;
use cnb_spec::{env_vars, exit_code, toml_file};
use oci_image::{Compression, NORMALIZED_MTIME};
use std::path::Path;

const CODE: u8 = exit_code::EXPORT_ERROR;

/// Images that the phase reads or writes.
pub(crate) fn names(inputs: &Inputs) -> Result<Vec<String>, Failure> {
    let failed = |message: &str| {
        Failure::new(
            exit_code::INVALID_ARGS,
            format!("failed to parse arguments: {message}"),
        )
    };
    if inputs.images.is_empty() {
        return Err(failed("at least one image argument is required"));
    }
    if inputs.run_image_flag {
        return Err(failed("-run-image is unsupported"));
    }
    if inputs.deprecated_image.is_some() {
        return Err(failed("-image is unsupported"));
    }
    if !inputs.daemon && inputs.layout.is_none() {
        analyzer::check_registries(inputs)?;
    }
    let mut names = inputs.images.clone();
    names.extend(inputs.cache_image.clone());
    let analyzed = analyzed(inputs)?;
    names.extend(analyzed.previous_image.map(|image| image.reference));
    names.extend(analyzed.run_image.map(|image| image.reference));
    names.retain(|name| !name.is_empty());
    Ok(names)
}

fn analyzed(inputs: &Inputs) -> Result<Analyzed, Failure> {
    toml_file::read(&inputs.analyzed)
        .map_err(|error| Failure::from_error(CODE, "read what was analyzed", &error))
}

/// Exports, with what the other phases left in files.
pub(crate) fn run(inputs: &Inputs, output: &Output, images: &Images) -> Result<(), Failure> {
    build_cache::warn_of_none(inputs, output);
    warn_of_launch_cache(inputs, output);
    let group = phases::group(inputs, CODE)?;
    let analyzed = analyzed(inputs)?;
    if analyzed.run_image.as_ref().is_some_and(|it| it.extend) {
        return Err(Failure::new(
            CODE,
            "failed to export: image extensions extend the run image, which this lifecycle does not do; leave them out \
             of the order, or export with another lifecycle",
        ));
    }
    let scratch = Scratch::new(CODE)?;
    let repository = CacheRepository::find(inputs, output, images, &scratch);
    let cache = build_cache::open(inputs, repository.as_ref(), CODE)?;
    let from = Sources {
        images,
        scratch: &scratch,
        cache: cache.as_deref(),
    };
    export(inputs, output, &from, &group, &analyzed)
}

pub(crate) fn warn_of_launch_cache(inputs: &Inputs, output: &Output) {
    if inputs.launch_cache.is_some() && !inputs.daemon {
        output.log(
            Level::Warn,
            "Ignoring -launch-cache, only intended for use with -daemon",
        );
    }
}

/// Where an export reads and writes.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) images: &'a Images,
    /// What the cache takes layers from that were made for the image.
    pub(crate) scratch: &'a Scratch,
    pub(crate) cache: Option<&'a dyn LayerCache>,
}

/// Exports the image under all names of `inputs`, then the cache, which only warns.
pub(crate) fn export(
    inputs: &Inputs,
    output: &Output,
    from: &Sources<'_>,
    group: &Group,
    analyzed: &Analyzed,
) -> Result<(), Failure> {
    let Sources {
        images,
        scratch,
        cache,
    } = *from;
    let run_reference = analyzed
        .run_image
        .as_ref()
        .map(|image| image.reference.as_str())
        .filter(|reference| !reference.is_empty())
        .ok_or_else(|| {
            Failure::new(
                exit_code::INVALID_ARGS,
                "failed to resolve inputs: run image not found in analyzed metadata",
            )
        })?;
    let run_image = images.find_run_image(&scratch.blobs, run_reference, CODE, "export")?;
    let previous = previous(inputs, output, images, scratch, analyzed)?;
    let names: Vec<String> = inputs.images.iter().chain(&inputs.tags).cloned().collect();
    let restored = Restored::read(&inputs.layers);
    let made = Made {
        inputs,
        output,
        group,
        analyzed,
        run_image: &run_image,
        previous: previous.as_ref(),
        restored: &restored,
        names: &names,
        scratch,
    };
    let exported = made.image()?;
    let publish = || -> Result<(), Failure> {
        output.log(Level::Info, &format!("Saving {}...", names[0]));
        let sources: Vec<&Found> = [Some(&run_image), previous.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        let warn = |message: &str| output.log(Level::Warn, message);
        let manifest = &exported.manifest;
        let published = images.publish(&scratch.blobs, manifest, &names, &sources, CODE, &warn)?;
        let (shown, report) = told(&exported, published);
        output.log(Level::Info, &format!("*** Images ({shown}):"));
        for name in &report.image.tags {
            output.log(Level::Info, &format!("      {name}"));
        }
        toml_file::write(&inputs.report, &report)
            .map_err(|error| Failure::from_error(CODE, "write export report", &error))
    };
    let save = || {
        if let Some(cache) = cache {
            made.save(&exported, cache);
        }
    };
    if inputs.parallel {
        std::thread::scope(|scope| {
            scope.spawn(save);
            publish()
        })
    } else {
        publish()?;
        save();
        Ok(())
    }
}

/// The image of the last build, when it still is where the analyzer found it.
fn previous(
    inputs: &Inputs,
    output: &Output,
    images: &Images,
    scratch: &Scratch,
    analyzed: &Analyzed,
) -> Result<Option<Found>, Failure> {
    let reference = analyzed
        .previous_image
        .as_ref()
        .map(|image| image.reference.as_str())
        .filter(|reference| !reference.is_empty());
    let Some(reference) = reference else {
        return Ok(None);
    };
    if !inputs.daemon {
        output.log(
            Level::Info,
            &format!("Reusing layers from image '{reference}'"),
        );
    }
    images.find(&scratch.blobs, reference, CODE)
}

/// What the log calls the image, and the report of it.
fn told(exported: &Exported, published: Published) -> (String, Report) {
    let mut report = exported.report.clone();
    match published {
        Published::Manifest(digest) => (digest.to_string(), report),
        Published::Id(id) => {
            report.image.image_id = Some(id.clone());
            report.image.digest = None;
            report.image.manifest_size = None;
            let short = id.strip_prefix("sha256:").unwrap_or(&id);
            (short.chars().take(12).collect(), report)
        }
        Published::Folders(identifier, folders) => {
            report.image.tags = folders;
            (identifier, report)
        }
    }
}

/// What image and cache are made of.
struct Made<'a> {
    inputs: &'a Inputs,
    output: &'a Output,
    group: &'a Group,
    analyzed: &'a Analyzed,
    run_image: &'a Found,
    previous: Option<&'a Found>,
    restored: &'a Restored,
    names: &'a [String],
    scratch: &'a Scratch,
}

impl Made<'_> {
    fn image(&self) -> Result<Exported, Failure> {
        let inputs = self.inputs;
        let elsewhere = self.previous.map(Found::layers).unwrap_or_default();
        let layers_path = text(&inputs.layers)?;
        let compression = Compression::default();
        let record = cache::record_of(
            &self.analyzed.layers(),
            self.restored,
            LayerSettings::new(layers_path, inputs.owner, compression),
            |sha| elsewhere.get(&sha.parse().ok()?).cloned(),
        );
        let project: Option<ProjectMetadata> = toml_file::read_if_exists(&inputs.project_metadata)
            .map_err(|error| Failure::from_error(CODE, "read project metadata", &error))?;
        let sink = |level: Level, line: &str| self.output.log(level, line);
        export::export(&export::Inputs {
            platform_api: inputs.api,
            layers_dir: &inputs.layers,
            layers_path,
            app_dir: &inputs.app,
            app_path: text(&inputs.app)?,
            group: self.group,
            run_image: &self.run_image.image,
            run_image_reference: &self.run_image.identifier,
            run_image_names: &self.run_image_names()?,
            launcher: &inputs.launcher,
            launcher_metadata: &launcher_metadata(),
            owner: inputs.owner,
            blobs: &self.scratch.blobs,
            compression,
            record: Some(&record),
            elsewhere: &elsewhere,
            early: &[],
            previous: self.previous.map(|found| &found.image),
            process_type: inputs.process_type.as_deref(),
            project: &project.unwrap_or_default(),
            slices: &[],
            // One and the same layer under either lifecycle.
            cut_app_above: None,
            exec_env: if inputs.api.at_least(15) {
                &inputs.exec_env
            } else {
                ""
            },
            created: created(inputs, self.output),
            tags: self.names,
            log: Logger::new(&sink),
        })
        .map_err(|error| Failure::from_error(error.exit_code(), "export", &error))
    }

    /// What the label says of the run image, for rebases: the builder's names for it, or what they are for the first
    /// image when it has none for this one.
    fn run_image_names(&self) -> Result<RunImageNames, Failure> {
        let offered = analyzer::offered(self.inputs)?;
        let chosen = self
            .analyzed
            .run_image
            .as_ref()
            .and_then(|it| it.image.as_deref());
        let chosen = chosen.map(without_digest);
        let found = offered
            .iter()
            .find(|names| names.all().any(|name| Some(without_digest(name)) == chosen));
        Ok(found.or(offered.first()).cloned().unwrap_or_default())
    }

    fn save(&self, exported: &Exported, cache: &dyn LayerCache) {
        let inputs = self.inputs;
        let sink = |level: Level, line: &str| self.output.log(level, line);
        let saved = text(&inputs.layers).and_then(|layers_path| {
            save::save(
                &save::Inputs {
                    platform_api: inputs.api,
                    layers_dir: &inputs.layers,
                    layers_path,
                    group: self.group,
                    owner: inputs.owner,
                    record: &exported.record,
                    restored: self.restored,
                    log: Logger::new(&sink),
                },
                cache,
            )
            .map_err(|error| Failure::from_error(CODE, "export cache", &error))
        });
        if let Err(Failure { message, .. }) = saved {
            // Platforms look for the reference lifecycle's words.
            let text = message.replacen("failed", "Failed", 1);
            self.output.log(Level::Warn, &text);
        }
    }
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        Failure::new(
            exit_code::INVALID_ARGS,
            format!("failed to resolve inputs: {} is not UTF-8", path.display()),
        )
    })
}

fn without_digest(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn launcher_metadata() -> LauncherMetadata {
    LauncherMetadata {
        version: api::LIFECYCLE.to_owned(),
        source: LauncherSource {
            git: LauncherGit::default(),
        },
    }
}

/// The instant that the image says it was made at.
fn created(inputs: &Inputs, output: &Output) -> i64 {
    let given = std::env::var(env_vars::SOURCE_DATE_EPOCH).unwrap_or_default();
    if !inputs.api.at_least(9) || given.is_empty() {
        return NORMALIZED_MTIME;
    }
    given.parse().unwrap_or_else(|_| {
        output.log(Level::Warn, "Ignoring invalid SOURCE_DATE_EPOCH");
        NORMALIZED_MTIME
    })
}

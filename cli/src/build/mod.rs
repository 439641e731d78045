//! `slugc build`, in order: source → stack → analyze → detect → restore → build → export.

pub(crate) mod buildpacks;
mod built;
pub(crate) mod cache_image;
mod debian_mirror;
mod description;
pub(crate) mod foundation;
mod phases;
mod previous;
pub(crate) mod record;
pub(crate) mod run_image;
pub(crate) mod sandboxed;
pub(crate) mod shared_cache;
pub(crate) mod summary;
pub(crate) mod wheels;

use crate::app::{App, AppImage};
use crate::args::{PlatformArgs, RegistryArgs};
use crate::bases::Base;
use crate::failure::{Exit, Failure, OrFail};
use crate::isolation;
use crate::parts::{self, Parts};
use crate::platform::order::{self, Chosen, Wishes};
use crate::platform::surroundings::Surroundings;
use crate::project::Project;
use crate::provenance::{self, Begun};
use crate::source::Source;
use crate::stack;
use crate::store::{self, Store};
use crate::tools;
use crate::ui::error::chain;
use crate::ui::printer::Printer;
use crate::ui::size;
use buildpacks::Buildpacks;
pub(crate) use built::Built;
use built::{Clock, report, up_to_date};
use cnb_phases::export;
use cnb_phases::record::CacheRecord;
use cnb_phases::restore::LastBuild;
use cnb_spec::report::{ImageReport, Report};
use cnb_spec::toml_file;
use description::Description;
use foundation::Foundation;
use oci_image::{Descriptor, Digest};
use phases::Phases;
use record::Record;
use shared_cache::SharedCache;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wheels::Wheels;

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) app: &'a App,
    pub(crate) path: &'a Path,
    pub(crate) project: &'a Project,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) platform: &'a PlatformArgs,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) registry: &'a RegistryArgs,
    pub(crate) clear_cache: bool,
    pub(crate) refresh: bool,
    pub(crate) tags: &'a [String],
    pub(crate) mirror: Option<&'a str>,
    /// Another base than the stack's run image.
    pub(crate) run_image: Option<&'a Base>,
    /// The cache that other machines share.
    pub(crate) cache: Option<&'a SharedCache<'a>>,
}

/// Builds the app, or finds that nothing changed.
pub(crate) fn build(
    store: &Store,
    printer: &Printer,
    request: &Request<'_>,
) -> Result<Built, Failure> {
    let app = request.app;
    let source = Source::list(request.path, request.project)?;
    app.create()?;
    let _lock = app.build_lock(|| {
        printer.line(&format!(
            "Waiting for another build of {}",
            app.name.as_str()
        ));
    })?;
    sandboxed::recover(app)?;
    // One that cannot be read is replaced.
    let known = app.image().unwrap_or(None);
    warn_of_another_source(printer, app, known.as_ref(), &source);
    let parts = Parts::in_store(store)?;
    let (buildpacks, stack) = choose(store, printer, request, &parts)?;
    let inputs = inputs_digest(&source, &stack, &buildpacks, request)?;
    let epoch = match request.surroundings.created {
        Some(created) => Some(created.to_string()),
        None => std::env::var("SOURCE_DATE_EPOCH").ok(),
    };
    let description = Description::of(source.root(), request.project, epoch.as_deref())?;
    if request.clear_cache {
        clear_cache(app)?;
    }
    let last = Last::read(app, printer);
    if let Some(record) = last.still_good(store, &inputs)
        && !request.refresh
    {
        let manifest = described(store, request, &source, &stack, record, &description)?;
        let base = base_name(request, &stack);
        remember(app, known.as_ref(), &source, base, &manifest)?;
        write_report(request, &manifest)?;
        if let Some(cache) = request.cache {
            printer.detail(&format!("Nothing changed: {cache} is left as it is"));
        }
        return Ok(up_to_date(manifest));
    }

    let last = if sandboxed::belongs_to_another(app, &stack) {
        clear_cache(app)?;
        Last::read(app, printer)
    } else {
        last
    }
    .with_cache(app);
    let last = match &request.surroundings.previous_image {
        Some(name) if last.record.is_none() => {
            last.or_from(previous::record(store, printer, request, &stack, name)?)
        }
        _ => last,
    };
    // Without it the build takes longer, nothing else.
    let wheels =
        Wheels::offer(store, &parts, request, &buildpacks, &stack).unwrap_or_else(|failure| {
            printer.warning(&format!(
                "{}; the build goes on without it",
                chain(&failure)
            ));
            None
        });
    let phases = Phases {
        store,
        printer,
        request,
        wheels: wheels.as_ref(),
        parts: &parts,
        buildpacks: &buildpacks,
        stack: &stack,
        last: &last,
        description: &description,
    };
    make(&phases, &source, inputs)
}

/// What builds, and what it stands on.
fn choose(
    store: &Store,
    printer: &Printer,
    request: &Request<'_>,
    parts: &Parts,
) -> Result<(Buildpacks, Foundation), Failure> {
    let target = request.tags.first().and_then(|tag| tag.parse().ok());
    let wishes = Wishes {
        args: request.platform,
        project: request.project,
        registry: request.registry,
        refresh: request.refresh,
        target: target.as_ref(),
        has_run_image: request.run_image.is_some(),
    };
    let Chosen { buildpacks, base } = order::choose(store, printer, parts, &wishes)?;
    let stack = match base {
        Some(base) => base,
        None => Foundation::of_stack(&stack::ensure(
            store,
            printer,
            debian_stack::DEFAULT,
            request.mirror,
        )?),
    };
    if let Some(base) = request.run_image {
        run_image::check_target(printer, store, &stack, base)?;
    }
    Ok((buildpacks, stack))
}

/// Builds the app, whatever there is of it.
fn make(phases: &Phases<'_>, source: &Source, inputs: String) -> Result<Built, Failure> {
    let Phases {
        store,
        printer,
        request,
        parts,
        stack,
        ..
    } = *phases;
    let app = request.app;
    let mut clock = Clock::start();
    let begun = Begun::note(source.root());
    let (files, bytes) = source.size();
    isolation::warn_if_weak(printer);
    printer.heading(&format!("Building {}", app.name.as_str()));
    printer.line(&format!("Source   {files} files, {}", size::bytes(bytes)));
    if let Some(line) = left_out(source.secrets()) {
        printer.line(&line);
    }
    printer.line(&format!("Stack    {} ({})", stack.name, stack.summary));
    let (work, copies) = phases.lay_out(source)?;
    clock.lap("source");
    printer.heading("Detecting");
    let run_image = phases.run_image()?;
    let group = phases.detect(&work, &run_image)?;
    clock.lap("detect");
    record::mark_unfinished(app, LastBuild::Interrupted)?;
    phases.restore(&work, &group)?;
    clock.lap("restore");
    printer.heading("Building");
    let built = phases
        .build(&work, &group)
        .inspect_err(|_| work.note(copies.as_ref()));
    // A build that failed later on has fetched its tools all the same.
    tools::keep(store, parts, &app.layers())
        .unwrap_or_else(|failure| printer.warning(&chain(&failure)));
    let sweeping = phases.wheels.map(Wheels::sweep);
    let early = built?;
    if let Some(base) = request.run_image {
        run_image::check_files(store, base, &app.layers())?;
    }
    clock.lap("build");
    printer.heading("Exporting");
    let exported = phases.export(&work, &group, &run_image, &early)?;
    begun.remember(request, stack, &group, &exported.manifest)?;
    commit(phases, source, inputs, &exported)?;
    work.finish(copies.as_ref())?;
    write_report(request, &exported.manifest)?;
    if let Some(sweeping) = sweeping {
        // What it leaves, the next build of the app removes.
        drop(sweeping.join());
    }
    clock.lap("export");
    if let Some(cache) = request.cache {
        phases.save_cache(cache, &group, &exported);
        clock.lap("cache");
    }
    Ok(report(printer, &exported, &run_image, clock))
}

/// One line about files with secrets that stay out of the image, if there are any.
fn left_out(secrets: &[PathBuf]) -> Option<String> {
    const SHOWN: usize = 4;
    let first = secrets.first()?;
    let mut names: Vec<String> = secrets
        .iter()
        .take(SHOWN)
        .map(|path| path.display().to_string())
        .collect();
    if secrets.len() > SHOWN {
        names.push(format!("{} more", secrets.len() - SHOWN));
    }
    Some(format!(
        "Left out {} (secrets; to have one in the image, write !{} in .slugignore)",
        names.join(", "),
        first.display()
    ))
}

/// Two folders of one name would take turns at being one app.
fn warn_of_another_source(printer: &Printer, app: &App, known: Option<&AppImage>, source: &Source) {
    if let Some(last) = known
        && last.source != source.root()
        && last.source.is_dir()
    {
        printer.warning(&format!(
            "{} was built from {} until now; name one of the two with -a NAME, or with id in its project.toml",
            app.name.as_str(),
            last.source.display()
        ));
    }
}

/// What the last build left.
struct Last {
    record: Option<Record>,
    cache: Option<CacheRecord>,
    /// Whether the record is of a build on this machine.
    is_own: bool,
    ended: LastBuild,
    /// Whether unpinned requirements need no new look.
    fresh: bool,
}

impl Last {
    /// A record that cannot be read costs a build from scratch, nothing else.
    fn read(app: &App, printer: &Printer) -> Self {
        let record = Record::read(app).unwrap_or_else(|failure| {
            printer.warning(&format!("{}; everything is built again", chain(&failure)));
            None
        });
        Self {
            fresh: record
                .as_ref()
                .is_some_and(|record| record.is_fresh(SystemTime::now())),
            cache: None,
            is_own: record.is_some(),
            record,
            ended: record::last_build(app),
        }
    }

    /// With the layers' records, which a build that changes nothing does not need.
    fn with_cache(self, app: &App) -> Self {
        Self {
            cache: record::cache(app, self.record.as_ref()),
            ..self
        }
    }

    /// The record, if the image it tells of is what a build would make now.
    fn still_good(&self, store: &Store, inputs: &str) -> Option<&Record> {
        let good = |record: &&Record| {
            record.inputs == inputs
                && self.fresh
                && self.ended == LastBuild::Committed
                && record::is_complete(store.blobs(), &record.manifest.digest)
        };
        self.record.as_ref().filter(good)
    }

    fn cache(&self) -> Option<&CacheRecord> {
        self.cache.as_ref()
    }

    /// What this machine's own last build left is worth more: it has the cached layers, too.
    fn or_from(self, previous: Option<Record>) -> Self {
        match (&self.record, previous) {
            (None, Some(previous)) => {
                let mut cache = previous.cache.clone();
                if let Some(caches) = self.cache {
                    cache.complete(caches);
                }
                Self {
                    record: Some(previous),
                    cache: Some(cache),
                    is_own: false,
                    // Layers that are here are none of that build's.
                    ended: match self.ended {
                        LastBuild::Committed => LastBuild::Interrupted,
                        ended => ended,
                    },
                    ..self
                }
            }
            _ => self,
        }
    }
}

/// Makes the new image the app's: what is killed before this changes nothing, and the mark says that the layers
/// have to be looked at.
fn commit(
    phases: &Phases<'_>,
    source: &Source,
    inputs: String,
    exported: &export::Exported,
) -> Result<(), Failure> {
    let request = phases.request;
    let resolved_at = match &phases.last.record {
        Some(record) if phases.last.fresh && !request.refresh => record.resolved_at,
        _ => record::seconds(SystemTime::now()),
    };
    Record {
        inputs,
        manifest: exported.manifest.clone(),
        resolved_at,
        cache: exported.record.clone(),
        description: phases.description.clone(),
    }
    .write(request.app)?;
    let base = base_name(request, phases.stack);
    let known = request.app.image().unwrap_or(None);
    remember(
        request.app,
        known.as_ref(),
        source,
        base,
        &exported.manifest,
    )?;
    record::forget_caches(request.app)?;
    record::clear_mark(request.app)
}

/// Everything that decides what the image will be, as one digest.
fn inputs_digest(
    source: &Source,
    stack: &Foundation,
    buildpacks: &Buildpacks,
    request: &Request<'_>,
) -> Result<String, Failure> {
    let mut text = format!(
        "{}\n{}\n{}\n{}\n{}\n{}{}{}",
        parts::ID,
        stack.run_image.digest,
        stack.build_image,
        source.fingerprint(),
        buildpacks.fingerprint()?,
        run_image::fingerprint(request.run_image),
        request.surroundings.fingerprint()?,
        if stack.lifecycle.is_some() {
            "the builder's lifecycle\n"
        } else {
            ""
        },
    );
    // project.toml itself may be left out of the source.
    for slice in &request.project.slices {
        text.push_str(&slice.paths.join("\0"));
        text.push('\n');
    }
    for (name, value) in request.env {
        text.push_str(name);
        text.push('\0');
        text.push_str(value);
        text.push('\0');
    }
    Ok(Digest::of(text.as_bytes()).to_string())
}

fn clear_cache(app: &App) -> Result<(), Failure> {
    // Layers without a record are looked at; a record without its layers would be believed.
    record::forget(app)?;
    record::forget_caches(app)?;
    store::remove_tree(&app.work())?;
    store::remove_tree(&app.layers())
}

fn base_name<'a>(request: &Request<'a>, stack: &'a Foundation) -> &'a str {
    request.run_image.map_or(&stack.name, |base| &base.name)
}

/// The image of the last build, which is what a build would make now but for what it says of itself. That is put right
/// by a new configuration, and no layer is touched.
fn described(
    store: &Store,
    request: &Request<'_>,
    source: &Source,
    stack: &Foundation,
    record: &Record,
    description: &Description,
) -> Result<Descriptor, Failure> {
    if record.description == *description {
        return Ok(record.manifest.clone());
    }
    let base = phases::run_image(store, stack, request.run_image)?;
    let (last, digest) = (&record.description, record.manifest.digest);
    let manifest = description.renew(store, &digest, &base, last)?;
    provenance::renew(request.app, source.root(), &digest, &manifest)?;
    Record {
        inputs: record.inputs.clone(),
        manifest: manifest.clone(),
        resolved_at: record.resolved_at,
        cache: record.cache.clone(),
        description: description.clone(),
    }
    .write(request.app)?;
    Ok(manifest)
}

/// Written only if it is another than `known`.
fn remember(
    app: &App,
    known: Option<&AppImage>,
    source: &Source,
    base: &str,
    manifest: &Descriptor,
) -> Result<(), Failure> {
    let image = AppImage {
        manifest: manifest.clone(),
        stack: base.to_owned(),
        source: source.root().to_owned(),
    };
    if known == Some(&image) {
        return Ok(());
    }
    app.set_image(&image)
}

/// `report.toml` of the Platform API, where the user wants it.
fn write_report(request: &Request<'_>, manifest: &Descriptor) -> Result<(), Failure> {
    let Some(folder) = &request.surroundings.report else {
        return Ok(());
    };
    let report = Report {
        image: ImageReport {
            tags: request.tags.to_vec(),
            image_id: None,
            digest: Some(manifest.digest.to_string()),
            manifest_size: Some(manifest.size),
        },
    };
    toml_file::write(&folder.join("report.toml"), &report).or_fail(Exit::General, || {
        format!("cannot write the report into {}", folder.display())
    })
}

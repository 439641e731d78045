//! `slugc build`, in order: source → stack → analyze → detect → restore → build → export.

mod buildpacks;
pub(crate) mod cache_image;
mod phases;
pub(crate) mod record;
pub(crate) mod sandboxed;
pub(crate) mod summary;

use crate::app::{App, AppImage};
use crate::failure::{Exit, Failure, OrFail};
use crate::isolation;
use crate::parts::{self, Parts};
use crate::project::Project;
use crate::source::Source;
use crate::stack::{self, Stack};
use crate::store::{self, Store};
use crate::tools;
use crate::ui::error::chain;
use crate::ui::printer::Printer;
use crate::ui::size;
use buildpacks::Buildpacks;
use cache_image::CacheRepository;
use cnb_phases::export;
use cnb_phases::record::CacheRecord;
use cnb_phases::restore::LastBuild;
use cnb_spec::labels;
use oci_image::{Descriptor, Digest, Image};
use phases::Phases;
use record::Record;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) app: &'a App,
    pub(crate) path: &'a Path,
    pub(crate) project: &'a Project,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) buildpacks: &'a [PathBuf],
    pub(crate) clear_cache: bool,
    pub(crate) refresh: bool,
    pub(crate) tags: &'a [String],
    pub(crate) mirror: Option<&'a str>,
    /// The cache that other machines share.
    pub(crate) cache: Option<&'a CacheRepository<'a>>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) manifest: Descriptor,
    pub(crate) up_to_date: bool,
    /// Compressed, in bytes.
    pub(crate) size: u64,
    pub(crate) base_size: u64,
    pub(crate) reused: usize,
    pub(crate) added: usize,
    pub(crate) added_bytes: u64,
    /// Process types, the default one first.
    pub(crate) processes: Vec<String>,
    pub(crate) times: Vec<(&'static str, Duration)>,
}

/// The time of each phase.
#[derive(Debug)]
struct Clock {
    start: Instant,
    last: Instant,
    times: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            last: now,
            times: Vec::new(),
        }
    }

    fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.times.push((name, now - self.last));
        self.last = now;
    }

    fn total(mut self) -> Vec<(&'static str, Duration)> {
        self.times.push(("total", self.last - self.start));
        self.times
    }
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
    warn_of_another_source(printer, app, &source);
    let parts = Parts::in_store(store)?;
    let buildpacks = Buildpacks::choose(&parts, request.buildpacks)?;
    let stack = stack::ensure(store, printer, debian_stack::DEFAULT, request.mirror)?;
    let inputs = inputs_digest(&source, &stack, &buildpacks, request.env)?;
    if request.clear_cache {
        clear_cache(app)?;
    }
    let last = Last::read(app, printer);
    if let Some(record) = last.still_good(store, &inputs)
        && !request.refresh
    {
        remember(app, &source, &stack, &record.manifest)?;
        return Ok(up_to_date(record));
    }

    let mut clock = Clock::start();
    let (files, bytes) = source.size();
    isolation::warn_if_weak(printer);
    printer.heading(&format!("Building {}", app.name.as_str()));
    printer.line(&format!("Source   {files} files, {}", size::bytes(bytes)));
    printer.line(&format!("Stack    {} ({})", stack.name, stack.summary));
    let phases = Phases {
        store,
        printer,
        request,
        parts: &parts,
        buildpacks: &buildpacks,
        stack: &stack,
        last: &last,
    };
    let work = phases.lay_out(&source)?;
    clock.lap("source");
    printer.heading("Detecting");
    let run_image = phases.run_image()?;
    let group = phases.detect(&work, &run_image)?;
    clock.lap("detect");
    record::mark_unfinished(app, LastBuild::Interrupted)?;
    phases.restore(&work, &group)?;
    clock.lap("restore");
    printer.heading("Building");
    let built = phases.build(&work, &group);
    // A build that failed later on has fetched its tools all the same.
    tools::keep(store, &parts, &app.layers())
        .unwrap_or_else(|failure| printer.warning(&chain(&failure)));
    let early = built?;
    clock.lap("build");
    printer.heading("Exporting");
    let exported = phases.export(&work, &group, &run_image, &early)?;
    commit(&phases, &source, inputs, &exported)?;
    clock.lap("export");
    if let Some(cache) = request.cache {
        phases.save_cache(cache, &group, &exported);
        clock.lap("cache");
    }
    Ok(report(printer, &exported, &run_image, clock))
}

/// Two folders of one name would take turns at being one app.
fn warn_of_another_source(printer: &Printer, app: &App, source: &Source) {
    if let Ok(Some(last)) = app.image()
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
            record,
            ended: record::last_build(app),
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
        self.record.as_ref().map(|record| &record.cache)
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
    }
    .write(request.app)?;
    remember(request.app, source, phases.stack, &exported.manifest)?;
    record::clear_mark(request.app)?;
    store::remove_tree(&request.app.work())
}

/// Everything that decides what the image will be, as one digest.
fn inputs_digest(
    source: &Source,
    stack: &Stack,
    buildpacks: &Buildpacks,
    env: &BTreeMap<String, String>,
) -> Result<String, Failure> {
    let mut text = format!(
        "{}\n{}\n{}\n{}\n{}\n",
        parts::ID,
        stack.run_image.digest,
        stack.build_image.digest,
        source.fingerprint(),
        buildpacks.fingerprint()?,
    );
    for (name, value) in env {
        text.push_str(name);
        text.push('\0');
        text.push_str(value);
        text.push('\0');
    }
    Ok(Digest::of(text.as_bytes()).to_string())
}

fn clear_cache(app: &App) -> Result<(), Failure> {
    store::remove_tree(&app.layers())?;
    match fs::remove_file(app.record_file()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)
            .or_fail(Exit::Store, || {
                format!("cannot remove {}", app.record_file().display())
            }),
        _ => Ok(()),
    }
}

fn remember(
    app: &App,
    source: &Source,
    stack: &Stack,
    manifest: &Descriptor,
) -> Result<(), Failure> {
    // One that cannot be read is replaced.
    let last = app.image().unwrap_or(None);
    let image = AppImage {
        manifest: manifest.clone(),
        stack: stack.name.clone(),
        source: source.root().to_owned(),
    };
    if last.as_ref() == Some(&image) {
        return Ok(());
    }
    app.set_image(&image)
}

fn up_to_date(record: &Record) -> Built {
    Built {
        manifest: record.manifest.clone(),
        up_to_date: true,
        size: 0,
        base_size: 0,
        reused: 0,
        added: 0,
        added_bytes: 0,
        processes: Vec::new(),
        times: Vec::new(),
    }
}

fn report(
    printer: &Printer,
    exported: &export::Exported,
    run_image: &Image,
    clock: Clock,
) -> Built {
    let mut reused = 0;
    let mut added = 0;
    let mut added_bytes = 0;
    for layer in &exported.layers {
        let word = match layer.state {
            export::LayerState::Reused => {
                reused += 1;
                "Reused"
            }
            export::LayerState::Added => {
                added += 1;
                added_bytes += layer.blob.size;
                "Added "
            }
        };
        printer.line(&format!(
            "{word} {:>9}  {}",
            size::bytes(layer.blob.size),
            layer.name
        ));
    }
    let total = |layers: &[Descriptor]| layers.iter().map(|layer| layer.size).sum::<u64>();
    Built {
        manifest: exported.manifest.clone(),
        up_to_date: false,
        size: total(&exported.image.manifest.layers),
        base_size: total(&run_image.manifest.layers),
        reused,
        added,
        added_bytes,
        processes: process_types(&exported.image),
        times: clock.total(),
    }
}

/// The image's process types, the default one first.
fn process_types(image: &Image) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Process {
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Default, serde::Deserialize)]
    struct Label {
        #[serde(default)]
        processes: Vec<Process>,
        #[serde(default, rename = "buildpack-default-process-type")]
        default: Option<String>,
    }
    let label = image.config.config.labels.get(labels::BUILD_METADATA);
    // The label was written a moment ago; what cannot be read is only not shown.
    let Some(label) = label.and_then(|text| serde_json::from_str::<Label>(text).ok()) else {
        return Vec::new();
    };
    let mut types: Vec<String> = label
        .processes
        .into_iter()
        .map(|process| process.kind)
        .collect();
    types.sort_by_key(|kind| Some(kind) != label.default.as_ref());
    types
}

//! `slugc build`, in order: source → stack → analyze → detect → restore → build → export.

mod buildpacks;
pub(crate) mod record;
pub(crate) mod sandboxed;
pub(crate) mod summary;

use crate::app::{App, AppImage};
use crate::failure::{Exit, Failure, OrFail};
use crate::parts::{self, Parts};
use crate::project::Project;
use crate::source::Source;
use crate::stack::{self, Stack};
use crate::store::{self, Store};
use crate::ui::printer::Printer;
use crate::ui::size;
use buildpacks::Buildpacks;
use cnb_phases::log::{Level, Logger};
use cnb_phases::restore::LastBuild;
use cnb_phases::{analyze, export, restore};
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::labels::LauncherMetadata;
use cnb_spec::run::RunImageNames;
use cnb_spec::toml_file;
use cnb_spec::labels;
use cnb_spec::project::ProjectMetadata;
use oci_image::{Compression, Descriptor, Digest, Image, NORMALIZED_MTIME, Owner};
use record::Record;
use sandboxed::{Phase, Workplace};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What is asked for.
#[derive(Debug)]
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
pub(crate) fn build(store: &Store, printer: &Printer, request: &Request<'_>) -> Result<Built, Failure> {
    let app = request.app;
    let source = Source::list(request.path, request.project)?;
    app.create()?;
    let _lock = app.build_lock(|| {
        printer.line(&format!("Waiting for another build of {}", app.name.as_str()));
    })?;
    let parts = Parts::in_store(store)?;
    let buildpacks = Buildpacks::choose(&parts, request.buildpacks)?;
    let stack = stack::ensure(store, printer, stack::DEFAULT, request.mirror)?;
    let mut clock = Clock::start();
    let inputs = inputs_digest(&source, &stack, &buildpacks, request.env)?;

    if request.clear_cache {
        clear_cache(app)?;
    }
    let last_record = Record::read(app)?;
    let last_build = record::last_build(app);
    let fresh = last_record
        .as_ref()
        .is_some_and(|record| record.is_fresh(SystemTime::now()));
    if let Some(record) = &last_record
        && record.inputs == inputs
        && fresh
        && !request.refresh
        && last_build == LastBuild::Committed
        && record.is_complete(store.blobs())
    {
        remember(app, request, &source, &stack, &record.manifest)?;
        return Ok(up_to_date(record));
    }

    let (files, bytes) = source.size();
    printer.heading(&format!("Building {}", app.name.as_str()));
    printer.line(&format!("Source   {files} files, {}", size::bytes(bytes)));
    printer.line(&format!("Stack    {} ({})", stack.name, stack.summary));
    let work = Workplace::create(&app.work(), &app.layers())?;
    source.copy(&work.app())?;
    write_platform_env(&work, request, fresh)?;
    buildpacks.write_order(&work.order())?;
    let run_image = Image::load(store.blobs(), &stack.run_image.digest)
        .or_fail(Exit::Store, || format!("cannot read the run image of the stack {}", stack.name))
        .map_err(|failure| failure.hint(format!("make the stack again: slugc stack create {} --force", stack.name)))?;
    work.hand_over(&stack)?;
    clock.lap("source");

    // A broken previous image costs new layers, nothing else.
    let previous = last_record
        .as_ref()
        .and_then(|record| Image::load(store.blobs(), &record.manifest.digest).ok());
    let sink = |level: Level, line: &str| log(printer, level, line);
    let logger = Logger::new(&sink);
    let reference = stack.run_image.digest.to_string();
    let analysis = analyze::analyze(&analyze::Inputs {
        run_image: &run_image,
        run_image_reference: &reference,
        run_image_name: Some(&stack.name),
        previous: None,
        log: logger,
    });
    let exchange = work.exchange();
    toml_file::write(&exchange.join("analyzed.toml"), &analysis.analyzed)
        .or_fail(Exit::Store, || "cannot pass on the analysis".to_owned())?;
    printer.heading("Detecting");
    run_phase(printer, &work, &stack, &parts, &buildpacks, "detector")?;
    let group: Group = toml_file::read(&exchange.join("group.toml"))
        .or_fail(Exit::Lifecycle(exit_code::DETECT_ERROR), || "cannot read what the detector chose".to_owned())?;
    for element in &group.group {
        printer.line(&format!("{} {}", element.id, element.version));
    }
    clock.lap("detect");

    record::mark_unfinished(app, LastBuild::Interrupted)?;
    restore::restore(&restore::Inputs {
        layers_dir: &app.layers(),
        group: &group,
        record: last_record.as_ref().map(|record| &record.cache),
        last_build,
        blobs: store.blobs(),
        log: logger,
    })
    .map_err(|error| {
        Failure::new(Exit::Lifecycle(error.exit_code()), "cannot restore the cached layers")
            .because(error)
            .hint("build without them: slugc build --clear-cache")
    })?;
    work.hand_over(&stack)?;
    clock.lap("restore");

    printer.heading("Building");
    if let Err(failure) = run_phase(printer, &work, &stack, &parts, &buildpacks, "builder") {
        if failure.exit == Exit::Lifecycle(exit_code::BUILD_BUILDPACK_FAILED) {
            record::mark_unfinished(app, LastBuild::BuildpackFailed)?;
        }
        return Err(failure);
    }
    clock.lap("build");

    printer.heading("Exporting");
    let exported = export::export(&export::Inputs {
        platform_api: sandboxed::PLATFORM_API,
        layers_dir: &app.layers(),
        layers_path: sandboxed::LAYERS,
        app_dir: &work.app(),
        app_path: sandboxed::APP,
        group: &group,
        run_image: &run_image,
        run_image_reference: &reference,
        run_image_names: &RunImageNames {
            image: Some(stack.name.clone()),
            mirrors: Vec::new(),
        },
        launcher: &parts.launcher(),
        launcher_metadata: &LauncherMetadata {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..LauncherMetadata::default()
        },
        owner: Owner { uid: stack.uid, gid: stack.gid },
        compression: Compression::default(),
        record: last_record.as_ref().map(|record| &record.cache),
        previous: previous.as_ref(),
        process_type: None,
        project: &ProjectMetadata::default(),
        exec_env: "",
        created: NORMALIZED_MTIME,
        tags: request.tags,
        blobs: store.blobs(),
        log: logger,
    })
    .map_err(|error| {
        let exit = Exit::Lifecycle(error.exit_code());
        Failure::new(exit, "cannot export the image").because(error)
    })?;
    let resolved_at = match &last_record {
        Some(record) if fresh && !request.refresh => record.resolved_at,
        _ => record::seconds(SystemTime::now()),
    };
    Record {
        inputs,
        manifest: exported.manifest.clone(),
        resolved_at,
        cache: exported.record.clone(),
    }
    .write(app)?;
    remember(app, request, &source, &stack, &exported.manifest)?;
    record::clear_mark(app)?;
    store::remove_tree(&app.work())?;
    clock.lap("export");
    Ok(report(printer, &exported, &run_image, clock))
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
            .or_fail(Exit::Store, || format!("cannot remove {}", app.record_file().display())),
        _ => Ok(()),
    }
}

fn write_platform_env(work: &Workplace, request: &Request<'_>, fresh: bool) -> Result<(), Failure> {
    let folder = work.platform().join("env");
    let mut variables = request.env.clone();
    if crate::host::ca_bundle().is_some() {
        // Installers that bring authorities of their own would refuse a company's.
        for name in ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"] {
            variables
                .entry(name.to_owned())
                .or_insert_with(|| crate::host::CA_BUNDLE.to_owned());
        }
    }
    if request.refresh || !fresh {
        variables.insert("BP_PYTHON_REFRESH".to_owned(), "1".to_owned());
    }
    for (name, value) in &variables {
        let path = folder.join(name);
        fs::write(&path, value).or_fail(Exit::Store, || format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn run_phase(
    printer: &Printer,
    work: &Workplace,
    stack: &Stack,
    parts: &Parts,
    buildpacks: &Buildpacks,
    name: &'static str,
) -> Result<(), Failure> {
    let exchange = Path::new(sandboxed::EXCHANGE);
    let inside = |file: &str| exchange.join(file).display().to_string();
    let level = if printer.is_verbose() { "debug" } else { "info" };
    let mut flags = vec![
        format!("-app={}", sandboxed::APP),
        format!("-buildpacks={}", sandboxed::BUILDPACKS),
        format!("-layers={}", sandboxed::LAYERS),
        format!("-platform={}", sandboxed::PLATFORM),
        format!("-analyzed={}", inside("analyzed.toml")),
        format!("-group={}", inside("group.toml")),
        format!("-plan={}", inside("plan.toml")),
        format!("-log-level={level}"),
    ];
    let mut quiet = printer.is_quiet();
    if name == "detector" {
        flags.push(format!("-order={}", sandboxed::ORDER));
        quiet |= !printer.is_verbose();
    }
    let code = work.run(
        stack,
        parts,
        buildpacks.mounts(),
        &Phase {
            name,
            flags: &flags,
            quiet,
        },
    )?;
    match code {
        0 => Ok(()),
        130 => Err(Failure::new(Exit::Signal(2), "stopped")),
        code => Err(phase_failure(name, code)),
    }
}

fn phase_failure(name: &str, code: u8) -> Failure {
    let failure = |message: &str, hint: &str| Failure::new(Exit::Lifecycle(code), message).hint(hint);
    match code {
        exit_code::DETECT_NO_GROUP => failure(
            "no buildpack recognises the app",
            "a Python app has requirements.txt, pyproject.toml, manage.py, app.py or main.py in the folder that is built",
        ),
        exit_code::DETECT_NO_GROUP_WITH_ERRORS => failure(
            "no buildpack recognises the app, and one of them failed while it looked",
            "its own message stands above",
        ),
        exit_code::BUILD_BUILDPACK_FAILED => failure(
            "a buildpack could not build the app",
            "its own message stands above; mend that and run slugc build again, cached layers are kept",
        ),
        code if code > 128 => Failure::new(
            Exit::Signal(code - 128),
            format!("the {name} was ended by signal {}", code - 128),
        )
        .hint("run slugc build again"),
        _ => failure(&format!("the {name} failed with exit code {code}"), "its own message stands above"),
    }
}

fn log(printer: &Printer, level: Level, line: &str) {
    match level {
        Level::Debug | Level::Info => printer.detail(line),
        Level::Warn | Level::Error => printer.warning(line),
    }
}

fn remember(
    app: &App,
    request: &Request<'_>,
    source: &Source,
    stack: &Stack,
    manifest: &Descriptor,
) -> Result<(), Failure> {
    let last = app.image()?;
    let mut tags = request.tags.to_vec();
    if let Some(last) = &last {
        tags.extend(last.tags.iter().filter(|tag| !request.tags.contains(tag)).cloned());
    }
    let image = AppImage {
        manifest: manifest.clone(),
        stack: stack.name.clone(),
        tags,
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

fn report(printer: &Printer, exported: &export::Exported, run_image: &Image, clock: Clock) -> Built {
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
        printer.line(&format!("{word} {:>9}  {}", size::bytes(layer.blob.size), layer.name));
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
    let mut types: Vec<String> = label.processes.into_iter().map(|process| process.kind).collect();
    types.sort_by_key(|kind| Some(kind) != label.default.as_ref());
    types
}

//! The phases of one build, each with what it needs: in this process, or in the sandbox.

use crate::bases::Base;
use crate::build::buildpacks::Buildpacks;
use crate::build::debian_mirror;
use crate::build::description::Description;
use crate::build::foundation::Foundation;
use crate::build::sandboxed::{self, Phase, Scene, Workplace};
use crate::build::shared_cache::SharedCache;
use crate::build::wheels::{self, Wheels};
use crate::build::{Last, Request, record};
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::parts::Parts;
use crate::project;
use crate::source::{Copies, Source};
use crate::store::Store;
use crate::tools;
use crate::ui::error::chain;
use crate::ui::printer::Printer;
use cnb_phases::cache::restored::Restored;
use cnb_phases::cache::{restore as cache_restore, save};
use cnb_phases::export::EarlyLayer;
use cnb_phases::log::{Level, Logger};
use cnb_phases::record::{CacheRecord, LayerSettings};
use cnb_phases::restore::LastBuild;
use cnb_phases::{analyze, export, intruders, restore};
use cnb_spec::api::ApiVersion;
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::labels::{LauncherMetadata, LayersMetadata};
use cnb_spec::names::escape_id;
use cnb_spec::project::ProjectMetadata;
use cnb_spec::run::RunImageNames;
use cnb_spec::toml_file;
use oci_image::{Compression, Image, NORMALIZED_MTIME, Owner};
use slug_runtime::bindings;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often to look whether a buildpack is done with a layer.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How deep layers are looked at for files that the build's user must own: what lies deeper was written by that user,
/// and walking it would cost a look at every file of every layer.
const OWN_LAYERS: usize = 2;

/// Apps of so many bytes are cut into several layers. Below, compressing all of it again takes a second.
const CUT_APP_ABOVE: u64 = 64 << 20;

/// Where buildpacks announce layers that are usable at any moment, in the folder for those that are done.
const CACHES: &str = "caches";

/// What all phases of a build share.
pub(super) struct Phases<'a> {
    pub(super) store: &'a Store,
    pub(super) printer: &'a Printer,
    pub(super) request: &'a Request<'a>,
    /// The wheel store, where this build may have a part in it.
    pub(super) wheels: Option<&'a Wheels>,
    pub(super) parts: &'a Parts,
    pub(super) buildpacks: &'a Buildpacks,
    pub(super) stack: &'a Foundation,
    pub(super) last: &'a Last,
    pub(super) description: &'a Description,
}

impl Phases<'_> {
    /// Copies the source and writes what the platform has to say.
    ///
    /// What a large copy looks like is returned: the next build may go on from it.
    pub(super) fn lay_out(&self, source: &Source) -> Result<(Workplace, Option<Copies>), Failure> {
        let app = self.request.app;
        let (work, copies) = Workplace::create(app)?;
        source.copy(&work.app(), copies.as_ref())?;
        write_platform_env(&work, self.request, self.last.fresh, self.wheels)?;
        work.add_bindings(self.stack, &self.request.surroundings.bindings)?;
        self.buildpacks.write_order(&work.order())?;
        work.hand_over(self.stack)?;
        let copies = source
            .is_large()
            .then(|| source.note(&work.app()))
            .flatten();
        Ok((work, copies))
    }

    pub(super) fn run_image(&self) -> Result<Image, Failure> {
        run_image(self.store, self.stack, self.request.run_image)
    }

    /// What metadata call the run image, and its reference.
    fn base_names(&self) -> (RunImageNames, String) {
        match self.request.run_image {
            Some(base) => (
                RunImageNames {
                    image: Some(base.name.clone()),
                    mirrors: Vec::new(),
                },
                base.reference.clone(),
            ),
            None => (
                self.stack.run_image_names.clone(),
                self.stack.run_image.digest.to_string(),
            ),
        }
    }

    pub(super) fn detect(&self, work: &Workplace, run_image: &Image) -> Result<Group, Failure> {
        let sink = |level: Level, line: &str| self.printer.log(level, line);
        let (names, reference) = self.base_names();
        let analysis = analyze::analyze(&analyze::Inputs {
            run_image,
            run_image_reference: &reference,
            run_image_name: names.image.as_deref(),
            previous: None,
            log: Logger::new(&sink),
        });
        let exchange = work.exchange();
        toml_file::write(&exchange.join("analyzed.toml"), &analysis.analyzed)
            .or_fail(Exit::Store, || "cannot pass on the analysis".to_owned())?;
        self.run(work, "detector")?;
        refuse_intruders(&exchange)?;
        let group: Group = toml_file::read(&exchange.join("group.toml"))
            .or_fail(Exit::Lifecycle(exit_code::DETECT_ERROR), || {
                "cannot read what the detector chose".to_owned()
            })?;
        // The folder that this was read from is open to detection code.
        if let Some(stranger) = group
            .group
            .iter()
            .find(|element| !self.buildpacks.has(element))
        {
            return Err(Failure::new(
                Exit::Lifecycle(exit_code::DETECT_ERROR),
                format!("the detector chose {stranger}, which is none of the build's buildpacks"),
            ));
        }
        for element in &group.group {
            self.printer
                .line(&format!("{} {}", element.id, element.version));
        }
        Ok(group)
    }

    pub(super) fn restore(&self, work: &Workplace, group: &Group) -> Result<(), Failure> {
        let sink = |level: Level, line: &str| self.printer.log(level, line);
        restore::restore(&restore::Inputs {
            layers_dir: &self.request.app.layers(),
            group,
            record: self.last.cache(),
            last_build: self.last.ended,
            blobs: self.store.blobs(),
            log: Logger::new(&sink),
        })
        .map_err(|error| {
            Failure::new(
                Exit::Lifecycle(error.exit_code()),
                "cannot restore the cached layers",
            )
            .because(error)
            .hint("build without them: slugc build --clear-cache")
        })?;
        if let Some(cache) = self.request.cache
            && !self.last.is_own
            && !self.request.clear_cache
            // What a failed build has fetched is newer than what others left.
            && self.last.cache().is_none()
        {
            self.restore_from(cache, group);
            // Others wrote them.
            return work.hand_over_layers(self.stack, usize::MAX);
        }
        work.hand_over_layers(self.stack, OWN_LAYERS)
    }

    /// Layers of an app that this machine did not build before, out of the cache that others left. Without them the
    /// build takes longer, nothing else.
    fn restore_from(&self, cache: &SharedCache<'_>, group: &Group) {
        let sink = |level: Level, line: &str| self.printer.log(level, line);
        let restored = cache.with_layers(|layers| {
            cache_restore::restore(&cache_restore::Inputs {
                platform_api: sandboxed::PLATFORM_API,
                layers_dir: &self.request.app.layers(),
                layers_path: Path::new(sandboxed::LAYERS),
                group,
                previous: &LayersMetadata::default(),
                cache: Some(layers),
                skip_layers: false,
                owner: self.owner(),
                log: Logger::new(&sink),
            })
            .or_fail(Exit::Store, || format!("cannot use {cache}"))
        });
        if let Err(failure) = restored.and_then(|restored| restored) {
            self.printer.warning(&chain(&failure));
        }
    }

    /// Puts the layers for the next build into the cache that others share. The image is made already: what goes wrong
    /// is a warning.
    pub(super) fn save_cache(
        &self,
        cache: &SharedCache<'_>,
        group: &Group,
        exported: &export::Exported,
    ) {
        let layers_dir = self.request.app.layers();
        let sink = |level: Level, line: &str| self.printer.log(level, line);
        let inputs = save::Inputs {
            platform_api: sandboxed::PLATFORM_API,
            layers_dir: &layers_dir,
            layers_path: sandboxed::LAYERS,
            group,
            owner: self.owner(),
            record: &exported.record,
            restored: &Restored::read(&layers_dir),
            log: Logger::new(&sink),
        };
        self.printer.heading(&format!("Caching in {cache}"));
        let saved = cache.with_layers(|layers| {
            save::save(&inputs, layers).or_fail(Exit::Network, || format!("cannot save {cache}"))
        });
        if let Err(failure) = saved.and_then(|saved| saved) {
            self.printer.warning(&chain(&failure));
        }
    }

    /// Runs the buildpacks; returns the layers that could be written meanwhile.
    pub(super) fn build(
        &self,
        work: &Workplace,
        group: &Group,
    ) -> Result<Vec<EarlyLayer>, Failure> {
        let (running, ended) = mpsc::channel();
        let (asking, silent) = mpsc::channel();
        let (built, early) = std::thread::scope(|scope| {
            let early = scope.spawn(move || self.write_early(work, group, &ended));
            if let Some(wheels) = self.wheels {
                scope.spawn(move || wheels.serve(self, work, &silent));
            }
            let built = self.run(work, "builder");
            drop((running, asking));
            // Without them the export takes longer, nothing else.
            (built, early.join().unwrap_or_default())
        });
        for layer in &early {
            self.printer.detail(&format!(
                "Layer {} was written while the build ran",
                layer.name()
            ));
        }
        built.map(|()| early).inspect_err(|failure| {
            if failure.exit == Exit::Lifecycle(exit_code::BUILD_BUILDPACK_FAILED) {
                // If these cannot be written the stricter mark stands, and the buildpack's own failure matters more.
                drop(record::keep_caches(
                    self.request.app,
                    &self.caches(work, group),
                ));
                drop(record::mark_unfinished(
                    self.request.app,
                    LastBuild::BuildpackFailed,
                ));
            }
        })
    }

    /// The layers that buildpacks have called usable at any moment, with those of failed builds before.
    fn caches(&self, work: &Workplace, group: &Group) -> CacheRecord {
        let mut caches: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for element in &group.group {
            let announced = fs::read_dir(work.sealed().join(CACHES).join(escape_id(&element.id)));
            let names = announced.into_iter().flatten().flatten();
            caches.insert(
                element.id.clone(),
                names
                    .filter_map(|entry| entry.file_name().into_string().ok())
                    .collect(),
            );
        }
        let settings = LayerSettings::new(sandboxed::LAYERS, self.owner(), Compression::default());
        CacheRecord::of_caches(&self.request.app.layers(), group, &caches, settings)
    }

    /// Writes layers as their buildpacks say that they are done with them, until the sender of `ended` is gone.
    fn write_early(
        &self,
        work: &Workplace,
        group: &Group,
        ended: &Receiver<Infallible>,
    ) -> Vec<EarlyLayer> {
        let layers_dir = self.request.app.layers();
        let inputs = export::EarlyInputs {
            layers_dir: &layers_dir,
            layers_path: sandboxed::LAYERS,
            owner: self.owner(),
            compression: Compression::default(),
            blobs: self.store.blobs(),
        };
        let (mut early, mut seen) = (Vec::new(), BTreeSet::new());
        while ended.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Timeout) {
            for element in &group.group {
                let announced = fs::read_dir(work.sealed().join(escape_id(&element.id)));
                for entry in announced.into_iter().flatten().flatten() {
                    let Ok(layer) = entry.file_name().into_string() else {
                        continue;
                    };
                    if seen.insert((element.id.clone(), layer.clone())) {
                        early.extend(export::write_early(&inputs, &element.id, &layer));
                    }
                }
            }
        }
        early
    }

    fn owner(&self) -> Owner {
        Owner {
            uid: self.stack.uid,
            gid: self.stack.gid,
        }
    }

    pub(super) fn export(
        &self,
        work: &Workplace,
        group: &Group,
        run_image: &Image,
        early: &[EarlyLayer],
    ) -> Result<export::Exported, Failure> {
        let sink = |level: Level, line: &str| self.printer.log(level, line);
        // A broken previous image costs new layers, nothing else.
        let previous = self
            .last
            .record
            .as_ref()
            .and_then(|record| Image::load(self.store.blobs(), &record.manifest.digest).ok());
        let (launcher, version) = match &self.stack.lifecycle {
            Some(own) => (own.launcher.clone(), own.version.clone()),
            None => (self.parts.launcher(), env!("CARGO_PKG_VERSION").to_owned()),
        };
        let (names, reference) = self.base_names();
        let mut exported = export::export(&export::Inputs {
            platform_api: self.api(),
            layers_dir: &self.request.app.layers(),
            layers_path: sandboxed::LAYERS,
            app_dir: &work.app(),
            app_path: &self.request.surroundings.workspace,
            group,
            run_image,
            run_image_reference: &reference,
            run_image_names: &names,
            launcher: &launcher,
            launcher_metadata: &LauncherMetadata {
                version,
                ..LauncherMetadata::default()
            },
            owner: self.owner(),
            compression: Compression::default(),
            record: self.last.cache(),
            elsewhere: &BTreeMap::new(),
            early,
            previous: previous.as_ref(),
            process_type: None,
            project: &ProjectMetadata::default(),
            slices: &self.request.project.slices,
            cut_app_above: Some(CUT_APP_ABOVE),
            exec_env: &self.request.surroundings.exec_env,
            created: NORMALIZED_MTIME,
            tags: self.request.tags,
            blobs: self.store.blobs(),
            log: Logger::new(&sink),
        })
        .map_err(|error| {
            Failure::new(
                Exit::Lifecycle(error.exit_code()),
                "cannot export the image",
            )
            .because(error)
        })?;
        let saving = || "cannot save the image".to_owned();
        let none = Description::default();
        let user = &mut exported.image.config.config.user;
        if user.is_empty() {
            // A base without a user of its own would run the app as root.
            *user = format!("{}:{}", self.stack.uid, self.stack.gid);
        }
        self.description
            .apply(&mut exported.image, run_image, &none);
        exported.manifest = exported
            .image
            .save(self.store.blobs())
            .or_fail(Exit::Store, saving)?;
        Ok(exported)
    }

    /// Execution environments are of 0.15, which pack does not speak yet: only a build that uses them asks for it.
    fn api(&self) -> ApiVersion {
        match &self.stack.lifecycle {
            Some(own) => own.api,
            None if self.request.surroundings.exec_env != project::PRODUCTION => {
                ApiVersion::new(0, 15)
            }
            None => sandboxed::PLATFORM_API,
        }
    }

    /// Runs the detector or the builder in the sandbox.
    fn run(&self, work: &Workplace, name: &'static str) -> Result<(), Failure> {
        let exchange = Path::new(sandboxed::EXCHANGE);
        let inside = |file: &str| exchange.join(file).display().to_string();
        let level = if self.printer.is_verbose() {
            "debug"
        } else {
            "info"
        };
        let mut flags = vec![
            format!("-app={}", self.request.surroundings.workspace),
            format!("-buildpacks={}", sandboxed::BUILDPACKS),
            format!("-layers={}", sandboxed::LAYERS),
            format!("-platform={}", sandboxed::PLATFORM),
            format!("-analyzed={}", inside("analyzed.toml")),
            format!("-group={}", inside("group.toml")),
            format!("-plan={}", inside("plan.toml")),
            format!("-log-level={level}"),
        ];
        let mut quiet = self.printer.is_quiet();
        if name == "detector" {
            flags.push(format!("-order={}", sandboxed::ORDER));
            quiet |= !self.printer.is_verbose();
        }
        let code = work.run(
            &Scene {
                stack: self.stack,
                parts: self.parts,
                buildpacks: self.buildpacks.mounts(),
                tools: &self.store.tools(),
                wheels: self.wheels.map(Wheels::installs),
                surroundings: self.request.surroundings,
                api: self.api(),
            },
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
}

/// The base of the image to be.
pub(super) fn run_image(
    store: &Store,
    stack: &Foundation,
    given: Option<&Base>,
) -> Result<Image, Failure> {
    if let Some(base) = given {
        return Ok(base.documents.image.clone());
    }
    let name = &stack.name;
    Image::load(store.blobs(), &stack.run_image.digest)
        .or_fail(Exit::Store, || {
            format!("cannot read the run image of the stack {name}")
        })
        .map_err(|failure| {
            failure.hint(format!(
                "make the stack again: slugc stack create {name} --force"
            ))
        })
}

fn write_platform_env(
    work: &Workplace,
    request: &Request<'_>,
    fresh: bool,
    wheels: Option<&Wheels>,
) -> Result<(), Failure> {
    let folder = work.platform().join("env");
    let mut variables = request.env.clone();
    if host::ca_bundle().is_some() {
        // Installers that bring authorities of their own would refuse a company's.
        for name in ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"] {
            variables
                .entry(name.to_owned())
                .or_insert_with(|| host::CA_BUNDLE.to_owned());
        }
    }
    variables
        .entry(tools::VARIABLE.to_owned())
        .or_insert_with(|| tools::INSIDE.to_owned());
    variables
        .entry("BP_SEALED_DIR".to_owned())
        .or_insert_with(|| sandboxed::SEALED.to_owned());
    if wheels.is_some() {
        variables
            .entry(wheels::VARIABLE.to_owned())
            .or_insert_with(|| wheels::OFFERED.to_owned());
    }
    if !request.surroundings.bindings.is_empty() {
        variables.insert(bindings::VARIABLE.to_owned(), bindings::INSIDE.to_owned());
    }
    debian_mirror::tell(&mut variables, request);
    if request.refresh || !fresh {
        variables.insert("BP_PYTHON_REFRESH".to_owned(), "1".to_owned());
    }
    for (name, value) in &variables {
        let path = folder.join(name);
        fs::write(&path, value)
            .or_fail(Exit::Store, || format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn phase_failure(name: &str, code: u8) -> Failure {
    let failure =
        |message: &str, hint: &str| Failure::new(Exit::Lifecycle(code), message).hint(hint);
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
            "its own message stands above; mend that and run slugc build again",
        ),
        code if code > 128 => Failure::new(
            Exit::Signal(code - 128),
            format!("the {name} was ended by signal {}", code - 128),
        )
        .hint("run slugc build again"),
        _ => failure(
            &format!("the {name} failed with exit code {code}"),
            "its own message stands above",
        ),
    }
}

/// What a phase in the sandbox leaves is read outside of it: a link or a pipe must not stand there.
fn refuse_intruders(folder: &Path) -> Result<(), Failure> {
    let looking = || {
        format!(
            "cannot look at what the detector left in {}",
            folder.display()
        )
    };
    let found = intruders::in_tree(folder).or_fail(Exit::Store, looking)?;
    match found.first() {
        None => Ok(()),
        Some(path) => Err(Failure::new(
            Exit::Lifecycle(exit_code::DETECT_ERROR),
            format!(
                "detection left {}, which is neither a file nor a folder",
                path.display()
            ),
        )),
    }
}

//! What `launch` and `run` share: the app's image, unpacked, and the host's part.

use crate::app::{App, AppName};
use crate::args::AppArgs;
use crate::build_env;
use crate::commands::addons;
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::isolation;
use crate::store::{Lock, Store};
use crate::ui::printer::Printer;
use oci_image::Image;
use slug_runtime::addons::InUse;
use slug_runtime::processes::ProcessesError;
use slug_runtime::roots::Roots;
use slug_runtime::size::Size;
use slug_runtime::state::{ConfigVars, ReleaseImage};
use slug_runtime::{Bound, ControlGroups, DynoError, HostFiles, Metadata};
use std::path::{Path, PathBuf};

/// An image that is ready to run, with the config vars that it runs with.
pub(crate) struct Ready {
    pub(crate) image: Image,
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) config: ConfigVars,
    pub(crate) host: HostFiles,
    pub(crate) run_dir: PathBuf,
    /// The folder of the app's log.
    pub(crate) logs: PathBuf,
    /// What the dyno is told about its release, if it has one.
    metadata: Option<Metadata>,
    /// Keeps `cache prune` away while the image runs.
    used: Option<Lock>,
    /// What the dyno is kept to, if it has a size.
    bound: Option<(Size, ControlGroups)>,
    /// Keeps the add-ons' servers running.
    pub(crate) addons: InUse,
}

impl Ready {
    /// The app's current release; `env` wins over its config vars.
    pub(crate) fn open(printer: &Printer, app: &AppArgs, env: &[String]) -> Result<Self, Failure> {
        let env = build_env::collect(&[], &[], env)?;
        let store = Store::open()?;
        let app = App::of(&store, AppName::choose(app, Path::new("."))?);
        let release = app.current()?;
        let (image, mut config) = match &release {
            Some(release) => (release.image.clone(), release.config.clone()),
            // Built by a slugc that made no releases.
            None if app.newest_release()?.is_none() => {
                (Some(app.built_image()?.into()), ConfigVars::new())
            }
            None => (None, ConfigVars::new()),
        };
        let Some(image) = image else {
            app.built_image()?;
            return Err(no_release(&app));
        };
        config.extend(env);
        let metadata = release.map(|release| {
            Metadata::of_release(
                app.name.as_str(),
                release.version,
                release.created_at,
                &release.description,
                &image.manifest.digest,
            )
        });
        let ready = Self::of(printer, &store, &app, &image, config)?;
        Ok(Self { metadata, ..ready })
    }

    /// Finds a release's image and unpacks what of it is not unpacked yet.
    pub(crate) fn of(
        printer: &Printer,
        store: &Store,
        app: &App,
        of_release: &ReleaseImage,
        config: ConfigVars,
    ) -> Result<Self, Failure> {
        let used = store.use_lock()?;
        isolation::warn_if_weak(printer);
        let digest = &of_release.manifest.digest;
        let missing = || {
            format!(
                "cannot open the image {digest} of the app {}",
                app.name.as_str()
            )
        };
        let rebuild = |failure: Failure| {
            let source = app.image().ok().flatten().map(|image| image.source);
            let source = source.unwrap_or_else(|| PathBuf::from("PATH"));
            failure.hint(format!(
                "build it again: slugc build {} --refresh -a {}",
                source.display(),
                app.name.as_str()
            ))
        };
        let image = Image::load(store.blobs(), digest)
            .or_fail(Exit::Store, missing)
            .map_err(rebuild)?;
        let roots = Roots::open(store.roots()).or_fail(Exit::Store, missing)?;
        let spinner = printer.spinner("Unpacking the image");
        let lowers = roots
            .lowers(&image, store.blobs())
            .or_fail(Exit::Store, missing)
            .map_err(rebuild)?;
        spinner.finish_and_clear();
        let addons = addons::start_for(printer, store, app)?;
        let existing = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_file());
        Ok(Self {
            image,
            lowers,
            config,
            host: HostFiles {
                resolv_conf: existing("/etc/resolv.conf"),
                hosts: existing("/etc/hosts"),
                ca_bundle: host::ca_bundle(),
                bindings: Vec::new(),
            },
            run_dir: app.run_dir(),
            logs: app.logs(),
            metadata: None,
            used: Some(used),
            bound: None,
            addons,
        })
    }

    /// Keeps the dyno to a size, as far as this process may.
    pub(crate) fn keep_to(&mut self, printer: &Printer, size: Size) {
        let groups = ControlGroups::make();
        if let Some(lacking) = groups.lacking() {
            printer.warning(&format!(
                "not all that the size {size} says can be enforced: {lacking}"
            ));
        }
        self.bound = Some((size, groups));
    }

    pub(crate) fn app(&self) -> slug_runtime::App<'_> {
        slug_runtime::App {
            image: &self.image,
            lowers: &self.lowers,
            config_vars: &self.config,
            metadata: self.metadata.as_ref(),
            host: &self.host,
            bound: self.bound.as_ref().map(|(size, groups)| Bound {
                size: *size,
                groups,
            }),
            run_dir: &self.run_dir,
        }
    }

    /// What keeps `cache prune` away, for who drops it as soon as the dyno can be found by others.
    pub(crate) fn take_lock(&mut self) -> Option<Lock> {
        self.used.take()
    }
}

/// There is an image, but its release failed and there was none before it.
pub(crate) fn no_release(app: &App) -> Failure {
    let name = app.name.as_str();
    let message = format!("no release of {name} that has an image has succeeded");
    Failure::new(Exit::Input, message).hint(format!(
        "slugc releases -a {name} lists them; mend the release command and build again"
    ))
}

/// A process's own exit code, passed through.
pub(crate) fn pass_through(code: i32) -> std::process::ExitCode {
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Why there is nothing to start.
pub(crate) fn exit_of_process(error: &ProcessesError) -> Exit {
    match error {
        ProcessesError::UnknownType { .. } | ProcessesError::NoCommand => Exit::Usage,
        ProcessesError::Label { .. } | ProcessesError::NothingToStart => Exit::Input,
    }
}

/// Why a dyno did not start.
pub(crate) fn exit_of_dyno(error: &DynoError) -> Exit {
    match error {
        DynoError::User { .. } | DynoError::Binding(_) => Exit::Input,
        DynoError::Scratch { .. } => Exit::Store,
        DynoError::Start { .. } => Exit::Sandbox,
        DynoError::HostFile { .. } | DynoError::ControlGroup { .. } | DynoError::Watch { .. } => {
            Exit::General
        }
    }
}

//! The app's virtual environment: build, launch and cache layer.
//!
//! Three things can happen to the environment of the last build:
//! - everything that an install depends on is the same: it is used as it is, without one write;
//! - the requirements or settings changed: uv brings it up to date from its cache;
//! - Python, platform or tools changed, or the last install did not come to its end: it is made anew,
//!   linked from uv's cache.
//!
//! The layer's metadata is marked incomplete before the first write and complete after the last
//! one, so a build that is killed leaves nothing that is mistaken for an environment.

use crate::bytecode::{self, Ahead};
use crate::install::{self, Freshness, Installer};
use crate::interpreter::Interpreter;
use crate::project::{Plan, Source};
use crate::records::{self, Installed, Package};
use crate::wheels::take::{Offer, Supply, Wish};
use crate::{BuildpackError, PythonBuildpack, files, fingerprint, log, slim, tool_env};
pub(crate) use frame::{create, identity, site_packages};
use frame::{layer_env, write_exec_d};
use libcnb::Env;
use libcnb::build::BuildContext;
use libcnb::data::layer::LayerName;
use libcnb::data::layer_name;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerRef, LayerState, RestoredLayerAction,
};
use libcnb::sbom::Sbom;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

mod frame;

/// Raised when what this file makes of the same inputs changes.
const LAYOUT: &str = "2";

/// The layer's name.
pub(crate) static NAME: LazyLock<LayerName> = LazyLock::new(|| layer_name!("venv"));

/// Asks for a look at the index: a switch, or the name of a period in which one look is enough.
pub(crate) const REFRESH_VARIABLE: &str = "BP_PYTHON_REFRESH";

/// The environment could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("could not prepare the virtual environment in {}", folder.display())]
pub(crate) struct VenvError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

impl VenvError {
    pub(crate) fn new(folder: &Path, source: io::Error) -> Self {
        Self {
            folder: folder.to_path_buf(),
            source,
        }
    }
}

/// Everything that decides what is in the environment.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    /// No number: the upstream lifecycle keeps metadata as JSON and gives whole numbers back as fractions.
    layout: String,
    python: String,
    platform: String,
    installer: String,
    requirements: String,
    settings: String,
    period: String,
    /// Whether the install came to its end.
    complete: bool,
}

/// What is to be done with the environment of the last build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Reuse,
    Update(&'static str),
    Remake(&'static str),
}

/// What the environment is made of.
pub(crate) struct Inputs<'a> {
    pub(crate) python: &'a Interpreter,
    /// What is asked for; `None`: nothing.
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) installer: &'a Installer,
    /// The user's variables over the buildpack's.
    pub(crate) env: &'a Env,
}

/// The environment, with its packages in place.
pub(crate) struct Venv {
    pub(crate) path: PathBuf,
    /// Where its packages lie.
    pub(crate) site_packages: PathBuf,
    /// What this Python adds to the names of its bytecode files.
    bytecode_tag: String,
    /// The packages of the last build from which weight was left out.
    before: Installed,
    /// Modules that have no bytecode yet.
    pub(crate) uncompiled: Vec<PathBuf>,
    /// What compiles modules since before they were installed.
    pub(crate) ahead: Option<Ahead>,
    layer: LayerRef<PythonBuildpack, (), Decision>,
    metadata: Metadata,
}

impl Venv {
    /// Its Python.
    pub(crate) fn python(&self) -> PathBuf {
        self.path.join("bin/python")
    }

    /// A digest of the Python and of the packages that are installed for it.
    pub(crate) fn digest(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        for text in [&self.metadata.python, &self.metadata.platform] {
            hash.update(text);
            hash.update("\0");
        }
        hash.update(self.path.as_os_str().as_encoded_bytes());
        records::add(&mut hash, &self.site_packages)?;
        Ok(fingerprint::hex(&hash.finalize()))
    }

    /// Whether it is another one than the last build's.
    pub(crate) fn is_changed(&self) -> bool {
        self.layer.state
            != LayerState::Restored {
                cause: Decision::Reuse,
            }
    }

    /// The `.dist-info` folders of packages that are not the last build's, where weight is left out.
    pub(crate) fn new_packages(&self) -> io::Result<Vec<OsString>> {
        let now = records::installed(&self.site_packages)?;
        let new = changed(&now, &self.before);
        Ok(new.map(|(name, _)| name.clone()).collect())
    }

    /// Writes what describes the environment beside it.
    pub(crate) fn write_sboms(&self, sboms: &[Sbom]) -> libcnb::Result<(), BuildpackError> {
        self.layer.write_sboms(sboms)
    }

    /// Declares the environment complete: the next build may use it.
    pub(crate) fn seal(&self) -> libcnb::Result<(), BuildpackError> {
        if !self.is_changed() {
            return Ok(());
        }
        self.layer.write_metadata(Metadata {
            complete: true,
            ..self.metadata.clone()
        })
    }
}

/// Provides the environment with the requirements installed.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
    inputs: &Inputs,
) -> libcnb::Result<Venv, BuildpackError> {
    let refresh = inputs
        .env
        .get(REFRESH_VARIABLE)
        .filter(|_| inputs.plan.is_none_or(|plan| !plan.locked))
        .filter(|value| tool_env::is_on(value));
    let period = refresh.map(|value| value.to_string_lossy().into_owned());
    let forced = period.as_deref().is_some_and(tool_env::is_switch);
    let wanted = Metadata {
        layout: LAYOUT.to_owned(),
        python: identity(inputs.python),
        platform: platform(context),
        installer: installer(inputs) + &slim::note(inputs.env),
        requirements: inputs
            .plan
            .map(|plan| plan.fingerprint.clone())
            .unwrap_or_default(),
        settings: tool_env::fingerprint(inputs.env),
        period: period.filter(|_| !forced).unwrap_or_default(),
        complete: false,
    };
    let can_update = matches!(inputs.installer, Installer::Uv { .. });
    let layer = context.cached_layer(
        NAME.clone(),
        CachedLayerDefinition {
            build: true,
            launch: true,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, _| {
                let decision = decide(cached, &wanted, forced, can_update);
                let action = match decision {
                    Decision::Reuse | Decision::Update(_) => RestoredLayerAction::KeepLayer,
                    Decision::Remake(_) => RestoredLayerAction::DeleteLayer,
                };
                (action, decision)
            },
        },
    )?;
    let path = layer.path();
    let site_packages = site_packages(&path, inputs.python);
    let before = slim::done(inputs.env, &site_packages);
    let mut venv = Venv {
        before: before.map_err(|source| error_at(&path, source))?,
        site_packages,
        path,
        bytecode_tag: inputs.python.bytecode_tag.clone(),
        uncompiled: Vec::new(),
        ahead: None,
        layer,
        metadata: wanted,
    };
    let freshness = freshness(inputs, forced);
    match venv.layer.state {
        LayerState::Restored {
            cause: Decision::Reuse,
        } => {
            log::step("Reusing the virtual environment: nothing changed that it depends on.");
            return Ok(venv);
        }
        LayerState::Restored {
            cause: Decision::Update(reason) | Decision::Remake(reason),
        } => {
            log::step(format!(
                "Updating the virtual environment ({reason}) with {}.",
                inputs.installer
            ));
            let is_done = match take(&mut venv, inputs, forced, context)? {
                Supply::Complete => true,
                Supply::None => update(&mut venv, inputs, freshness, context)?,
                Supply::Broken => false,
            };
            if is_done {
                return Ok(venv);
            }
            log::step("Making the virtual environment anew: it can't be brought up to date.");
        }
        LayerState::Empty { cause } => {
            if let libcnb::layer::EmptyLayerCause::RestoredLayerAction {
                cause: Decision::Remake(reason),
            } = cause
            {
                log::step(format!("Making the virtual environment anew ({reason})."));
            }
            if !matches!(inputs.installer, Installer::Nothing) {
                log::step(format!(
                    "Installing {} with {}.",
                    file(inputs),
                    inputs.installer
                ));
            }
        }
    }
    let is_new = matches!(venv.layer.state, LayerState::Empty { .. });
    if is_new && take(&mut venv, inputs, forced, context)? == Supply::Complete {
        return Ok(venv);
    }
    clear(&venv.path).map_err(|source| error_at(&venv.path, source))?;
    make(&mut venv, inputs, freshness, context)?;
    Ok(venv)
}

fn freshness(inputs: &Inputs, forced: bool) -> Freshness {
    if forced || inputs.plan.is_some_and(|plan| plan.local_sources) {
        Freshness::Revalidated
    } else {
        Freshness::Cached
    }
}

/// Takes the packages from the wheel store, where the platform has one and the app's are of the kind that is kept there.
fn take(
    venv: &mut Venv,
    inputs: &Inputs,
    forced: bool,
    context: &BuildContext<PythonBuildpack>,
) -> libcnb::Result<Supply, BuildpackError> {
    let (Some(plan), Installer::Uv { version, .. }) = (inputs.plan, inputs.installer) else {
        return Ok(Supply::None);
    };
    let is_new = matches!(venv.layer.state, LayerState::Empty { .. });
    let wish = Wish {
        plan,
        version,
        python: inputs.python,
        env: inputs.env,
        // Of a new environment, HTTP's own rules say how new its packages are.
        refresh: forced && !is_new,
    };
    let Some(offer) = Offer::find(context, wish, &venv.path) else {
        return Ok(Supply::None);
    };
    venv.layer.write_metadata(&venv.metadata)?;
    let failed = |source| error_at(&venv.path, source);
    if is_new {
        venv.layer.write_env(layer_env(&venv.path))?;
        create(&venv.path, inputs.python).map_err(failed)?;
        write_exec_d(&venv.path).map_err(failed)?;
    }
    offer.supply().map_err(failed).map_err(Into::into)
}

/// What changed decides what has to be done; the reason is for the user.
fn decide(cached: &Metadata, wanted: &Metadata, forced: bool, can_update: bool) -> Decision {
    let remake = [
        (!cached.complete, "the last install did not come to its end"),
        (cached.layout != wanted.layout, "the buildpack changed"),
        (cached.platform != wanted.platform, "the stack changed"),
        (cached.python != wanted.python, "Python changed"),
        (
            cached.installer != wanted.installer,
            "the installer changed",
        ),
    ];
    if let Some((_, reason)) = remake.into_iter().find(|(changed, _)| *changed) {
        return Decision::Remake(reason);
    }
    let update = [
        (
            cached.requirements != wanted.requirements,
            "the requirements changed",
        ),
        (
            cached.settings != wanted.settings,
            "the installer's settings changed",
        ),
        (
            forced || cached.period != wanted.period && !wanted.period.is_empty(),
            "a look at the index is due",
        ),
    ];
    match update.into_iter().find(|(changed, _)| *changed) {
        None => Decision::Reuse,
        Some((_, reason)) if can_update => Decision::Update(reason),
        Some((_, reason)) => Decision::Remake(reason),
    }
}

/// The installer, with what it installs from: each way leaves its own marks in an environment.
fn installer(inputs: &Inputs) -> String {
    match inputs.plan.map(|plan| &plan.source) {
        None | Some(Source::Requirements) => inputs.installer.to_string(),
        Some(source) => format!("{} from {source}", inputs.installer),
    }
}

fn file<'a>(inputs: &'a Inputs) -> &'a str {
    inputs.plan.map_or("nothing", |plan| plan.source.file())
}

/// Makes the environment from nothing.
fn make(
    venv: &mut Venv,
    inputs: &Inputs,
    freshness: Freshness,
    context: &BuildContext<PythonBuildpack>,
) -> libcnb::Result<(), BuildpackError> {
    venv.layer.write_metadata(&venv.metadata)?;
    venv.layer.write_env(layer_env(&venv.path))?;
    create(&venv.path, inputs.python).map_err(|source| error_at(&venv.path, source))?;
    write_exec_d(&venv.path).map_err(|source| error_at(&venv.path, source))?;
    install(venv, inputs, freshness, context)?;
    let failed = |source| error_at(&venv.path, source);
    let after = records::installed(&venv.site_packages).map_err(failed)?;
    settle(venv, &Installed::new(), &after).map_err(|source| error_at(&venv.path, source))?;
    Ok(())
}

/// Brings the environment up to date. False when that can't give what a fresh one would hold.
fn update(
    venv: &mut Venv,
    inputs: &Inputs,
    freshness: Freshness,
    context: &BuildContext<PythonBuildpack>,
) -> libcnb::Result<bool, BuildpackError> {
    venv.layer.write_metadata(&venv.metadata)?;
    let before =
        records::installed(&venv.site_packages).map_err(|source| error_at(&venv.path, source))?;
    if records::share_files(&before) {
        return Ok(false);
    }
    install(venv, inputs, freshness, context)?;
    let after =
        records::installed(&venv.site_packages).map_err(|source| error_at(&venv.path, source))?;
    if records::share_files(&after) {
        return Ok(false);
    }
    settle(venv, &before, &after).map_err(|source| error_at(&venv.path, source))?;
    Ok(true)
}

/// Runs the installer.
fn install(
    venv: &mut Venv,
    inputs: &Inputs,
    freshness: Freshness,
    context: &BuildContext<PythonBuildpack>,
) -> Result<(), BuildpackError> {
    if let Installer::Uv { cache, .. } = inputs.installer
        && venv.ahead.is_none()
    {
        venv.ahead = Ahead::start(&inputs.python.executable, cache, &venv.site_packages);
    }
    install::install(
        inputs.installer,
        inputs.plan,
        &venv.path,
        freshness,
        &context.app_dir,
        inputs.env,
    )
    .map_err(BuildpackError::Install)
}

/// Notes which modules to compile, those of the packages that were not there `before`, and removes
/// what the tools leave behind: uv leaves bytecode outside of packages' own folders, and folders of data files.
fn settle(venv: &mut Venv, before: &Installed, after: &Installed) -> io::Result<()> {
    files::remove_if_there(&venv.path.join(".lock"))?;
    let (mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new());
    for (_, package) in changed(before, after) {
        for module in modules(&venv.site_packages, package) {
            bytecode::forget(&module, &venv.bytecode_tag)?;
            inside.extend(module.parent().map(|folder| folder.join("__pycache__")));
        }
        for file in &package.files {
            let path = files::without_detours(&venv.site_packages.join(file));
            let folders = if path.starts_with(&venv.site_packages) {
                &mut inside
            } else {
                &mut outside
            };
            folders.extend(path.parent().map(Path::to_path_buf));
        }
    }
    files::remove_empty(&venv.site_packages, &inside)?;
    files::remove_empty(&venv.path, &outside)?;
    for (name, package) in changed(after, before) {
        records::drop_cache_note(&venv.site_packages, name)?;
        venv.uncompiled
            .extend(modules(&venv.site_packages, package));
    }
    Ok(())
}

/// The packages of one state that are not the same in the other.
fn changed<'a>(
    these: &'a Installed,
    others: &'a Installed,
) -> impl Iterator<Item = (&'a OsString, &'a Package)> {
    these
        .iter()
        .filter(|(name, package)| others.get(*name) != Some(package))
}

/// A package's modules; scripts and data files lie outside of `site-packages`, and what a record says to be anywhere
/// else is none of the package's.
pub(crate) fn modules(site_packages: &Path, package: &Package) -> impl Iterator<Item = PathBuf> {
    package
        .files
        .iter()
        .filter(|file| !file.starts_with("../") && !file.starts_with('/'))
        .map(|file| site_packages.join(file))
        .filter(|file| file.extension().is_some_and(|extension| extension == "py"))
}

fn platform(context: &BuildContext<PythonBuildpack>) -> String {
    let target = &context.target;
    format!(
        "{} {} {}",
        target.arch, target.distro_name, target.distro_version
    )
}

fn clear(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder)?;
    fs::create_dir(folder)
}

fn error_at(folder: &Path, source: io::Error) -> BuildpackError {
    BuildpackError::Venv(VenvError::new(folder, source))
}

#[cfg(test)]
mod tests;

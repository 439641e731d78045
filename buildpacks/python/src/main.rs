//! The Python buildpack: a virtual environment with the app's requirements.

#![forbid(unsafe_code)]

mod app_files;
mod bytecode;
mod checks;
mod command;
mod consistency;
mod detect;
mod django;
mod doctor;
mod errors;
mod files;
mod fingerprint;
#[cfg(test)]
mod fuzz_tests;
mod hooks;
mod install;
mod interpreter;
mod layers;
mod log;
mod project;
mod python_range;
mod python_version;
mod records;
mod redact;
mod requirements;
mod sbom;
mod secrets;
mod slim;
mod text_file;
mod tool_env;
mod tools;
mod web;
mod weight;
mod wheels;

use crate::bytecode::{BytecodeError, Compilation};
use crate::errors::BuildpackError;
use crate::hooks::Hook;
use crate::project::Plan;
use crate::slim::Slim;
use crate::tools::Tools;
use libcnb::build::{BuildContext, BuildResult, BuildResultBuilder};
use libcnb::data::build_plan::BuildPlanBuilder;
use libcnb::detect::{DetectContext, DetectResult, DetectResultBuilder};
use libcnb::generic::{GenericMetadata, GenericPlatform};
use libcnb::{Buildpack, Env, Platform};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

struct PythonBuildpack;

/// An app that gets no packages may have expected some.
fn tell_of_no_packages(plan: Option<&Plan>) {
    match plan {
        None => {
            log::step("There is no requirements.txt: the app gets Python without any packages.");
        }
        Some(plan) if plan.empty => log::step(format!(
            "{} asks for nothing: the app gets Python without any packages.",
            plan.source
        )),
        Some(_) => {}
    }
}

impl Buildpack for PythonBuildpack {
    type Platform = GenericPlatform;
    type Metadata = GenericMetadata;
    type Error = BuildpackError;

    fn detect(&self, context: DetectContext<Self>) -> libcnb::Result<DetectResult, BuildpackError> {
        let app_dir = checks::project_folder(&context.app_dir, context.platform.env())
            .map_err(BuildpackError::Check)?;
        let project = detect::look(&app_dir)
            .map_err(|error| BuildpackError::Check(checks::CheckError::Look(error)))?;
        if !project.is_python {
            log::step(errors::NOT_A_PYTHON_PROJECT);
            return DetectResultBuilder::fail().build();
        }
        let plan = BuildPlanBuilder::new()
            .provides("python")
            .requires("python")
            .build();
        DetectResultBuilder::pass().build_plan(plan).build()
    }

    fn build(
        &self,
        mut context: BuildContext<Self>,
    ) -> libcnb::Result<BuildResult, BuildpackError> {
        if let Some(store) = wheels::stock::store() {
            return wheels::stock::run(context, &store);
        }
        // Clocks of file systems are coarse.
        let start = SystemTime::now() - Duration::from_secs(2);
        let root = context.app_dir.clone();
        context.app_dir = check(&root, context.platform.env())?;
        let env = tool_env::with_user_variables(context.platform.env());
        let slim = Slim::of(&env).map_err(BuildpackError::Check)?;

        hooks::run(Hook::Before, &context.app_dir, &env).map_err(BuildpackError::Hook)?;
        let choice = project::choose(&context.app_dir, &env)?;

        log::section("Python");
        let mut tools = Tools::new(&context, &env)?;
        let python = tools.python(choice.as_ref().map(|choice| &choice.source))?;

        log::section("Requirements");
        let plan = match choice {
            Some(choice) => {
                choice.explain();
                Some(
                    project::plan(&context.app_dir, choice, &env)
                        .map_err(BuildpackError::Project)?,
                )
            }
            None => None,
        };
        tell_of_no_packages(plan.as_ref());
        if let Some(plan) = &plan {
            errors::warn_of_unset_variables(&plan.unset_variables);
        }
        let installer = tools.installer(&python, plan.as_ref())?;
        let mut venv = layers::venv::provide(
            &context,
            &layers::venv::Inputs {
                python: &python,
                plan: plan.as_ref(),
                installer: &installer,
                env: &env,
            },
        )?;

        if venv.is_changed() {
            records::check(&venv.site_packages, start).map_err(BuildpackError::Record)?;
        }

        // Django imports its own modules while the other processors compile the rest.
        let modules = std::mem::take(&mut venv.uncompiled);
        let is_new = !modules.is_empty();
        // The app's own script may still write to the environment.
        let is_announced = venv.is_changed() && !Hook::After.is_there(&context.app_dir);
        let mut compilation = Some(
            bytecode::start(&venv.python(), modules, venv.ahead.take())
                .map_err(BuildpackError::Bytecode)?,
        );
        let mut compiled = 0;
        if slim.is_asked_for() && venv.is_changed() {
            // Django is to see what the image gets.
            if let Some(compilation) = compilation.take() {
                compiled = compilation.finish().map_err(BuildpackError::Bytecode)?;
            }
            slim::leave_out(&slim, &venv, &env).map_err(BuildpackError::Slim)?;
        }
        let collecting = AtomicBool::new(true);
        let uv = tools.known_uv();
        let (compiled, django) = std::thread::scope(|scope| {
            let consistency = scope.spawn(|| consistency::check(uv, &venv, plan.as_ref(), &env));
            let compilation = scope.spawn(|| {
                let compiled = compilation.map_or(Ok(compiled), Compilation::finish);
                // A layer that nobody waits for is as well read afterwards.
                if compiled.is_ok() && is_announced && collecting.load(Ordering::Relaxed) {
                    layers::announce(&context, &env, &layers::venv::NAME);
                }
                compiled
            });
            let django = django::collect_static(&context, &venv, &env);
            collecting.store(false, Ordering::Relaxed);
            if let Ok(Some(words)) = consistency.join() {
                errors::warn_of_inconsistency(&words);
            }
            let compiled = compilation.join().unwrap_or_else(|_| {
                Err(BytecodeError::Compiler(io::Error::other(
                    "a thread panicked",
                )))
            });
            (compiled.map_err(BuildpackError::Bytecode), django)
        });
        let compiled = compiled?;
        // The environment is complete whatever Django said: a mended project need not install again.
        sbom::write(&context, &venv, python.version, plan.as_ref(), &env)?;
        venv.seal()?;
        django?;
        if is_new {
            log::step(format!("Compiled {compiled} modules to bytecode."));
        }
        weight::tell(&venv, &env);
        layers::nltk::provide(&context, &venv, &env)?;
        let for_app = django::environment(&venv, &env);
        hooks::run(Hook::After, &context.app_dir, &for_app).map_err(BuildpackError::Hook)?;
        let mut result = BuildResultBuilder::new();
        for sbom in sbom::of_build(&installer, &env)? {
            result = result.build_sbom(sbom);
        }
        if let Some(launch) = web::suggest(&root, &context.app_dir, &venv.site_packages, &env) {
            result = result.launch(launch);
        }
        result.build()
    }

    fn on_error(&self, error: libcnb::Error<BuildpackError>) {
        errors::explain(&error);
        if wheels::stock::store().is_some() {
            // The platform tells the build's user the last line of a stocking that failed.
            eprintln!("{}", errors::in_short(&error));
        }
    }
}

/// Looks at variables and files before anything is installed, and takes out what must not be in the image; returns the
/// folder with the project.
fn check(root: &Path, user: &Env) -> Result<PathBuf, BuildpackError> {
    checks::environment(user).map_err(BuildpackError::Check)?;
    let secrets = secrets::remove(root).map_err(BuildpackError::Secret)?;
    secrets::tell(&secrets);
    let app_dir = checks::project_folder(root, user).map_err(BuildpackError::Check)?;
    errors::warn_of_stray_venvs(&checks::stray_venvs(&app_dir));
    errors::warn_of_stray_folders(&checks::stray_folders(&app_dir));
    errors::warn_of_misspelt_files(&checks::misspelt_files(&app_dir));
    if root != app_dir {
        log::step(format!(
            "The project is in {}, as {} says.",
            app_dir.strip_prefix(root).unwrap_or(&app_dir).display(),
            checks::APP_PATH_VARIABLE
        ));
        if let Some(folder) = checks::workspace_above(root, &app_dir) {
            errors::warn_of_workspace(&folder);
        }
    }
    Ok(app_dir)
}

fn main() -> ExitCode {
    // A platform that looks at projects without building them starts the program by this name.
    if std::env::args_os()
        .next()
        .is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new("doctor")))
    {
        return doctor::main();
    }
    phases::run();
    ExitCode::SUCCESS
}

/// What a lifecycle starts the program for.
mod phases {
    libcnb::buildpack_main!(crate::PythonBuildpack);

    /// Runs the phase that the program was started as; it does not return from a failed one.
    pub(crate) fn run() {
        main();
    }
}

//! Looks at a project as a build would and builds nothing: `doctor <app> <platform> [<Python of the stack>]`.
//!
//! It is the same program under another name, so that what it says is what a build will do. It prints findings as TOML and
//! changes nothing.

mod django;

use crate::errors::{self, BuildpackError};
use crate::project::{self, Choice, Source};
use crate::python_range::Range;
use crate::python_version::{self, PythonVersion, PythonVersionError, Request, Support, Variety};
use crate::{checks, detect, tools, web};
use libcnb::generic::GenericPlatform;
use libcnb::{Env, Platform as _};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// The build goes on, and the app may not be what was meant.
    Warning,
    /// The build stops.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    title: String,
    /// Why, and what to do; may be empty.
    detail: String,
}

#[derive(Debug, Default, Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, level: Level, title: impl Into<String>, detail: impl Into<String>) {
        self.findings.push(Finding {
            level,
            title: title.into(),
            detail: detail.into(),
        });
    }

    fn ok(&mut self, title: impl Into<String>) {
        self.add(Level::Ok, title, "");
    }

    /// The failure that a build would end with.
    fn failed(&mut self, error: &BuildpackError) {
        let (title, body) = errors::words(error);
        self.add(Level::Error, title, body);
    }
}

/// Prints what was found.
pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(app_dir), Some(platform)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: doctor <app> <platform> [<version of the stack's Python>]");
        return ExitCode::from(2);
    };
    let stack = arguments
        .next()
        .and_then(|version| exact(&version.to_string_lossy()));
    let env = match GenericPlatform::from_path(PathBuf::from(platform)) {
        Ok(platform) => platform.env().clone(),
        Err(error) => {
            eprintln!("The variables for the build can't be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    match toml::to_string(&look(Path::new(&app_dir), &env, stack)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("The findings can't be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn exact(version: &str) -> Option<PythonVersion> {
    let (series, patch) = python_version::parse_version(version)?;
    Some(PythonVersion {
        series,
        patch: patch?,
    })
}

/// Everything that a build looks at before it runs a program.
fn look(root: &Path, env: &Env, stack: Option<PythonVersion>) -> Findings {
    let mut findings = Findings::default();
    match checks::environment(env) {
        Ok(()) => {}
        Err(error) => findings.failed(&BuildpackError::Check(error)),
    }
    let app_dir = match checks::project_folder(root, env) {
        Ok(folder) => folder,
        Err(error) => {
            findings.failed(&BuildpackError::Check(error));
            return findings;
        }
    };
    match detect::look(&app_dir) {
        Ok(project) if project.is_python => {}
        Ok(_) => {
            findings.add(
                Level::Error,
                "No Python project found",
                errors::NOT_A_PYTHON_PROJECT,
            );
            return findings;
        }
        Err(error) => {
            findings.failed(&BuildpackError::Check(checks::CheckError::Look(error)));
            return findings;
        }
    }
    let choice = match project::choose(&app_dir, env) {
        Ok(choice) => choice,
        Err(error) => {
            findings.failed(&error);
            None
        }
    };
    let source = choice.as_ref().map(|choice| choice.source.clone());
    python(&mut findings, &app_dir, source.as_ref(), stack);
    let packages = packages(&mut findings, &app_dir, choice, env);
    files(&mut findings, &app_dir);
    let has_django = packages.as_ref().map(|names| names.contains("django"));
    django::look(&mut findings, &app_dir, env, has_django);
    let packages = packages.unwrap_or_default();
    if !root.join("Procfile").exists() {
        let has = |package: &str| packages.contains(package);
        match web::line(&app_dir, has) {
            Some((framework, line)) => findings.add(
                Level::Warning,
                "There is no Procfile",
                format!("This looks like a {framework} app; a Procfile that serves it:\n    {line}"),
            ),
            None => findings.add(
                Level::Warning,
                "There is no Procfile",
                "Without one the image has no process types. Write a line for each, such as\n    web: gunicorn app:app",
            ),
        }
    }
    findings
}

/// What is installed; returns its names, if the files tell.
fn packages(
    findings: &mut Findings,
    app_dir: &Path,
    choice: Option<Choice>,
    env: &Env,
) -> Option<BTreeSet<String>> {
    let Some(choice) = choice else {
        let is_clean = findings
            .findings
            .iter()
            .all(|finding| finding.level != Level::Error);
        if is_clean {
            findings.add(
                Level::Warning,
                "Nothing says which packages the app needs",
                "The app gets Python alone. If it needs packages, list them in requirements.txt.",
            );
        }
        return None;
    };
    let source = choice.source.clone();
    let others: Vec<String> = choice.others().map(str::to_owned).collect();
    let why = if others.is_empty() {
        String::new()
    } else {
        format!(
            "It comes first among: {source}, {}. Another one: {}=NAME",
            others.join(", "),
            project::MANAGER_VARIABLE
        )
    };
    let plan = match project::plan(app_dir, choice, env) {
        Ok(plan) => plan,
        Err(error) => {
            findings.failed(&BuildpackError::Project(error));
            return None;
        }
    };
    if plan.empty {
        findings.add(Level::Warning, format!("{source} asks for nothing"), why);
    } else {
        findings.add(
            Level::Ok,
            format!("Packages are installed from {source}"),
            why,
        );
    }
    for name in &plan.unset_variables {
        findings.add(
            Level::Warning,
            format!("The requirements use ${{{name}}}, which is not set"),
            format!("Pass it to the build: -e {name}=..."),
        );
    }
    let installed = match project::names::installed(app_dir, &source, env) {
        Ok(names) => names,
        Err(error) => {
            findings.failed(&BuildpackError::Project(error));
            return None;
        }
    };
    match project::names::not_locked(app_dir, &source, &installed) {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => findings.add(
            Level::Error,
            format!("{source} is out of date"),
            format!(
                "It does not have {}. Lock again and commit it.",
                missing.join(", ")
            ),
        ),
        Err(error) => findings.failed(&BuildpackError::Project(error)),
    }
    (source != Source::SetupPy).then_some(installed)
}

/// Which Python it will be, and why.
fn python(
    findings: &mut Findings,
    app_dir: &Path,
    source: Option<&Source>,
    stack: Option<PythonVersion>,
) {
    let asked = match tools::asked(app_dir, source) {
        Ok(asked) => asked,
        Err(error) => {
            findings.failed(&error);
            return;
        }
    };
    if asked.runtime_txt {
        findings.add(
            Level::Warning,
            "runtime.txt is deprecated",
            errors::about_runtime_txt(asked.request),
        );
    }
    if asked.request.is_none()
        && asked.ranges.is_empty()
        && let Some((title, body)) =
            stack.and_then(|stack| errors::about_range(stack, &asked.wishes))
    {
        findings.add(Level::Warning, title, body);
    }
    match decide(asked.request, &asked.ranges, stack) {
        Ok((title, support)) => {
            findings.ok(title);
            if let Some(Support::Ended(month)) = support {
                findings.add(
                    Level::Warning,
                    "This Python gets no security fixes any more",
                    format!("Its support ended in {month}. Move to a newer one."),
                );
            }
        }
        Err(error) => findings.failed(&BuildpackError::PythonVersion(error)),
    }
}

/// The Python that a build would take, by the same rules: a version file decides, else the stack's if it is in all ranges,
/// else the newest that is.
fn decide(
    request: Option<Request>,
    ranges: &[Range],
    stack: Option<PythonVersion>,
) -> Result<(String, Option<Support>), PythonVersionError> {
    if let Some(request) = request {
        let support = python_version::support(request)?;
        let how = match stack
            .filter(|stack| stack.series == request.series && request.variety == Variety::default())
        {
            Some(stack) => format!("Python {stack} of the stack"),
            None => format!("Python {request}, to be installed"),
        };
        return Ok((
            format!("{how} ({} asks for {request})", request.file),
            Some(support),
        ));
    }
    let Some(first) = ranges.first() else {
        let title = stack.map_or_else(
            || "The stack's Python (no file asks for another)".to_owned(),
            |stack| format!("Python {stack} of the stack (no file asks for another)"),
        );
        return Ok((title, None));
    };
    if let Some(stack) = stack.filter(|stack| ranges.iter().all(|range| range.allows(*stack))) {
        let title = format!(
            "Python {stack} of the stack ({} asks for {first})",
            first.file
        );
        return Ok((title, python_version::support_of(stack.series)));
    }
    let Some(series) = python_version::newest_in(ranges) else {
        return Err(PythonVersionError::NothingFits {
            ranges: ranges.to_vec(),
        });
    };
    let title = format!(
        "Python {series}, to be installed ({} asks for {first})",
        first.file
    );
    Ok((title, python_version::support_of(series)))
}

/// Files that should not be there, or not under that name.
fn files(findings: &mut Findings, app_dir: &Path) {
    for (name, right) in checks::misspelt_files(app_dir) {
        findings.add(
            Level::Warning,
            format!("{name} is not called {right}"),
            format!("Nobody reads it. Rename it: mv \"{name}\" {right}"),
        );
    }
    for folder in checks::stray_venvs(app_dir) {
        findings.add(
            Level::Warning,
            format!("{}/ is a virtual environment", folder.display()),
            "It is not used and only makes the image bigger: add it to .gitignore and .slugignore.",
        );
    }
    let stray = checks::stray_folders(app_dir);
    if !stray.is_empty() {
        findings.add(
            Level::Warning,
            format!("Folders that other tools made: {}", stray.join(", ")),
            "They are not used and only make the image bigger: add them to .gitignore and .slugignore.",
        );
    }
}

#[cfg(test)]
#[path = "doctor/tests.rs"]
mod tests;

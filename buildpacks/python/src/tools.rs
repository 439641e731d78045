//! The programs that a build needs, each provided when something asks for it.

use crate::checks::CheckError;
use crate::install::{INSTALLER_VARIABLE, Installer};
use crate::interpreter::{self, Interpreter};
use crate::layers::project_tool::{self, Kind};
use crate::layers::uv::UV_VERSION;
use crate::project::{self, Plan, Source};
use crate::python_range::Range;
use crate::python_version::{self, PythonVersion, PythonVersionError, Request, Requested, Variety};
use crate::{BuildpackError, PythonBuildpack, errors, layers, log};
use libcnb::Env;
use libcnb::build::BuildContext;
use std::path::{Path, PathBuf};

/// The programs that a build needs, each provided when something asks for it.
pub(crate) struct Tools<'a> {
    context: &'a BuildContext<PythonBuildpack>,
    env: &'a Env,
    /// The stack's Python.
    stack: Option<Interpreter>,
    uv: Option<PathBuf>,
    /// Whether a Python that the stack does not have may be fetched.
    may_fetch: bool,
}

impl<'a> Tools<'a> {
    /// Looks which Python the stack has.
    pub(crate) fn new(
        context: &'a BuildContext<PythonBuildpack>,
        env: &'a Env,
    ) -> Result<Self, BuildpackError> {
        Ok(Self {
            context,
            env,
            stack: interpreter::of_stack(env).map_err(BuildpackError::Interpreter)?,
            uv: None,
            may_fetch: true,
        })
    }

    /// From here on, only the stack's Python is one.
    pub(crate) fn of_stack_alone(mut self) -> Self {
        self.may_fetch = false;
        self
    }

    /// The Python that the app asks for: the stack's if it is right, else an installed one.
    ///
    /// A version file decides; the ranges in the project's own files must agree with it. Without such a file the
    /// stack's Python is taken if it is in all ranges, else the newest that is. With requirements.txt, which says
    /// nothing of Pythons, the ranges only warn.
    pub(crate) fn python(
        &mut self,
        source: Option<&Source>,
    ) -> libcnb::Result<Interpreter, BuildpackError> {
        let asked = asked(&self.context.app_dir, source)?;
        if asked.runtime_txt {
            errors::warn_of_runtime_txt(asked.request);
        }
        if let Some(request) = asked.request {
            return self.requested(request);
        }
        let python = self.in_ranges(&asked.ranges)?;
        errors::warn_of_range(python.version, &asked.wishes);
        Ok(python)
    }

    /// The Python of a version or series that a file names.
    fn requested(&mut self, request: Request) -> libcnb::Result<Interpreter, BuildpackError> {
        let support = python_version::support(request).map_err(BuildpackError::PythonVersion)?;
        errors::warn_of_ended_support(request, support);
        errors::warn_of_pre_release(request);
        if let Some(stack) = &self.stack
            && stack.version.series == request.series
            && request.variety == Variety::default()
        {
            errors::warn_of_other_patch(request, stack.version);
            log::step(format!(
                "Using Python {} of the stack ({} asks for {request}).",
                stack.version, request.file
            ));
            return Ok(stack.clone());
        }
        self.installed(request, None)
    }

    /// The stack's Python if it is in all ranges, else the newest that is.
    fn in_ranges(&mut self, ranges: &[Range]) -> libcnb::Result<Interpreter, BuildpackError> {
        let Some(first) = ranges.first() else {
            let stack = self.stack.clone().ok_or(BuildpackError::NoPython)?;
            log::step(format!(
                "Using Python {} of the stack (no .python-version file asks for another).",
                stack.version
            ));
            return Ok(stack);
        };
        if let Some(stack) = &self.stack
            && ranges.iter().all(|range| range.allows(stack.version))
        {
            log::step(format!(
                "Using Python {} of the stack ({} asks for {first}).",
                stack.version, first.file
            ));
            return Ok(stack.clone());
        }
        let nothing = || {
            BuildpackError::PythonVersion(PythonVersionError::NothingFits {
                ranges: ranges.to_vec(),
            })
        };
        let series = python_version::newest_in(ranges).ok_or_else(nothing)?;
        let request = Request {
            series,
            patch: python_version::pinned_patch(series, ranges),
            variety: Variety::default(),
            file: first.file,
        };
        let support = python_version::support(request).map_err(BuildpackError::PythonVersion)?;
        errors::warn_of_ended_support(request, support);
        let python = self.installed(request, Some(first))?;
        if !ranges.iter().all(|range| range.allows(python.version)) {
            Err(nothing())?;
        }
        Ok(python)
    }

    /// A Python that the stack does not have. `range`: what the request was made of, if not of a version.
    fn installed(
        &mut self,
        request: Request,
        range: Option<&Range>,
    ) -> libcnb::Result<Interpreter, BuildpackError> {
        if !self.may_fetch {
            Err(BuildpackError::NotShared("it needs a Python of its own"))?;
        }
        let uv = self.uv()?;
        let stack = self.stack.as_ref();
        let python = layers::python::provide(self.context, &uv, request, stack, self.env)?;
        errors::warn_of_old_patch(request, range, python.version);
        log::step(format!(
            "Using {} {} ({} asks for {request}).",
            python.name(),
            python.version,
            request.file
        ));
        Ok(python)
    }

    /// What installs the plan; nothing when it asks for nothing.
    pub(crate) fn installer(
        &mut self,
        python: &Interpreter,
        plan: Option<&Plan>,
    ) -> libcnb::Result<Installer, BuildpackError> {
        let choice = self
            .env
            .get(INSTALLER_VARIABLE)
            .map(|value| value.to_string_lossy().trim().to_ascii_lowercase())
            .unwrap_or_default();
        let Some(plan) = plan else {
            return Ok(Installer::Nothing);
        };
        if !matches!(choice.as_str(), "" | "uv" | "pip") {
            Err(BuildpackError::Check(CheckError::UnknownInstaller {
                value: choice,
            }))?
        } else if plan.empty {
            Ok(Installer::Nothing)
        } else if let Some(kind) = own_tool(&plan.source) {
            let uv = self.uv()?;
            Ok(Installer::Own {
                tool: project_tool::provide(self.context, kind, &uv, python, self.env)?,
                cache: layers::tool_cache::provide(self.context)?,
            })
        } else if choice == "pip" && plan.source.is_for_pip() {
            Ok(Installer::Pip {
                pip: layers::pip::provide(self.context, python, self.env)?,
                cache: layers::pip_cache::provide(self.context)?,
            })
        } else {
            if choice == "pip" {
                log::step(format!(
                    "{INSTALLER_VARIABLE}=pip is for requirements.txt and for packages without a lock; {} is installed by uv.",
                    plan.source
                ));
            }
            let (program, version) = self.uv_for_packages()?;
            Ok(Installer::Uv {
                program,
                version,
                cache: layers::uv_cache::provide(self.context)?,
            })
        }
    }

    /// The uv that installs the app's packages, with its version: ours, or the one that the user asks for.
    fn uv_for_packages(&mut self) -> libcnb::Result<(PathBuf, String), BuildpackError> {
        let ours = self.uv()?;
        let is_other =
            project_tool::is_asked_for(Kind::Uv, self.env).map_err(BuildpackError::ProjectTool)?;
        if !is_other {
            return Ok((ours, UV_VERSION.to_owned()));
        }
        let stack = self.stack.clone().ok_or(BuildpackError::NoPython)?;
        let tool = project_tool::provide(self.context, Kind::Uv, &ours, &stack, self.env)?;
        Ok((tool.program, tool.version))
    }

    /// uv, if something asked for it.
    pub(crate) fn known_uv(&self) -> Option<&Path> {
        self.uv.as_deref()
    }

    fn uv(&mut self) -> libcnb::Result<PathBuf, BuildpackError> {
        if let Some(uv) = &self.uv {
            return Ok(uv.clone());
        }
        let uv = layers::uv::provide(self.context, self.stack.as_ref(), self.env)?;
        self.uv = Some(uv.clone());
        Ok(uv)
    }
}

/// The tool that alone understands a lock.
fn own_tool(source: &Source) -> Option<Kind> {
    match source {
        Source::PoetryLock => Some(Kind::Poetry),
        Source::PdmLock => Some(Kind::Pdm),
        Source::PipfileLock => Some(Kind::Pipenv),
        _ => None,
    }
}

/// What the app's files say of Pythons.
pub(crate) struct Asked {
    /// A version file's; it agrees with the ranges.
    pub(crate) request: Option<Request>,
    /// Those that hold.
    pub(crate) ranges: Vec<Range>,
    /// Those of a project whose packages come from elsewhere: they only warn.
    pub(crate) wishes: Vec<Range>,
    /// Whether there is a `runtime.txt`.
    pub(crate) runtime_txt: bool,
}

/// Reads what the app's files say of Pythons.
pub(crate) fn asked(app_dir: &Path, source: Option<&Source>) -> Result<Asked, BuildpackError> {
    let Requested {
        request,
        range,
        runtime_txt,
    } = python_version::read_request(app_dir).map_err(BuildpackError::PythonVersion)?;
    let is_bound = !matches!(source, None | Some(Source::Requirements));
    let mut ranges: Vec<Range> = range.into_iter().collect();
    let mut wishes = Vec::new();
    match project::python::ranges(app_dir, source) {
        Ok(of_project) if is_bound => ranges.extend(of_project),
        Ok(of_project) => wishes = of_project,
        Err(error) if is_bound => return Err(BuildpackError::Project(error)),
        // Nothing else reads the file for these projects.
        Err(_) => {}
    }
    if let Some(request) = request
        && let Some(range) = ranges.iter().find(|range| !agree(request, range))
    {
        return Err(BuildpackError::PythonVersion(
            PythonVersionError::Conflict {
                request,
                range: range.clone(),
            },
        ));
    }
    Ok(Asked {
        request,
        ranges,
        wishes,
        runtime_txt,
    })
}

/// Whether a version that a file names is in a range.
fn agree(request: Request, range: &Range) -> bool {
    let Request { series, patch, .. } = request;
    match patch {
        Some(patch) => range.allows(PythonVersion { series, patch }),
        None => range.allows_series(series),
    }
}

//! The programs that a build needs, each provided when something asks for it.

use crate::checks::CheckError;
use crate::install::{INSTALLER_VARIABLE, Installer};
use crate::interpreter::{self, Interpreter};
use crate::python_version::{self, Requested};
use crate::requirements::Requirements;
use crate::{BuildpackError, PythonBuildpack, errors, layers, log};
use libcnb::Env;
use libcnb::build::BuildContext;
use std::path::PathBuf;

/// The programs that a build needs, each provided when something asks for it.
pub(crate) struct Tools<'a> {
    context: &'a BuildContext<PythonBuildpack>,
    env: &'a Env,
    /// The stack's Python.
    stack: Option<Interpreter>,
    uv: Option<PathBuf>,
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
        })
    }

    /// The Python that the app asks for: the stack's if its series is right, else an installed one.
    pub(crate) fn python(&mut self) -> libcnb::Result<Interpreter, BuildpackError> {
        let Requested {
            request,
            runtime_txt,
        } = python_version::read_request(&self.context.app_dir)
            .map_err(BuildpackError::PythonVersion)?;
        if runtime_txt {
            errors::warn_of_runtime_txt(request);
        }
        let Some(request) = request else {
            let stack = self.stack.clone().ok_or(BuildpackError::NoPython)?;
            log::step(format!(
                "Using Python {} of the stack (no .python-version file asks for another).",
                stack.version
            ));
            return Ok(stack);
        };
        let support = python_version::support(request).map_err(BuildpackError::PythonVersion)?;
        errors::warn_of_ended_support(request, support);
        if let Some(stack) = &self.stack
            && stack.version.series == request.series
        {
            errors::warn_of_other_patch(request, stack.version);
            log::step(format!(
                "Using Python {} of the stack ({} asks for {request}).",
                stack.version, request.file
            ));
            return Ok(stack.clone());
        }
        let uv = self.uv()?;
        let stack = self.stack.as_ref();
        let python = layers::python::provide(self.context, &uv, request, stack, self.env)?;
        log::step(format!(
            "Using Python {} ({} asks for {request}).",
            python.version, request.file
        ));
        Ok(python)
    }

    /// What installs the requirements; nothing when there are none.
    pub(crate) fn installer(
        &mut self,
        python: &Interpreter,
        requirements: Option<&Requirements>,
    ) -> libcnb::Result<Installer, BuildpackError> {
        let choice = self
            .env
            .get(INSTALLER_VARIABLE)
            .map(|value| value.to_string_lossy().trim().to_ascii_lowercase())
            .unwrap_or_default();
        match choice.as_str() {
            _ if requirements.is_none() => Ok(Installer::Nothing),
            "" | "uv" | "pip" if requirements.is_some_and(|some| some.empty) => {
                Ok(Installer::Nothing)
            }
            "" | "uv" => Ok(Installer::Uv {
                program: self.uv()?,
                cache: layers::uv_cache::provide(self.context)?,
            }),
            "pip" => Ok(Installer::Pip {
                pip: layers::pip::provide(self.context, python, self.env)?,
                cache: layers::pip_cache::provide(self.context)?,
            }),
            _ => Err(BuildpackError::Check(CheckError::UnknownInstaller {
                value: choice,
            }))?,
        }
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

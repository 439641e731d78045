//! What the platform gives to the phases that run buildpacks, and the environment made of it.

use cnb_spec::api::ApiVersion;
use cnb_spec::buildpack::{Buildpack, Kind};
use cnb_spec::env_delta::{EnvDelta, EnvError, Environment, Unsuffixed};
use cnb_spec::env_vars;
use cnb_spec::target::Target;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What detection and build share. All paths are absolute.
#[derive(Debug, Clone, Copy)]
pub struct Platform<'a> {
    /// The Platform API version that the platform speaks.
    pub api: ApiVersion,
    /// `<buildpacks>/<escaped id>/<version>` holds a buildpack.
    pub buildpacks_dir: &'a Path,
    /// `<extensions>/<escaped id>/<version>` holds an image extension; need not exist.
    pub extensions_dir: &'a Path,
    /// The application.
    pub app_dir: &'a Path,
    /// `<platform>/env` holds the user's variables.
    pub platform_dir: &'a Path,
    /// `<build-config>/env` holds the operator's variables; need not exist.
    pub build_config_dir: &'a Path,
    /// For plans that buildpacks read or write.
    pub temp_dir: &'a Path,
    /// The environment that the phase was started in, of which buildpacks get what the specification lists.
    pub env: &'a [(OsString, OsString)],
    /// The run image's target, complete ([`Target::or_from`]).
    pub target: &'a Target,
    /// The execution environment, such as `production`.
    pub exec_env: &'a str,
}

impl Platform<'_> {
    /// The environment of one executable of `buildpack`: `base`, changed by the user and the operator, and the
    /// variables that every executable gets, with `own` in the place of those that only this one does.
    pub(crate) fn environment(
        &self,
        buildpack: &Buildpack,
        base: &Environment,
        own: &[(&str, &OsStr)],
    ) -> Result<Environment, EnvError> {
        let mut env = base.clone();
        if !buildpack.info.clear_env {
            EnvDelta::read(&self.platform_dir.join("env"))?.apply_platform(&mut env);
        }
        EnvDelta::read(&self.build_config_dir.join("env"))?.apply(&mut env, Unsuffixed::Default);

        let mut set = |name: &str, value: &OsStr| env.insert(name.into(), value.to_owned());
        let own_dir = match buildpack.kind {
            Kind::Buildpack => env_vars::BUILDPACK_DIR,
            Kind::Extension => env_vars::EXTENSION_DIR,
        };
        set(own_dir, buildpack.dir.as_os_str());
        if buildpack.api.at_least(8) {
            set(env_vars::PLATFORM_DIR, self.platform_dir.as_os_str());
            for (name, value) in own {
                set(name, value);
            }
        }
        if buildpack.api.at_least(10) {
            for (name, value) in self.target.env() {
                set(name, OsStr::new(&value));
            }
        }
        if buildpack.api.at_least(12) && !self.exec_env.is_empty() {
            set(env_vars::EXEC_ENV, OsStr::new(self.exec_env));
        }
        Ok(env)
    }
}

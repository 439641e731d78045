//! What a build stands on: a stack of slugc's, or a builder.

use crate::build::sandboxed::HOME;
use crate::stack::Stack;
use cnb_spec::api::ApiVersion;
use cnb_spec::run::RunImageNames;
use oci_image::{Descriptor, Digest};
use std::ffi::OsString;
use std::path::PathBuf;

/// The build environment, the run image and the user.
#[derive(Debug)]
pub(crate) struct Foundation {
    pub(crate) name: String,
    /// For people.
    pub(crate) summary: String,
    /// A builder itself, which is made for the same machines, where the user names another run image.
    pub(crate) run_image: Descriptor,
    /// What the image's label calls its base.
    pub(crate) run_image_names: RunImageNames,
    pub(crate) build_image: Digest,
    /// Who builds and runs.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) env: Vec<(String, String)>,
    /// The unpacked layers of the build image, topmost first.
    pub(crate) lowers: Vec<PathBuf>,
    /// The lifecycle of the builder, where it is to run the buildpacks.
    pub(crate) lifecycle: Option<BuildersLifecycle>,
}

/// A lifecycle that is in the build image.
#[derive(Debug)]
pub(crate) struct BuildersLifecycle {
    /// The newest Platform API that both sides speak.
    pub(crate) api: ApiVersion,
    /// On this machine, for the image.
    pub(crate) launcher: PathBuf,
    pub(crate) version: String,
}

impl Foundation {
    pub(crate) fn of_stack(stack: &Stack) -> Self {
        Self {
            name: stack.name.clone(),
            summary: stack.summary.clone(),
            run_image: stack.run_image.clone(),
            run_image_names: RunImageNames {
                image: Some(stack.name.clone()),
                mirrors: Vec::new(),
            },
            build_image: stack.build_image.digest,
            uid: stack.uid,
            gid: stack.gid,
            env: stack.env.clone(),
            lowers: stack.build_lowers(),
            lifecycle: None,
        }
    }

    /// What a phase is started with (Platform API, "Build Environment").
    pub(crate) fn build_env(&self) -> Vec<(OsString, OsString)> {
        self.env
            .iter()
            .filter(|(name, _)| name != "HOME")
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .chain([(OsString::from("HOME"), OsString::from(HOME))])
            .collect()
    }
}

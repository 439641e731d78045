//! The Procfile buildpack: every line of the app's `Procfile` becomes a process of the image.
//! The format is described in `SPEC.md`.

#![forbid(unsafe_code)]

mod error;
#[cfg(test)]
mod fuzz_tests;
mod launch;
mod procfile;

use crate::error::ProcfileError;
use libcnb::build::{BuildContext, BuildResult, BuildResultBuilder};
use libcnb::detect::{DetectContext, DetectResult, DetectResultBuilder};
use libcnb::generic::{GenericMetadata, GenericPlatform};
use libcnb::{Buildpack, buildpack_main};
use std::path::Path;
use std::{fs, io};

/// The file's name; an app may not spell it otherwise, as some file systems tell case apart and some do not.
const PROCFILE: &str = "Procfile";

struct ProcfileBuildpack;

impl Buildpack for ProcfileBuildpack {
    type Platform = GenericPlatform;
    type Metadata = GenericMetadata;
    type Error = ProcfileError;

    fn detect(&self, context: DetectContext<Self>) -> libcnb::Result<DetectResult, ProcfileError> {
        // A link that leads nowhere counts: the build then says what is wrong with it.
        match fs::symlink_metadata(context.app_dir.join(PROCFILE)) {
            Ok(_) => DetectResultBuilder::pass().build(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match misspelt(&context.app_dir).map_err(ProcfileError::List)? {
                    Some(name) => print!("{}", error::misspelt(&name)),
                    None => println!("No Procfile found."),
                }
                DetectResultBuilder::fail().build()
            }
            Err(error) => Err(ProcfileError::Read(error).into()),
        }
    }

    fn build(&self, context: BuildContext<Self>) -> libcnb::Result<BuildResult, ProcfileError> {
        let bytes = fs::read(context.app_dir.join(PROCFILE)).map_err(ProcfileError::Read)?;
        let procfile = procfile::parse(&bytes).map_err(ProcfileError::Parse)?;
        let launch = launch::launch(&procfile).map_err(ProcfileError::ProcessType)?;

        print!("{}", launch::summary(&procfile));
        for warning in &procfile.warnings {
            print!("{}", error::warning(warning));
        }
        BuildResultBuilder::new().launch(launch).build()
    }

    fn on_error(&self, error: libcnb::Error<ProcfileError>) {
        eprint!("{}", error::message(&error));
    }
}

/// A name in the folder that differs from `Procfile` in case alone.
fn misspelt(app_dir: &Path) -> io::Result<Option<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(app_dir)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.eq_ignore_ascii_case(PROCFILE)
        {
            found.push(name);
        }
    }
    found.sort();
    Ok(found.into_iter().next())
}

buildpack_main!(ProcfileBuildpack);

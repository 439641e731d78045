//! `slugc build [PATH]`.

use crate::app::{App, AppName};
use crate::args::BuildArgs;
use crate::build::{self, Request};
use crate::build_env;
use crate::failure::{Exit, Failure};
use crate::project;
use crate::release;
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) fn run(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::of(&args.detail));
    let outputs = args
        .outputs
        .iter()
        .map(|text| Layout::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let name = AppName::choose(&args.app, &args.path)?;
    let project = project::read(&args.path)?;
    let env = build_env::collect(&project.env, &args.env_file, &args.env)?;
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let app = App::of(&store, name);
    let built = build::build(
        &store,
        &printer,
        &Request {
            app: &app,
            path: &args.path,
            project: &project,
            env: &env,
            buildpacks: &args.buildpacks,
            clear_cache: args.clear_cache,
            refresh: args.refresh,
            tags: &args.tags,
            mirror: args.mirror.mirror.as_deref(),
        },
    )?;
    for output in &outputs {
        let tag = output
            .tag
            .as_deref()
            .or(args.tags.first().map(String::as_str));
        oci_image::layout::write(&output.folder, store.blobs(), &built.manifest, tag).map_err(
            |error| {
                Failure::new(
                    Exit::Store,
                    format!("cannot write the OCI layout {}", output.folder.display()),
                )
                .because(error)
            },
        )?;
        printer.line(&format!("Written to {}", output.folder.display()));
    }
    let release = release::deploy(&printer, &store, &app)?;
    build::summary::print(&printer, &app, &built, release.as_ref());
    Ok(ExitCode::SUCCESS)
}

/// `oci:DIR[:TAG]`, skopeo's spelling.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    folder: PathBuf,
    tag: Option<String>,
}

impl Layout {
    fn parse(text: &str) -> Result<Self, Failure> {
        let refused = || {
            Failure::new(Exit::Usage, format!("cannot write an image to {text:?}"))
                .hint("write -o oci:DIR or -o oci:DIR:TAG")
        };
        let rest = text.strip_prefix("oci:").ok_or_else(refused)?;
        let (folder, tag) = match rest.rsplit_once(':') {
            Some((folder, tag)) if !tag.contains('/') => (folder, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if folder.is_empty() || tag.as_deref() == Some("") {
            return Err(refused());
        }
        Ok(Self {
            folder: PathBuf::from(folder),
            tag,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        for (text, folder, tag) in [
            ("oci:image", "image", None),
            ("oci:/tmp/a b:v1", "/tmp/a b", Some("v1")),
            ("oci:a:b/c", "a:b/c", None),
        ] {
            let layout = Layout::parse(text).unwrap();
            assert_eq!(layout.folder, PathBuf::from(folder));
            assert_eq!(layout.tag.as_deref(), tag);
        }
        for bad in ["", "oci:", "oci::tag", "oci:a:", "docker:x"] {
            assert!(Layout::parse(bad).is_err(), "{bad}");
        }
    }
}
